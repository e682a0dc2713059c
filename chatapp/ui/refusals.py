"""Every error that a handler of the page ends with becomes words; nothing else reaches the person."""

from __future__ import annotations

import functools
import html
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr
import structlog

from chatapp.conversation import new_id
from chatapp.errors import ChatError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

T = TypeVar("T")

log = structlog.get_logger(__name__)


def in_words(handler: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., Coroutine[Any, Any, T]]:
    """Turn every error of a handler into a sentence."""

    @functools.wraps(handler)
    async def wrapped(*arguments: Any) -> T:  # noqa: ANN401  # whatever the handler takes
        try:
            return await handler(*arguments)
        except Exception as error:  # noqa: BLE001  # nothing but words may reach the page
            raise _refusal(error) from None

    return wrapped


def in_words_while_streaming(handler: Callable[..., AsyncGenerator[T]]) -> Callable[..., AsyncGenerator[T]]:
    """Do the same for a handler that yields."""

    @functools.wraps(handler)
    async def wrapped(*arguments: Any) -> AsyncGenerator[T]:  # noqa: ANN401  # whatever the handler takes
        try:
            async with aclosing(handler(*arguments)) as values:
                async for value in values:
                    yield value
        except Exception as error:  # noqa: BLE001  # nothing but words may reach the page
            raise _refusal(error) from None

    return wrapped


def _refusal(error: Exception) -> gr.Error:
    """Return what the person reads; whatever is not meant for people goes to the log under a number."""
    if isinstance(error, gr.Error):  # of a handler that this one called
        return error
    if isinstance(error, ChatError):
        log.info("refused", error=type(error).__name__, detail=error.detail)
        return gr.Error(html.escape(str(error)), title="Please note", print_exception=False)
    number = new_id()[-8:]
    log.error("handler_failed", number=number, exc_info=error)
    words = (
        f"Something went wrong in the chat itself; nothing that was stored is lost. Try again. (In the log: {number})"
    )
    return gr.Error(words, title="Error", print_exception=False)
