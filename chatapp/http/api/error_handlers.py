"""Every error that a person meets becomes words; nothing else reaches them."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

import structlog
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from chatapp.domain.conversation import new_id
from chatapp.domain.errors import (
    ChatError,
    ConversationBusy,
    ConversationNotFound,
    InvalidMessage,
    InvalidParameters,
    LimitReached,
    ModelUnavailable,
    NothingToContinue,
    ProfileChanged,
    StoreUnavailable,
    TooLong,
    TooManyTurns,
    UnknownModel,
    WrittenElsewhere,
)
from chatapp.domain.sentences import Sentence, as_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")

STATUSES: dict[type[Exception], int] = {
    TooLong: 413,
    InvalidMessage: 422,
    InvalidParameters: 422,
    UnknownModel: 422,
    ConversationNotFound: 404,
    ConversationBusy: 409,
    NothingToContinue: 409,
    ProfileChanged: 409,
    WrittenElsewhere: 409,
    TooManyTurns: 429,
    LimitReached: 429,
    ModelUnavailable: 503,
    StoreUnavailable: 503,
}

log = structlog.get_logger(__name__)


def in_words(respond: Callable[P, Awaitable[Response]]) -> Callable[P, Awaitable[Response]]:
    """Turn every error of a route into a status and a sentence."""

    @wraps(respond)
    async def responding(*arguments: P.args, **options: P.kwargs) -> Response:
        try:
            return await respond(*arguments, **options)
        except ClientDisconnect:  # whoever sent this is gone before it was whole: nobody is told, and nothing is wrong
            return Response(status_code=400)
        except Exception as error:  # noqa: BLE001  # nothing but words may reach the page
            return refused(error)

    return responding


def refused(error: Exception) -> Response:
    """Return the response that says what is wrong."""
    status = next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 500)
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, LimitReached) else None
    return JSONResponse({"error": as_json(words(error))}, status, headers)


def words(error: Exception) -> str:
    """Return what the person reads; whatever is not meant for people goes to the log under a number."""
    if isinstance(error, ChatError):
        log.info("refused", error=type(error).__name__, detail=error.detail)
        return error.sentence
    number = new_id()[-8:]
    log.error("handler_failed", number=number, exc_info=error)
    return Sentence(
        "Something went wrong in the chat itself; nothing that was stored is lost. Try again. (In the log: {number})",
        number=number,
    )
