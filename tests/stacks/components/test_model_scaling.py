"""More servers of Gemma while questions wait: the metric, the autoscaler, and what they leave to the chat's sleep."""

from __future__ import annotations

import json

import kubernetes_validate
import pytest
import yaml

from gemma.profiles import PROFILES
from stacks.components.manifests import Manifest
from stacks.components.model_scaling import METRIC_FILE, metric_name
from tests.stacks.custom_resources import problems
from tests.stacks.deployments import GCP, OWN_IAP_CLIENT, TOKEN, of_profile
from tests.stacks.recording import ROOT, deploy, seen

SCALING = OWN_IAP_CLIENT  # which sleeps too
AWAKE = GCP | {"exposure": "private", "gemmaMaxReplicas": "5", "releaseChannel": "RAPID", "image": "example.org/c:1"}


def test_the_autoscaler_works_between_one_server_and_the_most_that_are_set() -> None:
    run = seen(SCALING)
    spec = run.one("HorizontalPodAutoscaler")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 3), "between none and one, the chat scales"
    gemma = run.one("Deployment", "gemma-deployment")
    assert spec["scaleTargetRef"] == {
        "apiVersion": gemma.inputs["apiVersion"],
        "kind": "Deployment",
        "name": gemma["metadata.name"],
    }


def test_pulumi_leaves_the_number_of_servers_to_the_autoscaler() -> None:
    assert "replicas" not in seen(SCALING).one("Deployment", "gemma-deployment")["spec"]
    assert "replicas" not in deploy(AWAKE).one("Deployment", "gemma-deployment")["spec"]


def test_of_several_servers_a_rollout_replaces_one_at_a_time_and_needs_no_more_gpus() -> None:
    strategy = seen(SCALING).one("Deployment", "gemma-deployment")["spec.strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def test_the_autoscaler_uses_the_metric_of_the_manifest_which_vllm_has() -> None:
    run = seen(SCALING)
    metric = run.one("AutoscalingMetric")
    (used,) = run.one("HorizontalPodAutoscaler")["spec.metrics"]
    (pod,) = metric["spec.metrics"]
    (container,) = pod["pod"]["containers"]
    (gauge,) = container["metrics"]
    name = f"autoscaling.gke.io|{metric['metadata.name']}|{gauge['gauge']['name']}"
    assert used["type"] == "Pods"
    assert used["pods"]["metric"]["name"] == name == metric_name(Manifest.read(METRIC_FILE))
    known = yaml.safe_load((ROOT / "tests/stacks/data/vllm_metrics.yaml").read_text(encoding="utf-8"))["metrics"]
    assert gauge["gauge"]["prometheusMetricName"] in known
    vllm = run.one("Deployment", "gemma-deployment")["spec.template"]
    assert pod["pod"]["selector"]["matchLabels"].items() <= vllm["metadata"]["labels"].items()
    ports = {port["containerPort"] for port in vllm["spec"]["containers"][0]["ports"]}
    assert container["endpoint"]["port"] in ports
    assert run.one("HorizontalPodAutoscaler")["metadata.namespace"] == metric["metadata.namespace"]


def test_one_server_is_added_or_ended_at_a_time_and_ended_late() -> None:
    behavior = seen(SCALING).one("HorizontalPodAutoscaler")["spec.behavior"]
    for direction in ("scaleUp", "scaleDown"):
        assert behavior[direction]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 900, "each new one loads its weights for minutes"


def test_the_cluster_reads_metrics_for_autoscalers_only_where_there_is_one() -> None:
    assert seen(SCALING).one("container/cluster:Cluster")["podAutoscaling"] == {"hpaProfile": "PERFORMANCE"}
    run = seen(GCP)
    assert "podAutoscaling" not in run.one("container/cluster:Cluster").inputs
    assert not run.of_type("HorizontalPodAutoscaler")
    assert not run.of_type("AutoscalingMetric")
    assert run.one("Deployment", "gemma-deployment")["spec.replicas"] == 1


CHOICES = {
    "one server": {},
    "a sleep": {"gemmaIdleMinutes": "30"},
    "more servers": {"gemmaMaxReplicas": "2", "releaseChannel": "RAPID"},
    "both": {"gemmaIdleMinutes": "30", "gemmaMaxReplicas": "2", "releaseChannel": "RAPID"},
}
CUSTOM = ("autoscaling.gke.io/", "cloud.google.com/", "leaderworkerset.x-k8s.io/", "monitoring.googleapis.com/")


@pytest.mark.long
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("fallback", ["false", "true"])
@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_has_each_choice_with_and_without_a_fallback(profile: str, fallback: str, choice: str) -> None:
    small = {"exposure": "private", "image": "example.org/c:1"}
    run = deploy(GCP | TOKEN | small | of_profile(profile) | {"gpuFallback": fallback} | CHOICES[choice])
    several = PROFILES[profile].machines > 1
    gemma = run.one("LeaderWorkerSet", "gemma-group") if several else run.one("Deployment", "gemma-deployment")
    assert bool(run.of_type("Release")) is several, "LeaderWorkerSet's controller"
    assert ("replicas" in gemma["spec"]) is (choice == "one server")
    assert bool(run.of_type("HorizontalPodAutoscaler")) is ("gemmaMaxReplicas" in CHOICES[choice])
    assert bool(run.of_type("ConfigMap")) is ("gemmaIdleMinutes" in CHOICES[choice])
    parts = ("leaderWorkerTemplate.leaderTemplate", "leaderWorkerTemplate.workerTemplate") if several else ("template",)
    for part in parts:
        chosen = gemma[f"spec.{part}.spec.nodeSelector"].get("cloud.google.com/compute-class", "")
        assert bool(chosen) is (fallback == "true" or not PROFILES[profile].on_demand)
    for resource in run.resources:
        if resource.type.startswith(tuple(f"kubernetes:{group}" for group in CUSTOM)):
            assert problems(resource.inputs) == [], resource.urn
        elif resource.type.startswith(("kubernetes:autoscaling/", "kubernetes:apps/")):
            kubernetes_validate.validate(json.loads(json.dumps(resource.inputs)), "1.36.0", strict=True)
