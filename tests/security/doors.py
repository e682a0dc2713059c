"""Every address that the chat answers, and for whom: one table, which no address may be missing from.

A path is written as the app's own route is; in what is asked, ``{conversation}``, ``{question}``, ``{answer}``,
``{image}``, ``{cursor}`` and ``{word}`` stand for what is somebody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, Route, WebSocketRoute

from chatapp.ui.gradio_compat import AllowedRoutes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fastapi import FastAPI
    from starlette.routing import BaseRoute

WEBSOCKET = "WEBSOCKET"


class Kind(StrEnum):
    """For whom a door is."""

    PUBLIC = "answers anybody, and everybody the same"
    PERSON = "answers a person, about that person or nobody"
    READS = "reads what is a person's own, by an id"
    CHANGES = "changes what is a person's own"


@dataclass(frozen=True, kw_only=True)
class Door:
    """How a door is classified, and how to ask at it in earnest: its owner is answered.

    Attributes:
        query: after the question mark.
        body: sent as JSON.
        by_id: whether what is asked names something of its owner, so that everybody else is told that it is not there.
        owner: the statuses that its owner gets.
        shows: whether its owner is shown something that nobody else may see.
    """

    kind: Kind
    query: str = ""
    body: Mapping[str, Any] | None = None
    by_id: bool = False
    owner: tuple[int, ...] = (200,)
    shows: bool = False


def public(query: str = "", **facts: Any) -> Door:
    return Door(kind=Kind.PUBLIC, query=query, **facts)


def person(query: str = "", **facts: Any) -> Door:
    return Door(kind=Kind.PERSON, query=query, **facts)


def reads(query: str = "", **facts: Any) -> Door:
    return Door(kind=Kind.READS, query=query, **{"by_id": True, "shows": True} | facts)


def changes(body: Mapping[str, Any] | None = None, **facts: Any) -> Door:
    return Door(kind=Kind.CHANGES, body=body, **{"by_id": True} | facts)


PROFILE = {"personas": [], "allowFallback": True, "revision": 2}
QUESTION = {"text": "Hello", "model": "gemma"}
ONE = "/conversations/{conversation_id}"

OWN: dict[tuple[str, str], Door] = {
    ("GET", "/healthz"): public(),
    ("GET", "/page/{requested_version}/{path:path}"): public(),
    # What a page needs, and lists: of the person who asks.
    ("GET", "/state"): person("conversation={conversation}", shows=True),
    ("GET", "/models"): person(),
    ("GET", "/me"): person(),
    ("GET", "/conversations"): person("cursor={cursor}&limit=1", shows=True),
    ("GET", "/search"): person("q={word}", shows=True),
    ("GET", "/export/everything.json"): person(shows=True),
    ("GET", "/export/everything.md.zip"): person(),
    # By an id.
    ("GET", f"{ONE}/events"): reads(),
    ("GET", f"{ONE}/messages"): reads("before={answer}"),
    ("GET", f"{ONE}/images/{{image_id}}"): reads(),
    ("GET", "/export/{conversation_id}.json"): reads(),
    ("GET", "/export/{conversation_id}.md"): reads(),
    ("PATCH", ONE): changes({"title": "mine now", "pinned": True, "archived": True, "branch": "{answer}"}),
    ("POST", f"{ONE}/turns"): changes(QUESTION | {"follows": "{answer}"}),
    ("POST", f"{ONE}/answers"): changes({"question": "{question}", "model": "gemma"}),
    ("POST", f"{ONE}/continuations"): changes({"message": "{answer}", "model": "gemma"}, owner=(200, 409)),
    ("POST", f"{ONE}/stop"): changes({}),
    ("PUT", f"{ONE}/messages/{{message_id}}/feedback"): changes({"feedback": "down"}),
    ("DELETE", ONE): changes(),
    ("POST", f"{ONE}/restore"): changes({}),
    # What is the asking person's own, whatever is named: that the owner's is as it was is looked at afterwards.
    ("POST", "/conversations"): changes(QUESTION | {"question": "{question}", "retry": True}, by_id=False),
    ("PUT", "/profile"): changes(PROFILE, by_id=False, owner=(200, 409)),
    ("POST", "/take-along"): changes({}, by_id=False),
    ("POST", "/delete-everything"): changes({"confirm": True}, by_id=False),
}

# Where people sign in.
SIGN_IN = {
    ("GET", "/sign-in"): public(owner=(200, 303)),
    ("GET", "/sign-in/start"): public(owner=(303, 503)),
    ("GET", "/sign-in/callback"): public("code=x&state=x", owner=(400, 503)),
    ("POST", "/sign-out"): changes({}, by_id=False),
    ("POST", "/sign-out-everywhere"): changes({}, by_id=False),
}

# What the page needs of Gradio: its HTML and its files. No event has a handler in Python. All other routes of Gradio's
# answer 404; `closed_doors` finds them in the app.
OPEN_OF_GRADIO = {
    ("GET", "/"): person(),
    ("HEAD", "/"): person(),
    ("GET", "/theme.css"): person(),
    ("GET", "/assets/{path:path}"): person(owner=(404,)),  # with what is asked for here
}

TABLE: dict[tuple[str, str], Door] = {**OWN, **SIGN_IN, **OPEN_OF_GRADIO}


def doors(app: FastAPI) -> set[tuple[str, str]]:
    """Return the methods and paths of all routes of the app, and of Gradio's those that it may serve."""
    return set(_doors(app.routes)) - closed_doors(app)


def closed_doors(app: FastAPI) -> set[tuple[str, str]]:
    """Return the methods and paths of the routes of Gradio's that the app does not pass on to it."""
    mounts = [route for route in app.routes if isinstance(route, Mount) and isinstance(route.app, AllowedRoutes)]
    return set(_doors(mounts)) - OPEN_OF_GRADIO.keys()


def _doors(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    for context in iter_route_contexts(list(routes)):
        route = context.original_route
        path = prefix + (context.path or getattr(route, "path", ""))
        if isinstance(route, Mount):
            if not route.routes:
                raise AssertionError(f"Which addresses does the app at {path!r} answer? Teach doors() to tell.")
            yield from _doors(route.routes, path)
        elif isinstance(route, WebSocketRoute):
            yield WEBSOCKET, path
        elif isinstance(route, Route):
            yield from ((method, path) for method in context.methods or route.methods or ())
        else:
            pytest.fail(f"What does a {type(route).__name__} answer? Teach doors() to tell.")
