"""Settings come from the environment; an invalid one is reported with what is allowed."""

import codecs
import dataclasses

import pytest

from chatapp.config.field_types import shown_url
from chatapp.config.settings import InvalidSettings, load_settings, unknown_settings
from chatapp.domain.conversation import Place
from chatapp.limits import SHARED_QUOTA, USER_QUOTA, Quota
from chatapp.models import Price


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION", "GEMINI_API_KEY", "GOOGLE_API_KEY", "THEME"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_those_of_the_codelab():
    settings = load_settings()
    assert (settings.port, settings.theme, settings.gemma_label, settings.gemini_label) == (
        7860,
        "blue",
        "Gemma3 12b it",
        "Gemini",
    )
    assert settings.gemini_model == "gemini-3.5-flash-lite"
    assert settings.google_cloud_location == "global"
    assert settings.host == "127.0.0.1"
    assert (settings.time_limits.connect, settings.time_limits.first_token, settings.time_limits.between_tokens) == (
        5,
        120,
        60,
    )


def test_environment_takes_precedence_over_the_env_file(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("CHAT_PORT=8001\nTHEME=green\n")
    monkeypatch.setenv("CHAT_PORT", "8002")
    settings = load_settings()
    assert (settings.port, settings.theme) == (8002, "green")


def test_empty_variable_counts_as_not_set(monkeypatch):
    for name in ("CHAT_PORT", "CHAT_MODELS", "CHAT_GEMMA_URL", "GEMINI_API_KEY", "THEME"):
        monkeypatch.setenv(name, "")
    assert load_settings().port == 7860


@pytest.mark.parametrize("name", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_googles_names_of_the_api_key_are_accepted(monkeypatch, name):
    monkeypatch.setenv(name, "secret")
    assert load_settings().gemini_api_key.get_secret_value() == "secret"


def test_extra_models_are_a_json_list(monkeypatch):
    monkeypatch.setenv(
        "CHAT_MODELS", '[{"id": "qwen", "label": "Qwen", "url": "http://localhost:11434/", "api_key": "k"}]'
    )
    (model,) = load_settings().models
    assert (model.id, model.label, model.url) == ("qwen", "Qwen", "http://localhost:11434")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CHAT_PORT", "eighty", "CHAT_PORT is 'eighty'"),
        ("CHAT_PORT", "0", "CHAT_PORT is '0': it must be greater than or equal to 1"),
        ("CHAT_PORT", "tcp://10.0.0.1:80", "CHAT_PORT"),  # what Kubernetes sets for a service called "chat"
        ("THEME", "red", "THEME is 'red': it must be 'blue' or 'green'"),
        ("CHAT_GEMMA_URL", "ftp://localhost:8000", "it must be an address like http://localhost:8000/v1"),
        ("CHAT_ROOT_URL", "chat.example.org", "CHAT_ROOT_URL"),
        ("CHAT_LOG_FORMAT", "xml", "CHAT_LOG_FORMAT is 'xml'"),
        ("CHAT_IDENTITY", "everyone", "CHAT_IDENTITY is 'everyone'"),
        ("CHAT_STORE", "postgres", "CHAT_STORE is 'postgres': it must be 'sqlite' or 'firestore'"),
        ("CHAT_STORE", "firestore", "CHAT_STORE is 'firestore': it needs GOOGLE_CLOUD_PROJECT"),
        ("CHAT_KEEP_DOCUMENT_FILES", "maybe", "CHAT_KEEP_DOCUMENT_FILES is 'maybe'"),
        ("CHAT_JOURNAL_WRITES", "0", "CHAT_JOURNAL_WRITES is '0': it must be greater than or equal to 1"),
        ("CHAT_JOURNAL_MEGABYTES", "much", "CHAT_JOURNAL_MEGABYTES is 'much'"),
        ("CHAT_DRAIN_SECONDS", "-1", "CHAT_DRAIN_SECONDS is '-1'"),
        ("CHAT_FIRST_TOKEN_SECONDS", "-1", "CHAT_FIRST_TOKEN_SECONDS"),
        ("CHAT_MAX_MESSAGE_CHARS", "5", "CHAT_MAX_MESSAGE_CHARS"),
        ("CHAT_MESSAGES_PER_MINUTE", "-1", "CHAT_MESSAGES_PER_MINUTE is '-1': it must be greater than or equal to 0"),
        ("CHAT_ALL_TOKENS_PER_DAY", "many", "CHAT_ALL_TOKENS_PER_DAY is 'many'"),
        ("CHAT_COST_PER_DAY", "nan", "CHAT_COST_PER_DAY is 'nan'"),
        ("CHAT_GEMMA_PRICE", "cheap", "CHAT_GEMMA_PRICE is 'cheap': it must be US dollars per million tokens"),
        ("CHAT_GEMMA_PLACE", "cellar", "CHAT_GEMMA_PLACE is 'cellar'"),
        ("CHAT_GEMMA_PODS", "app=gemma", "CHAT_GEMMA_PODS is 'app=gemma'"),
        ("CHAT_MODELS", '[{"id": "a", "label": "x", "url": "http://x", "ignores": ["max_tokens"]}]', "0.ignores.0"),
        ("CHAT_MODELS", "[{", "it must be a JSON list of models"),
        ("CHAT_MODELS", '[{"id": "a b", "label": "x", "url": "http://x"}]', r"CHAT_MODELS \(0.id\) is 'a b'"),
        ("CHAT_MODELS", '[{"id": "a", "label": "x"}]', r"CHAT_MODELS \(0.url\)"),
        ("CHAT_MODELS", '[{"id": "a", "label": "x", "url": "http://x", "key": 1}]', r"CHAT_MODELS \(0.key\)"),
        ("CHAT_MODELS", '[{"id": "gemma", "label": "x", "url": "http://x"}]', "these ids are taken twice: gemma"),
    ],
)
def test_invalid_value_is_named_with_what_is_allowed(monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings, match=words):
        load_settings()


