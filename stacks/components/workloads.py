"""Parts that the stack's Kubernetes objects share: labels, resources, security contexts, probes, volumes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

if TYPE_CHECKING:
    from collections.abc import Mapping

SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}
TOKEN_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a folder
"""Where clients of the Kubernetes API look for their service account's token."""


def metadata(
    name: str, namespace: pulumi.Input[str], component: str, annotations: Mapping[str, str] | None = None
) -> kubernetes.meta.v1.ObjectMetaArgs:
    """Return the metadata of a component's object."""
    return kubernetes.meta.v1.ObjectMetaArgs(
        name=name, namespace=namespace, labels=labels(component), annotations=annotations
    )


def labels(component: str) -> dict[str, str]:
    """Return a component's labels; selectors use ``app``."""
    return {"app": component, "app.kubernetes.io/name": component, "app.kubernetes.io/part-of": "hybrid-chat"}


def selector(component: str) -> kubernetes.meta.v1.LabelSelectorArgs:
    """Return the selector of a component's pods."""
    return kubernetes.meta.v1.LabelSelectorArgs(match_labels={"app": component})


def service_account(
    name: str, namespace: pulumi.Input[str], component: str, opts: pulumi.ResourceOptions
) -> kubernetes.core.v1.ServiceAccount:
    """Create a component's service account; its pods get no token of the Kubernetes API by default."""
    return kubernetes.core.v1.ServiceAccount(
        "account",
        metadata=metadata(name, namespace, component),
        automount_service_account_token=False,
        opts=opts,
    )


def fixed_resources(
    cpu: str, memory: str, ephemeral_storage: str, *, gpus: int = 0
) -> kubernetes.core.v1.ResourceRequirementsArgs:
    """Return requests that equal their limits: Autopilot fills in missing ones, and bills requests."""
    amounts = {"cpu": cpu, "memory": memory, "ephemeral-storage": ephemeral_storage}
    if gpus:
        amounts["nvidia.com/gpu"] = str(gpus)
    return kubernetes.core.v1.ResourceRequirementsArgs(requests=amounts, limits=amounts)


def restricted(*, read_only_root: bool) -> kubernetes.core.v1.SecurityContextArgs:
    """Return a container's security context that the `restricted` Pod Security Standard accepts."""
    return kubernetes.core.v1.SecurityContextArgs(
        allow_privilege_escalation=False,
        capabilities=kubernetes.core.v1.CapabilitiesArgs(drop=["ALL"]),
        privileged=False,
        read_only_root_filesystem=read_only_root,
        run_as_non_root=True,
    )


def plain_variables(values: Mapping[str, pulumi.Input[str]]) -> list[kubernetes.core.v1.EnvVarArgs]:
    """Return environment variables, sorted by name so that their order never shows as a change."""
    return [kubernetes.core.v1.EnvVarArgs(name=name, value=values[name]) for name in sorted(values)]


def secret_variable(name: str, secret: pulumi.Input[str], key: str) -> kubernetes.core.v1.EnvVarArgs:
    """Return an environment variable whose value is in a Secret."""
    source = kubernetes.core.v1.SecretKeySelectorArgs(name=secret, key=key)
    return kubernetes.core.v1.EnvVarArgs(
        name=name, value_from=kubernetes.core.v1.EnvVarSourceArgs(secret_key_ref=source)
    )


def pod_security(*, user: int, group: int) -> kubernetes.core.v1.PodSecurityContextArgs:
    """Return a pod's security context; its volumes belong to the group with `user`'s number."""
    return kubernetes.core.v1.PodSecurityContextArgs(
        run_as_user=user,
        run_as_group=group,
        fs_group=user,
        run_as_non_root=True,
        seccomp_profile=kubernetes.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
    )


def http_probe(path: str, *, period_seconds: int, failure_threshold: int) -> kubernetes.core.v1.ProbeArgs:
    """Return a probe of the port called ``http``."""
    return kubernetes.core.v1.ProbeArgs(
        http_get=kubernetes.core.v1.HTTPGetActionArgs(path=path, port="http"),
        period_seconds=period_seconds,
        timeout_seconds=5,
        failure_threshold=failure_threshold,
    )


def http_port(number: int, *, name: str = "http") -> kubernetes.core.v1.ContainerPortArgs:
    """Return a container's port."""
    return kubernetes.core.v1.ContainerPortArgs(name=name, container_port=number, protocol="TCP")


def scratch(name: str, size: str, *, in_memory: bool = False) -> kubernetes.core.v1.VolumeArgs:
    """Return a volume that starts empty and is deleted with the pod."""
    empty = kubernetes.core.v1.EmptyDirVolumeSourceArgs(size_limit=size, medium="Memory" if in_memory else None)
    return kubernetes.core.v1.VolumeArgs(name=name, empty_dir=empty)


def mounts(paths: Mapping[str, str]) -> list[kubernetes.core.v1.VolumeMountArgs]:
    """Return mounts of volumes (name -> path)."""
    return [kubernetes.core.v1.VolumeMountArgs(name=name, mount_path=path) for name, path in paths.items()]


def token_mount() -> kubernetes.core.v1.VolumeMountArgs:
    """Return the mount of `token_volume`."""
    return kubernetes.core.v1.VolumeMountArgs(name="account", mount_path=TOKEN_DIR, read_only=True)


def token_volume() -> kubernetes.core.v1.VolumeArgs:
    """Return what a client of the Kubernetes API needs: a token (valid for an hour) and the API's CA certificate."""
    return kubernetes.core.v1.VolumeArgs(
        name="account",
        projected=kubernetes.core.v1.ProjectedVolumeSourceArgs(
            sources=[
                kubernetes.core.v1.VolumeProjectionArgs(
                    service_account_token=kubernetes.core.v1.ServiceAccountTokenProjectionArgs(
                        path="token", expiration_seconds=3600
                    )
                ),
                kubernetes.core.v1.VolumeProjectionArgs(
                    # Kubernetes keeps this ConfigMap in every namespace.
                    config_map=kubernetes.core.v1.ConfigMapProjectionArgs(
                        name="kube-root-ca.crt", items=[kubernetes.core.v1.KeyToPathArgs(key="ca.crt", path="ca.crt")]
                    )
                ),
            ]
        ),
    )


def content_hash(*secrets: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
    """Return an annotation that changes with the secrets, so that a changed secret restarts the pods."""
    digest = pulumi.Output.all(*secrets).apply(
        lambda values: hashlib.sha256("\0".join(map(str, values)).encode()).hexdigest()
    )
    return {"hybrid-chat/secrets": pulumi.Output.secret(digest)}
