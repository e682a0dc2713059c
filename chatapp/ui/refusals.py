"""Every error that a person meets becomes words; nothing else reaches them."""

from __future__ import annotations

import functools
import html
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr
import structlog

from chatapp.conversation import new_id
from chatapp.errors import ChatError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

log = structlog.get_logger(__name__)


def in_words(handler: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Coroutine[Any, Any, T]]:
    """Turn every error of one of the page's handlers into a sentence."""

    @functools.wraps(handler)
    async def wrapped(*arguments: Any) -> T:  # noqa: ANN401  # whatever the handler takes
        try:
            return await handler(*arguments)
        except gr.Error:  # of a handler that this one called
            raise
        except Exception as error:  # noqa: BLE001  # nothing but words may reach the page
            title = "Please note" if isinstance(error, ChatError) else "Error"
            raise gr.Error(html.escape(words(error)), title=title, print_exception=False) from None

    return wrapped


def words(error: Exception) -> str:
    """Return what the person reads; whatever is not meant for people goes to the log under a number."""
    if isinstance(error, ChatError):
        log.info("refused", error=type(error).__name__, detail=error.detail)
        return str(error)
    number = new_id()[-8:]
    log.error("handler_failed", number=number, exc_info=error)
    return (
        f"Something went wrong in the chat itself; nothing that was stored is lost. Try again. (In the log: {number})"
    )
