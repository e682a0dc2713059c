"""Checks custom objects as an API server does: against their kind's CustomResourceDefinition.

An object is valid if it fits the schema with the defaults filled in, has no field that the schema does not know (the
API server would drop it), and fulfils the CEL rules. The definitions are kept in ``data/custom_resources.json``, with
source, version and date; to update them::

    python -m tests.stacks.custom_resources FOLDER   # of clones named OWNER+NAME
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import celpy
import jsonschema
import yaml
from celpy.adapter import json_to_cel
from celpy.celtypes import BoolType, DurationType, ListType, MapType, StringType, Value
from celpy.evaluation import bool_eq, bool_ne

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

FILE = Path(__file__).with_name("data") / "custom_resources.json"


@dataclass(frozen=True)
class Source:
    """Where a definition is published.

    Attributes:
        repository: on GitHub.
        revision: tag or commit.
        path: of the file.
        note: what a reader should know about it.
    """

    repository: str
    revision: str
    path: str
    note: str = ""


_GATEWAY_API = ("kubernetes-sigs/gateway-api", "v1.6.1")
_GKE = ("GoogleCloudPlatform/gke-gateway-api", "fc40d606a5332f11a8883f85caff66b63c4e88ef")
SOURCES = {
    "gateway.networking.k8s.io/v1 Gateway": Source(
        *_GATEWAY_API, "config/crd/standard/gateway.networking.k8s.io_gateways.yaml"
    ),
    "gateway.networking.k8s.io/v1 HTTPRoute": Source(
        *_GATEWAY_API, "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"
    ),
    "inference.networking.k8s.io/v1 InferencePool": Source(
        "kubernetes-sigs/gateway-api-inference-extension",
        "v1.6.0",
        "config/crd/bases/inference.networking.k8s.io_inferencepools.yaml",
    ),
    "networking.gke.io/v1 GCPBackendPolicy": Source(*_GKE, "config/crd/networking.gke.io_gcpbackendpolicies.yaml"),
    "networking.gke.io/v1 GCPGatewayPolicy": Source(*_GKE, "config/crd/networking.gke.io_gcpgatewaypolicies.yaml"),
    "networking.gke.io/v1 HealthCheckPolicy": Source(*_GKE, "config/crd/networking.gke.io_healthcheckpolicies.yaml"),
    "leaderworkerset.x-k8s.io/v1 LeaderWorkerSet": Source(
        "kubernetes-sigs/lws", "v0.10.0", "config/crd/bases/leaderworkerset.x-k8s.io_leaderworkersets.yaml"
    ),
    "monitoring.googleapis.com/v1 PodMonitoring": Source(
        "GoogleCloudPlatform/prometheus-engine",
        "2ffde4ec7b7e4ca1da4e32f36b692945b78a60e4",
        "charts/operator/crds/monitoring.googleapis.com_podmonitorings.yaml",
    ),
    "cloud.google.com/v1 ComputeClass": Source(
        "datreeio/CRDs-catalog",
        "77e49833da1a723ff2f1ec34251c5eafc8c75daa",
        "cloud.google.com/computeclass_v1.json",
        "Google publishes only a documentation page; this is a copy of the definition from a user's cluster",
    ),
}
"""apiVersion and kind -> where its definition comes from."""
DOCUMENTED = {"autoscaling.gke.io/v1beta1 AutoscalingMetric": "autoscaling_metric.yaml"}
"""The same of a kind without a published definition: a file in ``data`` with one worked out from documentation."""


@functools.cache
def definitions() -> dict[str, Json]:
    """Return apiVersion and kind -> the schema of ``spec``."""
    data = json.loads(FILE.read_text(encoding="utf-8"))
    return {kind: entry["schema"] for kind, entry in data.items()}


def problems(document: Json) -> list[str]:
    """Return what an API server would reject in an object, or drop from it; empty: the object is valid."""
    kind = f"{document.get('apiVersion')} {document.get('kind')}"
    if kind not in definitions():
        return [f"{kind} has no definition in {FILE.name}"]
    schema = definitions()[kind]
    spec = with_defaults(document.get("spec"), schema)
    wrong = [
        f"spec{''.join(f'[{part}]' if isinstance(part, int) else f'.{part}' for part in error.absolute_path)}: "
        f"{error.message}"
        for error in _validator(kind).iter_errors(spec)
    ]
    # As in the API server, the rules run only on values that fit the schema.
    return wrong or list(_broken_rules(spec, schema, "spec"))


def with_defaults(value: Any, schema: Json) -> Any:
    """Return a copy of a value with the schema's defaults."""
    if isinstance(value, dict):
        filled = dict(value)
        properties = schema.get("properties", {})
        for name, inner in properties.items():
            if name not in filled and "default" in inner:
                filled[name] = deepcopy(inner["default"])
        others = schema.get("additionalProperties")
        rest = others if isinstance(others, dict) else {}
        return {name: with_defaults(item, properties.get(name, rest)) for name, item in filled.items()}
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items", {})) for item in value]
    return value