def test_all_invalid_values_are_reported_together(monkeypatch):
    monkeypatch.setenv("CHAT_PORT", "x")
    monkeypatch.setenv("THEME", "red")
    with pytest.raises(InvalidSettings, match=r"(?s)CHAT_PORT.*THEME|THEME.*CHAT_PORT"):
        load_settings()


def test_firestore_and_retention_can_be_set(monkeypatch):
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    assert load_settings().store == "sqlite"
    monkeypatch.setenv("CHAT_STORE", "firestore")
    settings = load_settings()
    assert (settings.firestore_database, settings.retention_days) == ("(default)", None)
    assert (settings.journal_writes, settings.journal_megabytes, settings.drain_seconds) == (10_000, 256, 30)
    monkeypatch.setenv("CHAT_RETENTION_DAYS", "30")
    assert load_settings().retention_days == 30
    monkeypatch.setenv("CHAT_RETENTION_DAYS", "0")
    with pytest.raises(InvalidSettings, match="CHAT_RETENTION_DAYS is '0': it must be greater than or equal to 1"):
        load_settings()


def test_properties_of_a_model_can_be_set(monkeypatch):
    monkeypatch.setenv("CHAT_GEMMA_IMAGES", "true")
    monkeypatch.setenv("CHAT_GEMMA_PLACE", "own-gpus")
    monkeypatch.setenv("CHAT_GEMMA_PRICE", "0.30 / 2.50")
    extra = '{"images": false, "place": "other-server", "price": "1/2", "ignores": ["top_p"]}'
    monkeypatch.setenv("CHAT_MODELS", f'[{{"id": "a", "label": "x", "url": "http://x", {extra[1:]}]')
    settings = load_settings()
    assert (settings.gemma_images, settings.gemma_place, settings.gemma_price) == (
        True,
        Place.OWN_GPUS,
        Price(0.3, 2.5),
    )
    (model,) = settings.models
    assert (model.images, model.place, model.price, model.ignores) == (
        False,
        Place.OTHER_SERVER,
        Price(1, 2),
        ("top_p",),
    )


def test_quotas_have_defaults_except_for_a_local_chat(monkeypatch):
    assert (load_settings().user_quota, load_settings().shared_quota) == (Quota(), Quota())
    monkeypatch.setenv("CHAT_COST_PER_DAY", "0.5")
    assert load_settings().user_quota == Quota(cost_per_day=0.5)
    monkeypatch.setenv("CHAT_IDENTITY", "anonymous")
    monkeypatch.setenv("CHAT_ALL_MESSAGES_PER_MINUTE", "0")
    settings = load_settings()
    assert settings.user_quota == dataclasses.replace(USER_QUOTA, cost_per_day=0.5)
    assert settings.shared_quota == dataclasses.replace(SHARED_QUOTA, messages_per_minute=0)


def test_secrets_are_not_shown_in_errors_or_settings(monkeypatch):
    secret = "sk-very-secret"
    monkeypatch.setenv("GEMINI_API_KEY", secret)
    monkeypatch.setenv("CHAT_MODELS", f'[{{"id": "a", "label": "x", "url": "http://x", "api_key": ["{secret}"]}}]')
    with pytest.raises(InvalidSettings) as refusal:
        load_settings()
    assert secret not in str(refusal.value)
    monkeypatch.delenv("CHAT_MODELS")
    assert secret not in repr(load_settings())


