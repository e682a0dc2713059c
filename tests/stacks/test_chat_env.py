"""The chat's environment: the chat's own settings class knows each variable and accepts each value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import AliasChoices

from chatapp.config.settings import Settings, load_settings
from chatapp.domain.conversation import Place
from stacks.chat_env import SECRETS, VARIABLES, cost_per_replica, tokens_per_replica
from tests.stacks.deployments import DEPLOYMENTS, GCP, GOOGLE_SIGN_IN, all_deployments
from tests.stacks.recording import INTERNAL_ADDRESS, Deployed, deploy, seen

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow  # many deployments

CHAT = "gradio-chat-deployment"


def environment(run: Deployed) -> dict[str, str]:
    """Return the environment of the chat's container, with the values of secrets."""
    secrets = {secret["metadata.name"]: secret["stringData"] for secret in run.of_type("Secret")}
    values = {}
    for variable in run.one("Deployment", CHAT)["spec.template.spec.containers.0.env"]:
        if "value" in variable:
            values[variable["name"]] = variable["value"]
        else:
            reference = variable["valueFrom"]["secretKeyRef"]
            values[variable["name"]] = secrets[reference["name"]][reference["key"]]
    return values


def names_of(field: str) -> set[str]:
    """Return the environment variables of a field of the chat's settings."""
    alias = Settings.model_fields[field].validation_alias
    if alias is None:
        return {f"CHAT_{field.upper()}"}
    return set(alias.choices) if isinstance(alias, AliasChoices) else {str(alias)}


def expected_sign_in(config: dict[str, str]) -> str:
    if "gcp:project" not in config or config.get("exposure", "https") != "https":
        return config.get("identity", "anonymous")
    return config.get("identity", "google" if "oauthClientId" in config else "iap")


@pytest.fixture
def loaded(config: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Return the chat's settings, loaded from the environment of a deployment."""
    monkeypatch.chdir(tmp_path)  # no .env
    for name, value in environment(seen(config)).items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize("name", [*VARIABLES, *SECRETS])
def test_every_variable_is_one_of_the_chats_settings(name: str) -> None:
    assert name in {known for field in Settings.model_fields for known in names_of(field)}


def test_every_variable_is_set_in_some_deployment_and_no_other() -> None:
    used = {name for config in DEPLOYMENTS.values() for name in environment(seen(config))}
    assert used == {*VARIABLES, *SECRETS}, "else the tests below do not check its value"


def test_secrets_are_only_in_the_secret() -> None:
    for config in DEPLOYMENTS.values():
        variables = seen(config).one("Deployment", CHAT)["spec.template.spec.containers.0.env"]
        for variable in variables:
            assert ("value" in variable) is (variable["name"] in VARIABLES)


@pytest.mark.parametrize("config", all_deployments())
def test_the_chat_accepts_every_value(config: dict[str, str], loaded: Settings) -> None:
    pod = seen(config).one("Deployment", CHAT)["spec.template.spec"]
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert (loaded.port, loaded.metrics_port) == (ports["http"], ports["metrics"])
    assert str(loaded.data_dir) == "/data"
    assert loaded.identity == expected_sign_in(config)
    assert loaded.shutdown_seconds < pod["terminationGracePeriodSeconds"]
    if "gcp:project" in config:
        assert (loaded.store, loaded.firestore_database) == ("firestore", "chat-app-db")
        assert loaded.google_cloud_project == "my-proj-1"
        assert loaded.session_secret.get_secret_value()
        assert loaded.retention_days == (30 if "retentionDays" in config else None)
    else:
        assert loaded.store == "sqlite"
    if config.get("gemma", "auto") != "none" and ("gemma" in config or "gcp:project" in config):
        balanced, is_large = "gemmaRouting" in config, config.get("gemma") == "h100x16"
        service = "http://gemma-service.hybrid-chat.svc.cluster.local:8000"
        assert loaded.gemma_url == (f"http://{INTERNAL_ADDRESS}" if balanced else service)
        assert bool(loaded.gemma_api_key.get_secret_value()) is balanced
        # Of another model than Gemma, the chat asks the server.
        assert (loaded.gemma_place, loaded.gemma_images) == (Place.OWN_GPUS, None if is_large else True)
        assert loaded.gemma_deployment == ("leaderworkerset/gemma-group" if is_large else "gemma-deployment")
        assert loaded.gemma_pods == "hybrid-chat/app=gemma"
    else:
        assert (loaded.gemma_place, loaded.gemma_images, loaded.gemma_pods) == (None, None, "")


class TestLimits:
    def limits(self, config: dict[str, str]) -> dict[str, str]:
        values = environment(seen(config))
        return {name: value for name, value in values.items() if name.endswith(("DAY", "MINUTE"))}

    def test_are_the_chats_defaults_if_none_is_set(self) -> None:
        assert self.limits(GCP) == {}

    def test_of_a_person_are_passed_on_and_those_of_all_people_are_divided_by_replicas(self) -> None:
        assert self.limits(GOOGLE_SIGN_IN) == {
            "CHAT_MESSAGES_PER_MINUTE": "9",
            "CHAT_TOKENS_PER_DAY": "5000",
            "CHAT_COST_PER_DAY": "0.5",
            "CHAT_ALL_TOKENS_PER_DAY": "50000",
            "CHAT_ALL_COST_PER_DAY": "2.5",
        }

    def test_division_by_replicas_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        deploy(GCP | {"allCostPerDay": "5", "gemma": "none", "image": "example.org/c:1", "exposure": "private"})
        assert "so each gets 1/2 of allTokensPerDay and allCostPerDay." in caplog.text

    @pytest.mark.parametrize("replicas", [1, 2, 3, 7, 20])
    def test_of_all_replicas_never_exceed_the_total_and_are_never_unlimited(self, replicas: int) -> None:
        for tokens, cost in ((20, 0.01), (1_000_003, 9.99), (10**12, 1e6)):
            assert 0 < int(tokens_per_replica(tokens, replicas)) * replicas <= tokens
            assert 0 < float(cost_per_replica(cost, replicas)) * replicas <= cost + 1e-9
