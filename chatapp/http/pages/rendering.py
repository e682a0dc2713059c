"""Renders the pages that need no script: sign-in and errors, in the reader's language."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from chatapp.auth.cookies import HOST_PREFIX, DuplicateCookie, read_cookie
from chatapp.domain.sentences import Sentence, translated
from chatapp.http import assets

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
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(
    request: HTTPConnection,
    status: int,
    title: Sentence,
    *paragraphs: str,
    links: Sequence[tuple[Sentence, str]] = (),
    root_url: str = "",
) -> Response:
    """Return a page.

    Args:
        request: says the reader's language.
        status: the response's.
        title: also the page's heading.
        paragraphs: beneath it.
        links: the words and the address of each, relative to the chat's root, such as ``/sign-in``, or of another
            site; the first one is shown as the main action.
        root_url: the public address of the chat, whose path begins all links; "" for none.
    """
    root_path = urlsplit(root_url).path.rstrip("/")
    html = render_template(
        request,
        "page.html",
        root_url=root_url,
        title=title,
        paragraphs=paragraphs,
        links=[(words, root_path + address if address.startswith("/") else address) for words, address in links],
    )
    return HTMLResponse(html, status, headers=HEADERS)


def render_template(request: HTTPConnection, name: str, *, root_url: str = "", **values: object) -> str:
    """Return a template's HTML; the filter ``t`` translates a sentence into the reader's language."""
    return rendered(name, language_of(request, root_url), root_url=root_url, **values)


def rendered(name: str, language: str, *, root_url: str = "", **values: object) -> str:
    """Return a template's HTML in a language."""
    root_path = urlsplit(root_url).path.rstrip("/")
    return _TEMPLATES.get_template(name).render(
        language=language,
        direction="rtl" if language in RIGHT_TO_LEFT else "ltr",
        root=f"{root_path}/",
        assets=f"{root_path}/page/{assets.version()}",
        name=Sentence("Hybrid chat"),
        t=lambda sentence: translation_of(sentence, language),
        # A stored label is plain text. It is a name, but for the demo model's, which has a translation.
        label=lambda name: _catalogue(language).get(name, name),
        **values,
    )


def translation_of(sentence: str, language: str) -> str:
    """Return a sentence in a language."""
    return translated(sentence, _catalogue(language))


def language_of(request: HTTPConnection, root_url: str = "") -> str:
    """Return the language that the reader chose in the page, else the best one of ``Accept-Language``, else English."""
    chosen = _chosen_language(request, root_url)
    if chosen in assets.LANGUAGES:
        return chosen
    accepted: list[tuple[float, str]] = []
    for part in request.headers.get("accept-language", "")[:500].split(","):
        tag, _, parameter = part.partition(";")
        language = tag.strip().partition("-")[0].lower().replace("iw", "he")
        if language in assets.LANGUAGES and (quality := _quality(parameter)):
            accepted.append((quality, language))
    return max(accepted, key=lambda pair: pair[0], default=(0, "en"))[1]  # of equals the first


def _chosen_language(request: HTTPConnection, root_url: str) -> str | None:
    """Return the value of the cookie that assets/js/browser_storage.js sets."""
    try:
        chosen = read_cookie(request, f"{HOST_PREFIX}language")
        # Over HTTPS another host of the domain can set a cookie without the prefix.
        return chosen if chosen or root_url.startswith("https:") else read_cookie(request, "language")
    except DuplicateCookie:
        return None


def _quality(parameter: str) -> float:
    try:
        quality = float(parameter.partition("=")[2]) if parameter.strip() else 1.0
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0  # which leaves out "nan"


@cache
def _catalogue(language: str) -> Mapping[str, str]:
    return assets.translations(language)
