"""The policy pack reports violations of each rule, and none for this repository's own program."""

from __future__ import annotations

import copy
import json
import runpy
import sys
from typing import TYPE_CHECKING, Any

import pulumi_policy
import pytest
import yaml
from pulumi.runtime import rpc
from pulumi_policy import (
    EnforcementLevel,
    PolicyCustomTimeouts,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)
from pulumi_policy.proxy import unknown_checking_proxy

from stacks.policies.rules import POLICIES
from tests.stacks.deployments import DEPLOYMENTS, all_deployments
from tests.stacks.recording import ROOT, Registered, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow  # imports the SDK of policies, and deploys

PACK = ROOT / "stacks" / "policies"
UNKNOWN = rpc.UNKNOWN

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SERVERS = (DEPLOYMENT, "kubernetes:apps/v1:StatefulSet", "kubernetes:apps/v1:DaemonSet")
WORKLOADS = (*SERVERS, "kubernetes:batch/v1:Job", "kubernetes:batch/v1:CronJob", "kubernetes:core/v1:Pod")
CONFIG_MAP, SERVICE = "kubernetes:core/v1:ConfigMap", "kubernetes:core/v1:Service"
ACCOUNT = "kubernetes:core/v1:ServiceAccount"
ROLE = "gcp:projects/iAMCustomRole:IAMCustomRole"
MEMBER, POLICY = "gcp:projects/iAMMember:IAMMember", "gcp:storage/bucketIAMPolicy:BucketIAMPolicy"
BINDING = "gcp:artifactregistry/repositoryIamBinding:RepositoryIamBinding"

