"""How a request is refused before anything looks at what it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse

from chatapp.sentences import as_json

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope


def refusal(scope: Scope, status: int, sentence: str) -> Response:
    """Return the sentence: as text where a person opened an address, as JSON where a script asks."""
    headers = {"cache-control": "no-store"}
    if "text/html" in Headers(scope=scope).get("accept", ""):
        return PlainTextResponse(sentence, status, headers=headers)
    return JSONResponse({"error": as_json(sentence)}, status, headers=headers)
