"""How a request is refused before anything looks at what it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from chatapp.sentences import Sentence, as_json

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope


def refusal(scope: Scope, status: int, sentence: str, *, root_url: str = "", leads_back: bool = True) -> Response:
    """Return the sentence, as a page in the reader's language where a person opened an address, else as JSON.

    Args:
        scope: of the request.
        status: of the response.
        sentence: what is wrong.
        root_url: the address that people use, for the page's links.
        leads_back: whether the chat is at the address that was asked for.
    """
    if "text/html" not in Headers(scope=scope).get("accept", ""):
        return JSONResponse({"error": as_json(sentence)}, status, headers={"cache-control": "no-store"})
    from chatapp.web.pages import Pages  # noqa: PLC0415  # it imports Gradio, which the start does later

    links = [(Sentence("Back to the chat"), "/")] if leads_back else []
    return Pages(root_url).page(HTTPConnection(scope), status, Sentence("That did not work"), sentence, links=links)
