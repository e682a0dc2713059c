"""Runs an iterator in threads, so that the event loop goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

T = TypeVar("T")


async def in_thread(items: Generator[T, None, None]) -> AsyncGenerator[T]:
    """Yield the items of a generator, each made in a thread; close the generator at the end."""
    end = object()
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, items, end))
            try:
                item = await asyncio.shield(step)
            except asyncio.CancelledError:
                await asyncio.wait({step})  # a generator that runs cannot be closed
                step.exception()
                raise
            if item is end:
                return
            yield item  # type: ignore[misc]  # it is not the end
    finally:
        items.close()
