"""Kubernetes objects without a class in the SDK: read from ``manifests/``, validated, and applied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes
import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).resolve().parents[2] / "manifests"


class InvalidManifest(pulumi.RunError):
    """A file of ``manifests/`` is invalid; the message names the file and the reason."""


@dataclass(frozen=True)
class Manifest:
    """The documents of one file.

    Attributes:
        file: its name.
        documents: as parsed; each has apiVersion, kind and metadata.name.
    """

    file: str
    documents: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """The first document's name."""
        return str(self.documents[0]["metadata"]["name"])

    @classmethod
    def read(cls, file: str, folder: Path = FOLDER) -> Manifest:
        """Read a file.

        Raises:
            InvalidManifest: it is missing, is not YAML, or has a document that is not a Kubernetes object.
        """
        try:
            text = (folder / file).read_text(encoding="utf-8")
            documents = [document for document in yaml.safe_load_all(text) if document is not None]
        except OSError as error:
            raise InvalidManifest(f"manifests/{file} cannot be read ({error.strerror}).") from error
        except yaml.YAMLError as error:
            raise InvalidManifest(f"manifests/{file} is not YAML: {error}") from error
        if not documents:
            raise InvalidManifest(f"manifests/{file} has no document.")
        for number, document in enumerate(documents, start=1):
            problem = _problem(document)
            if problem:
                raise InvalidManifest(f"manifests/{file}, document {number}: {problem}.")
        return cls(file, tuple(documents))


def _problem(document: object) -> str:
    if not isinstance(document, dict):
        return "it is not a mapping"
    for key in ("apiVersion", "kind"):
        if not isinstance(document.get(key), str):
            return f"{key} is missing"
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return "metadata.name is missing"
    if not isinstance(document.get("spec"), dict):
        return "spec is missing"
    other = sorted(document.keys() - {"apiVersion", "kind", "metadata", "spec"})
    return f"{', '.join(map(str, other))} cannot be applied: only metadata and spec can" if other else ""


def custom_object(
    api_version: str,
    kind: str,
    metadata: kubernetes.meta.v1.ObjectMetaArgs,
    spec: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> pulumi.Resource:
    """Register one object; its name in Pulumi is its kind and its name in the cluster."""
    return kubernetes.apiextensions.CustomResource(
        f"{kind.lower()}-{metadata.name}",
        api_version=api_version,
        kind=kind,
        metadata=metadata,
        spec=spec,
        opts=opts,
    )


def apply_manifest(
    manifest: Manifest, *, parent: pulumi.Resource, namespace: pulumi.Input[str] | None = None
) -> list[pulumi.Resource]:
    """Register each document as a resource; `namespace`: of documents whose kind has one."""
    resources: list[pulumi.Resource] = []
    for document in manifest.documents:
        metadata = {**document["metadata"], **({"namespace": namespace} if namespace is not None else {})}
        resources.append(
            kubernetes.apiextensions.CustomResource(
                f"{document['kind'].lower()}-{document['metadata']['name']}",
                api_version=document["apiVersion"],
                kind=document["kind"],
                metadata=metadata,
                spec=document["spec"],
                opts=pulumi.ResourceOptions(parent=parent),
            )
        )
    return resources
