"""Runs the program against a monitor that records the registered resources: no engine, no cloud."""

from __future__ import annotations

import asyncio
import functools
import runpy
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pulumi
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto.source_pb2 import StackTrace
from pulumi.runtime.settings import _shutdown_callbacks, get_root_resource, reset_options, set_root_resource

from stacks.components.image_source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

ROOT = Path(__file__).resolve().parents[2]
# How Pulumi marks a secret: pulumi's `sdk/python/lib/pulumi/runtime/rpc.py`, _special_sig_key and _special_secret_sig.
_SIGNATURE, _IS_SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
NUMBER = "123456789012"
RUNNER = "runner@example.org"
"""The account that runs Pulumi. A project whose ID begins with `lone` belongs to no organization, with `foldered` to a
folder; the record of one that begins with `hidden` cannot be read before the cluster exists."""
HIDDEN = "googleapi: Error 403: The caller does not have permission, forbidden"
CONTEXT, CLUSTER_ID = "kind-chat", "7d3c-cluster"
"""The current context of the kubeconfig, and the ID of that cluster's namespace kube-system."""
ADDRESS, INTERNAL_ADDRESS = "203.0.113.9", "10.10.0.9"
BILLING = "01AB23-45CD67-89EF01"
"""The project's billing account."""


@dataclass(frozen=True)
class Registered:
    """One registered resource.

    Attributes:
        inputs: as the provider gets them, secrets unwrapped.
        secrets: the paths of inputs that are secret ("spec.template").
    """

    urn: str
    type: str
    name: str
    inputs: dict[str, Any]
    secrets: frozenset[str]
    request: Any

    @property
    def parent(self) -> str:
        return self.request.parent.rpartition("::")[2]

    @property
    def provider(self) -> str:
        """The explicit provider's name; empty: the default one."""
        return self.request.provider.split("::")[-2] if self.request.provider else ""

    @property
    def dependencies(self) -> set[str]:
        return set(self.request.dependencies)

    @property
    def is_custom(self) -> bool:
        return bool(self.request.custom)

    def __getitem__(self, path: str) -> Any:
        """Return an input by its path: `["spec.template.spec.containers.0.image"]`."""
        value: Any = self.inputs
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
        return value


@dataclass
class Deployed:
    """The resources that one run of a program registered, in order."""

    resources: list[Registered] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    secret_outputs: set[str] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def of_type(self, kind: str) -> list[Registered]:
        """Return the resources whose type ends with `kind`: `Deployment`, `firestore/database:Database`."""
        return [
            resource
            for resource in self.resources
            if resource.type.endswith((f":{kind}", f"/{kind}")) or resource.type == kind
        ]

    def one(self, kind: str, name: str = "") -> Registered:
        """Return the only resource of a type (with a name in Kubernetes, in Google Cloud, or in Pulumi)."""
        found = [r for r in self.of_type(kind) if not name or name in _names(r)]
        assert len(found) == 1, f"{len(found)} of {kind} {name}: {[(r.type, r.name) for r in self.of_type(kind)]}"
        return found[0]

    def by_urn(self, urn: str) -> Registered:
        return next(resource for resource in self.resources if resource.urn == urn)

    def needs(self, later: Registered, earlier: Registered) -> bool:
        """Whether `earlier` is created before `later` and deleted after it: by dependency or provider."""
        return earlier.urn in self._before(later)

    def _before(self, resource: Registered) -> set[str]:
        by_urn = {other.urn: other for other in self.resources}
        before: set[str] = set()
        following = [resource]
        while following:
            request = following.pop().request
            # Pulumi has replaced each component among the dependencies with its children.
            needed = {*request.dependencies, request.provider.rpartition("::")[0]} - before
            before |= needed
            following += [by_urn[urn] for urn in needed if urn in by_urn]
        return before


def _names(resource: Registered) -> set[str]:
    metadata = resource.inputs.get("metadata")
    inside = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return {resource.name, inside, str(resource.inputs.get("name", ""))}


