"""JSON bodies whose depth and number of values are bounded before any object is built."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from chatapp.http.errors import NOT_UNDERSTOOD

MAX_DEPTH = 8  # a profile has 3
# Strings, brackets and commas. A profile with 40 personas has 600.
MAX_TOKENS = 4_000
IN_THREAD_BYTES = 100_000  # from which a body is parsed in a thread

# Linear for every input: each part takes all that it can and gives nothing back (possessive), and a string without an
# end reaches to the end of the body, so that no later quote begins the search again.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\(?:.|\Z)[^"\\]*+)*+(?:"|\Z)|[][{},]', re.DOTALL)


class TooComplex(ValueError):
    """The JSON is nested too deeply, or has too many values."""


def parse(body: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """Return the value of a JSON text in UTF-8.

    Raises:
        TooComplex: it is deeper than `MAX_DEPTH`, or has more than `MAX_TOKENS`.
        ValueError: it is not JSON, or not UTF-8.
    """
    depth = 0
    for number, token in enumerate(_TOKEN.finditer(body)):
        first = body[token.start()]
        if first in b"[{":
            depth += 1
        elif first in b"]}":
            depth -= 1
        if depth > MAX_DEPTH or number >= MAX_TOKENS:
            raise TooComplex
    return json.loads(body.decode())  # `json.loads` of bytes takes UTF-16, too, where the tokens are others


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
                self._json = await asyncio.to_thread(parse, body) if len(body) > IN_THREAD_BYTES else parse(body)
            except TooComplex:
                raise HTTPException(422, NOT_UNDERSTOOD) from None
        return self._json
