"""HTTP as bytes on a socket: what no client library would send, and what came back, as it came."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

# What a response must never hold: where the program lies, what it is made of, what went wrong within.
LEAKS = re.compile(
    rb"Traceback|site-packages|\.py\b|/tmp/|/home/|/app/|/usr/|\b[A-Z][A-Za-z]+(?:Error|Exception)\b"
    rb"|\b(?:chatapp|gradio|starlette|fastapi|uvicorn|pydantic|httptools|asyncio|sqlite3)\b",
)


@dataclass(frozen=True)
class Raw:
    """One response.

    Attributes:
        status: 0 where nothing came.
        head: status line and headers.
        body: as it came, its chunks too.
    """

    status: int
    head: bytes
    body: bytes

    @property
    def leaks(self) -> list[bytes]:
        """What it holds that it must not; the page's own files are Gradio's, and may say so."""
        found = LEAKS.findall(self.head)
        if not re.search(rb"content-type: (?:text/html|text/css|text/javascript|application/javascript)", self.head):
            found += LEAKS.findall(self.body)
        return found


async def exchange(port: int, sent: bytes, *, seconds: float = 5, until_end: bool = True) -> list[Raw]:
    """Send bytes on a connection of its own, and return the responses that came until the server closed it.

    Args:
        port: of loopback.
        sent: ends with a request that asks to close the connection, or the wait is in vain.
        seconds: after which it is not waited any longer.
        until_end: False: only for the first bytes.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        with suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                while piece := await reader.read(1 << 16):
                    received += piece
                    if not until_end:
                        break
    finally:
        writer.close()
        with suppress(ConnectionError, TimeoutError):
            await writer.wait_closed()
    return parsed(received)


def parsed(received: bytes) -> list[Raw]:
    """Return the responses in what was received; good enough for what a server of ours sends."""
    starts = [found.start() for found in re.finditer(rb"HTTP/1\.[01] \d{3} ?[^\r\n]*\r\n", received)]
    responses = []
    for start, end in pairwise([*starts, len(received)]):
        head, _, body = received[start:end].partition(b"\r\n\r\n")
        responses.append(Raw(int(head[9:12]), head.lower(), body))
    return responses


def request(
    method: bytes | str, target: bytes | str, headers: list[tuple[bytes | str, bytes | str]], body: bytes = b""
) -> bytes:
    """Return the bytes of a request that asks to close the connection; nothing in it is checked."""
    lines = [(b"host", b"localhost"), *((_bytes(name), _bytes(value)) for name, value in headers)]
    names = {name.lower() for name, _ in lines}
    if body and not names & {b"content-length", b"transfer-encoding"}:
        lines.append((b"content-length", b"%d" % len(body)))
    if b"connection" not in names:
        lines.append((b"connection", b"close"))
    head = b"".join(b"%b: %b\r\n" % line for line in lines)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (_bytes(method), _bytes(target), head, body)


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
