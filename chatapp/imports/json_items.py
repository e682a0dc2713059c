"""Reads a JSON document of any size as a stream: the elements of its outermost lists, one at a time.

An element is cut out of the text first, and parsed by the standard library then, so that its size, its depth and its
number of values are bounded before any object is built. (ijson 3.6 with yajl, which was measured for this, is as fast,
but refuses a whole file for one lone surrogate, which ChatGPT writes where it cuts a title within an emoji, and for an
integer of more than 64 bits, and bounds neither the depth nor the size of an element.)
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from chatapp.imports.refusals import TOO_DEEP, TOO_LARGE_CONVERSATION, InvalidImport, damaged

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1 << 18
MAX_VALUE_BYTES = 64_000_000  # a conversation with a hundred photographs as base64
MAX_TOKENS = 3_000_000  # values of one element, about; each takes up to 60 bytes of memory
MAX_DEPTH = 800  # below Python's limit for recursion, 1,000
MAX_KEY_BYTES = 10_000

# The lists of an object whose elements are read one at a time, as in `chatapp.userdata.json_export`.
CONVERSATIONS, LIBRARY = "conversations", "library"

_SPACE = re.compile(rb"[ \t\r\n]*")
_SCALAR = re.compile(rb"[^ \t\r\n,\]}]*")
# A string, and all up to a bracket outside of strings. Possessive: linear for every input.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_RUN = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
_QUOTE, _OPENING = ord('"'), b"[{"


@dataclass(frozen=True, slots=True)
class Item:
    """An element of the outermost list, or of a list of the outermost object that is streamed.

    Attributes:
        of: the name of that list, `CONVERSATIONS` or `LIBRARY`.
    """

    value: Any
    of: str = CONVERSATIONS


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the outermost object."""

    name: str
    value: Any


def read_items(stream: BinaryIO, name: str) -> Iterator[Item | Member]:
    """Yield the parts of a document in UTF-8; ``name`` is for errors.

    Raises:
        InvalidImport: it is no JSON, ends early, or has an element that is too large or too deep.
        OSError: it cannot be read.
    """
    return _Reader(stream, name).document()


class _Reader:
    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._buffer = b""
        self._at = 0  # in the buffer
        self._before = 0  # bytes before the buffer
        self._member_bytes = 0

    def document(self) -> Iterator[Item | Member]:
        self._fill()
        if self._buffer.startswith(b"\xef\xbb\xbf"):
            self._at = 3
        match self._next():
            case b"[":
                yield from self._elements()
            case b"{":
                yield from self._members()
            case _:
                raise self._damaged()
        if self._next(may_end=True):
            raise self._damaged()

    def _elements(self, of: str = CONVERSATIONS) -> Iterator[Item]:
        """Yield the elements of the list that begins here."""
        self._at += 1
        if self._next() == b"]":
            self._at += 1
            return
        while True:
            yield Item(self._value(), of)
            if self._separator(b"]"):
                return
            self._next()

    def _members(self) -> Iterator[Item | Member]:
        self._at += 1
        if self._next() == b"}":
            self._at += 1
            return
        while True:
            if self._next() != b'"':
                raise self._damaged()
            key = self._value(MAX_KEY_BYTES)
            if self._next() != b":":
                raise self._damaged()
            self._at += 1
            if self._next() == b"[" and key in {CONVERSATIONS, LIBRARY}:
                yield from self._elements(key)
            else:
                begin = self._before + self._at
                yield Member(key, self._value())
                self._member_bytes += self._before + self._at - begin
                if self._member_bytes > MAX_VALUE_BYTES:  # all members are kept
                    raise self._too_large(MAX_VALUE_BYTES)
            if self._separator(b"}"):
                return

    def _separator(self, end: bytes) -> bool:
        """Pass a comma, or the end of the list or object; return whether it was the end."""
        found = self._next()
        if found not in {b",", end}:
            raise self._damaged()
        self._at += 1
        return found == end

    def _next(self, *, may_end: bool = False) -> bytes:
        """Return the next byte that is no space, without passing it; b"" at the end, where that may be."""
        while True:
            space = _SPACE.match(self._buffer, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at : self._at + 1]
            if not self._fill():
                if may_end:
                    return b""
                raise self._damaged()

    def _value(self, most: int = 0) -> Any:  # noqa: ANN401  # any JSON value
        """Return the value that begins here, and pass it."""
        most = most or MAX_VALUE_BYTES
        first = self._buffer[self._at]
        if first in _OPENING:
            end = self._end_of_value(most)
        else:
            end = self._end_of_string(most) if first == _QUOTE else self._end_of_scalar(most)
        text = self._buffer[self._at : end]
        if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_TOKENS:
            raise self._too_large(most)
        try:
            value = json.loads(text.decode(), parse_constant=lambda _name: None)  # NaN, which JSON lacks
        except RecursionError:
            raise InvalidImport(TOO_DEEP) from None
        except ValueError as error:
            raise self._damaged(type(error).__name__) from None
        self._at = end
        return value

    def _end_of_scalar(self, most: int) -> int:
        while True:
            end = scalar.end() if (scalar := _SCALAR.match(self._buffer, self._at)) else self._at
            if end < len(self._buffer) or not self._fill(most):
                return end

    def _end_of_string(self, most: int) -> int:
        while not (string := _STRING.match(self._buffer, self._at)):
            if not self._fill(most):
                raise self._damaged()
        return string.end()

    def _end_of_value(self, most: int) -> int:
        """Return the end of the list or object that begins here."""
        scanned = depth = 0  # scanned: bytes after the beginning
        while True:
            at = self._end_of_run(self._at + scanned)
            while at < len(self._buffer) and self._buffer[at] != _QUOTE:  # of a string that goes on after the buffer
                depth += 1 if self._buffer[at] in _OPENING else -1
                if depth > MAX_DEPTH:
                    raise InvalidImport(TOO_DEEP)
                if depth <= 0:
                    return at + 1
                at = self._end_of_run(at + 1)
            scanned = at - self._at
            if not self._fill(most):
                raise self._damaged()

    def _end_of_run(self, at: int) -> int:
        run = _RUN.match(self._buffer, at)
        return run.end() if run else at

    def _fill(self, most: int = CHUNK_BYTES) -> bool:
        """Read on, as much again as there is of the value that begins here; return whether there was more."""
        kept = len(self._buffer) - self._at
        if kept > most:
            raise self._too_large(most)
        more = self._stream.read(max(CHUNK_BYTES, kept))
        self._before += self._at
        self._buffer = self._buffer[self._at :] + more
        self._at = 0
        return bool(more)

    def _damaged(self, detail: str = "") -> InvalidImport:
        return damaged(f"{self._name}, {self._before + self._at:,}", detail)

    def _too_large(self, most: int) -> InvalidImport:
        return InvalidImport(TOO_LARGE_CONVERSATION.filled(most=most // 1_000_000), detail=self._name)
