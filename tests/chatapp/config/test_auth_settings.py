"""What is missing for a way to come in is said before the chat starts."""

import pytest

from chatapp.__main__ import _listening_socket
from chatapp.config.settings import InvalidSettings, load_settings

GOOGLE = {
    "CHAT_IDENTITY": "google",
    "CHAT_OIDC_CLIENT_ID": "client",
    "CHAT_OIDC_CLIENT_SECRET": "secret",
    "CHAT_ALLOWED_PEOPLE": "ana@example.org",
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def loaded(monkeypatch, **changes):
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize("missing", list(GOOGLE)[1:])
def test_signing_in_needs_a_client_its_secret_and_people(monkeypatch, missing):
    with pytest.raises(InvalidSettings, match=f"^{missing} is missing: CHAT_IDENTITY=google needs [^\n]*$"):
        loaded(monkeypatch, **{**GOOGLE, missing: ""})


def test_all_that_is_missing_is_said_at_once(monkeypatch):
    with pytest.raises(InvalidSettings, match=r"(?s)CLIENT_ID is missing.*CLIENT_SECRET is missing.*PEOPLE is missing"):
        loaded(monkeypatch, CHAT_IDENTITY="google")
    assert loaded(monkeypatch, CHAT_IDENTITY="anonymous").allowed_people == ()


def test_people_are_addresses_domains_or_everybody_in_any_order(monkeypatch):
    people = " ana@example.org, example.com\n\tsub.example.net ,* "
    settings = loaded(monkeypatch, **{**GOOGLE, "CHAT_ALLOWED_PEOPLE": people})
    assert settings.allowed_people == ("ana@example.org", "example.com", "sub.example.net", "*")
    assert (settings.oidc_issuer, settings.session_days, settings.guests) == ("https://accounts.google.com", 7, False)


@pytest.mark.parametrize("people", ["ana", "@example.org", "ana@", "*.example.org", "https://example.org", "a b@c"])
def test_what_is_no_person_is_named(monkeypatch, people):
    with pytest.raises(InvalidSettings, match=r"CHAT_ALLOWED_PEOPLE is .* is neither an address"):
        loaded(monkeypatch, **{**GOOGLE, "CHAT_ALLOWED_PEOPLE": people})


@pytest.mark.parametrize(
    "issuer",
    [
        "http://id.example.org",
        "id.example.org",
        "ftp://x",
        "https://",
        "https://a?b=c",
        "https://ana@id.example.org",
        "x",
    ],
)
def test_a_provider_is_asked_over_https_only(monkeypatch, issuer):
    with pytest.raises(InvalidSettings, match="CHAT_OIDC_ISSUER"):
        loaded(monkeypatch, **GOOGLE, CHAT_OIDC_ISSUER=issuer)


def test_a_provider_may_have_a_path_and_one_on_this_computer_needs_no_https(monkeypatch):
    for issuer in (
        "https://id.example.org/realms/one",
        "http://127.0.0.1:8080",
        "http://localhost:9400",
        "http://[::1]:1",
    ):
        assert loaded(monkeypatch, **GOOGLE, CHAT_OIDC_ISSUER=f"{issuer}/").oidc_issuer == issuer


def test_a_secret_that_can_be_guessed_is_refused_and_never_shown(monkeypatch):
    with pytest.raises(InvalidSettings) as refusal:
        loaded(monkeypatch, CHAT_SESSION_SECRET="hunter2")
    assert "CHAT_SESSION_SECRET is too short" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_other_computers_are_let_in_only_where_that_is_meant(monkeypatch):
    anywhere = {"CHAT_HOST": "0.0.0.0", "CHAT_PORT": "1"}
    with pytest.raises(InvalidSettings, match=r"CHAT_IDENTITY=local is for one person.*CHAT_LOCAL_ANYWHERE=true"):
        _listening_socket(loaded(monkeypatch, **anywhere))
    with pytest.raises(InvalidSettings, match="CHAT_ROOT_URL is missing: CHAT_IDENTITY=google needs"):
        _listening_socket(loaded(monkeypatch, **anywhere, **GOOGLE))
    for meant in (
        {"CHAT_IDENTITY": "local", "CHAT_LOCAL_ANYWHERE": "true"},
        {"CHAT_ROOT_URL": "https://chat.example.org"},
    ):
        settings = loaded(monkeypatch, **anywhere, **{**GOOGLE, **meant})
        settings = settings.model_copy(update={"port": 0})
        _listening_socket(settings).close()


@pytest.mark.parametrize(
    "audience",
    [
        "",
        "backendServices/1",
        "/projects/*/global/backendServices/1",
        "/projects/1/*/backendServices/2",
        "/projects/1/",
        "/projects/x/global/backendServices/1",
        "/projects/1/global/backendServices/1*",
        "/projects/1/a b/2",
    ],
)
def test_behind_the_proxy_it_must_be_said_for_whom_its_word_is(monkeypatch, audience):
    with pytest.raises(InvalidSettings, match="CHAT_IAP_AUDIENCE"):
        loaded(monkeypatch, CHAT_IDENTITY="iap", CHAT_IAP_AUDIENCE=audience)


def test_a_list_of_people_is_the_proxys_where_there_is_none(monkeypatch):
    for audience in ("/projects/1/global/backendServices/*", "/projects/1/global/backendServices/2"):
        settings = loaded(monkeypatch, CHAT_IDENTITY="iap", CHAT_IAP_AUDIENCE=audience)
        assert (settings.iap_audience, settings.allowed_people) == (audience, ())
