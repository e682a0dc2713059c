"""Allowed connections: the stack's NetworkPolicies, evaluated as Kubernetes evaluates them."""

from __future__ import annotations

import pytest

from stacks.components.network_policies import NetworkIsolation, NetworkIsolationArgs
from tests.stacks.components.network_rules import Peer, reaches
from tests.stacks.deployments import (
    GCP,
    INFERENCE_GATEWAY,
    KUBERNETES,
    OWN_IAP_CLIENT,
    PRIVATE,
    PUBLIC_HTTP,
    SEVERAL_MACHINES,
)
from tests.stacks.recording import run, seen

SETTINGS = {
    "https": GCP,
    "https, scaling out": OWN_IAP_CLIENT,
    "behind a load balancer": INFERENCE_GATEWAY,
    "several machines": SEVERAL_MACHINES,
    "public-http": PUBLIC_HTTP,
    "private": PRIVATE,
    "cluster": KUBERNETES | {"gemma": "l4x1"},
    "cluster, public": KUBERNETES | {"exposure": "public-http"},
    "cluster, Ollama in another namespace": KUBERNETES | {"gemmaUrl": "http://ollama.models:80"},
    "cluster, Ollama in this namespace": KUBERNETES
    | {"gemmaUrl": "http://ollama:11434", "embeddings": "server", "embeddingsUrl": "http://tei.embeddings.svc:8080"},
    "cluster, Ollama outside of it": KUBERNETES | {"gemmaUrl": "http://10.1.2.3:11434/v1"},
}

# A test below compares the labels with those of the stack's pods.
CHAT = Peer("hybrid-chat", {"app": "gradio-chat"}, "10.8.0.5")
GEMMA = Peer("hybrid-chat", {"app": "gemma"}, "10.8.0.6")
LEADER, WORKER = (
    Peer("hybrid-chat", {"app": "gemma", "leaderworkerset.sigs.k8s.io/worker-index": index}, f"10.8.0.1{index}")
    for index in ("0", "1")
)
PICKER = Peer("hybrid-chat", {"app": "gemma-picker"}, "10.8.0.9")
GEMMAS_LOAD_BALANCER, PROXY = Peer(address="10.10.0.9"), Peer(address="10.40.0.7")  # the first as the mocks record it
WEIGHTS = Peer("hybrid-chat", {"app": "gemma-weights"}, "10.8.0.8")
OTHER_POD = Peer("hybrid-chat", {"app": "else"}, "10.8.0.7")
OTHER_NAMESPACE = Peer(
    "default", {"app": "gradio-chat"}, "10.8.1.5"
)  # the chat's label does not help in another namespace
COLLECTOR, COLLECTOR_ON_AUTOPILOT = Peer("gmp-system", {}, "10.8.2.5"), Peer("gke-gmp-system", {}, "10.8.2.6")
OTEL_COLLECTOR = Peer("monitoring", {"app": "collector"}, "10.8.5.5")
EMBEDDINGS = Peer("embeddings", {"app": "tei"}, "10.8.6.5")
OLLAMA = Peer("models", {"app": "ollama"}, "10.8.3.5")
KUBE_DNS = Peer("kube-system", {"k8s-app": "kube-dns"}, "10.8.4.5")
LOAD_BALANCER, HEALTH_CHECK = Peer(address="130.211.1.2"), Peer(address="35.191.9.9")
BROWSER, GOOGLE, LAN = Peer(address="198.51.100.7"), Peer(address="142.250.1.1"), Peer(address="10.1.2.3")
CLOUD_DNS = METADATA = Peer(address="169.254.169.254")
API_SERVER = Peer(address="172.18.0.2")
GKE_API_SERVER, NODE = Peer(address="10.10.0.2"), Peer(address="10.10.0.9")  # the first one as recorded by the mocks
GOOGLE_IPV6, LAN_IPV6 = Peer(address="2607:f8b0::1"), Peer(address="fd00::9")
SHARED = Peer(address="100.64.0.9")  # of a provider's own network (RFC 6598)

