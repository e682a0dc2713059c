"""Which of Google's methods a URL is, from the discovery documents."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.stacks.google_api import documents

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One request to an API.

    Attributes:
        api: ``compute.v1``.
        method: ``compute.networks.insert``.
        path: of the resource or collection, without the API's version and a verb after a colon:
            ``projects/p/global/networks``.
        parameters: of path and query.
        body: as JSON.
        caller: the account that the token is of.
    """

    api: str
    method: str
    path: str
    parameters: Json = field(default_factory=dict)
    body: Json = field(default_factory=dict)
    caller: str = ""

    @property
    def service(self) -> str:
        """The API's name in a project's list."""
        return f"{self.api.partition('.')[0]}.googleapis.com"

    @property
    def verb(self) -> str:
        """The last part of the method: ``insert``."""
        return self.method.rpartition(".")[2]

    @property
    def project(self) -> str:
        """The ID of the project that the request names; empty: none."""
        found = re.match(r"projects/([^/:]+)", self.path)
        return found[1] if found else str(self.parameters.get("project") or self.body.get("producerProjectId") or "")


@dataclass(frozen=True)
class _Route:
    api: str
    method: str
    verb: str
    path: str
    pattern: re.Pattern[str]
    rules: Mapping[str, Json]


@cache
def _routes() -> tuple[_Route, ...]:
    routes = []
    for api, document in documents().items():
        for name, method in document["methods"].items():
            pattern = re.escape(document["root"].partition("://")[2])
            for part in re.split(r"(\{[^}]+\})", method["path"]):
                if not part.startswith("{"):
                    pattern += re.escape(part)
                    continue
                parameter = part.strip("{}+")
                rule = method["parameters"][parameter].get("pattern", "").strip("^$")
                inner = rule if part.startswith("{+") and rule else "[^/:]+"
                pattern += f"(?P<{parameter}>{inner})"
            routes.append(_Route(api, name, method["verb"], method["path"], re.compile(pattern), method["parameters"]))
    # The longest first: the name of a resource would match ".../repositories/r:getIamPolicy" too.
    return tuple(sorted(routes, key=lambda route: -len(route.path)))


def call_of(verb: str, url: str, body: Json, caller: str) -> Call | None:
    """Return the call that a request is; `None`: no API that the fake answers has it."""
    parts = urlsplit(url)
    address = unquote(f"{parts.netloc}{parts.path}")
    for route in _routes():
        if route.verb != verb or not (found := route.pattern.fullmatch(address)):
            continue
        query: Json = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name not in {"alt", "prettyPrint"}:
                query[name] = _as_type(value, route.rules.get(name, {}))
        path = re.sub(r"^[^/]+/(compute/v1/|storage/v1/|v\d+/)", "", address)
        # A method of its own such as ":setIamPolicy" is not part of the resource's name.
        path = re.sub(r"(:[a-zA-Z]+|(?<=[^/])/iam|/serverConfig|/billingInfo|/wait|/config)$", "", path)
        return Call(route.api, route.method, path, found.groupdict() | query, body, caller)
    return None


def _as_type(value: str, rule: Json) -> Any:
    if rule.get("type") == "boolean":
        return value == "true"
    return int(value) if rule.get("type") == "integer" else value