@functools.cache
def _validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(_closed(definitions()[kind]), format_checker=_FORMATS)


_FORMATS = jsonschema.FormatChecker(["ipv4", "ipv6"])


@_FORMATS.checks("duration", raises=ValueError)
def _is_duration(value: object) -> bool:
    """Return whether it is a duration as Go writes it, 1m30s; JSON Schema's own format is another one."""
    return not isinstance(value, str) or DurationType(value) is not None


def _closed(schema: Any) -> Any:
    """Return a structural schema of Kubernetes as JSON Schema that rejects unknown fields."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items() if key not in {"properties", "default"}}
    if "properties" in schema:
        closed["properties"] = {name: _closed(inner) for name, inner in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and schema.get("type") == "object":
            closed.setdefault("additionalProperties", False)
    return closed


def _broken_rules(value: Any, schema: Json, path: str) -> Iterator[str]:
    yield from _repeated_keys(value, schema, path)
    for each in schema.get("x-kubernetes-validations", []):
        # A rule about the object that is replaced does not apply to a new one.
        if "oldSelf" not in each["rule"] and not _is_fulfilled(each["rule"], _in_cel(value, schema)):
            yield f"{path}: {each.get('message') or each['rule']}"
    if isinstance(value, dict):
        others = schema.get("additionalProperties")
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, others if isinstance(others, dict) else {})
            yield from _broken_rules(item, inner, f"{path}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _broken_rules(item, schema.get("items", {}), f"{path}[{number}]")


def _repeated_keys(value: Any, schema: Json, path: str) -> Iterator[str]:
    keys = schema.get("x-kubernetes-list-map-keys")
    if keys and isinstance(value, list):
        seen = [json.dumps([item.get(key) for key in keys]) for item in value]
        yield from (f"{path}: {key} is repeated" for key in sorted(set(seen)) if seen.count(key) > 1)


def _in_cel(value: Any, schema: Json) -> Value:
    if isinstance(value, dict):
        others = schema.get("additionalProperties")
        rest = others if isinstance(others, dict) else {}
        properties = schema.get("properties", {})
        return MapType({StringType(name): _in_cel(item, properties.get(name, rest)) for name, item in value.items()})
    if isinstance(value, list):
        return ListType([_in_cel(item, schema.get("items", {})) for item in value])
    return DurationType(value) if schema.get("format") == "duration" else json_to_cel(value)


def _is_fulfilled(rule: str, value: Value) -> bool:
    try:
        return bool(_program(rule).evaluate({"self": value}))
    except celpy.CELEvalError as error:
        raise ValueError(f"The rule {rule} cannot be evaluated: {error}") from error


@functools.cache
def _program(rule: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(rule), functions={"_==_": _equal, "_!=_": _unequal})


# In Kubernetes, values of different types can be compared, and are unequal (a port is a number or a name).
def _equal(left: Value, right: Value) -> Value:
    return bool_eq(left, right) if type(left) is type(right) else BoolType(False)


def _unequal(left: Value, right: Value) -> Value:
    return bool_ne(left, right) if type(left) is type(right) else BoolType(True)


def _without_texts(schema: Any) -> Any:
    """Leave out descriptions, which are most of a definition."""
    if isinstance(schema, dict):
        return {
            key: {name: _without_texts(inner) for name, inner in value.items()}
            if key == "properties"
            else _without_texts(value)
            for key, value in schema.items()
            if key not in {"description", "reason"}
        }
    return [_without_texts(each) for each in schema] if isinstance(schema, list) else schema


def _git(folder: Path, source: Source, *arguments: str) -> str:
    clone = folder / source.repository.replace("/", "+")
    command = ["git", f"--git-dir={clone / 'repo' if (clone / 'repo').is_dir() else clone / '.git'}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(folder: Path) -> None:
    """Write the data file from clones of the repositories."""
    data: Json = {}
    for kind, source in SOURCES.items():
        document = yaml.safe_load(_git(folder, source, "show", f"{source.revision}:{source.path}"))
        if "openAPIV3Schema" in str(document):
            version = kind.partition(" ")[0].rpartition("/")[2]
            versions = {each["name"]: each["schema"]["openAPIV3Schema"] for each in document["spec"]["versions"]}
            document = versions[version]
        data[kind] = {
            "source": f"https://github.com/{source.repository}/blob/{source.revision}/{source.path}",
            "date": _git(folder, source, "log", "-1", "--format=%cs", source.revision).strip(),
            **({"note": source.note} if source.note else {}),
            "schema": _without_texts(document["properties"]["spec"]),
        }
    for kind, file in DOCUMENTED.items():
        data[kind] = yaml.safe_load(FILE.with_name(file).read_text(encoding="utf-8"))
    # A line for each kind, so that a change can be read.
    lines = (f"{json.dumps(kind)}:{json.dumps(entry, separators=(',', ':'))}" for kind, entry in data.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