# (settings, sender, receiver, port, whether the connection is allowed)
CASES: list[tuple[str, Peer, Peer, int, bool]] = [
    ("https", LOAD_BALANCER, CHAT, 7860, True),
    ("https", HEALTH_CHECK, CHAT, 7860, True),
    ("https", BROWSER, CHAT, 7860, False),  # would bypass the load balancer and its sign-in
    ("https", OTHER_NAMESPACE, CHAT, 7860, False),
    ("https", OTHER_POD, CHAT, 7860, False),
    ("https", GEMMA, CHAT, 7860, False),
    ("https", LOAD_BALANCER, CHAT, 9090, False),
    ("https", COLLECTOR, CHAT, 9090, True),
    ("https", COLLECTOR_ON_AUTOPILOT, CHAT, 9090, True),
    ("https", COLLECTOR, CHAT, 7860, False),
    ("https", CHAT, GEMMA, 8080, True),
    ("https", COLLECTOR, GEMMA, 8080, True),
    ("https", OTHER_NAMESPACE, GEMMA, 8080, False),
    ("https", KUBE_DNS, GEMMA, 8080, False),
    ("https, scaling out", KUBE_DNS, GEMMA, 8080, True),  # GKE's agent runs in that namespace
    ("https, scaling out", KUBE_DNS, CHAT, 7860, False),
    ("https, scaling out", OTHER_NAMESPACE, GEMMA, 8080, False),
    ("https", OTHER_POD, GEMMA, 8080, False),
    ("https", LOAD_BALANCER, GEMMA, 8080, False),
    ("https", CHAT, GOOGLE, 443, True),
    ("https", CHAT, GOOGLE, 80, False),
    ("https", CHAT, METADATA, 80, True),  # Workload Identity
    ("https", GEMMA, METADATA, 80, False),  # Gemma has no Workload Identity
    ("https", GEMMA, GOOGLE, 443, True),  # weights
    ("https", GEMMA, CHAT, 9090, False),
    ("https", OTHER_POD, GOOGLE, 443, False),
    *(("https", pod, GOOGLE_IPV6, 443, True) for pod in (CHAT, GEMMA)),
    # Port 443 of the internet, and of no network inside.
    *(
        ("https", pod, inside, 443, False)
        for pod in (CHAT, GEMMA)
        for inside in (LAN, LAN_IPV6, NODE, METADATA, OTHER_NAMESPACE, OTHER_POD, API_SERVER, SHARED)
    ),
    ("https", CHAT, GKE_API_SERVER, 443, True),  # to list Gemma's pods
    ("https", GEMMA, GKE_API_SERVER, 443, False),
    ("public-http", CHAT, GKE_API_SERVER, 443, False),  # without a Gemma of its own
    ("https", CHAT, OLLAMA, 11434, False),
    ("public-http", CHAT, OTEL_COLLECTOR, 4318, True),
    ("https", CHAT, OTEL_COLLECTOR, 4318, False),
    ("public-http", OTEL_COLLECTOR, CHAT, 9090, False),
    ("public-http", BROWSER, CHAT, 7860, True),
    ("public-http", BROWSER, CHAT, 9090, False),
    ("public-http", BROWSER, GEMMA, 8080, False),
    # Behind a load balancer: the chat reaches that, its proxies the picker and the servers, and the picker the servers.
    ("behind a load balancer", CHAT, GEMMAS_LOAD_BALANCER, 80, True),
    ("behind a load balancer", CHAT, GEMMAS_LOAD_BALANCER, 443, False),
    ("behind a load balancer", CHAT, LAN, 80, False),
    ("behind a load balancer", CHAT, GEMMA, 8080, False),  # past the picker
    ("behind a load balancer", CHAT, PICKER, 9002, False),
    *(("behind a load balancer", peer, GEMMA, 8080, True) for peer in (PROXY, HEALTH_CHECK, PICKER, COLLECTOR)),
    *(("behind a load balancer", peer, GEMMA, 8080, False) for peer in (LAN, BROWSER, OTHER_POD, OTHER_NAMESPACE)),
    ("behind a load balancer", PROXY, PICKER, 9002, True),
    *(("behind a load balancer", peer, PICKER, 9002, False) for peer in (LAN, HEALTH_CHECK, GEMMA, OTHER_POD, BROWSER)),
    ("behind a load balancer", HEALTH_CHECK, PICKER, 9003, True),
    ("behind a load balancer", PROXY, PICKER, 9003, False),
    ("behind a load balancer", COLLECTOR_ON_AUTOPILOT, PICKER, 9090, True),
    ("behind a load balancer", PROXY, PICKER, 9090, False),
    ("behind a load balancer", PICKER, GKE_API_SERVER, 443, True),  # to watch pods
    *(("behind a load balancer", PICKER, peer, 443, False) for peer in (GOOGLE, LAN, METADATA, OTHER_NAMESPACE)),
    ("behind a load balancer", PICKER, CHAT, 7860, False),
    ("https, scaling out", PROXY, GEMMA, 8080, False),
    ("https", CHAT, GEMMAS_LOAD_BALANCER, 80, False),
    # On several machines: the pods of a group reach each other at any port, and others only the leader.
    *(
        ("several machines", *pair, port, True)
        for pair in ((LEADER, WORKER), (WORKER, LEADER))
        for port in (29501, 40000)
    ),
    *(("several machines", peer, LEADER, 8080, True) for peer in (CHAT, COLLECTOR_ON_AUTOPILOT)),
    *(("several machines", peer, LEADER, 29501, False) for peer in (CHAT, COLLECTOR, OTHER_POD, OTHER_NAMESPACE, LAN)),
    *(("several machines", peer, WORKER, 8080, False) for peer in (CHAT, COLLECTOR, OTHER_POD, OTHER_NAMESPACE, LAN)),
    *(("several machines", pod, GOOGLE, 443, True) for pod in (LEADER, WORKER)),
    *(("several machines", pod, METADATA, 80, True) for pod in (LEADER, WORKER)),  # to read the bucket
    *(("several machines", pod, CHAT, 7860, False) for pod in (LEADER, WORKER)),
    *(("several machines", pod, WEIGHTS, 8080, False) for pod in (LEADER, WORKER)),
    ("https", GEMMA, GEMMA, 29501, False),
    # With weights in a bucket: Gemma reads them, and a Job writes them, with identities of their own.
    *(("private", pod, METADATA, 80, True) for pod in (GEMMA, WEIGHTS)),
    *(("private", pod, GOOGLE, 443, True) for pod in (GEMMA, WEIGHTS)),
    ("private", WEIGHTS, CHAT, 7860, False),
    ("private", WEIGHTS, GEMMA, 8080, False),
    ("private", CHAT, WEIGHTS, 8080, False),
    ("https", WEIGHTS, GOOGLE, 443, False),  # there is no such pod
    ("private", BROWSER, CHAT, 7860, False),
    ("private", LOAD_BALANCER, CHAT, 7860, False),
    ("private", OTHER_NAMESPACE, CHAT, 7860, False),
    ("cluster", BROWSER, CHAT, 7860, False),
    ("cluster", CHAT, GEMMA, 8080, True),
    ("cluster", OTHER_NAMESPACE, GEMMA, 8080, False),
    ("cluster", CHAT, API_SERVER, 6443, True),  # to list Gemma's pods
    ("cluster", CHAT, API_SERVER, 443, True),  # where a managed cluster has it
    ("cluster", GEMMA, API_SERVER, 443, False),
    ("cluster", GEMMA, LAN, 443, False),
    ("cluster, public", CHAT, LAN, 443, False),
    ("cluster", CHAT, METADATA, 80, False),  # another cloud's metadata server may return the machine's credentials
    ("cluster", GEMMA, METADATA, 80, False),
    ("cluster", COLLECTOR, CHAT, 9090, True),
    ("cluster", BROWSER, CHAT, 9090, False),
    ("cluster, public", BROWSER, CHAT, 7860, True),
    ("cluster, public", CHAT, API_SERVER, 6443, False),
    ("cluster, public", CHAT, GOOGLE, 443, True),
    (
        "cluster, Ollama in another namespace",
        CHAT,
        OLLAMA,
        11434,
        True,
    ),  # its Service is on port 80, its pod on another
    ("cluster, Ollama in another namespace", CHAT, OTHER_NAMESPACE, 11434, False),
    ("cluster, Ollama in this namespace", CHAT, EMBEDDINGS, 8080, True),
    ("cluster", CHAT, EMBEDDINGS, 8080, False),
    ("cluster, Ollama in this namespace", CHAT, OTHER_POD, 11434, False),  # this namespace is the stack's own
    ("cluster, Ollama outside of it", CHAT, LAN, 11434, True),
    ("cluster, Ollama outside of it", CHAT, LAN, 22, False),
    ("cluster, Ollama outside of it", CHAT, GOOGLE, 11434, False),
]


