"""Where the chat runs: in a Google Cloud project, or in a Kubernetes cluster that is there already."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pulumi
    import pulumi_gcp as gcp
    import pulumi_kubernetes as kubernetes

    from stacks.components.chat import Volume
    from stacks.components.image import RegistryArgs
    from stacks.ingress.ingress import GoogleProject, Ingress

    Outputs = dict[str, pulumi.Input[str]]


@dataclass(frozen=True)
class Platform:
    """A cluster, and what the objects in it use outside it.

    Attributes:
        provider: the cluster's.
        ingress: how browsers reach the chat.
        registry: where the image is built and stored; `None`: the image exists.
        google: the Google Cloud project; `None`: there is none.
        gemma_address: internal address of Gemma's load balancer; `None`: Gemma has none.
        volume: for the history; `None`: it is in Firestore.
        database: name of the Firestore database; `None`: there is none.
        session_secret: signs the cookies; `None`: the chat generates one and stores it on its volume.
        control_plane: the private address of the Kubernetes API; `None`: unknown.
        depends_on: what the chat needs to start.
        outputs: name -> value, for `pulumi stack output`.
    """

    provider: kubernetes.Provider
    ingress: Ingress
    registry: RegistryArgs | None = None
    google: GoogleProject | None = None
    gemma_address: gcp.compute.Address | None = None
    volume: Volume | None = None
    database: pulumi.Input[str] | None = None
    session_secret: pulumi.Input[str] | None = None
    control_plane: pulumi.Input[str | None] = None
    depends_on: Sequence[pulumi.Resource] = ()
    outputs: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
