"""Google's own descriptions of the requests that the stack causes, and the check of a request against them.

`data/google_api.json` has what the stack's requests touch of the discovery documents that `google-api-python-client`
carries: methods, their parameters, and the schemas with each of their properties. To write it again, after a new kind
of resource or for a newer version: ``pip download --no-deps google-api-python-client``, then ``python -m
tests.stacks.google_api google_api_python_client-*.whl``.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.stacks.deployments import DEPLOYMENTS, MORE_DEPLOYMENTS
from tests.stacks.google_requests import REQUESTS, Json, Request
from tests.stacks.recording import ROOT, deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = ROOT / "tests/stacks/data/google_api.json"
_FOLDER = "googleapiclient/discovery_cache/documents"
_KEPT = ("type", "format", "enum", "pattern", "$ref", "readOnly", "deprecated", "location", "required", "repeated")
_TYPES = {"string": str, "boolean": bool, "number": (int, float), "array": list, "object": dict}


def problems(request: Request, documents: Json) -> Iterator[str]:
    """Yield what Google would refuse: unknown or missing names, types, values outside of an enum or a pattern."""
    document = documents[request.api]
    method = document["methods"][request.method]
    for name, rule in method["parameters"].items():
        if (rule.get("required") or rule.get("needed")) and name not in request.parameters:
            yield f"{request.method}: the parameter {name} is missing"
    for name, value in request.parameters.items():
        if name not in method["parameters"]:
            yield f"{request.method}: there is no parameter {name}"
        else:
            yield from _wrong(value, method["parameters"][name], document, request.method, f"parameter {name}", set())
    yield from _wrong(request.body, {"$ref": method["request"]}, document, request.method, "body", set())


def schemas_of(request: Request, document: Json) -> set[str]:
    """Return the schemas that a request's body touches."""
    touched: set[str] = set()
    method = document["methods"][request.method]
    list(_wrong(request.body, {"$ref": method["request"]}, document, request.method, "body", touched))
    return touched


def _wrong(value: object, rule: Json, document: Json, method: str, path: str, touched: set[str]) -> Iterator[str]:
    if "$ref" in rule:
        touched.add(rule["$ref"])
        yield from _wrong(value, document["schemas"][rule["$ref"]], document, method, path, touched)
        return
    yield from _wrong_value(value, rule, path)
    if isinstance(value, list) and "items" in rule:
        for number, item in enumerate(value):
            yield from _wrong(item, rule["items"], document, method, f"{path}[{number}]", touched)
    elif isinstance(value, dict):
        yield from _wrong_properties(value, rule, document, method, path, touched)


def _wrong_value(value: object, rule: Json, path: str) -> Iterator[str]:
    kind = rule.get("type", "object")
    if not _has_type(value, kind, rule.get("format", "")):
        yield f"{path} is {value!r}, not {kind}"
        return
    if rule.get("readOnly"):
        yield f"{path} is set by Google only"
    if rule.get("deprecated"):
        yield f"{path} is deprecated"
    if rule.get("enum") and value not in rule["enum"]:
        yield f"{path} is {value!r}: allowed are {', '.join(rule['enum'])}"
    if rule.get("pattern") and not re.fullmatch(rule["pattern"], str(value)):
        yield f"{path} is {value!r}, which does not match {rule['pattern']}"


def _has_type(value: object, kind: str, form: str) -> bool:
    if kind == "any":
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" or (kind == "string" and form in {"int64", "uint64"}):  # Pulumi's numbers are all floats
        return (kind == "string" and isinstance(value, str)) or (isinstance(value, int | float) and value == int(value))
    return isinstance(value, _TYPES[kind])


def _wrong_properties(
    value: Json, rule: Json, document: Json, method: str, path: str, touched: set[str]
) -> Iterator[str]:
    properties = rule.get("properties", {})
    for name, item in value.items():
        inner = properties.get(name) or rule.get("additionalProperties")
        if inner is None:
            yield f"{path} has no property {name}"
        else:
            yield from _wrong(item, inner, document, method, f"{path}.{name}", touched)
    for name, inner in properties.items():
        if name not in value and (inner.get("needed") is True or method in (inner.get("needed") or ())):
            yield f"{path}.{name} is missing"


def requests() -> Iterator[tuple[str, Request]]:
    """Yield every request of every deployment that the tests know, with the resource's URN."""
    for name, config in {**DEPLOYMENTS, **MORE_DEPLOYMENTS}.items():
        for resource in deploy(config).resources:
            if resource.type in REQUESTS:
                yield f"{name}: {resource.urn}", REQUESTS[resource.type](resource.inputs)


def _reduced(rule: Json) -> Json:
    """Leave out texts, and write what an annotation or a description says is required as ``needed``."""
    kept: Json = {key: rule[key] for key in _KEPT if key in rule}
    if required := (rule.get("annotations") or {}).get("required"):
        kept["needed"] = required
    elif str(rule.get("description", "")).startswith(("Required.", "[Required]")):
        kept["needed"] = True
    if str(rule.get("description", "")).startswith(("Output only.", "[Output Only]", "[Output only]")):
        kept["readOnly"] = True
    for key in ("items", "additionalProperties"):
        if key in rule:
            kept[key] = _reduced(rule[key])
    if "properties" in rule:
        kept["properties"] = {name: _reduced(inner) for name, inner in rule["properties"].items()}
    return kept


def _methods(resource: Json) -> Iterator[Json]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from _methods(inner)


def main(wheel: Path) -> None:
    """Write the data file."""
    documents: Json = {}
    touched: dict[str, set[str]] = {}
    used: dict[str, set[str]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for _, request in requests():
            if request.api not in documents:
                documents[request.api] = _document(json.loads(archive.read(f"{_FOLDER}/{request.api}.json")))
            used.setdefault(request.api, set()).add(request.method)
            touched.setdefault(request.api, set()).update(schemas_of(request, documents[request.api]))
    for api, document in documents.items():
        document["methods"] = {name: document["methods"][name] for name in sorted(used[api])}
        document["schemas"] = {name: document["schemas"][name] for name in sorted(touched[api])}
    version = f"google-api-python-client {wheel.name.split('-')[1]}"
    text = json.dumps({"source": version, "documents": dict(sorted(documents.items()))}, separators=(",", ":"))
    # A line for each method and schema, so that a change can be read.
    FILE.write_text(re.sub(r'(?<=[{,])(?="[\w.]+":\{"(?:type|request)")', "\n", text) + "\n", encoding="utf-8")


def _document(document: Json) -> Json:
    methods = {
        method["id"]: {
            "request": method["request"]["$ref"],
            "parameters": {name: _reduced(rule) for name, rule in method.get("parameters", {}).items()},
        }
        for method in _methods(document)
        if "request" in method
    }
    schemas = {name: _reduced(rule) for name, rule in document["schemas"].items()}
    return {"revision": document["revision"], "methods": methods, "schemas": schemas}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
