"""Runs an iterator in threads, so that the event loop goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

T = TypeVar("T")


async def in_thread(
    items: Generator[T, None, None], *, size: Callable[[T], int], most_items: int, most_size: int
) -> AsyncGenerator[list[T]]:
    """Yield the items of a generator in batches, each made in a thread; close the generator at the end.

    A batch ends with ``most_items``, or with the item that makes its ``size`` reach ``most_size``. An exception of the
    generator discards the items of its batch.
    """

    def batch() -> list[T]:
        made: list[T] = []
        size_made = 0
        for item in items:
            made.append(item)
            size_made += size(item)
            if len(made) >= most_items or size_made >= most_size:
                break
        return made

    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(batch))
            try:
                made = await asyncio.shield(step)
            except asyncio.CancelledError:
                await asyncio.wait({step})  # a generator that runs cannot be closed
                step.exception()
                raise
            if not made:
                return
            yield made
    finally:
        items.close()
