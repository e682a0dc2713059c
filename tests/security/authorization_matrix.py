"""The authorization matrix: who may call each route, and what no schema says about it.

The tests take the routes from the app and from its OpenAPI schema; a route that is not in `MATRIX` fails them. In a
query or body, ``{conversation}``, ``{question}``, ``{answer}``, ``{cursor}`` and ``{word}`` stand for the data of the
user whose data are requested (`tests.security.user_data`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, Route, WebSocketRoute

from chatapp.ui.gradio_compat import AllowedRoutes
from tests.chatapp.imports.exports import encoded, small_chat
from tests.fakes.pictures import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fastapi import FastAPI
    from starlette.routing import BaseRoute

WEBSOCKET = "WEBSOCKET"


class Access(StrEnum):
    """Who may call a route."""

    PUBLIC = "every client, with the same response"
    USER = "authenticated users; the response depends on the user only"
    READ = "the owner of the id in the request"
    WRITE = "the owner of what it changes"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The classification of a route, and a valid request to it.

    Attributes:
        query: the query string.
        body: sent as JSON, or as a file if it is bytes.
        by_id: whether the request names data of their owner, so that every other user gets 404.
        statuses: what the owner gets.
        returns_data: whether the response contains private data of the owner.
    """

    access: Access
    query: str = ""
    body: Mapping[str, Any] | bytes | None = None
    by_id: bool = False
    statuses: tuple[int, ...] = (200,)
    returns_data: bool = False


def public(query: str = "", **options: Any) -> Rule:
    return Rule(access=Access.PUBLIC, query=query, **options)


def user(query: str = "", **options: Any) -> Rule:
    return Rule(access=Access.USER, query=query, **options)


def read(query: str = "", **options: Any) -> Rule:
    return Rule(access=Access.READ, query=query, **{"by_id": True, "returns_data": True} | options)


def write(body: Mapping[str, Any] | bytes | None = None, **options: Any) -> Rule:
    return Rule(access=Access.WRITE, body=body, **{"by_id": True} | options)


PROFILE = {"personas": [], "allowFallback": True, "revision": 2}
# The ids that the data of the owner have in the other chat: an importer gets a copy, whatever they are.
EXPORT = encoded([small_chat()])
QUESTION = {"text": "Hello", "model": "gemma"}
ONE = "/conversations/{conversation_id}"
# Only a chat with SQLite keeps files.
FILE_ROUTES = (
    ("GET", f"{ONE}/documents/{{document_id}}/file"),
    ("GET", "/collections/{collection_id}/documents/{library_document_id}/file"),
)

API_ROUTES: dict[tuple[str, str], Rule] = {
    ("GET", "/state"): user("conversation={conversation}", returns_data=True),
    ("GET", "/models"): user(),
    ("GET", "/me"): user(),
    ("GET", "/take-along"): user(),
    ("GET", "/conversations"): user("cursor={cursor}&limit=1", returns_data=True),
    ("GET", "/library"): user(returns_data=True),
    ("GET", "/search"): user("q={word}", returns_data=True),
    ("POST", "/export/everything.json"): user(body={}, returns_data=True),
    ("POST", "/export/everything.md.zip"): user(body={}),
    # By id.
    ("GET", f"{ONE}/events"): read(),
    ("GET", f"{ONE}/messages"): read("before={answer}"),
    ("GET", f"{ONE}/images/{{image_id}}"): read(),
    ("GET", f"{ONE}/documents/{{document_id}}"): read(),
    ("GET", "/collections/{collection_id}/documents/{library_document_id}"): read(),
    **dict.fromkeys(FILE_ROUTES, read()),
    ("POST", "/export/{conversation_id}.json"): read(body={}),
    ("POST", "/export/{conversation_id}.md"): read(body={}),
    ("POST", f"{ONE}/shares"): write({"days": 1}),
    ("GET", "/shares"): user(returns_data=True),
    ("DELETE", "/shares/{share_id}"): write(),
    ("PATCH", ONE): write(
        {"title": "mine now", "pinned": True, "archived": True, "branch": "{answer}"}
        | {"collection": "{collection_id}", "folder": "{folder_id}"}
    ),
    ("POST", f"{ONE}/turns"): write(QUESTION | {"follows": "{answer}"}),
    ("POST", f"{ONE}/answers"): write({"question": "{question}", "model": "gemma"}),
    ("POST", f"{ONE}/continuations"): write({"message": "{answer}", "model": "gemma"}, statuses=(200, 409)),
    ("POST", f"{ONE}/stop"): write({}),
    ("PUT", f"{ONE}/messages/{{message_id}}/feedback"): write({"feedback": "down"}),
    ("PATCH", "/collections/{collection_id}"): write({"name": "mine now"}),
    ("POST", "/collections/{collection_id}/documents"): Rule(
        access=Access.WRITE, query="name=notes.txt", body=b"A text of the caller.", by_id=True
    ),
    ("DELETE", "/collections/{collection_id}/documents/{library_document_id}"): write(),
    ("PATCH", "/folders/{folder_id}"): write({"name": "mine now", "collection": "{collection_id}"}),
    ("DELETE", "/folders/{folder_id}"): write(),
    ("DELETE", "/collections/{collection_id}"): write(),
    ("DELETE", ONE): write(),
    ("POST", f"{ONE}/restore"): write({}),
    # These change the caller's data, whatever the request names; the tests compare the owner's data afterwards.
    ("POST", "/conversations"): write(QUESTION | {"question": "{question}", "retry": True}, by_id=False),
    ("POST", "/images"): write(plain(), by_id=False),
    ("POST", "/documents"): Rule(access=Access.WRITE, query="name=notes.txt", body=b"A text of the caller."),
    ("POST", "/collections"): write({"name": "of the caller"}, by_id=False),
    ("POST", "/folders"): write({"name": "of the caller"}, by_id=False),
    ("POST", "/imports"): write(EXPORT, by_id=False),
    ("PUT", "/profile"): write(PROFILE, by_id=False, statuses=(200, 409)),
    ("POST", "/take-along"): write({}, by_id=False),
    ("DELETE", "/take-along"): write(by_id=False),
    ("POST", "/delete-everything"): write({"confirm": True}, by_id=False),
    ("GET", "/sign-ins"): user(),
    ("DELETE", "/sign-ins/{session_id}"): write(statuses=(404,)),
    ("POST", "/sign-out-elsewhere"): write({}, by_id=False),
    ("POST", "/sign-out"): write({}, by_id=False),
    ("POST", "/sign-out-everywhere"): write({}, by_id=False),
    ("GET", "/local-models"): user(),
    ("POST", "/local-models/{model_id}/download"): user(body={"acceptLicence": False}, statuses=(409,)),
    ("POST", "/local-models/{model_id}/cancel"): user(body={}, statuses=(409,)),
    ("DELETE", "/local-models/{model_id}"): user(statuses=(409,)),
}