def test_unknown_setting_is_reported_with_a_suggestion():
    (sentence,) = unknown_settings({"CHAT_GEMA_URL": "x", "CHAT_PORT": "1", "CHAT_THEME": "blue", "PATH": "y"})
    assert "CHAT_GEMA_URL" in sentence
    assert "did you mean CHAT_GEMMA_URL?" in sentence


ENCODINGS = pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])


@ENCODINGS
def test_env_file_is_read_in_every_encoding_of_unicode(tmp_path, encoding):
    (tmp_path / ".env").write_bytes("CHAT_PORT=8001\r\nCHAT_GEMMA_LABEL=ג׳מה\r\n".encode(encoding))
    settings = load_settings()
    assert (settings.port, settings.gemma_label) == (8001, "ג׳מה")


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_byte_order_mark_decides_where_most_letters_are_not_latin(tmp_path, mark):
    encoding = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-16-be"
    (tmp_path / ".env").write_bytes(mark + f"# {'הערה ארוכה מאוד ' * 20}\nCHAT_PORT=8001\n".encode(encoding))
    assert load_settings().port == 8001


def test_env_file_in_another_encoding_is_refused_with_its_line(tmp_path):
    (tmp_path / ".env").write_bytes("CHAT_PORT=8001\nCHAT_GEMMA_LABEL=ג'מה\n".encode("windows-1255"))
    with pytest.raises(InvalidSettings, match=r"\.env is not in UTF-8: line 2 .*Windows-1255\. Save it as UTF-8"):
        load_settings()
    assert unknown_settings({}) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("CHAT_PORT 8001", "Line 1 of the file .env cannot be read. Write it as CHAT_PORT=value"),
        ("THEME=green\n\nCHAT_PORT: 8001\n", "Line 3 .* CHAT_PORT=value"),
        ("set CHAT_PORT=8001", "Line 1 .* CHAT_PORT=value"),
        ("$env:CHAT_PORT = 8001", "Line 1 .* CHAT_PORT=value"),
        ('CHAT_GEMMA_LABEL="Gemma', "Line 1 .* CHAT_GEMMA_LABEL=value, with quotation marks on both sides"),
        ("CHAT_PORT", "Line 1 .* CHAT_PORT=value"),
    ],
)
def test_line_of_the_env_file_that_cannot_be_read_is_named(tmp_path, text, words):
    (tmp_path / ".env").write_text(text)
    with pytest.raises(InvalidSettings, match=words):
        load_settings()


def test_lines_and_values_of_the_env_file_are_reported_together_without_secrets(tmp_path):
    (tmp_path / ".env").write_text("GEMINI_API_KEY sk-secret\nCHAT_PORT=x\nexport THEME='green' # fine\n# a comment\n")
    with pytest.raises(InvalidSettings, match=r"(?s)Line 1 .*CHAT_PORT is 'x'") as refusal:
        load_settings()
    assert "sk-secret" not in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CHAT_GEMA_URL", "CHAT_GEMMA_URL"),
        ("GEMMA_URL", "CHAT_GEMMA_URL"),
        ("PORT", "CHAT_PORT"),
        ("CAHT_PORT", "CHAT_PORT"),
        ("GEMINI_APIKEY", "GEMINI_API_KEY"),
        ("GOOGLE_CLOUD_PROJET", "GOOGLE_CLOUD_PROJECT"),
        ("chat_gema_url", "CHAT_GEMMA_URL"),
    ],
)
def test_typing_mistake_in_the_env_file_is_named_with_the_nearest_setting(tmp_path, name, meant):
    (tmp_path / ".env").write_text(f"{name}=1\nOTHER_TOOLS_VARIABLE=1\nDATABASE_URL=x\nchat_theme=blue\n")
    (sentence,) = unknown_settings({})
    assert f"{name} is not a setting" in sentence
    assert f"did you mean {meant}?" in sentence


def test_typing_mistake_is_named_together_with_what_is_missing(tmp_path):
    (tmp_path / ".env").write_text("CHAT_STORE=firestore\nGOOGLE_CLOUD_PROJET=mine\n")
    with pytest.raises(
        InvalidSettings, match=r"(?s)CHAT_STORE.*GOOGLE_CLOUD_PROJET.*did you mean GOOGLE_CLOUD_PROJECT"
    ):
        load_settings()


def test_folder_named_env_is_no_file(tmp_path):
    (tmp_path / ".env").mkdir()
    assert load_settings().port == 7860


@pytest.mark.parametrize("value", ["~/x y", "$HOME/x y", "${HOME}/x y", "'~/x y'"])
@pytest.mark.parametrize("in_file", [True, False])
def test_home_folder_in_a_path_is_the_users(tmp_path, monkeypatch, value, in_file):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if in_file:
        (tmp_path / ".env").write_text(f"CHAT_DATA_DIR={value}\n")
    else:
        monkeypatch.setenv("CHAT_DATA_DIR", value.strip("'"))
    assert load_settings().data_dir == tmp_path / "home" / "x y"


