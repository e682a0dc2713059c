"""Missing and invalid settings of authentication are reported before the chat starts."""

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
def test_google_needs_a_client_its_secret_and_an_allow_list(monkeypatch, missing):
    with pytest.raises(InvalidSettings, match=f"^{missing} is missing: CHAT_IDENTITY=google needs [^\n]*$"):
        loaded(monkeypatch, **{**GOOGLE, missing: ""})


def test_all_missing_settings_are_reported_together(monkeypatch):
    with pytest.raises(InvalidSettings, match=r"(?s)CLIENT_ID is missing.*CLIENT_SECRET is missing.*PEOPLE is missing"):
        loaded(monkeypatch, CHAT_IDENTITY="google")
    assert loaded(monkeypatch, CHAT_IDENTITY="anonymous").allowed_people == ()


def test_allow_list_has_addresses_domains_and_a_star(monkeypatch):
    people = " ana@example.org, example.com\n\tsub.example.net ,* "
    settings = loaded(monkeypatch, **{**GOOGLE, "CHAT_ALLOWED_PEOPLE": people})
    assert settings.allowed_people == ("ana@example.org", "example.com", "sub.example.net", "*")
    assert (settings.oidc_issuer, settings.session_days, settings.guests) == ("https://accounts.google.com", 7, False)


@pytest.mark.parametrize("people", ["ana", "@example.org", "ana@", "*.example.org", "https://example.org", "a b@c"])
def test_invalid_item_of_the_allow_list_is_named(monkeypatch, people):
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
def test_issuer_must_use_https(monkeypatch, issuer):
    with pytest.raises(InvalidSettings, match="CHAT_OIDC_ISSUER"):
        loaded(monkeypatch, **GOOGLE, CHAT_OIDC_ISSUER=issuer)


def test_issuer_may_have_a_path_and_may_use_http_on_loopback(monkeypatch):
    for issuer in (
        "https://id.example.org/realms/one",
        "http://127.0.0.1:8080",
        "http://localhost:9400",
        "http://[::1]:1",
    ):
        assert loaded(monkeypatch, **GOOGLE, CHAT_OIDC_ISSUER=f"{issuer}/").oidc_issuer == issuer


def test_short_secret_is_refused_and_not_shown(monkeypatch):
    with pytest.raises(InvalidSettings) as refusal:
        loaded(monkeypatch, CHAT_SESSION_SECRET="hunter2")
    assert "CHAT_SESSION_SECRET is too short" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_other_computers_are_accepted_only_if_the_settings_allow_it(monkeypatch):
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
def test_iap_needs_a_valid_audience(monkeypatch, audience):
    with pytest.raises(InvalidSettings, match="CHAT_IAP_AUDIENCE"):
        loaded(monkeypatch, CHAT_IDENTITY="iap", CHAT_IAP_AUDIENCE=audience)


def test_iap_needs_no_allow_list(monkeypatch):
    for audience in ("/projects/1/global/backendServices/*", "/projects/1/global/backendServices/2"):
        settings = loaded(monkeypatch, CHAT_IDENTITY="iap", CHAT_IAP_AUDIENCE=audience)
        assert (settings.iap_audience, settings.allowed_people) == (audience, ())