# Pages, files and the health check, which the OpenAPI schema leaves out.
OTHER_ROUTES = {
    ("GET", "/healthz"): public(),
    ("GET", "/page/{requested_version}/{path:path}"): public(),
    ("GET", "/robots.txt"): public(),
    ("GET", "/manifest.webmanifest"): public(),
    ("GET", "/service-worker.js"): public(),
    # With a wrong secret; test_isolation.py opens a link. With IAP, who is not signed in does not get here.
    ("GET", "/shared/{token}"): public(statuses=(404, 401, 403)),
    ("GET", "/shared/{token}/images/{image_id}"): public(statuses=(404, 401, 403)),
    ("GET", "/sign-in"): public(statuses=(200, 303)),
    ("GET", "/sign-in/start"): public(statuses=(303, 503)),
    ("GET", "/sign-in/callback"): public("code=x&state=x", statuses=(400, 503)),
}

# What the page needs of Gradio: its HTML and its files. No event has a handler in Python. All other routes of Gradio's
# respond with 404; `closed_routes` finds them in the app.
GRADIO_ROUTES = {
    ("GET", "/"): user(),
    ("HEAD", "/"): user(),
    ("GET", "/theme.css"): user(),
    ("GET", "/assets/{path:path}"): user(statuses=(404,)),  # for `http_client.PATH_PARAMETERS`
}

MATRIX: dict[tuple[str, str], Rule] = {**API_ROUTES, **OTHER_ROUTES, **GRADIO_ROUTES}
# Only where users can sign in, and only in a chat for one person at home.
OPTIONAL_ROUTES = {route for route in MATRIX if route[1].startswith(("/sign-", "/local-models"))}


def open_routes(app: FastAPI) -> set[tuple[str, str]]:
    """Return the methods and paths of all routes of the app, without those of Gradio's that it blocks."""
    return set(_routes(app.routes)) - closed_routes(app)


def closed_routes(app: FastAPI) -> set[tuple[str, str]]:
    """Return the methods and paths of the routes of Gradio's that the app blocks."""
    mounts = [route for route in app.routes if isinstance(route, Mount) and isinstance(route.app, AllowedRoutes)]
    own = set(_routes(route for route in app.routes if route not in mounts))  # come first
    return set(_routes(mounts)) - GRADIO_ROUTES.keys() - own


def _routes(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    for context in iter_route_contexts(list(routes)):
        route = context.original_route
        path = prefix + (context.path or getattr(route, "path", ""))
        if isinstance(route, Mount):
            if not route.routes:
                raise AssertionError(f"The routes of the app at {path!r} are unknown: extend _routes().")
            yield from _routes(route.routes, path)
        elif isinstance(route, WebSocketRoute):
            yield WEBSOCKET, path
        elif isinstance(route, Route):
            yield from ((method, path) for method in context.methods or route.methods or ())
        else:
            pytest.fail(f"The requests that a {type(route).__name__} accepts are unknown: extend _routes().")