AMOUNTS = {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1Gi"}
PROBE = {"httpGet": {"path": "/healthz", "port": "http"}}
CONTAINER = {
    "name": "chat",
    "image": "example.org/chat:1",
    "env": [
        {"name": "CHAT_MAX_TOKENS", "value": "1024"},
        {"name": "PASSWORD_FILE", "value": "/run/password"},
        {"name": "GEMINI_API_KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "gemini"}}},
    ],
    "resources": {"requests": dict(AMOUNTS), "limits": dict(AMOUNTS)},
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
}
POD = {
    "automountServiceAccountToken": False,
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "initContainers": [
        {key: value for key, value in CONTAINER.items() if not key.endswith("Probe")} | {"name": "copy"},
    ],
    "containers": [CONTAINER],
}
GOOD: dict[str, dict[str, Any]] = {
    CONFIG_MAP: {"data": {"theme": "blue", "MAX_TOKENS": "1024"}},
    SERVICE: {"spec": {"type": "ClusterIP"}},
    ACCOUNT: {"automountServiceAccountToken": False},
    MEMBER: {"role": "roles/datastore.user", "member": "user:ann@example.org"},
    BINDING: {"role": "roles/artifactregistry.reader", "members": ["user:ann@example.org"]},
    POLICY: {"policyData": json.dumps({"bindings": [{"role": "roles/storage.admin", "members": ["user:a@b.c"]}]})},
    ROLE: {"permissions": ["aiplatform.endpoints.predict", "aiplatform.endpoints.get"]},
    "gcp:firestore/database:Database": {"deletionPolicy": "DELETE"},
    "gcp:container/cluster:Cluster": {"deletionProtection": False},
    "gcp:storage/bucket:Bucket": {"forceDestroy": True},
    "gcp:projects/service:Service": {"disableOnDestroy": False},
}
DATABASE, CLUSTER, BUCKET, API = list(GOOD)[-4:]


def pod_path(kind: str) -> str:
    return {"Pod": "spec", "CronJob": "spec.jobTemplate.spec.template.spec"}.get(
        kind.rpartition(":")[2], "spec.template.spec"
    )


def good(kind: str) -> dict[str, Any]:
    """Return the inputs of a resource without violations."""
    if kind not in WORKLOADS:
        return copy.deepcopy(GOOD[kind])
    inputs: dict[str, Any] = copy.deepcopy(POD)
    for key in reversed(pod_path(kind).split(".")):
        inputs = {key: inputs}
    return inputs


def changed(kind: str, path: str, value: Any) -> dict[str, Any]:
    """Return a good resource's inputs with another value at a path, which may start with pod; `...` removes it."""
    path = path.replace("container.", "pod.containers.0.").replace("pod", pod_path(kind))
    inputs: Any = good(kind)
    *parents, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    inside = inputs
    for part in parents:
        inside = inside[part] if isinstance(part, int) else inside.setdefault(part, {})
    if value is ...:
        del inside[last]
    else:
        inside[last] = value
    return inputs


def reported(kind: str, inputs: dict[str, Any], *, name: str = "it") -> list[tuple[str, str]]:
    """Return (policy, message) of all violations of a resource, as the engine would collect them."""
    options = PolicyResourceOptions(False, [], None, [], PolicyCustomTimeouts(0, 0, 0), [])
    props = unknown_checking_proxy(inputs)  # raises an error on access to an unknown value
    args = ResourceValidationArgs(kind, props, f"urn:pulumi:dev::test::{kind}::{name}", name, options, None)
    violations: list[tuple[str, str]] = []
    for policy in POLICIES:
        assert isinstance(policy, ResourceValidationPolicy)
        policy.validate(args, lambda message, _urn=None, rule=policy.name: violations.append((rule, message)))
    return violations


BAD = {
    "an owner": (MEMBER, "role", "roles/owner", "no-broad-role", "IAMMember it grants roles/owner"),
    "an editor": (BINDING, "role", "roles/editor", "no-broad-role", "grant a predefined role of the one service"),
    "a viewer": (MEMBER, "role", "roles/viewer", "no-broad-role", "grants roles/viewer"),
    "a token creator": (
        MEMBER,
        "role",
        "roles/iam.serviceAccountTokenCreator",
        "no-broad-role",
        "a role for impersonating a service account",
    ),
    "a workload identity": (
        "gcp:serviceaccount/iAMBinding:IAMBinding",
        "role",
        "roles/iam.workloadIdentityUser",
        "no-broad-role",
        "grants roles/iam.workloadIdentityUser",
    ),
    "an owner in a document": (
        POLICY,
        "policyData",
        '{"bindings": [{"role": "roles/owner", "members": ["user:a@b.c"]}]}',
        "no-broad-role",
        "BucketIAMPolicy it grants roles/owner",
    ),
    "a custom role that changes policies": (
        ROLE,
        "permissions",
        ["aiplatform.endpoints.predict", "resourcemanager.projects.setIamPolicy"],
        "no-broad-role",
        "IAMCustomRole it allows resourcemanager.projects.setIamPolicy",
    ),
    "a custom role that acts as an account": (
        ROLE,
        "permissions",
        ["iam.serviceAccounts.actAs"],
        "no-broad-role",
        "allows iam.serviceAccounts.actAs",
    ),
    "the public": (MEMBER, "member", "allUsers", "no-public-member", "to allUsers, which is anyone on the internet"),
    "the public among others": (
        BINDING,
        "members",
        ["user:a@b.c", "allAuthenticatedUsers"],
        "no-public-member",
        "grants roles/artifactregistry.reader to allAuthenticatedUsers",
    ),
    "the public in a document": (
        POLICY,
        "policyData",
        '{"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}',
        "no-public-member",
        "to allUsers",
    ),
    "a database without a deletion policy": (
        DATABASE,
        "deletionPolicy",
        ...,
        "destroy-removes-it",
        "has deletionPolicy not set",
    ),
    "an abandoned database": (DATABASE, "deletionPolicy", "ABANDON", "destroy-removes-it", 'set it to "DELETE"'),
    "a protected database": (
        DATABASE,
        "deleteProtectionState",
        "DELETE_PROTECTION_ENABLED",
        "destroy-removes-it",
        "Google would refuse to delete the database",
    ),
    "a protected cluster": (CLUSTER, "deletionProtection", True, "destroy-removes-it", "deletionProtection true"),
    "a cluster with the default": (CLUSTER, "deletionProtection", ..., "destroy-removes-it", "set it to false"),
    "a full bucket": (BUCKET, "forceDestroy", False, "destroy-removes-it", "a bucket with one object in it"),
    "an API that destroy disables": (
        API,
        "disableOnDestroy",
        True,
        "destroy-removes-it",
        "be disabled for everything else",
    ),
    "an image with the tag latest": (
        DEPLOYMENT,
        "container.image",
        "example.org/chat:latest",
        "fixed-image",
        "chat:latest",
    ),
    "an image without a tag": (
        DEPLOYMENT,
        "container.image",
        "example.org:5000/chat",
        "fixed-image",
        "Deployment it: container chat runs the image example.org:5000/chat",
    ),
    "an init container's image": (
        DEPLOYMENT,
        "pod.initContainers.0.image",
        "busybox",
        "fixed-image",
        "init container copy runs the image busybox",
    ),
    "no image": (DEPLOYMENT, "container.image", ..., "fixed-image", "runs the image (none)"),
    "no requests": (
        DEPLOYMENT,
        "container.resources.requests.cpu",
        ...,
        "requests-equal-limits",
        "container chat has requests that differ from its limits: cpu (request none, limit 500m); GKE",
    ),
    "no limits": (
        DEPLOYMENT,
        "container.resources.limits",
        ...,
        "requests-equal-limits",
        "cpu (request 500m, limit none), memory (request 1Gi, limit none), ephemeral-storage",
    ),
    "a higher limit": (
        DEPLOYMENT,
        "container.resources.limits.memory",
        "2Gi",
        "requests-equal-limits",
        ": memory (request 1Gi, limit 2Gi);",
    ),
    "scratch space without limits": (
        DEPLOYMENT,
        "pod.initContainers.0.resources",
        ...,
        "requests-equal-limits",
        "init container copy has requests that differ from its limits",
    ),
    "root": (DEPLOYMENT, "pod.securityContext.runAsNonRoot", ..., "restricted", "set runAsNonRoot: true in its"),
    "root in one container": (
        DEPLOYMENT,
        "container.securityContext.runAsNonRoot",
        False,
        "restricted",
        "runAsNonRoot: true",
    ),
    "root's number": (DEPLOYMENT, "pod.securityContext.runAsUser", 0, "restricted", "a runAsUser that is not 0"),
    "more privileges": (
        DEPLOYMENT,
        "container.securityContext.allowPrivilegeEscalation",
        ...,
        "restricted",
        "allowPrivilegeEscalation: false",
    ),
    "all privileges": (DEPLOYMENT, "container.securityContext.privileged", True, "restricted", "privileged: false"),
    "capabilities": (
        DEPLOYMENT,
        "container.securityContext.capabilities",
        ...,
        "restricted",
        "capabilities.drop: [ALL]",
    ),
    "an added capability": (
        DEPLOYMENT,
        "container.securityContext.capabilities.add",
        ["SYS_ADMIN"],
        "restricted",
        "no capabilities.add",
    ),
    "all system calls": (
        DEPLOYMENT,
        "pod.securityContext.seccompProfile.type",
        "Unconfined",
        "restricted",
        "seccompProfile.type: RuntimeDefault",
    ),
    "no security context": (
        DEPLOYMENT,
        "container.securityContext",
        ...,
        "restricted",
        "set allowPrivilegeEscalation: false, capabilities.drop: [ALL] in its securityContext",
    ),
    "no readiness probe": (DEPLOYMENT, "container.readinessProbe", ..., "probed", "neither a startupProbe nor"),
    "no liveness probe": (DEPLOYMENT, "container.livenessProbe", ..., "probed", "has no livenessProbe"),
    "a token of the Kubernetes API": (
        DEPLOYMENT,
        "pod.automountServiceAccountToken",
        ...,
        "no-service-account-token",
        "set automountServiceAccountToken to false",
    ),
    "an account with tokens": (
        ACCOUNT,
        "automountServiceAccountToken",
        True,
        "no-service-account-token",
        "ServiceAccount it gives its pods a token",
    ),
    "an API key in a variable": (
        DEPLOYMENT,
        "container.env",
        [{"name": "GEMINI_API_KEY", "value": "AIza"}],
        "no-plain-variable",
        "container chat has the variable GEMINI_API_KEY in plain text",
    ),
    "a password of a ConfigMap": (
        DEPLOYMENT,
        "pod.initContainers.0.env",
        [{"name": "dbPassword", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "db"}}}],
        "no-plain-variable",
        "init container copy has the variable dbPassword",
    ),
    # The variable is known to be plain, though its value is not known yet.
    "a secret with an unknown value": (
        DEPLOYMENT,
        "container.env",
        [{"name": "SESSION_SECRET", "value": UNKNOWN}],
        "no-plain-variable",
        "the variable SESSION_SECRET",
    ),
    "a token in a ConfigMap": (
        CONFIG_MAP,
        "data",
        {"hf_api_token": "hf_a"},
        "no-secret-in-config-map",
        "ConfigMap it has the key hf_api_token",
    ),
    "a load balancer": (SERVICE, "spec.type", "LoadBalancer", "not-public", "Service it is public and unencrypted"),
}


