"""Server-sent events, from bytes to their data: no network, no clock."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_EVENT_BYTES = 1 << 24  # a picture of 10 MB in base64; a stream without line ends must not fill the memory
_NO_CONTENT = (b"ping", b"keepalive", b"keep-alive", b"heartbeat")  # names of events of gateways
_ERROR_FIELDS = (b"error",)  # llama.cpp until 2025: "error: {...}" in place of "data: {...}"


class EventTooLong(Exception):
    """An event of the stream is longer than `MAX_EVENT_BYTES`."""


class ErrorEvent(str):
    """The data of an event that the server calls an error."""

    __slots__ = ()


class EventStream:
    """Incremental parser of server-sent events that keeps their data.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation, with four
    additions: `end` returns an event that has no blank line after it because the stream ended; an event named "error"
    is an `ErrorEvent`; one named "ping" or the like has no data; and JSON without "data:" is an event too, as servers
    send it that do not stream.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # the beginning of a line
        self._after_cr = False
        self._lines: list[bytes] = []
        self._bytes = 0  # of both
        self._name = b""  # of the event
        self._json: list[bytes] = []
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Parse the next bytes, cut anywhere, and yield the data of each event that they complete.

        Raises:
            EventTooLong: an event has no end.
        """
        if not chunk:
            return
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")  # the second half of a CRLF
        self._after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *lines = chunk.split(b"\n")
        self._rest.append(first)
        self._bytes += len(first)
        if lines:
            lines.insert(0, b"".join(self._rest))
            *lines, rest = lines
            self._rest = [rest]
            for line in lines:
                # Almost all lines: without a generator.
                if line.startswith(b"data: ") and not (self._json or self._at_start):
                    self._lines.append(line[6:])
                elif not (line or self._json or self._name) and any(self._lines):
                    yield _text(self._lines)
                    self._lines = []
                else:
                    yield from self._take(line)
            self._bytes = len(rest) + sum(map(len, self._lines)) + sum(map(len, self._json))
        if self._bytes > MAX_EVENT_BYTES:
            raise EventTooLong

    def end(self) -> Iterator[str]:
        """Yield the data of an event that has no blank line after it."""
        rest, self._rest = b"".join(self._rest), []
        yield from self._take(rest)
        yield from self._take(b"")
        if self._json:
            yield _text(self._json)

    def _take(self, line: bytes) -> Iterator[str]:
        if self._at_start:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._at_start = False
        if self._json or line[:1] in {b"{", b"["}:
            yield from self._take_json(line)
        elif line:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                self._lines.append(value)
            elif field in _ERROR_FIELDS:
                yield ErrorEvent(_text([value]))
            elif field == b"event":
                self._name = value.strip()
        else:
            lines, self._lines = self._lines, []
            name, self._name = self._name, b""
            if any(lines) and name not in _NO_CONTENT:
                yield ErrorEvent(_text(lines)) if name == b"error" else _text(lines)

    def _take_json(self, line: bytes) -> Iterator[str]:
        """Take a line of JSON, which ends where it is complete: on this line, or at a bracket at the margin."""
        is_first = not self._json
        self._json.append(line)
        if not (is_first or line[:1] in {b"}", b"]"}):
            return
        text = _text(self._json)
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return
        self._json = []
        yield text


def _text(lines: list[bytes]) -> str:
    return (lines[0] if len(lines) == 1 else b"\n".join(lines)).decode("utf-8", "replace")
