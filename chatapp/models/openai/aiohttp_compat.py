"""What aiohttp does not do for a response of many small chunks (written for aiohttp 3.14.5).

`pause_input` leaves what arrives in the socket for a moment, so that many tokens are read at once: aiohttp reads and
parses each packet as it comes, whether or not the response is read, which costs twice the CPU per token (measured with
200 answers at 50 tokens/s, benchmarks/load.py). It uses the transport behind ``ClientResponse.connection``. No upstream
issue asks for such batching; the nearest is aiohttp's own limit on unread chunks
(https://github.com/aio-libs/aiohttp/pull/11894). Remove when aiohttp can batch its reads.
``tests/chatapp/models/test_compat.py`` fails when aiohttp changes in a way that matters here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp


async def pause_input(response: aiohttp.ClientResponse, seconds: float) -> None:
    """Wait while what arrives stays in the socket; do not wait if the whole response has arrived."""
    transport = response.connection.transport if response.connection else None
    if transport is None:
        return
    transport.pause_reading()
    try:
        await asyncio.sleep(seconds)
    finally:
        transport.resume_reading()