@pytest.mark.parametrize(("kind", "path", "value", "rule", "message"), BAD.values(), ids=BAD)
def test_a_violation_is_reported_by_its_rule_alone(kind: str, path: str, value: Any, rule: str, message: str) -> None:
    inputs = changed(kind, path, value) if kind in GOOD or kind in WORKLOADS else {path: value}
    violations = reported(kind, inputs)
    assert {name for name, _ in violations} == {rule}
    assert message in "\n".join(text for _, text in violations)


def test_each_rule_has_a_violation_here() -> None:
    assert {rule for _, _, _, rule, _ in BAD.values()} == {policy.name for policy in POLICIES}


@pytest.mark.parametrize("kind", [*GOOD, *WORKLOADS])
def test_a_resource_without_violations_passes(kind: str) -> None:
    assert reported(kind, good(kind)) == []


@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_kind_of_workload_is_checked(kind: str) -> None:
    inputs = changed(kind, "pod", {"containers": [{"name": "chat", "image": "chat"}]})
    expected = {"fixed-image", "requests-equal-limits", "restricted", "no-service-account-token"}
    assert {name for name, _ in reported(kind, inputs)} == expected | ({"probed"} if kind in SERVERS else set())


GROUP = "kubernetes:leaderworkerset.x-k8s.io/v1:LeaderWorkerSet"


