"""The object in the cluster whose replicas are the servers of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

GROUP: Final = "LeaderWorkerSet"
"""A kind of workload: each server is a group of pods, a leader and workers, on machines of their own
(https://lws.sigs.k8s.io/docs/concepts)."""
_APIS: Final = {"Deployment": "apps/v1", GROUP: "leaderworkerset.x-k8s.io/v1"}

Kind = Literal["Deployment", "LeaderWorkerSet"]


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment or a LeaderWorkerSet.

    Attributes:
        name: in the namespace of the pods.
        kind: as its API calls it.
    """

    name: str
    kind: Kind = "Deployment"

    @classmethod
    def named(cls, text: str) -> Workload:
        """Return the workload of a setting: ``NAME`` of a Deployment, or ``leaderworkerset/NAME``, as for kubectl."""
        group, _, name = text.rpartition("/")
        return cls(name, GROUP if group else "Deployment")

    @property
    def setting(self) -> str:
        """It as a setting, which `named` reads."""
        return self.name if self.kind == "Deployment" else f"{self.kind.lower()}/{self.name}"

    @property
    def api_version(self) -> str:
        """The group and version of its API."""
        return _APIS[self.kind]

    @property
    def resource(self) -> str:
        """Its kind in paths and roles."""
        return f"{self.kind.lower()}s"

    def path(self, namespace: str) -> str:
        """Return its path in the Kubernetes API."""
        return f"/apis/{self.api_version}/namespaces/{namespace}/{self.resource}/{self.name}"
