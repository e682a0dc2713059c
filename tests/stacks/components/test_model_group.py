"""A model on several machines: the LeaderWorkerSet, its controller, and what of the rest follows from it."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from gemma.profiles import PROFILES
from stacks.components.model_group import RESOURCES
from stacks.components.model_pod import GRACE_SECONDS, PRE_STOP_SECONDS, SHUTDOWN_SECONDS
from tests.stacks.custom_resources import problems
from tests.stacks.deployments import DEPLOYMENTS, GCP, KUBERNETES, OWN_IAP_CLIENT, SEVERAL_MACHINES, of_profile
from tests.stacks.recording import Deployed, Registered, deploy, seen

PROFILE = PROFILES["h100x16"]
LEADER = {"app": "gemma", "leaderworkerset.sigs.k8s.io/worker-index": "0"}
SMALL = {"exposure": "private", "image": "example.org/chat:1"}


def group(run: Deployed) -> Registered:
    return run.one("LeaderWorkerSet", "gemma-group")


def container(run: Deployed, part: str) -> dict[str, Any]:
    (vllm,) = group(run)[f"spec.leaderWorkerTemplate.{part}Template.spec.containers"]
    return vllm


def test_a_server_is_a_group_of_as_many_pods_as_machines_each_with_its_gpus() -> None:
    run = seen(SEVERAL_MACHINES)
    assert group(run)["spec.leaderWorkerTemplate.size"] == PROFILE.machines == 2
    for part in ("leader", "worker"):
        resources = container(run, part)["resources"]
        assert resources["requests"] == resources["limits"], "Autopilot would change them"
        assert {"cpu", "memory", "ephemeral-storage"} <= set(resources["limits"])
        assert resources["limits"]["nvidia.com/gpu"] == str(PROFILE.gpus)
        selector = group(run)[f"spec.leaderWorkerTemplate.{part}Template.spec.nodeSelector"]
        assert selector["cloud.google.com/gke-accelerator"] == PROFILE.accelerator
    assert not [each for each in run.of_type("Deployment") if "gemma" in each["metadata.name"]]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["leader", "worker"])
def test_the_pods_of_a_group_are_valid_pods(part: str) -> None:
    template = group(seen(SEVERAL_MACHINES))[f"spec.leaderWorkerTemplate.{part}Template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gemma-group-0"} | template["metadata"]}
    for version in ("1.37.0", "1.36.0", "1.35.0"):
        kubernetes_validate.validate(pod | {"spec": template["spec"]}, version, strict=True)


def test_all_pods_are_replaced_where_one_fails_and_a_rollout_needs_no_more_gpus() -> None:
    spec = group(seen(SEVERAL_MACHINES))["spec"]
    assert spec["leaderWorkerTemplate"]["restartPolicy"] == "RecreateGroupOnPodRestart"
    assert spec["rolloutStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdateConfiguration": {"maxUnavailable": 1, "maxSurge": 0},
    }
    assert spec["startupPolicy"] == "LeaderCreated", "the leader is ready only when the workers run"


def test_the_leader_alone_answers_and_is_probed() -> None:
    run = seen(SEVERAL_MACHINES)
    assert run.one("Service", "gemma-service")["spec.selector"] == LEADER
    leader, worker = container(run, "leader"), container(run, "worker")
    probes = {"startupProbe", "readinessProbe", "livenessProbe"}
    assert probes <= set(leader)
    assert not {*probes, "ports"} & set(worker)
    assert "--headless" in worker["args"]
    assert "--headless" not in leader["args"]
    startup = leader["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 60 * PROFILE.loading_minutes


def test_each_pod_streams_the_weights_and_may_read_their_bucket() -> None:
    run = seen(SEVERAL_MACHINES)
    for part in ("leader", "worker"):
        model, *options = container(run, part)["args"]
        assert model == f"gs://my-proj-1-gemma-weights/deepseek-ai/DeepSeek-V3.2/{'a' * 40}"
        assert "--load-format=runai_streamer" in options
        account = group(run)[f"spec.leaderWorkerTemplate.{part}Template.spec.serviceAccountName"]
        assert account == "gemma-ksa", "which may read the bucket"
    (job,) = run.of_type("Job")
    assert run.needs(group(run), job)
    assert job["spec.activeDeadlineSeconds"] == 12_000, "640 GiB take longer than Gemma's 10"
    assert (
        seen(DEPLOYMENTS["gcp, private, four GPUs, weights in a bucket, image built by Docker"]).of_type("Job")[0][
            "spec.activeDeadlineSeconds"
        ]
        == 3000
    )


@pytest.mark.slow
def test_a_worker_ends_after_the_answers_of_its_leader() -> None:
    run = seen(SEVERAL_MACHINES)
    seconds = {part: container(run, part)["lifecycle"]["preStop"]["sleep"]["seconds"] for part in ("leader", "worker")}
    assert seconds == {"leader": PRE_STOP_SECONDS, "worker": PRE_STOP_SECONDS + SHUTDOWN_SECONDS}
    for part in ("leader", "worker"):
        grace = group(run)[f"spec.leaderWorkerTemplate.{part}Template.spec.terminationGracePeriodSeconds"]
        assert grace == GRACE_SECONDS > seconds["worker"]


def test_the_chat_may_scale_this_group_and_change_nothing_else_of_it() -> None:
    run = seen(SEVERAL_MACHINES)
    rules = run.one("Role", "gradio-chat-sees-pods")["rules"]
    of_groups = [rule for rule in rules if rule["apiGroups"] == ["leaderworkerset.x-k8s.io"]]
    assert of_groups == [
        {
            "apiGroups": ["leaderworkerset.x-k8s.io"],
            "resources": ["leaderworkersets"],
            "verbs": ["get"],
            "resourceNames": ["gemma-group"],
        },
        {
            "apiGroups": ["leaderworkerset.x-k8s.io"],
            "resources": ["leaderworkersets/scale"],
            "verbs": ["get", "patch"],
            "resourceNames": ["gemma-group"],
        },
    ]
    assert not any("deployments" in str(rule) for rule in rules)
    assert run.one("ConfigMap", "gemma-group-use")
    assert "replicas" not in group(run)["spec"], "the chat sets it"


def test_without_a_sleep_there_is_one_server_and_no_right_to_scale() -> None:
    run = deploy(GCP | of_profile("h100x16") | SMALL)
    assert group(run)["spec.replicas"] == 1
    assert "scale" not in str(run.one("Role", "gradio-chat-sees-pods")["rules"])
    assert group(run)["metadata.annotations"] == {"pulumi.com/patchForce": "true"}


@pytest.mark.slow
def test_an_autoscaler_adds_groups_by_the_queues_of_their_leaders() -> None:
    run = deploy(GCP | of_profile("h100x16") | SMALL | {"gemmaMaxReplicas": "2", "releaseChannel": "RAPID"})
    assert run.one("HorizontalPodAutoscaler")["spec.scaleTargetRef"] == {
        "apiVersion": group(run).inputs["apiVersion"],
        "kind": "LeaderWorkerSet",
        "name": "gemma-group",
    }
    (metric,) = run.one("AutoscalingMetric")["spec.metrics"]
    assert metric["pod"]["selector"]["matchLabels"] == LEADER, "a worker has no metrics"
    (of_others,) = seen(OWN_IAP_CLIENT).one("AutoscalingMetric")["spec.metrics"]
    assert of_others["pod"]["selector"]["matchLabels"] == {"app": "gemma"}


def test_the_alert_of_idle_gpus_names_the_group() -> None:
    def advice(config: dict[str, str]) -> str:
        run = deploy(config | SMALL | {"alertEmail": "ops@example.org"})
        (alert,) = (each for each in run.of_type("AlertPolicy") if "The GPU is idle" in each["displayName"])
        return alert["documentation.content"]

    assert "scale gemma-group to 0." in advice(GCP | of_profile("h100x16"))
    assert "scale gemma-deployment to 0." in advice(GCP)


def test_with_a_fallback_both_pods_may_be_found_in_any_way() -> None:
    run = deploy(GCP | of_profile("h100x16") | SMALL | {"gpuFallback": "true"})
    assert problems(group(run).inputs) == []
    for part in ("leader", "worker"):
        selector = group(run)[f"spec.leaderWorkerTemplate.{part}Template.spec.nodeSelector"]
        assert selector == {"cloud.google.com/compute-class": "gemma-h100x16"}
    machines = {priority["machineType"] for priority in run.one("ComputeClass")["spec.priorities"]}
    assert machines == {"a3-highgpu-8g"}, "of one kind, since vLLM divides the model evenly"


class TestTheController:
    def test_is_of_a_fixed_version_and_passes_the_restricted_standard_on_autopilot(self) -> None:
        run = seen(SEVERAL_MACHINES)
        chart = run.one("Release")
        assert (chart["chart"], chart["version"]) == ("oci://registry.k8s.io/lws/charts/lws", "0.10.0")
        assert chart["values.image.manager.tag"] == "v0.10.0", "the definition in the tests is of this version"
        resources = chart["values.resources"]
        assert resources["requests"] == resources["limits"]
        assert [resources["limits"][name] for name in ("cpu", "memory", "ephemeral-storage")] == list(RESOURCES)
        pod = chart["values.podSecurityContext"]
        assert (pod["runAsNonRoot"], pod["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
        namespace = run.one("Namespace", "lws-system")
        assert chart["namespace"] == "lws-system"
        assert namespace["metadata.labels"]["pod-security.kubernetes.io/enforce"] == "restricted"

    def test_is_ready_before_the_group_is_made_and_is_deleted_after_it(self) -> None:
        run = seen(SEVERAL_MACHINES)
        assert run.needs(group(run), run.one("Release"))
        assert run.needs(run.one("Release"), run.one("Namespace", "lws-system"))
        assert run.needs(run.one("Release"), run.one("container/cluster:Cluster"))
        assert run.one("Release")["atomic"] is True, "a failed installation does not stop the next one"
        assert not run.needs(run.one("Deployment", "gradio-chat-deployment"), run.one("Release")), "Gemini answers"

    def test_may_answer_a_moment_later_than_it_is_ready(self) -> None:
        run = seen(SEVERAL_MACHINES)
        assert list(group(run).request.hooks.on_error) == ["group-webhook"], "which says what is left over, too"
        assert list(run.one("Release").request.hooks.on_error) == ["cluster-leftovers"]

    @pytest.mark.slow
    def test_is_installed_for_no_other_profile(self) -> None:
        for config in DEPLOYMENTS.values():
            run = seen(config)
            assert bool(run.of_type("Release")) is bool(run.of_type("LeaderWorkerSet")) is (config is SEVERAL_MACHINES)

    @pytest.mark.slow
    def test_is_left_to_the_owner_of_another_cluster(self) -> None:
        run = deploy(KUBERNETES | of_profile("h100x16"))
        assert group(run)["metadata.namespace"] == "hybrid-chat"
        assert not run.of_type("Release")
        assert not [each for each in run.of_type("Namespace") if each["metadata.name"] == "lws-system"]
