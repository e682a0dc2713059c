"""Every resource name, in one place, so that two stacks in one project never share a name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemma.profiles import GpuProfile

PLAIN_STACK = "dev"
"""The stack without a suffix: its names are the codelab's."""


@dataclass(frozen=True)
class Names:
    """The names of one stack.

    Names in a Google Cloud project, and cluster-wide ones, have the stack's name as a suffix. Names in the stack's own
    namespace need none. Each maximum length is that of the API.
    """

    stack: str

    @property
    def namespace(self) -> str:
        """The Kubernetes namespace that holds everything of this stack."""
        return self._with_stack("hybrid-chat", max_length=63)

    @property
    def cluster(self) -> str:
        """The GKE cluster."""
        return self._with_stack("gradio-chat-cluster", max_length=40)

    @property
    def network(self) -> str:
        """The cluster's own network, its subnetwork, router and NAT."""
        return self._with_stack("gradio-chat-network", max_length=63)

    @property
    def database(self) -> str:
        """The Firestore database."""
        return self._with_stack("chat-app-db", max_length=63)

    @property
    def repository(self) -> str:
        """The Artifact Registry repository."""
        return self._with_stack("chat-app-repo", max_length=63)

    @property
    def nodes_account(self) -> str:
        """The Google service account of the cluster's nodes, without its domain."""
        return self._with_stack("chat-nodes", max_length=30)

    @property
    def build_account(self) -> str:
        """The Google service account of the image build, without its domain."""
        return self._with_stack("chat-build", max_length=30)

    @property
    def gemini_role(self) -> str:
        """The prefix of the ID of the custom IAM role for Gemini, which has at most 64 characters and no hyphens."""
        return self._with_stack("gradio-chat-gemini", max_length=57).replace("-", "_")

    @property
    def address(self) -> str:
        """The global address of the load balancer."""
        return self._with_stack("gradio-chat-address", max_length=63)

    @property
    def gemma_address(self) -> str:
        """The internal address of the load balancer in front of several servers of Gemma."""
        return self._with_stack("gradio-chat-gemma", max_length=63)

    @property
    def proxies(self) -> str:
        """The subnetwork for the proxies of that load balancer."""
        return self._with_stack("gradio-chat-proxies", max_length=63)

    @property
    def edge_policy(self) -> str:
        """The load balancer's TLS policy, and Cloud Armor's policy."""
        return self._with_stack("gradio-chat-edge", max_length=63)

    @property
    def free_name(self) -> str:
        """The prefix of the free name of cloud.goog; with its random suffix it is one DNS label."""
        return self._with_stack("chat", max_length=50)

    @property
    def budget(self) -> str:
        """The budget, as the e-mails call it."""
        return self._with_stack("hybrid-chat", max_length=60)

    @property
    def alerts(self) -> str:
        """The dashboard, the alerts and their e-mail address, as the console and the e-mails call them."""
        return self._with_stack("hybrid-chat", max_length=60)

    @property
    def logs(self) -> str:
        """The log sink and its exclusion, and the prefix of the log bucket."""
        return self._with_stack("hybrid-chat", max_length=90)

    @property
    def labels(self) -> dict[str, str]:
        """The label of what the stack creates in the project, which the bill can be grouped by."""
        return {"hybrid-chat": _shortened(self._slug, 63)}

    def certificate(self, domain: str) -> str:
        """Return the certificate's name, a different one for each domain."""
        return f"{self._with_stack('gradio-chat', max_length=56)}-{_digest(domain)}"

    def build_bucket(self, project: str) -> str:
        """Return the bucket for the source and log of builds; bucket names are globally unique."""
        return self._with_stack(f"{project}-chat-build", max_length=63)

    def weights_bucket(self, project: str) -> str:
        """Return the bucket with Gemma's weights."""
        return self._with_stack(f"{project}-gemma-weights", max_length=63)

    def gemma_of(self, profile: GpuProfile | None) -> str:
        """Return the workload of Gemma's servers, a Deployment or a LeaderWorkerSet; empty: there is none."""
        if profile is None:
            return ""
        return "gemma-group" if profile.machines > 1 else "gemma-deployment"

    # Inside the namespace: the codelab's names.
    chat = "gradio-chat-deployment"
    chat_service = "gradio-chat-service"
    chat_public_service = "gradio-chat-public"
    chat_account = "gradio-chat-ksa"
    chat_secrets = "gradio-chat-secrets"
    chat_volume = "gradio-chat-data"
    chat_gateway = "gradio-chat"
    iap_client_secret = "iap-client"  # noqa: S105 - a name
    chat_pods_role = "gradio-chat-sees-pods"
    gemma_service = "gemma-service"
    gemma_account = "gemma-ksa"
    gemma_gateway = "gemma"
    gemma_picker = "gemma-picker"
    gemma_picker_account = "gemma-picker-ksa"
    gemma_key_secret = "gemma-api-key"  # noqa: S105 - a name
    weights_account = "gemma-weights-ksa"
    weights_secret = "gemma-weights-token"  # noqa: S105 - a name
    hugging_face_secret = "hf-secret"  # noqa: S105 - a name

    def _with_stack(self, base: str, *, max_length: int) -> str:
        if self.stack == PLAIN_STACK:
            return _shortened(base, max_length)
        return _shortened(f"{base}-{self._slug}", max_length)

    @property
    def _slug(self) -> str:
        stack = re.sub(r"[^a-z0-9]+", "-", self.stack.lower()).strip("-")
        # "Prod" and "prod" are different stacks.
        return stack if stack == self.stack else f"{stack}-{_digest(self.stack)}".strip("-")


def _shortened(name: str, max_length: int) -> str:
    if len(name) <= max_length:
        return name
    return f"{name[: max_length - 7].rstrip('-')}-{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
