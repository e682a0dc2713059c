"""Google's own descriptions of requests, and the check of a request against them.

`data/google_api.json` has what the stack and the fake of Google Cloud touch of the discovery documents that
`google-api-python-client` carries: methods, their addresses and parameters, and the schemas of the stack's requests
with each of their properties. `google_api_data` writes it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stacks.google_requests import Json, Request

FILE = Path(__file__).with_name("data") / "google_api.json"
_TYPES = {"string": str, "boolean": bool, "number": (int, float), "array": list, "object": dict}


@cache
def documents() -> dict[str, Any]:
    """Return the descriptions by API, such as ``compute.v1``."""
    return dict(json.loads(FILE.read_text(encoding="utf-8"))["documents"])


def address(request: Request) -> tuple[str, str]:
    """Return a request's HTTP method and its URL."""
    document = documents()[request.api]
    method = document["methods"][request.method]
    path = method["path"]
    for name, value in request.parameters.items():
        path = path.replace(f"{{+{name}}}", quote(str(value), safe="/:@")).replace(f"{{{name}}}", quote(str(value)))
    query = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in request.parameters.items()
        if method["parameters"].get(name, {}).get("location") == "query"
    }
    return method["verb"], f"{document['root']}{path}{'?' if query else ''}{urlencode(query, doseq=True)}"


def problems(request: Request, described: Json) -> Iterator[str]:
    """Yield what Google would refuse: unknown or missing names, types, values outside of an enum or a pattern."""
    document = described[request.api]
    method = document["methods"][request.method]
    for name, rule in method["parameters"].items():
        if (rule.get("required") or rule.get("needed")) and name not in request.parameters:
            yield f"{request.method}: the parameter {name} is missing"
    for name, value in request.parameters.items():
        if name not in method["parameters"]:
            yield f"{request.method}: there is no parameter {name}"
        else:
            yield from _wrong(value, method["parameters"][name], document, request.method, f"parameter {name}", set())
    if method["request"]:
        # A resource's name that is in the path, as in PATCH v1/{+name}, needs not be in the body too.
        in_path = {f"body.{name} is missing" for name in request.parameters if f"{{+{name}}}" in method["path"]}
        found = _wrong(request.body, {"$ref": method["request"]}, document, request.method, "body", set())
        yield from (problem for problem in found if problem not in in_path)
    elif request.body:
        yield f"{request.method} has no body"


def schemas_of(request: Request, document: Json) -> set[str]:
    """Return the schemas that a request's body touches."""
    touched: set[str] = set()
    method = document["methods"][request.method]
    if method["request"]:
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