class CloudMocks(mocks.Mocks):
    """Responds as the providers do: with the inputs, and outputs of the cloud, which are unknown in a preview."""

    def __init__(self, *, preview: bool, remembered: Mapping[str, str]) -> None:
        self.preview = preview
        self.remembered = remembered
        self.calls: list[str] = []

    def call(self, args: mocks.MockCallArgs) -> Any:
        self.calls.append(args.token)
        if args.token == "gcp:organizations/getClientOpenIdUserInfo:getClientOpenIdUserInfo":
            return {"email": RUNNER}
        assert args.token == "gcp:organizations/getProject:getProject", args.token
        project = args.args["projectId"]
        if project.startswith("hidden") and self.calls.count(args.token) == 1:
            return {}, [("projectId", HIDDEN)]
        organization = "" if project.startswith(("lone", "foldered")) else "1234567890"
        folder = "987654" if project.startswith("foldered") else ""
        return {
            "number": NUMBER,
            "projectId": project,
            "orgId": organization,
            "folderId": folder,
            "billingAccount": BILLING,
        }

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        known = dict(args.inputs)
        if args.typ == "pulumi:index:Stash":  # known in a preview too, once it exists
            if args.name in self.remembered:
                return f"{args.name}-id", known | {"output": self.remembered[args.name]}
            return "", known | {"output": rpc.UNKNOWN if self.preview else known["input"]}
        computed = _COMPUTED.get(args.typ, lambda _: {})(args.inputs)
        if self.preview:
            return "", known | dict.fromkeys(computed, rpc.UNKNOWN)
        identifier = _IDS.get(args.typ, lambda _: f"{args.name}-id")(args.inputs)
        return identifier, known | computed


# The ID of a resource that others name by it, as Google's provider has it.
_IDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "gcp:compute/network:Network": lambda it: f"projects/{it['project']}/global/networks/{it['name']}",
    "gcp:compute/subnetwork:Subnetwork": lambda it: (
        f"projects/{it['project']}/regions/{it['region']}/subnetworks/{it['name']}"
    ),
    "gcp:serviceaccount/account:Account": lambda it: (
        f"projects/{it['project']}/serviceAccounts/{it['accountId']}@{it['project']}.iam.gserviceaccount.com"
    ),
}


def _account(inputs: Mapping[str, Any]) -> dict[str, Any]:
    email = f"{inputs['accountId']}@{inputs['project']}.iam.gserviceaccount.com"
    return {"email": email, "member": f"serviceAccount:{email}"}


def _namespace(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {} if "metadata" in inputs else {"metadata": {"uid": CLUSTER_ID}}


def _load_balancer(inputs: Mapping[str, Any]) -> dict[str, Any]:
    if inputs["spec"]["type"] != "LoadBalancer":
        return {}
    return {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}}


_COMPUTED: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "gcp:container/cluster:Cluster": lambda _: {
        "endpoint": "198.51.100.9",
        "masterAuth": {"clusterCaCertificate": "Q0VSVA=="},
        "privateClusterConfig": {"privateEndpoint": "10.10.0.2"},
    },
    "gcp:serviceaccount/account:Account": _account,
    "gcp:compute/globalAddress:GlobalAddress": lambda _: {"address": ADDRESS},
    "gcp:compute/address:Address": lambda _: {"address": INTERNAL_ADDRESS},
    "gcp:monitoring/notificationChannel:NotificationChannel": lambda inputs: {
        "name": f"projects/{inputs['project']}/notificationChannels/1"
    },
    "gcp:projects/iAMCustomRole:IAMCustomRole": lambda inputs: {
        "name": f"projects/{inputs['project']}/roles/{inputs['roleId']}"
    },
    "random:index/randomString:RandomString": lambda _: {"result": "x7k2p9"},
    "random:index/randomPassword:RandomPassword": lambda _: {"result": "s3cr3t-of-the-cookies"},
    "command:local:Command": lambda _: {"stdout": "sha256:" + "a" * 64},
    "docker:index/image:Image": lambda inputs: {
        "repoDigest": f"{inputs['imageName'].rpartition(':')[0]}@sha256:{'b' * 64}"
    },
    "kubernetes:core/v1:Namespace": _namespace,
    "kubernetes:core/v1:Service": _load_balancer,
}


class RecordingMonitor(mocks.MockMonitor):
    """Records each registration, and rejects a duplicate name, as the engine would."""

    def __init__(self, cloud: CloudMocks, deployed: Deployed) -> None:
        super().__init__(cloud)
        self.deployed = deployed

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        response = super().RegisterResource(request)
        if request.type == "pulumi:pulumi:Stack":
            return response
        assert response.urn not in {resource.urn for resource in self.deployed.resources}, (
            f"Duplicate URN {response.urn}"
        )
        secrets: set[str] = set()
        inputs = _plain(MessageToDict(request.object), "", secrets)
        self.deployed.resources.append(
            Registered(response.urn, request.type, request.name, inputs, frozenset(secrets), request)
        )
        return response


