"""The policy pack refuses what breaks a rule, says so, and has nothing against this repository's own program."""

from __future__ import annotations

import copy
import functools
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

from stacks.components.gpu_profiles import PROFILES
from stacks.policies.rules import POLICIES
from tests.stacks.recording import ROOT, Registered, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow  # many deployments

PACK = ROOT / "stacks" / "policies"
GCP = {"gcp:project": "my-proj-1"}
KUBERNETES = {"platform": "kubernetes", "image": "example.org/chat:1"}
TOKEN = {"huggingFaceToken": "hf_abcdefghij"}
UNKNOWN = rpc.UNKNOWN

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SERVERS = (DEPLOYMENT, "kubernetes:apps/v1:StatefulSet", "kubernetes:apps/v1:DaemonSet")
WORKLOADS = (*SERVERS, "kubernetes:batch/v1:Job", "kubernetes:batch/v1:CronJob", "kubernetes:core/v1:Pod")
CONFIG_MAP, SERVICE = "kubernetes:core/v1:ConfigMap", "kubernetes:core/v1:Service"
ACCOUNT = "kubernetes:core/v1:ServiceAccount"
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
    MEMBER: {"role": "roles/datastore.user", "member": "user:somebody@example.org"},
    BINDING: {"role": "roles/artifactregistry.reader", "members": ["user:somebody@example.org"]},
    POLICY: {"policyData": json.dumps({"bindings": [{"role": "roles/storage.admin", "members": ["user:a@b.c"]}]})},
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
    """Return the inputs of a resource that no rule has anything against."""
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
    """Return (policy, message) of all violations of a resource, as the engine would ask for them."""
    options = PolicyResourceOptions(False, [], None, [], PolicyCustomTimeouts(0, 0, 0), [])
    props = unknown_checking_proxy(inputs)  # raises an error where something unknown is touched
    args = ResourceValidationArgs(kind, props, f"urn:pulumi:dev::test::{kind}::{name}", name, options, None)
    found: list[tuple[str, str]] = []
    for policy in POLICIES:
        assert isinstance(policy, ResourceValidationPolicy)
        policy.validate(args, lambda message, _urn=None, rule=policy.name: found.append((rule, message)))
    return found


