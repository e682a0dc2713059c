"""What is answered where a proxy should have said who is there, and did not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse

from chatapp.identity.iap import SIGN_OUT
from chatapp.identity.sessions import NOT_ALLOWED
from chatapp.sentences import Sentence, as_json
from chatapp.web.pages import is_navigation, own_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from chatapp.identity import Identified
    from chatapp.web.pages import Pages

TITLE = Sentence("You are not signed in")
ANOTHER_ACCOUNT = Sentence("Sign in with another account")
AGAIN = Sentence("Try again")


class BehindProxy:
    """Says what is wrong: on a page to who opened an address, as JSON to a script."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def refused(self, request: Request, nobody: Identified) -> Response:
        """Return the response where nobody is known."""
        if not is_navigation(request):
            error = {"error": as_json(nobody.problem)}
            return JSONResponse(error, nobody.status, headers={"cache-control": "no-store"})
        way = (ANOTHER_ACCOUNT, SIGN_OUT) if nobody.problem is NOT_ALLOWED else (AGAIN, own_page(request.scope["path"]))
        return self._pages.page(request, nobody.status, TITLE, nobody.problem, links=[way])
