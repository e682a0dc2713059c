"""Write `data/google_api.json` again, after a new kind of resource or for a newer version of Google's descriptions.

``pip download --no-deps google-api-python-client``, then ``python -m tests.stacks.google_api_data
google_api_python_client-*.whl``.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fakes.google_cloud.methods import WITH_A_BODY, WITHOUT_A_BODY
from tests.stacks.deployments import DEPLOYMENTS, MORE_DEPLOYMENTS
from tests.stacks.google_api import FILE, schemas_of
from tests.stacks.google_requests import REQUESTS, Json, Request
from tests.stacks.recording import deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = "googleapiclient/discovery_cache/documents"
_KEPT = ("type", "format", "enum", "pattern", "$ref", "readOnly", "deprecated", "location", "required", "repeated")


def requests() -> Iterator[tuple[str, Request]]:
    """Yield every request of every deployment that the tests know, with the resource's URN."""
    for name, config in {**DEPLOYMENTS, **MORE_DEPLOYMENTS}.items():
        for resource in deploy(config).resources:
            if resource.type in REQUESTS:
                yield f"{name}: {resource.urn}", REQUESTS[resource.type](resource.inputs)
    for request in WITH_A_BODY:
        yield f"the fake of Google Cloud: {request.method}", request


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
        for api, methods in WITHOUT_A_BODY.items():
            if api not in documents:
                documents[api] = _document(json.loads(archive.read(f"{_FOLDER}/{api}.json")))
            used.setdefault(api, set()).update(methods)
            touched.setdefault(api, set())
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
            "request": method.get("request", {}).get("$ref", ""),
            "verb": method["httpMethod"],
            "path": method["path"],
            "parameters": {name: _reduced(rule) for name, rule in method.get("parameters", {}).items()},
        }
        for method in _methods(document)
    }
    schemas = {name: _reduced(rule) for name, rule in document["schemas"].items()}
    root = document["rootUrl"] + document["servicePath"]
    return {"revision": document["revision"], "root": root, "methods": methods, "schemas": schemas}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