BAD = {
    "an owner": (MEMBER, "role", "roles/owner", "no-broad-role", "IAMMember it grants roles/owner"),
    "an editor": (BINDING, "role", "roles/editor", "no-broad-role", "grant a predefined role of the one service"),
    "a viewer": (MEMBER, "role", "roles/viewer", "no-broad-role", "grants roles/viewer"),
    "a maker of tokens": (
        MEMBER,
        "role",
        "roles/iam.serviceAccountTokenCreator",
        "no-broad-role",
        "a role for acting as a service account",
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
    "everybody": (MEMBER, "member", "allUsers", "no-public-member", "to allUsers, which is everybody"),
    "everybody among others": (
        BINDING,
        "members",
        ["user:a@b.c", "allAuthenticatedUsers"],
        "no-public-member",
        "grants roles/artifactregistry.reader to allAuthenticatedUsers",
    ),
    "everybody in a document": (
        POLICY,
        "policyData",
        '{"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}',
        "no-public-member",
        "to allUsers",
    ),
    "a database that stays": (DATABASE, "deletionPolicy", ..., "destroy-removes-it", "has deletionPolicy not set"),
    "a database that is abandoned": (DATABASE, "deletionPolicy", "ABANDON", "destroy-removes-it", 'set it to "DELETE"'),
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
    "an API for others": (API, "disableOnDestroy", True, "destroy-removes-it", "be taken from everything else"),
    "an image called latest": (DEPLOYMENT, "container.image", "example.org/chat:latest", "fixed-image", "chat:latest"),
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
        "container chat has requests that are not its limits: cpu (request none, limit 500m); GKE",
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
    "scratch space without bounds": (
        DEPLOYMENT,
        "pod.initContainers.0.resources",
        ...,
        "requests-equal-limits",
        "init container copy has requests that are not its limits",
    ),
    "root": (DEPLOYMENT, "pod.securityContext.runAsNonRoot", ..., "confined", "set runAsNonRoot: true in its"),
    "root in one container": (
        DEPLOYMENT,
        "container.securityContext.runAsNonRoot",
        False,
        "confined",
        "runAsNonRoot: true",
    ),
    "root's number": (DEPLOYMENT, "pod.securityContext.runAsUser", 0, "confined", "a runAsUser that is not 0"),
    "more privileges": (
        DEPLOYMENT,
        "container.securityContext.allowPrivilegeEscalation",
        ...,
        "confined",
        "allowPrivilegeEscalation: false",
    ),
    "all privileges": (DEPLOYMENT, "container.securityContext.privileged", True, "confined", "privileged: false"),
    "capabilities": (
        DEPLOYMENT,
        "container.securityContext.capabilities",
        ...,
        "confined",
        "capabilities.drop: [ALL]",
    ),
    "a capability again": (
        DEPLOYMENT,
        "container.securityContext.capabilities.add",
        ["SYS_ADMIN"],
        "confined",
        "no capabilities.add",
    ),
    "all system calls": (
        DEPLOYMENT,
        "pod.securityContext.seccompProfile.type",
        "Unconfined",
        "confined",
        "seccompProfile.type: RuntimeDefault",
    ),
    "no security context": (
        DEPLOYMENT,
        "container.securityContext",
        ...,
        "confined",
        "set allowPrivilegeEscalation: false, capabilities.drop: [ALL] in its securityContext",
    ),
    "an early request": (DEPLOYMENT, "container.readinessProbe", ..., "probed", "neither a startupProbe nor"),
    "a server that hangs": (DEPLOYMENT, "container.livenessProbe", ..., "probed", "has no livenessProbe"),
    "a token of the cluster": (
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
    "a key in a variable": (
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
    # That there is a plain value is known, whatever it will be.
    "a secret that is made later": (
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
def test_what_breaks_a_rule_is_reported_by_that_rule_alone(
    kind: str, path: str, value: Any, rule: str, message: str
) -> None:
    inputs = changed(kind, path, value) if kind in GOOD or kind in WORKLOADS else {path: value}
    violations = reported(kind, inputs)
    assert {name for name, _ in violations} == {rule}
    assert message in "\n".join(text for _, text in violations)


def test_each_rule_has_something_that_breaks_it() -> None:
    assert {rule for _, _, _, rule, _ in BAD.values()} == {policy.name for policy in POLICIES}


@pytest.mark.parametrize("kind", [*GOOD, *WORKLOADS])
def test_what_keeps_the_rules_passes(kind: str) -> None:
    assert reported(kind, good(kind)) == []


@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_kind_of_workload_is_looked_into(kind: str) -> None:
    inputs = changed(kind, "pod", {"containers": [{"name": "chat", "image": "chat"}]})
    expected = {"fixed-image", "requests-equal-limits", "confined", "no-service-account-token"}
    assert {name for name, _ in reported(kind, inputs)} == expected | ({"probed"} if kind in SERVERS else set())


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
def test_another_way_to_write_it_passes(path: str, value: Any) -> None:
    assert reported(DEPLOYMENT, changed(DEPLOYMENT, path, value)) == []


def test_a_load_balancer_inside_the_network_is_not_public() -> None:
    inputs = changed(SERVICE, "spec.type", "LoadBalancer")
    inputs["metadata"] = {"annotations": {"networking.gke.io/load-balancer-type": "Internal"}}
    assert reported(SERVICE, inputs) == []


def test_only_the_load_balancer_is_no_reason_to_stop() -> None:
    advisory = {policy.name for policy in POLICIES if policy.enforcement_level is EnforcementLevel.ADVISORY}
    mandatory = {policy.name for policy in POLICIES if policy.enforcement_level is EnforcementLevel.MANDATORY}
    assert advisory == {"not-public"}
    assert len(advisory | mandatory) == len(POLICIES)


def inner_paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of everything inside a resource's inputs, mappings and lists too."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        yield (*path, key)
        yield from inner_paths(item, (*path, key))


class TestDuringAPreview:
    @pytest.mark.parametrize("kind", [*GOOD, DEPLOYMENT])
    def test_no_rule_stumbles_over_anything_that_is_not_known_yet(self, kind: str) -> None:
        for path in inner_paths(good(kind)):
            inputs: Any = good(kind)
            inside = inputs
            for part in path[:-1]:
                inside = inside[part]
            inside[path[-1]] = UNKNOWN
            assert reported(kind, inputs) == [], path

    def test_what_is_known_is_judged_beside_what_is_not(self) -> None:
        inputs = changed(DEPLOYMENT, "pod.initContainers", UNKNOWN)
        inputs["spec"]["template"]["spec"]["containers"] = [UNKNOWN, CONTAINER | {"image": "chat"}]
        assert [name for name, _ in reported(DEPLOYMENT, inputs)] == ["fixed-image"]

    def test_a_role_is_judged_before_its_member_is_known(self) -> None:
        assert [name for name, _ in reported(MEMBER, {"role": "roles/owner", "member": UNKNOWN})] == ["no-broad-role"]

    def test_a_limit_that_is_missing_is_wrong_whatever_the_request_will_be(self) -> None:
        inputs = changed(DEPLOYMENT, "container.resources", {"requests": AMOUNTS | {"cpu": UNKNOWN}, "limits": AMOUNTS})
        assert reported(DEPLOYMENT, inputs) == []
        del inputs["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        messages = [message for _, message in reported(DEPLOYMENT, inputs)]
        assert "cpu (request (known after the update), limit none)" in messages[0]


PLAIN, DEFAULT, PRIVATE = "on Google Cloud, unencrypted", "on Google Cloud", "in a cluster of one's own"
CLIENT = {"oauthClientId": "1-a.apps.googleusercontent.com", "oauthClientSecret": "GOCSPX-secret"}
OWN = {
    DEFAULT: GCP,
    PLAIN: GCP | {"exposure": "public-http"},
    "on Google Cloud with its own sign-in and Cloud Armor": GCP
    | CLIENT
    | {"allowedPeople": "example.org", "cloudArmor": "true"},
    "on Google Cloud with another client of IAP": GCP | CLIENT | {"identity": "iap", "domain": "chat.example.org"},
    "on Google Cloud with another GPU when one is out of stock": GCP | {"gpuFallback": "true", "image": "docker"},
    "on Google Cloud with l4x4": GCP | TOKEN | {"gemma": "l4x4", "image": "example.org/chat:1"},
    PRIVATE: KUBERNETES,
    "in a cluster with a server of Gemma": KUBERNETES
    | {"gemmaUrl": "http://gemma.example.org", "gemmaApiKey": "abcdefghij", "geminiApiKey": "AIzaabcdefghij"},
    **{f"in a cluster with {profile}": KUBERNETES | TOKEN | {"gemma": profile} for profile in PROFILES},
}


@functools.cache
def registered(title: str, *, preview: bool) -> list[Registered]:
    return seen(OWN[title], preview=preview).resources


class TestThisRepositorysProgram:
    @pytest.mark.parametrize("title", OWN)
    def test_keeps_its_own_rules(self, title: str) -> None:
        self.check(title, preview=False)

    @pytest.mark.parametrize("title", [DEFAULT, PLAIN, PRIVATE])
    def test_keeps_them_during_a_preview(self, title: str) -> None:
        self.check(title, preview=True)

    @staticmethod
    def check(title: str, *, preview: bool) -> None:
        resources = registered(title, preview=preview)
        assert any(resource.type == DEPLOYMENT for resource in resources)
        found = [entry for r in resources for entry in reported(r.type, r.inputs, name=r.name)]
        assert [message for rule, message in found if rule != "not-public"] == []

    def test_is_warned_about_where_it_is_public(self) -> None:
        def warned(title: str) -> list[str]:
            resources = registered(title, preview=False)
            return [rule for r in resources for rule, _ in reported(r.type, r.inputs)]

        assert warned(PLAIN) == ["not-public"]
        assert warned(DEFAULT) == []
        assert warned(PRIVATE) == []


class TestThePack:
    def test_starts_from_its_own_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        started: list[tuple[str, list[pulumi_policy.Policy]]] = []
        monkeypatch.setattr(pulumi_policy, "PolicyPack", lambda name, policies: started.append((name, policies)))
        monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in {"", str(ROOT)}])
        try:
            runpy.run_path(str(PACK), run_name="__main__")
            assert started == [("hybrid-chat", sys.modules["policies.rules"].POLICIES)]
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == "policies"]:
                del sys.modules[name]
        assert [policy.name for policy in started[0][1]] == [policy.name for policy in POLICIES]

    def test_runs_in_the_projects_own_environment(self) -> None:
        project = yaml.safe_load((PACK / "PulumiPolicy.yaml").read_text(encoding="utf-8"))
        own = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["runtime"]["options"]["virtualenv"]
        assert (PACK / project["runtime"]["options"]["virtualenv"]).resolve() == (ROOT / own).resolve()

    def test_says_of_each_rule_why_it_is_there(self) -> None:
        for policy in POLICIES:
            assert policy.description.endswith(".")
            assert "\n" not in policy.description
            assert (
                ", so that " in policy.description
                or ", because " in policy.description
                or ", which " in (policy.description)
            )
