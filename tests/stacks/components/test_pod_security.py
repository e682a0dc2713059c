"""Every pod passes the `restricted` Pod Security Standard, which its namespace enforces."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.stacks.deployments import DEPLOYMENTS, GCP, all_deployments
from tests.stacks.recording import seen

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def violations(pod: dict[str, Any]) -> set[str]:
    """Return what https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted forbids in a pod."""
    of_pod = pod.get("securityContext", {})
    forbidden = {name: bool(pod.get(name)) for name in ("hostNetwork", "hostPID", "hostIPC")}
    forbidden["sysctls"] = bool(of_pod.get("sysctls"))
    forbidden |= {f"volume {v['name']}": not set(v) - {"name"} <= VOLUMES for v in pod.get("volumes", [])}
    names = {name for name, is_set in forbidden.items() if is_set}
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(kind, []):
            names |= container_violations(container, of_pod)
    return names


def container_violations(container: dict[str, Any], of_pod: dict[str, Any]) -> set[str]:
    own = container.get("securityContext", {})
    merged = of_pod | own
    capabilities = own.get("capabilities", {})
    added = set(capabilities.get("add", []))
    probes = [container.get(name, {}) for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    handlers = [*probes, *container.get("lifecycle", {}).values()]
    forbidden = {
        "privileged": own.get("privileged"),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
        "capabilities": "ALL" not in capabilities.get("drop", []) or added - {"NET_BIND_SERVICE"},
        "runAsNonRoot": merged.get("runAsNonRoot") is not True,
        "runAsUser": merged.get("runAsUser") == 0,
        "seccompProfile": merged.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"},
        "procMount": own.get("procMount", "Default") != "Default",
        "seLinuxOptions": set(merged.get("seLinuxOptions", {})) & {"user", "role"},
        "hostPort": any(port.get("hostPort") for port in container.get("ports", [])),
        "host of a probe": any(h.get(kind, {}).get("host") for h in handlers for kind in ("httpGet", "tcpSocket")),
    }
    return {name for name, is_set in forbidden.items() if is_set}


@pytest.mark.slow
@pytest.mark.parametrize("config", all_deployments())
def test_no_pod_has_a_violation(config: dict[str, str]) -> None:
    run = seen(config)
    pods = [deployment["spec.template.spec"] for deployment in run.of_type("Deployment")]
    for group in run.of_type("LeaderWorkerSet"):
        pods += [group[f"spec.leaderWorkerTemplate.{part}Template.spec"] for part in ("leader", "worker")]
    assert pods
    assert [violations(pod) for pod in pods] == [set()] * len(pods)


@pytest.mark.parametrize("config", [GCP, DEPLOYMENTS["kubernetes"]], ids=["gcp", "kubernetes"])
def test_the_namespace_enforces_the_standard(config: dict[str, str]) -> None:
    labels = seen(config).one("Namespace")["metadata.labels"]
    assert {mode: labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "warn", "audit")} == {
        "enforce": "restricted",
        "warn": "restricted",
        "audit": "restricted",
    }


@pytest.mark.parametrize(
    ("path", "value", "violation"),
    [
        ("hostNetwork", True, "hostNetwork"),
        ("volumes.0", {"name": "v", "hostPath": {"path": "/"}}, "volume v"),
        ("securityContext.runAsNonRoot", False, "runAsNonRoot"),
        ("securityContext.seccompProfile.type", "Unconfined", "seccompProfile"),
        ("containers.0.securityContext.allowPrivilegeEscalation", True, "allowPrivilegeEscalation"),
        ("containers.0.securityContext.capabilities.drop", [], "capabilities"),
        ("containers.0.ports.0.hostPort", 80, "hostPort"),
        ("containers.0.livenessProbe.httpGet.host", "169.254.169.254", "host of a probe"),
    ],
)
def test_the_check_finds_a_violation(path: str, value: Any, violation: str) -> None:
    pod = copy.deepcopy(seen(GCP).one("Deployment", "gradio-chat-deployment")["spec.template.spec"])
    parent: Any = pod
    *parents, last = path.split(".")
    for part in parents:
        parent = parent[int(part)] if isinstance(parent, list) else parent[part]
    parent[int(last) if isinstance(parent, list) else last] = value
    if path == "securityContext.runAsNonRoot":
        del pod["containers"][0]["securityContext"]["runAsNonRoot"]
    assert violation in violations(pod)
