"""Several servers of Gemma behind GKE's Inference Gateway: its objects, their references, order and secrets."""

from __future__ import annotations

import ipaddress

import pytest
import yaml

from stacks.apis import NETWORK_SERVICES_API
from stacks.components.model_scaling import METRIC_FILE
from stacks.components.network import NODES, PODS, PROXIES, SERVICES
from tests.stacks.custom_resources import problems
from tests.stacks.deployments import INFERENCE_GATEWAY, MORE_DEPLOYMENTS, OWN_IAP_CLIENT
from tests.stacks.recording import INTERNAL_ADDRESS, ROOT, Deployed, Registered, deploy, seen, walk

pytestmark = pytest.mark.slow  # many deployments

EXISTING = MORE_DEPLOYMENTS["gcp, servers of Gemma behind a load balancer, existing network"]
# What the picker reads of a server without the label of another engine: v0.9.0 of its extractor/metrics/factories.go.
PICKERS_METRICS = {
    "vllm:num_requests_waiting",
    "vllm:num_requests_running",
    "vllm:kv_cache_usage_perc",
    "vllm:lora_requests_info",
    "vllm:cache_config_info",
}
KINDS = ("Gateway", "HTTPRoute", "InferencePool", "GCPBackendPolicy", "HealthCheckPolicy")


@pytest.fixture(scope="module")
def run() -> Deployed:
    return seen(INFERENCE_GATEWAY)


def vllm(run: Deployed) -> dict:
    return run.one("Deployment", "gemma-deployment")["spec.template.spec.containers.0"]


def variables(deployment: Registered) -> dict:
    return {each["name"]: each for each in deployment["spec.template.spec.containers.0.env"]}


def test_without_the_setting_there_is_a_service_and_none_of_it() -> None:
    plain = seen(OWN_IAP_CLIENT)  # with several servers
    assert not plain.of_type("InferencePool")
    assert not plain.of_type("compute/address:Address")
    assert len(plain.of_type("compute/subnetwork:Subnetwork")) == 1
    assert not [r for r in plain.resources if "picker" in r.urn]
    assert {each["metadata.name"] for each in plain.of_type("Gateway")} == {"gradio-chat"}
    assert not [r for r in plain.of_type("projects/service:Service") if r["service"] == NETWORK_SERVICES_API]
    chat = variables(plain.one("Deployment", "gradio-chat-deployment"))
    assert chat["CHAT_GEMMA_URL"]["value"] == "http://gemma-service.hybrid-chat.svc.cluster.local:8000"
    assert "CHAT_GEMMA_API_KEY" not in chat
    assert not {"VLLM_API_KEY", "VLLM_HTTP_TIMEOUT_KEEP_ALIVE"} & {each["name"] for each in vllm(plain)["env"]}


def test_the_route_leads_from_the_gateway_to_the_pods_of_gemma(run: Deployed) -> None:
    gateway, route, pool = (run.one(kind) for kind in KINDS[:3])
    assert gateway["spec.gatewayClassName"] == "gke-l7-rilb"
    (parent,) = route["spec.parentRefs"]
    (listener,) = gateway["spec.listeners"]
    assert (parent["name"], parent["sectionName"]) == (gateway["metadata.name"], listener["name"])
    (rule,) = route["spec.rules"]
    (backend,) = rule["backendRefs"]
    assert pool.inputs["apiVersion"] == f"{backend['group']}/v1"
    assert (backend["kind"], backend["name"]) == ("InferencePool", pool["metadata.name"])
    assert [match["path"] for match in rule["matches"]] == [{"type": "PathPrefix", "value": "/v1"}]
    gemma = run.one("Deployment", "gemma-deployment")
    assert pool["spec.selector.matchLabels"].items() <= gemma["spec.template.metadata.labels"].items()
    (port,) = pool["spec.targetPorts"]
    assert port["number"] in {each["containerPort"] for each in vllm(run)["ports"]}
    for policy in (run.one("GCPBackendPolicy"), run.one("HealthCheckPolicy")):
        assert policy["spec.targetRef"] == {**backend, "group": "inference.networking.k8s.io"}
    check = run.one("HealthCheckPolicy")["spec.default.config.httpHealthCheck"]
    assert (check["port"], check["requestPath"]) == (port["number"], vllm(run)["readinessProbe"]["httpGet"]["path"])
    for kind in KINDS:
        assert run.one(kind)["metadata.namespace"] == gemma["metadata.namespace"]
        assert problems(run.one(kind).inputs) == []


