"""Every resource name, in one place, so that two stacks in one project never share a name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

PLAIN_STACK = "dev"
"""The stack without a suffix: its names are the codelab's."""


@dataclass(frozen=True)
class Names:
    """The names of one stack.

    What lives in a Google Cloud project, or in a cluster as a whole, ends with the stack's name. What lives inside the
    stack's own namespace needs no ending. Each attribute's limit is that of its API.
    """

    stack: str

    @property
    def namespace(self) -> str:
        """The Kubernetes namespace that holds everything of this stack."""
        return self._ending("hybrid-chat", longest=63)

    @property
    def cluster(self) -> str:
        """The GKE cluster."""
        return self._ending("gradio-chat-cluster", longest=40)

    @property
    def database(self) -> str:
        """The Firestore database."""
        return self._ending("chat-app-db", longest=63)

    @property
    def repository(self) -> str:
        """The Artifact Registry repository."""
        return self._ending("chat-app-repo", longest=63)

    @property
    def nodes_account(self) -> str:
        """The Google service account of the cluster's nodes, without its domain."""
        return self._ending("chat-nodes", longest=30)

    @property
    def build_account(self) -> str:
        """The Google service account of the image build, without its domain."""
        return self._ending("chat-build", longest=30)

    @property
    def address(self) -> str:
        """The global address of the load balancer."""
        return self._ending("gradio-chat-address", longest=63)

    @property
    def edge_policy(self) -> str:
        """The load balancer's TLS policy, and Cloud Armor's policy."""
        return self._ending("gradio-chat-edge", longest=63)

    @property
    def free_name(self) -> str:
        """What the free name of cloud.goog begins with, before its random ending; one label with it."""
        return self._ending("chat", longest=50)

    def certificate(self, domain: str) -> str:
        """Return the certificate's name, another one for each domain."""
        return f"{self._ending('gradio-chat', longest=56)}-{_digest(domain)}"

    def build_bucket(self, project: str) -> str:
        """Return the bucket for the build's source and log; bucket names are shared by the whole world."""
        return self._ending(f"{project}-chat-build", longest=63)

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
    gemma = "gemma-deployment"
    gemma_service = "gemma-service"
    gemma_account = "gemma-ksa"
    hugging_face_secret = "hf-secret"  # noqa: S105 - a name

    def _ending(self, base: str, *, longest: int) -> str:
        if self.stack == PLAIN_STACK:
            return _shortened(base, longest)
        stack = re.sub(r"[^a-z0-9]+", "-", self.stack.lower()).strip("-")
        if stack != self.stack:  # "Prod" and "prod" are two stacks
            stack = f"{stack}-{_digest(self.stack)}".strip("-")
        return _shortened(f"{base}-{stack}", longest)


def _shortened(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    return f"{name[: longest - 7].rstrip('-')}-{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
