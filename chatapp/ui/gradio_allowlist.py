"""Which of Gradio's doors are open."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# All that Chromium asks of Gradio for this page, in use: no event has a handler on the server.
OPEN = re.compile(r"/|/theme\.css|/assets/[A-Za-z0-9._-]{1,200}")  # a file system refuses longer names, loudly


class Doors:
    """Gradio's app, of which only what the page needs can be reached.

    Gradio serves more than forty addresses: it takes uploads, gives out files, runs events, answers as a proxy, lists
    its own API; a new version may bring others. All are closed that `OPEN` does not name. Nor does it see a query: it
    would look for a page's state by one (``deep_link``).

    Args:
        root_url: the address that people use; "" for none.
    """

    def __init__(self, app: ASGIApp, *, root_url: str = "") -> None:
        self.app = app
        self._root_url = root_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what the page asks for."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and OPEN.fullmatch(scope["path"]):
            await self.app({**scope, "query_string": b""}, receive, send)
        elif scope["type"] == "http":
            sentence = Sentence("There is nothing at this address.")
            await error_response(scope, 404, sentence, root_url=self._root_url)(scope, receive, send)
        else:  # nothing here talks over a websocket
            await send({"type": "websocket.close", "code": 1008})