def test_a_long_answer_is_not_cut_off_and_an_ending_server_finishes_its_answers(run: Deployed) -> None:
    policy = run.one("GCPBackendPolicy")["spec.default"]
    assert policy["timeoutSec"] == 3600
    (drain,) = (int(a.partition("=")[2]) for a in vllm(run)["args"] if a.startswith("--shutdown-timeout="))
    assert policy["connectionDraining"]["drainingTimeoutSec"] >= drain
    env = variables(run.one("Deployment", "gemma-deployment"))
    assert int(env["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"]["value"]) > 600, "as long as the load balancer keeps a connection"


def test_the_pool_asks_the_picker_and_does_without_it_where_it_is_away(run: Deployed) -> None:
    reference = run.one("InferencePool")["spec.endpointPickerRef"]
    service = run.one("kubernetes:core/v1:Service", reference["name"])
    assert reference["failureMode"] == "FailOpen"
    (port,) = service["spec.ports"]
    picker = run.one("Deployment", "gemma-picker")
    ports = {each["name"]: each["containerPort"] for each in picker["spec.template.spec.containers.0.ports"]}
    assert reference["port"]["number"] == port["port"] == port["targetPort"] == ports["grpc"] == 9002
    assert service["spec.selector"].items() <= picker["spec.template.metadata.labels"].items()
    arguments = dict(a.partition("=")[::2] for a in picker["spec.template.spec.containers.0.args"])
    pool = run.one("InferencePool")
    assert arguments["--pool-name"] == pool["metadata.name"]
    assert arguments["--pool-namespace"] == pool["metadata.namespace"]
    assert pool.inputs["apiVersion"] == f"{arguments['--pool-group']}/v1"
    assert int(arguments["--grpc-health-port"]) == ports["grpc-health"] == 9003, "GKE checks this port"
    monitoring = run.one("PodMonitoring", "gemma-picker")
    assert monitoring["spec.endpoints.0.port"] in ports


def test_the_picker_scores_the_queue_the_memory_and_the_known_beginning(run: Deployed) -> None:
    picker = run.one("Deployment", "gemma-picker")
    container = picker["spec.template.spec.containers.0"]
    arguments = dict(a.partition("=")[::2] for a in container["args"])
    folder, _, file = arguments["--config-file"].rpartition("/")
    (mount,) = (each for each in container["volumeMounts"] if each["mountPath"] == folder)
    (volume,) = (v for v in picker["spec.template.spec.volumes"] if v["name"] == mount["name"])
    config = yaml.safe_load(run.one("ConfigMap", volume["configMap"]["name"])["data"][file])
    assert (config["apiVersion"], config["kind"]) == ("llm-d.ai/v1alpha1", "EndpointPickerConfig")
    declared = {plugin["type"] for plugin in config["plugins"]}
    (profile,) = config["schedulingProfiles"]
    weights = {plugin["pluginRef"]: plugin["weight"] for plugin in profile["plugins"]}
    assert weights == {"queue-scorer": 2, "kv-cache-utilization-scorer": 2, "prefix-cache-scorer": 3}
    assert weights.keys() < declared
    (source,) = (plugin for plugin in config["plugins"] if plugin["type"] == "metrics-data-source")
    scraped = yaml.safe_load((ROOT / "manifests" / METRIC_FILE).read_text())["spec"]["metrics"][0]["pod"]["containers"]
    assert source["parameters"]["path"] == scraped[0]["endpoint"]["path"]


