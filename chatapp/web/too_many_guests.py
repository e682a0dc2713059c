"""What is answered to a guest too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse

from chatapp.sentences import Sentence, as_json
from chatapp.web.behind_proxy import AGAIN
from chatapp.web.pages import is_navigation, own_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from chatapp.identity import Identified
    from chatapp.web.pages import Pages

TITLE = Sentence("Too many new guests")


class TooManyGuests:
    """Says so: on a page to who opened an address, as JSON to a script."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def refused(self, request: Request, nobody: Identified) -> Response:
        """Return the response where there may be no new guest."""
        if not is_navigation(request):
            error = {"error": as_json(nobody.problem)}
            return JSONResponse(error, nobody.status, headers={"cache-control": "no-store"})
        way = (AGAIN, own_page(request.scope["path"]))
        return self._pages.page(request, nobody.status, TITLE, nobody.problem, links=[way])
