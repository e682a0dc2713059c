"""How the chat refuses: with a page where a person opened an address, with JSON where a script asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from chatapp.domain.sentences import Sentence, as_json
from chatapp.http.pages.navigation import is_navigation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response
    from starlette.types import Scope

TITLE = Sentence("That did not work")
BACK = (Sentence("Back to the chat"), "/")


def problem(status: int, sentence: str, **facts: str | int) -> Response:
    """Return what a script is told: what is wrong, and what it may want to know besides."""
    return JSONResponse({"error": as_json(sentence), **facts}, status, headers={"cache-control": "no-store"})


def refusal(
    scope: Scope,
    status: int,
    sentence: str,
    *,
    root_url: str = "",
    title: Sentence = TITLE,
    links: Sequence[tuple[Sentence, str]] = (BACK,),
) -> Response:
    """Return the sentence, as a page in the reader's language where a person opened an address, else as JSON.

    Args:
        scope: of the request.
        status: of the response.
        sentence: what is wrong.
        root_url: the address that people use, for the page's links.
        title: the page's.
        links: what to do, as in `chatapp.http.pages.pages.Pages.page`.
    """
    if not is_navigation(HTTPConnection(scope)):
        return problem(status, sentence)
    from chatapp.http.pages.pages import Pages  # noqa: PLC0415  # it imports Gradio, which the start does later

    return Pages(root_url).page(HTTPConnection(scope), status, title, sentence, links=links)
