"""Turns an error into a response: a status with a sentence, as JSON for a script or as a page for a person.

Middleware calls `error_response`. The routes raise: `add_exception_handlers` has FastAPI turn what they raise into the
same responses. No response shows what an error was made of: neither the input of a request that is not valid, nor the
text of an exception that is not a `ChatError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import JSONResponse, Response

from chatapp.domain.conversation import new_id
from chatapp.domain.errors import (
    ChatError,
    ContinuedElsewhere,
    ConversationBusy,
    ConversationNotFound,
    DocumentNotFound,
    DocumentTooLarge,
    FileNotKept,
    FilesMissing,
    ImageTooLarge,
    ImportTooLarge,
    InvalidMessage,
    InvalidParameters,
    LibraryEntryNotFound,
    LimitReached,
    ModelUnavailable,
    NotCaughtUp,
    NothingToContinue,
    ProfileChanged,
    ShareNotFound,
    StorageFull,
    StoreUnavailable,
    TooLong,
    TooManyTurns,
    UnknownModel,
)
from chatapp.domain.sentences import Sentence, as_json
from chatapp.http.pages.navigation import is_navigation
from chatapp.http.pages.rendering import render_page
from chatapp.imports.refusals import InvalidImport
from chatapp.models.local.library import LocalModelRefused
from chatapp.userdata.merge_guest import GuestChanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.types import Scope

STATUSES: dict[type[Exception], int] = {
    TooLong: 413,
    ImageTooLarge: 413,
    DocumentTooLarge: 413,
    ImportTooLarge: 413,
    InvalidImport: 422,
    InvalidMessage: 422,
    InvalidParameters: 422,
    UnknownModel: 422,
    ConversationNotFound: 404,
    ShareNotFound: 404,
    DocumentNotFound: 404,
    FileNotKept: 404,
    LibraryEntryNotFound: 404,
    ConversationBusy: 409,
    GuestChanged: 409,
    FilesMissing: 409,
    NothingToContinue: 409,
    ProfileChanged: 409,
    ContinuedElsewhere: 409,
    NotCaughtUp: 503,
    TooManyTurns: 429,
    LimitReached: 429,
    ModelUnavailable: 503,
    StoreUnavailable: 503,
    StorageFull: 507,
    LocalModelRefused: 409,
}
EXPECTED = (ChatError, RequestValidationError, HTTPException, ClientDisconnect)
NOT_UNDERSTOOD = Sentence("The page sent an invalid request. Reload the page and send again.")
NOTHING_HERE = Sentence("There is nothing at this address.")
BACK = (Sentence("Back to the chat"), "/")

log = structlog.get_logger(__name__)


class UnexpectedError(Exception):
    """Wraps an error of a kind that no route should raise, so that a handler for this class can answer it.

    Starlette runs a handler for ``Exception`` itself outside of all middleware, where the response gets no security
    headers, and the server then logs the traceback a second time.
    """


def error_response(
    scope: Scope,
    status: int,
    sentence: str,
    *,
    root_url: str = "",
    title: Sentence | None = None,
    links: Sequence[tuple[Sentence, str]] = (BACK,),
    retry_after: int = 0,
) -> Response:
    """Return a page in the reader's language where a person opened an address, else JSON.

    Args:
        scope: the request's.
        status: the response's.
        sentence: what is wrong.
        root_url: the public address of the chat, for the links of the page.
        title: the page's heading; None for one that fits the status.
        links: what the page offers, as in `render_page`.
        retry_after: seconds, for the header ``Retry-After``; 0 for none.
    """
    if is_navigation(HTTPConnection(scope)):
        title = title or (Sentence("Page not found") if status == 404 else Sentence("Something went wrong"))
        response = render_page(HTTPConnection(scope), status, title, sentence, links=links, root_url=root_url)
    else:
        response = error_json(status, sentence)
    if retry_after:
        response.headers["retry-after"] = str(retry_after)
    return response


def error_json(status: int, sentence: str, **details: Any) -> Response:  # noqa: ANN401  # any JSON value
    """Return ``{"error": sentence, ...}`` with further details for a script."""
    return JSONResponse({"error": as_json(sentence), **details}, status, headers={"cache-control": "no-store"})


def sentence_of(error: Exception) -> str:
    """Return what a person reads about an error, and log it; an unexpected one is logged under a number."""
    if isinstance(error, ChatError):
        log.info("refused", error=type(error).__name__, detail=error.detail)
        return error.sentence
    number = new_id()[-8:]
    log.error("handler_failed", number=number, exc_info=error)
    return Sentence(
        "An internal error occurred. Nothing that was stored is lost. Try again. (Log entry: {number})", number=number
    )


def response_to(scope: Scope, error: Exception, *, root_url: str = "") -> Response:
    """Return the response to a request whose route raised this error."""
    cause = error.__cause__
    if isinstance(cause, Exception) and (
        isinstance(error, UnexpectedError) or isinstance(cause, (ChatError, ClientDisconnect))
    ):
        error = cause  # FastAPI wraps what is raised while it reads the body
    match error:
        case ClientDisconnect():  # the client left before its request was complete, and reads no response
            return Response(status_code=400)
        case HTTPException(detail=Sentence()):
            return error_response(scope, error.status_code, error.detail, root_url=root_url)
        case RequestValidationError() | HTTPException(status_code=400):  # 400: FastAPI cannot decode the JSON
            return error_response(scope, 422, NOT_UNDERSTOOD, root_url=root_url)
        case HTTPException():  # else no such address, or no such method there
            sentence = TooLong().sentence if error.status_code == 413 else NOTHING_HERE
            return error_response(scope, error.status_code, sentence, root_url=root_url)
    status = next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 500)
    if isinstance(error, FilesMissing):
        return error_json(status, sentence_of(error), missing=list(error.ids))
    retry_after = error.retry_after if isinstance(error, LimitReached) else 0
    return error_response(scope, status, sentence_of(error), root_url=root_url, retry_after=retry_after)


def add_exception_handlers(app: FastAPI, *, root_url: str = "") -> None:
    """Have the app answer errors of routes with `response_to`."""

    async def handle(request: Request, error: Exception) -> Response:
        return response_to(request.scope, error, root_url=root_url)

    for kind in (*EXPECTED, UnexpectedError):
        app.add_exception_handler(kind, handle)
