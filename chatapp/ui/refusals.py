"""Every error that a person meets becomes words; nothing else reaches them."""

from __future__ import annotations

import functools
import html
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from chatapp.api.refusals import words
from chatapp.errors import ChatError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


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
