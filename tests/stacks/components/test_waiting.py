"""An update that waited in vain says where the reason is."""

from __future__ import annotations

import pulumi
import pytest

from stacks.components import leftovers, waiting
from tests.stacks.deployments import GCP, GOOGLE_SIGN_IN, KUBERNETES
from tests.stacks.recording import run, seen

TIMED_OUT = "the Kubernetes API server reported that it failed to fully initialize: timed out waiting for the condition"


def advice_for(config: dict[str, str], kind: str, name: str = "", error: str = TIMED_OUT) -> str | None:
    resource = seen(config).one(kind, name)
    return waiting.advice(resource.type, resource.inputs, error)


@pytest.mark.parametrize("config", [GCP, KUBERNETES], ids=["gcp", "kubernetes"])
def test_pods_that_do_not_become_ready_are_named_by_the_command_that_describes_them(config: dict[str, str]) -> None:
    text = advice_for(config, "Deployment", "gradio-chat-deployment")
    assert text is not None
    assert text.endswith("kubectl --namespace hybrid-chat describe pods --selector app=gradio-chat")


def test_a_policy_that_gke_does_not_attach_names_the_client_only_with_identity_aware_proxy() -> None:
    text = advice_for(GCP, "GCPBackendPolicy")
    assert text is not None
    assert "kubectl --namespace hybrid-chat describe gcpbackendpolicy gradio-chat" in text
    assert "set oauthClientId" in text
    other = advice_for(GOOGLE_SIGN_IN, "GCPBackendPolicy")
    assert other is not None
    assert "oauthClientId" not in other


def test_another_error_has_no_such_advice() -> None:
    assert advice_for(KUBERNETES, "Deployment", error="admission webhook denied the request") is None
    assert waiting.advice("gcp:container/cluster:Cluster", {}, TIMED_OUT) is None


def test_the_hook_of_every_object_in_a_cluster_logs_the_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "error", told.append)
    chat = seen(KUBERNETES).one("Deployment")

    def program() -> None:
        hook = leftovers.leftover_hook("hook")
        failure = pulumi.ErrorHookArgs(
            chat.urn, "", "n", chat.type, new_inputs=chat.inputs, failed_operation="update", errors=[TIMED_OUT]
        )
        assert not hook(failure)

    run(program)
    assert "did not become ready in time" in told[0]
    for config in (GCP, KUBERNETES):
        for resource in seen(config).resources:
            if resource.type.startswith("kubernetes:") and "waitFor" in str(resource.inputs.get("metadata")):
                assert resource.request.hooks.on_error, resource.urn
