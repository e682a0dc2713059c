"""What makes the page installable: its manifest and icons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import Response

from chatapp.domain.sentences import Sentence
from chatapp.http import assets
from chatapp.http.pages.rendering import RIGHT_TO_LEFT, language_of, translation_of

if TYPE_CHECKING:
    from chatapp.config.settings import Settings

MANIFEST = "/manifest.webmanifest"
LIGHT, DARK = "#ffffff", "#0b0f19"  # the page's ground
_ICONS = (("icon-192", 192, "any"), ("icon-512", 512, "any"), ("maskable-512", 512, "maskable"))
_NAME = Sentence("Hybrid chat")


def router(settings: Settings) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(include_in_schema=False)
    root_url = settings.root_url

    @routes.get(MANIFEST)
    async def manifest(request: Request) -> Response:
        content = json.dumps(_manifest(language_of(request, root_url), root_url), ensure_ascii=False)
        headers = {"cache-control": "no-cache", "vary": "accept-language, cookie"}
        return Response(content, headers=headers, media_type="application/manifest+json")

    return routes


def head() -> str:
    """Return what the page's head has of an installable page; its addresses are relative to the chat's root."""
    folder = f"page/{assets.version()}"
    # With credentials, so that a proxy that signs people in lets it through.
    return f"""<link rel="manifest" href="{MANIFEST[1:]}" crossorigin="use-credentials">
<link rel="apple-touch-icon" href="{folder}/icons/apple-touch-180.png">
<meta name="theme-color" media="(prefers-color-scheme: light)" content="{LIGHT}">
<meta name="theme-color" media="(prefers-color-scheme: dark)" content="{DARK}">"""


def _root(root_url: str) -> str:
    return f"{urlsplit(root_url).path.rstrip('/')}/"


def _manifest(language: str, root_url: str) -> dict[str, Any]:
    root, name = _root(root_url), translation_of(_NAME, language)
    folder = f"{root}page/{assets.version()}/icons"
    return {
        "id": root,
        "name": name,
        "short_name": name,
        "lang": language,
        "dir": "rtl" if language in RIGHT_TO_LEFT else "ltr",
        "start_url": root,
        "scope": root,
        "display": "standalone",
        "background_color": LIGHT,
        "theme_color": LIGHT,
        "icons": [
            {"src": f"{folder}/{icon}.png", "sizes": f"{size}x{size}", "type": "image/png", "purpose": purpose}
            for icon, size, purpose in _ICONS
        ],
    }