def policies(settings: str) -> list[dict]:
    return [policy.inputs for policy in seen(SETTINGS[settings]).of_type("NetworkPolicy")]


@pytest.mark.parametrize("settings", SETTINGS)
class TestEveryDeployment:
    def test_denies_all_traffic_of_the_namespace_by_default(self, settings: str) -> None:
        (deny,) = [p for p in policies(settings) if p["metadata"]["name"] == "default-deny"]
        assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

    def test_allows_dns_for_the_chat_and_gemma_to_any_server(self, settings: str) -> None:
        has_gemma = any(policy["metadata"]["name"] == "gemma" for policy in policies(settings))
        for pod in (CHAT, GEMMA) if has_gemma else (CHAT,):
            for server in (KUBE_DNS, CLOUD_DNS):
                for protocol in ("UDP", "TCP"):
                    assert reaches(policies(settings), pod, server, 53, protocol)
        assert not reaches(policies(settings), OTHER_POD, KUBE_DNS, 53, "UDP")

    def test_selects_exactly_the_running_pods(self, settings: str) -> None:
        selectors = [policy["spec"]["podSelector"].get("matchLabels", {}) for policy in policies(settings)]
        selected = {selector["app"] for selector in selectors if selector}
        run = seen(SETTINGS[settings])
        running = {
            each["spec.template.metadata.labels.app"] for each in [*run.of_type("Deployment"), *run.of_type("Job")]
        } | {
            each["spec.leaderWorkerTemplate.workerTemplate.metadata.labels.app"]
            for each in run.of_type("LeaderWorkerSet")
        }
        assert selected == running <= {"gradio-chat", "gemma", "gemma-weights", "gemma-picker"}


