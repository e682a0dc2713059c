"""HTTP as bytes on a socket: requests that no client library would send, and the raw responses."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

# Internals that no response may contain: paths, packages, exceptions.
LEAKS = re.compile(
    rb"Traceback|site-packages|\.py\b|/tmp/|/home/|/app/|/usr/|\b[A-Z][A-Za-z]+(?:Error|Exception)\b"
    rb"|\b(?:chatapp|gradio|starlette|fastapi|uvicorn|pydantic|httptools|asyncio|sqlite3)\b",
)


@dataclass(frozen=True)
class RawResponse:
    """A response.

    Attributes:
        status: the status code.
        head: status line and headers, in lower case.
        body: still chunked.
    """

    status: int
    head: bytes
    body: bytes

    @property
    def leaks(self) -> list[bytes]:
        """The internals in it; in the files of the page, which name Gradio, only those in the headers."""
        leaks = LEAKS.findall(self.head)
        if not re.search(rb"content-type: (?:text/html|text/css|text/javascript|application/javascript)", self.head):
            leaks += LEAKS.findall(self.body)
        return leaks


async def exchange(port: int, sent: bytes, *, seconds: float = 5, until_end: bool = True) -> list[RawResponse]:
    """Send bytes on a new connection, and return the responses until the server closes it.

    Args:
        port: on loopback.
        sent: ends with a request with ``Connection: close``; otherwise only the timeout ends the wait.
        seconds: the timeout.
        until_end: False: return after the first bytes.
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
    return _parse(received)


def _parse(received: bytes) -> list[RawResponse]:
    """Return the responses; complete enough for the servers under test."""
    starts = [match.start() for match in re.finditer(rb"HTTP/1\.[01] \d{3} ?[^\r\n]*\r\n", received)]
    responses = []
    for start, end in pairwise([*starts, len(received)]):
        head, _, body = received[start:end].partition(b"\r\n\r\n")
        responses.append(RawResponse(int(head[9:12]), head.lower(), body))
    return responses


def request(
    method: bytes | str, target: bytes | str, headers: list[tuple[bytes | str, bytes | str]], body: bytes = b""
) -> bytes:
    """Return the bytes of a request with ``Connection: close``, without any validation."""
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