def group(leader: dict[str, Any], worker: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of a LeaderWorkerSet, of two pods."""
    return {"spec": {"leaderWorkerTemplate": {"leaderTemplate": {"spec": leader}, "workerTemplate": {"spec": worker}}}}


def test_both_pods_of_a_group_are_checked_and_only_the_leader_needs_probes() -> None:
    bare = {key: value for key, value in CONTAINER.items() if not key.endswith("Probe")}
    worker = POD | {"containers": [bare]}
    assert reported(GROUP, group(POD, worker)) == []
    assert {name for name, _ in reported(GROUP, group(worker, POD))} == {"probed"}
    wrong = {"containers": [{"name": "vllm", "image": "vllm"}]}
    expected = {"fixed-image", "requests-equal-limits", "restricted", "no-service-account-token"}
    assert {name for name, _ in reported(GROUP, group(POD, wrong))} == expected
    assert {name for name, _ in reported(GROUP, group(wrong, worker))} == expected | {"probed"}
    assert reported(GROUP, group(POD, UNKNOWN)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("container.image", f"example.org/chat@sha256:{'a' * 64}"),
        ("container.image", f"example.org:5000/chat:latest@sha256:{'a' * 64}"),
        ("container.resources", {"requests": AMOUNTS, "limits": AMOUNTS | {"cpu": 0.5, "memory": "1024Mi"}}),
        ("container.securityContext.capabilities.drop", ["ALL", "NET_RAW"]),
        ("container.securityContext.seccompProfile", {"type": "RuntimeDefault"}),
        ("container.startupProbe", None),
        ("container.env", None),
    ],
    ids=["by digest", "by tag and digest", "equal amounts", "more dropped", "own profile", "null", "no variables"],
)
def test_equivalent_inputs_pass(path: str, value: Any) -> None:
    assert reported(DEPLOYMENT, changed(DEPLOYMENT, path, value)) == []


def test_an_internal_load_balancer_is_not_public() -> None:
    inputs = changed(SERVICE, "spec.type", "LoadBalancer")
    inputs["metadata"] = {"annotations": {"networking.gke.io/load-balancer-type": "Internal"}}
    assert reported(SERVICE, inputs) == []


def test_only_the_rule_for_load_balancers_is_advisory() -> None:
    advisory = {policy.name for policy in POLICIES if policy.enforcement_level is EnforcementLevel.ADVISORY}
    mandatory = {policy.name for policy in POLICIES if policy.enforcement_level is EnforcementLevel.MANDATORY}
    assert advisory == {"not-public"}
    assert len(advisory | mandatory) == len(POLICIES)


def inner_paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value inside a resource's inputs, mappings and lists included."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        yield (*path, key)
        yield from inner_paths(item, (*path, key))


class TestDuringAPreview:
    @pytest.mark.parametrize("kind", [*GOOD, DEPLOYMENT])
    def test_no_rule_fails_on_an_unknown_value(self, kind: str) -> None:
        for path in inner_paths(good(kind)):
            inputs: Any = good(kind)
            inside = inputs
            for part in path[:-1]:
                inside = inside[part]
            inside[path[-1]] = UNKNOWN
            assert reported(kind, inputs) == [], path

    def test_known_values_are_checked_although_others_are_unknown(self) -> None:
        inputs = changed(DEPLOYMENT, "pod.initContainers", UNKNOWN)
        inputs["spec"]["template"]["spec"]["containers"] = [UNKNOWN, CONTAINER | {"image": "chat"}]
        assert [name for name, _ in reported(DEPLOYMENT, inputs)] == ["fixed-image"]

    def test_a_role_is_checked_although_its_member_is_unknown(self) -> None:
        assert [name for name, _ in reported(MEMBER, {"role": "roles/owner", "member": UNKNOWN})] == ["no-broad-role"]

    def test_a_missing_limit_is_reported_although_the_request_is_unknown(self) -> None:
        inputs = changed(DEPLOYMENT, "container.resources", {"requests": AMOUNTS | {"cpu": UNKNOWN}, "limits": AMOUNTS})
        assert reported(DEPLOYMENT, inputs) == []
        del inputs["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        messages = [message for _, message in reported(DEPLOYMENT, inputs)]
        assert "cpu (request (known after the update), limit none)" in messages[0]


class TestThisRepositorysProgram:
    @pytest.mark.parametrize("config", all_deployments())
    def test_has_no_violation(self, config: dict[str, str]) -> None:
        assert self.violations(seen(config).resources) == []

    @pytest.mark.parametrize("name", ["gcp", "gcp, unencrypted, without Gemma", "kubernetes"])
    def test_has_no_violation_during_a_preview(self, name: str) -> None:
        assert self.violations(seen(DEPLOYMENTS[name], preview=True).resources) == []

    @staticmethod
    def violations(resources: list[Registered]) -> list[str]:
        assert any(resource.type == DEPLOYMENT for resource in resources)
        reports = [entry for r in resources for entry in reported(r.type, r.inputs, name=r.name)]
        return [message for rule, message in reports if rule != "not-public"]

    @pytest.mark.parametrize(
        ("name", "rules"),
        [("gcp", []), ("gcp, unencrypted, without Gemma", ["not-public"]), ("kubernetes", [])],
    )
    def test_only_a_public_load_balancer_gives_a_warning(self, name: str, rules: list[str]) -> None:
        resources = seen(DEPLOYMENTS[name]).resources
        assert [rule for r in resources for rule, _ in reported(r.type, r.inputs)] == rules


class TestThePack:
    def test_starts_from_its_own_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        started: list[tuple[str, list[pulumi_policy.Policy]]] = []
        monkeypatch.setattr(pulumi_policy, "PolicyPack", lambda name, policies: started.append((name, policies)))
        monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in {"", str(ROOT)}])
        for name in [name for name in sys.modules if name.partition(".")[0] == "stacks"]:
            monkeypatch.delitem(sys.modules, name)
        runpy.run_path(str(PACK), run_name="__main__")
        imported = {name for name in sys.modules if name.startswith("stacks.")}
        assert all(name.startswith("stacks.policies") for name in imported), "the SDKs of the program take seconds"
        assert [(name, [policy.name for policy in policies]) for name, policies in started] == [
            ("hybrid-chat", [policy.name for policy in POLICIES])
        ]

    def test_runs_in_the_projects_own_environment(self) -> None:
        project = yaml.safe_load((PACK / "PulumiPolicy.yaml").read_text(encoding="utf-8"))
        own = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["runtime"]["options"]["virtualenv"]
        assert (PACK / project["runtime"]["options"]["virtualenv"]).resolve() == (ROOT / own).resolve()

    def test_describes_why_each_rule_exists(self) -> None:
        for policy in POLICIES:
            assert policy.description.endswith(".")
            assert "\n" not in policy.description
            assert (
                ", so that " in policy.description
                or ", because " in policy.description
                or ", which " in (policy.description)
            )