@pytest.mark.parametrize(
    ("settings", "sender", "receiver", "port", "expected"),
    CASES,
    ids=[f"{case[0]}: {i}" for i, case in enumerate(CASES)],
)
def test_connection_is_allowed_or_denied(
    settings: str, sender: Peer, receiver: Peer, port: int, expected: bool
) -> None:
    assert reaches(policies(settings), sender, receiver, port) is expected


def test_behind_a_load_balancer_neither_side_allows_the_way_past_it() -> None:
    names = {policy["metadata"]["name"]: str(policy["spec"]) for policy in policies("behind a load balancer")}
    assert "gradio-chat" not in names["gemma"]
    assert "'gemma" not in names["chat"].replace("'app': 'gradio-chat'", "")


def test_the_chat_reaches_the_api_of_a_gke_cluster_that_names_no_private_address() -> None:
    def program() -> None:
        args = NetworkIsolationArgs("hybrid-chat", "nowhere", on_gke=True, own_gemma=True, control_plane=None)
        NetworkIsolation("network", args)

    unknown = [policy.inputs for policy in run(program).of_type("NetworkPolicy")]
    assert reaches(unknown, CHAT, GKE_API_SERVER, 443)
    assert not reaches(unknown, CHAT, METADATA, 443)
    assert not reaches(unknown, GEMMA, GKE_API_SERVER, 443)


class TestTheEvaluation:
    def test_without_policies_all_traffic_is_allowed(self) -> None:
        assert reaches([], BROWSER, CHAT, 22)

    def test_a_connection_needs_egress_and_ingress(self) -> None:
        ingress_only = [
            {
                "metadata": {"namespace": "hybrid-chat"},
                "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}]},
            }
        ]
        assert reaches(ingress_only, BROWSER, CHAT, 7860)
        assert not reaches(ingress_only, CHAT, GEMMA, 8080), "no egress is allowed"