def test_vllm_has_the_metrics_that_the_picker_reads(run: Deployed) -> None:
    known = yaml.safe_load((ROOT / "tests/stacks/data/vllm_metrics.yaml").read_text(encoding="utf-8"))["metrics"]
    assert set(known) >= PICKERS_METRICS
    labels = run.one("Deployment", "gemma-deployment")["spec.template.metadata.labels"]
    assert not [label for label in labels if label.endswith("/engine-type")]


def test_the_picker_may_read_pods_and_pools_of_its_namespace_and_nothing_else(run: Deployed) -> None:
    role = run.one("Role", "gemma-picker")
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    read = {(group, kind) for rule in role["rules"] for group in rule["apiGroups"] for kind in rule["resources"]}
    assert {kind for group, kind in read if not group} == {"pods"}, "no Secret"
    assert ("inference.networking.k8s.io", "inferencepools") in read
    binding = run.one("RoleBinding", "gemma-picker")
    (subject,) = binding["subjects"]
    pod = run.one("Deployment", "gemma-picker")["spec.template.spec"]
    assert subject["name"] == pod["serviceAccountName"] == "gemma-picker-ksa"
    assert not run.of_type("ClusterRole")


def test_the_chat_asks_at_the_reserved_address_with_a_key_that_no_state_shows(run: Deployed) -> None:
    address = run.one("compute/address:Address")
    assert run.one("Gateway")["spec.addresses"] == [{"type": "NamedAddress", "value": address["name"]}]
    assert address["addressType"] == "INTERNAL"
    subnetwork = run.one("compute/subnetwork:Subnetwork", "subnet")
    assert address["subnetwork"].endswith(f"/regions/us-central1/subnetworks/{subnetwork['name']}")
    chat, gemma = (run.one("Deployment", name) for name in ("gradio-chat-deployment", "gemma-deployment"))
    assert variables(chat)["CHAT_GEMMA_URL"]["value"] == f"http://{INTERNAL_ADDRESS}"
    asked = variables(gemma)["VLLM_API_KEY"]["valueFrom"]["secretKeyRef"]
    sent = variables(chat)["CHAT_GEMMA_API_KEY"]["valueFrom"]["secretKeyRef"]
    key = run.one("Secret", asked["name"])["stringData"][asked["key"]]
    assert key == run.one("Secret", sent["name"])["stringData"][sent["key"]]
    assert "gemma-key" in {each.name for each in run.of_type("RandomPassword")}
    for resource in run.resources:
        for path, value in walk(resource.inputs):
            if key in str(value):
                assert any(path.startswith(secret) for secret in resource.secrets), (resource.urn, path)


def test_a_sleeping_gemma_is_still_found_by_its_deployment(run: Deployed) -> None:
    chat = {
        name: each.get("value") for name, each in variables(run.one("Deployment", "gradio-chat-deployment")).items()
    }
    assert chat["CHAT_GEMMA_DEPLOYMENT"] == "gemma-deployment"
    assert chat["CHAT_GEMMA_PODS"] == "hybrid-chat/app=gemma"
    assert chat["CHAT_GEMMA_IDLE_MINUTES"] == "30"
    assert "replicas" not in run.one("Deployment", "gemma-deployment")["spec"]


def test_its_proxies_have_a_range_of_their_own_in_the_stacks_network(run: Deployed) -> None:
    proxies = run.one("compute/subnetwork:Subnetwork", "proxies")
    assert (proxies["purpose"], proxies["role"], proxies["ipCidrRange"]) == (
        "REGIONAL_MANAGED_PROXY",
        "ACTIVE",
        PROXIES,
    )
    assert proxies["network"] == run.one("compute/subnetwork:Subnetwork", "subnet")["network"]
    range_ = ipaddress.ip_network(PROXIES)
    assert range_.prefixlen <= 26, "Google's least"
    assert not any(range_.overlaps(ipaddress.ip_network(other)) for other in (NODES, PODS, SERVICES))


