"""JSON bodies whose depth and number of values are bounded before any object is built."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from chatapp.http.errors import NOT_UNDERSTOOD

MAX_DEPTH = 8  # a profile has 3
# Strings, brackets and commas. A profile with 40 personas has 600.
MAX_TOKENS = 4_000
IN_THREAD_BYTES = 100_000  # from which a body is parsed in a thread

# One at a time: several would compete with the event loop for the interpreter, which parsing does not release.
_PARSER = ThreadPoolExecutor(1, "json")

_STRUCTURE = re.compile(rb'["[{}\],]')
# A string with escapes. It is linear for every input: each part takes all that it can and gives nothing back
# (possessive), and a string without an end reaches to the end of the body, so no later quote begins the search again.
_STRING = re.compile(rb'"[^"\\]*+(?:\\(?:.|\Z)[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_QUOTE = ord('"')


class TooComplex(ValueError):
    """The JSON is nested too deeply, or has too many values."""


def parse(body: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """Return the value of a JSON text in UTF-8.

    Raises:
        TooComplex: it is deeper than `MAX_DEPTH`, or has more than `MAX_TOKENS`.
        ValueError: it is not JSON, or not UTF-8.
    """
    depth = position = tokens = 0
    while token := _STRUCTURE.search(body, position):
        first, position = body[token.start()], token.end()
        if first == _QUOTE:
            position = _end_of_string(body, token.start())
        elif first in b"[{":
            depth += 1
        elif first in b"]}":
            depth -= 1
        tokens += 1
        if depth > MAX_DEPTH or tokens > MAX_TOKENS:
            raise TooComplex
    return json.loads(body.decode())  # `json.loads` of bytes takes UTF-16, too, where the tokens are others


def _end_of_string(body: bytes, start: int) -> int:
    """Return the position after the string that begins at ``start``, or the end of the body if it has no end."""
    end = body.find(b'"', start + 1)
    if end >= 0 and body.find(b"\\", start + 1, end) < 0:  # without escapes, 50 times as fast as the expression
        return end + 1
    string = _STRING.match(body, start)
    return string.end() if string else len(body)


class JsonRequest(Request):
    """A request whose JSON is parsed by `parse`; a large one in a thread."""

    async def json(self) -> Any:  # noqa: ANN401  # as in Starlette
        """Return the value of the body.

        Raises:
            HTTPException: it is too complex.
            ValueError: it is not JSON.
        """
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                if len(body) > IN_THREAD_BYTES:
                    self._json = await asyncio.get_running_loop().run_in_executor(_PARSER, parse, body)
                else:
                    self._json = parse(body)
            except TooComplex:
                raise HTTPException(422, NOT_UNDERSTOOD) from None
        return self._json
