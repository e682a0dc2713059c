"""Waiting for what happens in milliseconds, until a deadline far above what a busy machine adds."""

import asyncio


async def until(condition, seconds=60.0, *, pause=0.005):
    """Wait until a condition is true, and return its value.

    Args:
        condition: a function, which is called again and again.
        seconds: how long at most.
        pause: between two calls, in seconds.

    Raises:
        TimeoutError: it was not true within that time.
    """
    async with asyncio.timeout(seconds):
        while not (value := condition()):
            await asyncio.sleep(pause)
    return value
