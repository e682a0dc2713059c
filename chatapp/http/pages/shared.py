"""The page of a share link, and its pictures: a copy of a conversation, for people who have the link.

The text is in the HTML, so that it can be read without a script; ``js/shared_page.js`` then formats it, by the same
code as in the chat. An unknown, an expired and a revoked link get the same response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response

from chatapp.auth.client import client_address
from chatapp.domain.conversation import Role
from chatapp.domain.errors import ShareNotFound
from chatapp.domain.file_names import shown_name
from chatapp.domain.sentences import Sentence
from chatapp.http.api.routing import ApiRoute
from chatapp.http.middleware.security_headers import policy
from chatapp.http.pages.rendering import render_page, render_template
from chatapp.userdata.json_export import moment

if TYPE_CHECKING:
    from chatapp.conversations.shares import SharedMessage, Shares

PATH = r"/shared/[^/]*(?:/images/[^/]*)?"
# Formulas are drawn by Gradio's copy of KaTeX, which a reader without a sign-in needs too.
PUBLIC = rf"{PATH}|/assets/(?:katex-|KaTeX_)[A-Za-z0-9._-]{{1,100}}"
NOT_INDEXED = "noindex, nofollow, noarchive, nosnippet"
HEADERS = {"cache-control": "no-store", "x-robots-tag": NOT_INDEXED, "referrer-policy": "no-referrer"}
TITLE = Sentence("This link does not work")
_ABOUT = Sentence(
    "A copy of a conversation, made on {made}. What was written later is not in it. The link works until {end}."
)
_QUESTION, _PICTURE = Sentence("Question"), Sentence("Image {number}")
_DOCUMENT, _QUOTED = Sentence("Document: {name}"), Sentence("{name}, page {number}")


class SharedPages:
    """The routes.

    Args:
        shares: opens the links.
        root_url: the public address of the chat; "" where the ``Host`` header says it.
    """

    def __init__(self, shares: Shares, *, root_url: str = "") -> None:
        self._shares = shares
        self._root_url = root_url
        self._root_path = urlsplit(root_url).path.rstrip("/")

    def router(self) -> APIRouter:
        """Return the routes."""
        routes = APIRouter(route_class=ApiRoute, include_in_schema=False)
        routes.add_api_route("/shared/{token}", self.page, methods=["GET"])
        routes.add_api_route("/shared/{token}/images/{image_id}", self.image, methods=["GET"])
        return routes

    async def page(self, request: Request, token: str) -> Response:
        """Return the page of a link."""
        self._shares.admit(client_address(request.scope))
        try:
            share, messages = await self._shares.read(token)
        except ShareNotFound as error:
            return self._not_found(request, error)
        images = f"shared/{token}/images/"
        html = render_template(
            request,
            "shared.html",
            root_url=self._root_url,
            robots=NOT_INDEXED,
            title=share.title,
            about=_ABOUT.filled(made=_day(share.created_ms), end=_day(share.expires_ms)),
            question=_QUESTION,
            picture=_PICTURE,
            images=images,
            katex=getattr(request.app.state, "formula_files", ""),
            messages=[_shown(message) for message in messages],
        )
        response = Response(html, headers=HEADERS, media_type="text/html")
        # KaTeX sets styles of single elements; style sheets come from the chat only.
        attributes = "style-src-attr 'unsafe-inline'"
        response.headers["content-security-policy"] = f"{policy(images=self._image_sources(request))}; {attributes}"
        response.headers["vary"] = "accept-language, cookie"
        return response

    async def image(self, request: Request, token: str, image_id: str) -> Response:
        """Return a picture of a link."""
        self._shares.admit(client_address(request.scope))
        try:
            media_type, data = await self._shares.image(token, image_id)
        except ShareNotFound as error:
            return self._not_found(request, error)
        headers = HEADERS | {"content-security-policy": "default-src 'none'; sandbox"}
        return Response(data, headers=headers, media_type=media_type)

    def _not_found(self, request: Request, error: ShareNotFound) -> Response:
        response = render_page(request, 404, TITLE, error.sentence, root_url=self._root_url)
        response.headers.update(HEADERS)
        return response

    def _image_sources(self, request: Request) -> tuple[str, ...]:
        host = request.headers.get("host", "")
        roots = [root for root in (self._root_url.rstrip("/"), host) if root]
        if not roots or host.startswith("["):  # a policy cannot name an IPv6 address
            return ("'self'",)
        return tuple(f"{root}/{folder}/" for root in roots for folder in ("shared", "page"))


def _day(ms: int) -> str:
    # Isolated: among right-to-left words the parts of the date would change places.
    day = f"{moment(ms):%Y-%m-%d}".replace("-", "\N{NON-BREAKING HYPHEN}")
    return f"\N{LEFT-TO-RIGHT ISOLATE}{day}\N{POP DIRECTIONAL ISOLATE}"


def _isolated(name: str) -> str:
    return f"\N{FIRST STRONG ISOLATE}{shown_name(name)}\N{POP DIRECTIONAL ISOLATE}"


def _shown(message: SharedMessage) -> dict[str, object]:
    return {
        "is_question": message.role is Role.USER,
        "label": message.label,
        "text": message.text,
        "images": [{"id": name, "width": width, "height": height} for name, width, height in message.images],
        "documents": [_DOCUMENT.filled(name=_isolated(name)) for name in message.documents],
        "citations": [
            {"words": words, "place": _QUOTED.filled(name=_isolated(name), number=page)}
            for words, name, page in message.citations
        ],
    }