@pytest.mark.parametrize(
    ("changed", "subnetwork"), [({}, "lan-us"), ({"subnetwork": ""}, "lan")], ids=["custom mode", "auto mode"]
)
def test_an_existing_network_brings_its_own_proxies(changed: dict[str, str], subnetwork: str) -> None:
    config = {key: value for key, value in (EXISTING | changed).items() if value}
    run = deploy(config)
    assert not run.of_type("compute/subnetwork:Subnetwork")
    assert run.one("compute/address:Address")["subnetwork"].endswith(f"/subnetworks/{subnetwork}")
    blocks = [value for _, value in walk(run.one("NetworkPolicy", "gemma")["spec.ingress"])]
    assert "10.129.0.0/23" in blocks
    assert PROXIES not in blocks


# Created before, deleted after.
ORDER = [
    (("container/cluster:Cluster", ""), ("Gateway", "")),
    (("compute/address:Address", ""), ("Gateway", "")),
    (("compute/subnetwork:Subnetwork", "proxies"), ("Gateway", "")),
    (("compute/subnetwork:Subnetwork", "proxies"), ("container/cluster:Cluster", "")),
    (("compute/subnetwork:Subnetwork", "subnet"), ("compute/address:Address", "")),
    (("compute/network:Network", ""), ("compute/subnetwork:Subnetwork", "proxies")),
    (("projects/service:Service", "networkservices"), ("Gateway", "")),
    (("projects/service:Service", "compute"), ("compute/address:Address", "")),
    (("Namespace", "hybrid-chat"), ("Gateway", "")),
    (("Gateway", ""), ("HTTPRoute", "")),
    (("InferencePool", ""), ("HTTPRoute", "")),
    (("InferencePool", ""), ("GCPBackendPolicy", "")),
    (("InferencePool", ""), ("HealthCheckPolicy", "")),
    (("kubernetes:core/v1:Service", "gemma-picker"), ("InferencePool", "")),
    (("NetworkPolicy", "default-deny"), ("Deployment", "gemma-picker")),
    (("RoleBinding", "gemma-picker"), ("Deployment", "gemma-picker")),
    (("ConfigMap", "gemma-picker"), ("Deployment", "gemma-picker")),
    (("Secret", "gemma-api-key"), ("Deployment", "gemma-deployment")),
]


@pytest.mark.parametrize(("earlier", "later"), ORDER, ids=[f"{later[0]} after {earlier}" for earlier, later in ORDER])
def test_the_order_is_guaranteed(run: Deployed, earlier: tuple[str, str], later: tuple[str, str]) -> None:
    assert run.needs(run.one(*later), run.one(*earlier))
    assert not run.needs(run.one(*earlier), run.one(*later))


def test_no_gpu_and_no_picker_that_starts_is_awaited(run: Deployed) -> None:
    gateway = run.one("Gateway")
    assert gateway.request.customTimeouts.delete == "20m"
    assert not gateway.request.deletedWith
    for kind in KINDS:
        assert "pulumi.com/waitFor" not in str(run.one(kind)["metadata"])
    for name in ("gemma-picker", "gemma-deployment"):
        assert run.one("Deployment", name)["metadata.annotations"]["pulumi.com/skipAwait"] == "true"
    chat = run.one("Deployment", "gradio-chat-deployment")
    assert not run.needs(chat, gateway), "it answers with Gemini meanwhile"


def test_two_stacks_of_a_project_share_no_name(run: Deployed) -> None:
    other = seen(INFERENCE_GATEWAY, stack="test")
    for kind, name in (("compute/address:Address", ""), ("compute/subnetwork:Subnetwork", "proxies")):
        assert run.one(kind, name)["name"] != other.one(kind, name)["name"]
