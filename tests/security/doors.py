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
    CLOSED = "is not there, whoever asks"


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
    ("GET", "/page/{asked_version}/{path:path}"): public(),
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

# Gradio serves the page and its files; no event of the page has a handler in Python, so nothing else of it is needed.
OPEN_OF_GRADIO = {
    ("GET", "/"): person(),
    ("HEAD", "/"): person(),
    ("GET", "/theme.css"): person(),
    ("GET", "/assets/{path:path}"): person(owner=(404,)),  # with what is asked for here
}

CLOSED_OF_GRADIO = """
GET /config
GET /config/
GET /favicon.ico
GET /manifest.json
GET /robots.txt
GET /static/{path:path}
GET /svelte/{path:path}
GET /gradio_api/theme.css
GET,HEAD /openapi.json
GET /pwa_icon
GET /pwa_icon/{size}
POST /login
POST /login/
GET /logout
GET /monitoring
GET /monitoring/summary
GET /monitoring/{key}
POST /gradio_api/api/{api_name}
POST /gradio_api/api/{api_name}/
GET /gradio_api/app_id
GET /gradio_api/app_id/
POST /gradio_api/call/v2/{api_name}
POST /gradio_api/call/v2/{api_name}/
GET /gradio_api/call/v2/{api_name}/{event_id}
POST /gradio_api/call/{api_name}
POST /gradio_api/call/{api_name}/
GET /gradio_api/call/{api_name}/{event_id}
POST /gradio_api/cancel
POST /gradio_api/component_server
POST /gradio_api/component_server/
GET /gradio_api/custom_component/{id}/{environment}/{type}/{file_name}
GET /gradio_api/deep_link
GET /gradio_api/dev/reload
GET /gradio_api/file/{path:path}
GET,HEAD /gradio_api/file={path_or_url:path}
GET /gradio_api/heartbeat/{session_hash}
GET /gradio_api/info
GET /gradio_api/info/
GET /gradio_api/login_check
GET /gradio_api/login_check/
GET /gradio_api/openapi.json
POST /gradio_api/process_recording
GET,HEAD /gradio_api/proxy={url_path:path}
GET /gradio_api/queue/data
POST /gradio_api/queue/join
GET /gradio_api/queue/status
POST /gradio_api/reset
POST /gradio_api/reset/
POST /gradio_api/run/{api_name}
POST /gradio_api/run/{api_name}/
GET /gradio_api/runs
GET /gradio_api/runs/
GET /gradio_api/startup-events
POST /gradio_api/stream/{event_id}
POST /gradio_api/stream/{event_id}/close
GET /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file
GET /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8
GET /gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}
GET /gradio_api/token
GET /gradio_api/token/
POST /gradio_api/undo-vibe-edit
POST /gradio_api/undo-vibe-edit/
POST /gradio_api/upload
GET /gradio_api/upload_progress
GET /gradio_api/user
GET /gradio_api/user/
GET,POST /gradio_api/vibe-code
GET,POST /gradio_api/vibe-code/
POST /gradio_api/vibe-edit
POST /gradio_api/vibe-edit/
POST /gradio_api/vibe-starter-queries
POST /gradio_api/vibe-starter-queries/
"""
CLOSED = {
    (method, path): Door(kind=Kind.CLOSED, owner=(404, 405))
    for methods, path in map(str.split, CLOSED_OF_GRADIO.strip().splitlines())
    for method in methods.split(",")
}

TABLE: dict[tuple[str, str], Door] = {**OWN, **SIGN_IN, **OPEN_OF_GRADIO, **CLOSED}


def doors(app: FastAPI) -> set[tuple[str, str]]:
    """Return the methods and paths of all routes of the app and of what is mounted in it."""
    return set(_doors(app.routes))


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