def test_unknown_home_folder_is_an_error(monkeypatch):
    monkeypatch.setenv("CHAT_DATA_DIR", "~nobody-of-this-name/x")
    with pytest.raises(InvalidSettings, match="CHAT_DATA_DIR is '~nobody-of-this-name/x': the home folder"):
        load_settings()


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("https://דוגמה.example", "https://xn--6dbbec0c.example"),
        ("https://צ׳אט.דוגמה.example/", None),
        ("https://مثال.example:8443", "https://xn--mgbh0fb.example:8443"),
        ("https://XN--MGBH0FB.example", "https://xn--mgbh0fb.example"),
        ("https://Chat.Example.ORG:443/", "https://chat.example.org"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://example.org./chat", "https://example.org/chat"),
        ("https://example.org/צאט", "https://example.org/%D7%A6%D7%90%D7%98"),
    ],
)
def test_root_url_is_as_browsers_send_it(monkeypatch, typed, sent):
    monkeypatch.setenv("CHAT_ROOT_URL", typed)
    url = load_settings().root_url
    assert url == sent or (sent is None and url.isascii())
    monkeypatch.setenv("CHAT_ROOT_URL", url)
    assert load_settings().root_url == url


def test_root_url_is_shown_with_the_letters_of_its_language():
    assert shown_url("https://xn--mgbh0fb.example:8443/x") == "https://مثال.example:8443/x"
    assert shown_url("") == ""


@pytest.mark.parametrize(
    "url", ["https://", "https://user:pw@chat.example.org", f"https://{'a' * 64}é.example", "chat"]
)
def test_invalid_root_url_is_an_error(monkeypatch, url):
    monkeypatch.setenv("CHAT_ROOT_URL", url)
    with pytest.raises(InvalidSettings, match="it must be an address like"):
        load_settings()


def test_issuer_may_be_the_address_of_its_metadata(monkeypatch):
    monkeypatch.setenv("CHAT_OIDC_ISSUER", "https://id.example.org/realms/x/.well-known/openid-configuration/")
    assert load_settings().oidc_issuer == "https://id.example.org/realms/x"


def test_size_of_the_context_can_be_set(monkeypatch):
    monkeypatch.setenv("CHAT_GEMMA_CONTEXT_TOKENS", "16384")
    assert load_settings().gemma_context_tokens == 16384
    monkeypatch.setenv("CHAT_GEMMA_CONTEXT_TOKENS", "4k")
    with pytest.raises(InvalidSettings, match="CHAT_GEMMA_CONTEXT_TOKENS is '4k'"):
        load_settings()


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("192.168.1.5:11434/v1/", "http://192.168.1.5:11434/v1"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("ollama:11434", "http://ollama:11434"),
        ("api.example.org/v1", "https://api.example.org/v1"),
        ("HTTPS://API.example.org/v1", "HTTPS://API.example.org/v1"),
        ("https://x.example/openai?api-version=1", "https://x.example/openai?api-version=1"),
    ],
)
def test_address_of_a_model_server_may_lack_its_scheme_or_have_a_query(monkeypatch, typed, address):
    monkeypatch.setenv("CHAT_GEMMA_URL", typed)
    assert load_settings().gemma_url == address


@pytest.mark.parametrize("name", ["CHAT_GEMMA_URL", "CHAT_ROOT_URL"])
def test_invalid_address_is_shown_without_its_password_and_query(monkeypatch, name):
    monkeypatch.setenv(name, "https://ana:hunter2@x.example/ a?key=hunter3")
    with pytest.raises(InvalidSettings, match=name) as caught:
        load_settings()
    assert "hunter" not in str(caught.value)


def test_issuer_in_hebrew_is_as_dns_has_it(monkeypatch):
    monkeypatch.setenv("CHAT_OIDC_ISSUER", "https://דוגמה.example/realm/")
    assert load_settings().oidc_issuer == "https://xn--6dbbec0c.example/realm"


@pytest.mark.parametrize(("setting", "kept"), [(None, False), ("false", False)])
def test_files_of_documents_are_not_kept_with_firestore(monkeypatch, setting, kept):
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    assert load_settings().keeps_files
    monkeypatch.setenv("CHAT_STORE", "firestore")
    if setting:
        monkeypatch.setenv("CHAT_KEEP_DOCUMENT_FILES", setting)
    assert load_settings().keeps_files is kept
    monkeypatch.setenv("CHAT_KEEP_DOCUMENT_FILES", "true")
    with pytest.raises(InvalidSettings, match=r"CHAT_KEEP_DOCUMENT_FILES is 'true': it needs CHAT_STORE=sqlite"):
        load_settings()
