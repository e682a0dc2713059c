"""Who reaches whom: the stack's NetworkPolicies, read as Kubernetes reads them."""

from __future__ import annotations

import pytest

from tests.stacks.components.network_rules import Peer, reaches
from tests.stacks.recording import seen

GCP = {"gcp:project": "my-proj-1"}
KUBERNETES = {"platform": "kubernetes", "image": "example.org/chat:1"}
TOKEN = {"huggingFaceToken": "hf_abcdefghij"}
SETTINGS = {
    "https": GCP,
    "public-http": GCP | {"exposure": "public-http"},
    "private": GCP | {"exposure": "private"},
    "cluster": KUBERNETES | {"gemma": "l4x1"},
    "cluster, public": KUBERNETES | {"exposure": "public-http"},
    "cluster, Ollama inside": KUBERNETES | {"gemmaUrl": "http://ollama.models:80"},
    "cluster, Ollama beside": KUBERNETES | {"gemmaUrl": "http://ollama:11434"},
    "cluster, Ollama outside": KUBERNETES | {"gemmaUrl": "http://10.1.2.3:11434/v1"},
}

# The labels are those of the stack's own pods: a test below compares them.
CHAT = Peer("hybrid-chat", {"app": "gradio-chat"}, "10.8.0.5")
GEMMA = Peer("hybrid-chat", {"app": "gemma"}, "10.8.0.6")
STRANGER_INSIDE = Peer("hybrid-chat", {"app": "else"}, "10.8.0.7")
ELSEWHERE = Peer("default", {"app": "gradio-chat"}, "10.8.1.5")  # the chat's label does not help in another namespace
COLLECTOR, COLLECTOR_ON_AUTOPILOT = Peer("gmp-system", {}, "10.8.2.5"), Peer("gke-gmp-system", {}, "10.8.2.6")
OLLAMA = Peer("models", {"app": "ollama"}, "10.8.3.5")
KUBE_DNS = Peer("kube-system", {"k8s-app": "kube-dns"}, "10.8.4.5")
LOAD_BALANCER, HEALTH_CHECK = Peer(address="130.211.1.2"), Peer(address="35.191.9.9")
BROWSER, GOOGLE, LAN = Peer(address="198.51.100.7"), Peer(address="142.250.1.1"), Peer(address="10.1.2.3")
CLOUD_DNS = METADATA = Peer(address="169.254.169.254")
API_SERVER = Peer(address="172.18.0.2")

