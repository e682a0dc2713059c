"""Pages for whom the chat does not know yet, or not any more: plain HTML, made here, without a script.

They import `chatapp.http.assets`, and so Gradio: whoever imports them does so late (see `chatapp.app`).
"""

from __future__ import annotations

import html
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi.responses import HTMLResponse

from chatapp.domain.sentences import Sentence, translated
from chatapp.http import assets as page_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import HTTPConnection
    from starlette.responses import Response

RIGHT_TO_LEFT = {"he", "ar"}
HEADERS = {
    "cache-control": "no-store",
    "vary": "accept-language, cookie",
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'",
}


class Pages:
    """Makes pages.

    Args:
        root_url: the address that people use, of which the path counts; "" for none.
    """

    def __init__(self, root_url: str) -> None:
        self.up = urlsplit(root_url).path.rstrip("/")

    def page(
        self,
        request: HTTPConnection,
        status: int,
        title: Sentence,
        *paragraphs: str,
        links: Sequence[tuple[Sentence, str]] = (),
    ) -> Response:
        """Return a page in the reader's language.

        Args:
            request: says which language that is.
            status: of the response.
            title: also the page's heading.
            paragraphs: beneath it.
            links: what to do, the first one first: words, and an address below the chat's own, as in ``/sign-in``.
        """
        language = language_of(request)

        def said(sentence: str) -> str:
            return html.escape(translated(sentence, _catalogue(language)))

        folder = f"{self.up}/page/{page_files.version()}"
        direction = "rtl" if language in RIGHT_TO_LEFT else "ltr"
        told = "\n".join(f"<p>{said(paragraph)}</p>" for paragraph in paragraphs)
        ways = "\n".join(
            f'<p><a class="{"first" if i == 0 else "other"}" href="{html.escape(self.up + to)}">{said(words)}</a></p>'
            for i, (words, to) in enumerate(links)
        )
        content = f"""<!doctype html>
<html lang="{language}" dir="{direction}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{said(title)} · Hybrid chat</title>
<link rel="icon" href="{folder}/icon.svg">
<link rel="stylesheet" href="{folder}/sign-in.css">
<main>
<p class="chat"><img src="{folder}/icon.svg" alt="" width="48" height="48"> Hybrid chat</p>
<h1>{said(title)}</h1>
{told}
{ways}
</main>
</html>
"""
        return HTMLResponse(content, status, headers=HEADERS)


def language_of(request: HTTPConnection) -> str:
    """Return which of the chat's languages the reader chose in the page, or likes best; English if none."""
    chosen = request.cookies.get("language", "")  # set by assets/js/belongings.js
    if chosen in page_files.LANGUAGES:
        return chosen
    found: list[tuple[float, str]] = []
    for part in request.headers.get("accept-language", "")[:500].split(","):
        tag, _, parameter = part.partition(";")
        language = tag.strip().partition("-")[0].lower().replace("iw", "he")
        if language in page_files.LANGUAGES:
            found.append((-_quality(parameter), language))
    liked = [language for quality, language in sorted(found, key=lambda one: one[0]) if quality]
    return liked[0] if liked else "en"


def _quality(parameter: str) -> float:
    try:
        quality = float(parameter.partition("=")[2]) if parameter.strip() else 1.0
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0  # which leaves out "nan"


@cache
def _catalogue(language: str) -> Mapping[str, str]:
    return page_files.translations(language)
