"""Settings come from the environment; an invalid one is reported with what is allowed."""

import dataclasses

import pytest

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
        ("CHAT_GEMMA_URL", "localhost:8000", "it must be an address like http://localhost:8000/v1"),
        ("CHAT_ROOT_URL", "chat.example.org", "CHAT_ROOT_URL"),
        ("CHAT_LOG_FORMAT", "xml", "CHAT_LOG_FORMAT is 'xml'"),
        ("CHAT_IDENTITY", "everyone", "CHAT_IDENTITY is 'everyone'"),
        ("CHAT_STORE", "postgres", "CHAT_STORE is 'postgres': it must be 'sqlite' or 'firestore'"),
        ("CHAT_STORE", "firestore", "CHAT_STORE is 'firestore': it needs GOOGLE_CLOUD_PROJECT"),
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