# (settings, from, to, port) -> whether it gets there.
CASES: list[tuple[str, Peer, Peer, int, bool]] = [
    ("https", LOAD_BALANCER, CHAT, 7860, True),
    ("https", HEALTH_CHECK, CHAT, 7860, True),
    ("https", BROWSER, CHAT, 7860, False),  # past the load balancer, and so past the sign-in
    ("https", ELSEWHERE, CHAT, 7860, False),
    ("https", STRANGER_INSIDE, CHAT, 7860, False),
    ("https", GEMMA, CHAT, 7860, False),
    ("https", LOAD_BALANCER, CHAT, 9090, False),
    ("https", COLLECTOR, CHAT, 9090, True),
    ("https", COLLECTOR_ON_AUTOPILOT, CHAT, 9090, True),
    ("https", COLLECTOR, CHAT, 7860, False),
    ("https", CHAT, GEMMA, 8080, True),
    ("https", COLLECTOR, GEMMA, 8080, True),
    ("https", ELSEWHERE, GEMMA, 8080, False),
    ("https", STRANGER_INSIDE, GEMMA, 8080, False),
    ("https", LOAD_BALANCER, GEMMA, 8080, False),
    ("https", CHAT, GOOGLE, 443, True),
    ("https", CHAT, GOOGLE, 80, False),
    ("https", CHAT, METADATA, 80, True),  # who the pod is for Google
    ("https", GEMMA, METADATA, 80, False),  # Gemma is nobody there
    ("https", GEMMA, GOOGLE, 443, True),  # weights
    ("https", GEMMA, CHAT, 9090, False),
    ("https", STRANGER_INSIDE, GOOGLE, 443, False),
    ("https", CHAT, OLLAMA, 11434, False),
    ("public-http", BROWSER, CHAT, 7860, True),
    ("public-http", BROWSER, CHAT, 9090, False),
    ("public-http", BROWSER, GEMMA, 8080, False),
    ("private", BROWSER, CHAT, 7860, False),
    ("private", LOAD_BALANCER, CHAT, 7860, False),
    ("private", ELSEWHERE, CHAT, 7860, False),
    ("cluster", BROWSER, CHAT, 7860, False),
    ("cluster", CHAT, GEMMA, 8080, True),
    ("cluster", ELSEWHERE, GEMMA, 8080, False),
    ("cluster", CHAT, API_SERVER, 6443, True),  # what Gemma's pods wait for
    ("cluster", CHAT, METADATA, 80, False),  # another cloud's metadata server may hand out a machine's rights
    ("cluster", GEMMA, METADATA, 80, False),
    ("cluster", COLLECTOR, CHAT, 9090, True),
    ("cluster", BROWSER, CHAT, 9090, False),
    ("cluster, public", BROWSER, CHAT, 7860, True),
    ("cluster, public", CHAT, API_SERVER, 6443, False),
    ("cluster, public", CHAT, GOOGLE, 443, True),
    ("cluster, Ollama inside", CHAT, OLLAMA, 11434, True),  # its Service is at 80, its pod elsewhere
    ("cluster, Ollama inside", CHAT, ELSEWHERE, 11434, False),
    ("cluster, Ollama beside", CHAT, STRANGER_INSIDE, 11434, False),  # this namespace is the stack's own
    ("cluster, Ollama outside", CHAT, LAN, 11434, True),
    ("cluster, Ollama outside", CHAT, LAN, 22, False),
]


def policies(settings: str) -> list[dict]:
    return [policy.inputs for policy in seen(SETTINGS[settings]).of_type("NetworkPolicy")]


@pytest.mark.parametrize("settings", SETTINGS)
class TestEveryDeployment:
    def test_isolates_all_pods_of_its_namespace_both_ways(self, settings: str) -> None:
        (deny,) = [p for p in policies(settings) if p["metadata"]["name"] == "default-deny"]
        assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

    def test_lets_the_chat_and_gemma_look_up_names_wherever_the_cluster_does_that(self, settings: str) -> None:
        has_gemma = any(policy["metadata"]["name"] == "gemma" for policy in policies(settings))
        for pod in (CHAT, GEMMA) if has_gemma else (CHAT,):
            for server in (KUBE_DNS, CLOUD_DNS):
                for protocol in ("UDP", "TCP"):
                    assert reaches(policies(settings), pod, server, 53, protocol)
        assert not reaches(policies(settings), STRANGER_INSIDE, KUBE_DNS, 53, "UDP")

    def test_selects_the_pods_that_there_are(self, settings: str) -> None:
        selectors = [policy["spec"]["podSelector"].get("matchLabels", {}) for policy in policies(settings)]
        named = {selector["app"] for selector in selectors if selector}
        running = {d["spec.template.metadata.labels.app"] for d in seen(SETTINGS[settings]).of_type("Deployment")}
        assert named == running <= {"gradio-chat", "gemma"}


@pytest.mark.parametrize(
    ("settings", "sender", "receiver", "port", "expected"),
    CASES,
    ids=[f"{case[0]}: {i}" for i, case in enumerate(CASES)],
)
def test_gets_there_or_does_not(settings: str, sender: Peer, receiver: Peer, port: int, expected: bool) -> None:
    assert reaches(policies(settings), sender, receiver, port) is expected


class TestTheReadingItself:
    def test_without_policies_everything_gets_there(self) -> None:
        assert reaches([], BROWSER, CHAT, 22)

    def test_a_connection_takes_both_sides(self) -> None:
        only_in = [
            {
                "metadata": {"namespace": "hybrid-chat"},
                "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}]},
            }
        ]
        assert reaches(only_in, BROWSER, CHAT, 7860)
        assert not reaches(only_in, CHAT, GEMMA, 8080), "nothing lets it out"