def _plain(value: Any, path: str, secrets: set[str]) -> Any:
    """Return an unwrapped property, and add the paths of its secrets to `secrets`."""
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _IS_SECRET:
            secrets.add(path)
            return _plain(value["value"], path, secrets)
        return {key: _plain(item, f"{path}.{key}".lstrip("."), secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, f"{path}.{number}".lstrip("."), secrets) for number, item in enumerate(value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def run(
    program: Callable[[], object],
    config: Mapping[str, str] | None = None,
    *,
    stack: str = "dev",
    preview: bool = False,
    secret_keys: tuple[str, ...] = (),
    into: Deployed | None = None,
    remembered: Mapping[str, str] | None = None,
) -> Deployed:
    """Run a program as the engine would, and return what it registered.

    Args:
        into: filled even if the program fails.
        remembered: what earlier runs stored (name of a `pulumi.Stash` -> value).
    """
    deployed = Deployed() if into is None else into
    cloud = CloudMocks(preview=preview, remembered=remembered or {})
    with _event_loop(), _no_stack_traces():
        set_root_resource(None)
        reset_options()
        mocks.set_mocks(
            cloud, project="hybrid-chat", stack=stack, preview=preview, monitor=RecordingMonitor(cloud, deployed)
        )
        pulumi.runtime.set_all_config(dict(config or {}), list(secret_keys))
        mocks.test(lambda: program() and None)()
        deployed.calls = cloud.calls
        root = get_root_resource()
        assert root is not None
        for name, value in root.outputs.items():
            deployed.outputs[name], is_secret = _resolved(value)
            if is_secret:
                deployed.secret_outputs.add(name)
    return deployed


def _no_stack_traces() -> AbstractContextManager[object]:
    """Send the engine no stack trace of each resource: a seventh of the CPU of a run, and nothing here reads them."""
    return mock.patch.object(pulumi.runtime.resource, "_get_stack_trace", StackTrace)


@contextmanager
def _event_loop() -> Iterator[None]:
    """Give Pulumi its own event loop, independent of other tests, and close all that it opens."""
    threads_loops: list[asyncio.AbstractEventLoop] = []

    def with_a_loop() -> None:  # the monitor needs one in each calling thread, and would not close it
        threads_loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(threads_loops[-1])

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(max_workers=4, initializer=with_a_loop)
    loop.set_default_executor(executor)
    has_ended = False
    try:
        yield
        has_ended = True
    finally:
        loop.run_until_complete(_shutdown_callbacks())
        executor.shutdown()
        for each in (loop, *threads_loops):
            if not has_ended:  # else none waits; to look for one takes an eighth of a run
                _cancel_tasks(each)
            each.close()
        asyncio.set_event_loop(None)


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what waits for the rest of a program that failed: asyncio would complain in the middle of a later test."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))


def _resolved(value: Any) -> tuple[Any, bool]:
    output = pulumi.Output.from_input(value)

    async def both() -> tuple[Any, bool]:
        known = await output.is_known()
        return (await output.future(with_unknowns=True)) if known else rpc.UNKNOWN, await output.is_secret()

    return mocks._sync_await(both())


SECRETS = ("oauthClientSecret", "huggingFaceToken", "geminiApiKey", "gemmaApiKey", "embeddingsApiKey")


_source = functools.cache(Source.of)  # the checkout's, which costs a sixth of a run


def deploy(
    config: Mapping[str, str] | None = None,
    *,
    stack: str = "dev",
    preview: bool = False,
    into: Deployed | None = None,
    remembered: Mapping[str, str] | None = None,
    context: str = CONTEXT,
) -> Deployed:
    """Run this repository's program; keys without a namespace are the project's, and secret ones are marked."""
    keys = {key if ":" in key else f"hybrid-chat:{key}": value for key, value in (config or {}).items()}
    secret_keys = tuple(f"hybrid-chat:{key}" for key in SECRETS)
    with (
        mock.patch("stacks.platforms.kubernetes_cluster.current_context", return_value=context),
        mock.patch.object(Source, "of", _source),
    ):
        return run(
            lambda: runpy.run_path(str(ROOT / "__main__.py")),
            keys,
            stack=stack,
            preview=preview,
            secret_keys=secret_keys,
            into=into,
            remembered=remembered,
        )


@functools.cache
def _seen(config: frozenset[tuple[str, str]], stack: str, preview: bool) -> Deployed:
    return deploy(dict(config), stack=stack, preview=preview)


def seen(config: Mapping[str, str], *, stack: str = "dev", preview: bool = False) -> Deployed:
    """Return a run with these settings, shared by all tests of the process that only read it."""
    return _seen(frozenset(config.items()), stack, preview)


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) for every scalar inside a property."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from walk(item, f"{path}.{number}".lstrip("."))
    else:
        yield path, value
