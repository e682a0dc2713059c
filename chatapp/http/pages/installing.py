"""What makes the page installable: its manifest and icons, and a service worker that says when the chat is unavailable.

The worker has its few pages in its own text and stores nothing, so that no conversation can stay in it. Where the chat
is not installable, the worker's address has one that removes itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from chatapp.domain.sentences import Sentence
from chatapp.http import assets
from chatapp.http.pages.rendering import RIGHT_TO_LEFT, language_of, rendered, translation_of

if TYPE_CHECKING:
    from chatapp.config.settings import Settings

MANIFEST, WORKER = "/manifest.webmanifest", "/service-worker.js"
LIGHT, DARK = "#ffffff", "#0b0f19"  # the page's ground
_ICONS = (("icon-192", 192, "any"), ("icon-512", 512, "any"), ("maskable-512", 512, "maskable"))
_NAME = Sentence("Hybrid chat")
_UNAVAILABLE = Sentence("The chat is not available")
_WHY = Sentence(
    "This device may be offline, or the chat may be restarting. Your conversations are stored in the chat and are not "
    "lost. This page opens the chat as soon as it is available again."
)
_AGAIN = Sentence("Try again")
_REMOVES_ITSELF = """\
// This chat is not installable: what an earlier version of it installed removes itself.
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(registration.unregister()));
"""


def router(settings: Settings) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(include_in_schema=False)
    root_url = settings.root_url

    if settings.installable:

        @routes.get(MANIFEST)
        async def manifest(request: Request) -> Response:
            content = json.dumps(_manifest(language_of(request, root_url), root_url), ensure_ascii=False)
            headers = {"cache-control": "no-cache", "vary": "accept-language, cookie"}
            return Response(content, headers=headers, media_type="application/manifest+json")

    @routes.get(WORKER)
    async def service_worker() -> Response:
        # Without the policy of a script's response, a worker has none. It runs no other script and shows nothing.
        policy = "default-src 'none'; connect-src 'self'"
        headers = {"cache-control": "no-cache", "content-security-policy": policy}
        content = _worker(root_url) if settings.installable else _REMOVES_ITSELF
        return Response(content, headers=headers, media_type="text/javascript; charset=utf-8")

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


@cache
def _worker(root_url: str) -> str:
    """Return the worker's script. It changes with its pages, and browsers replace a worker whose script has changed."""
    style, script = (Markup(assets.text(name)) for name in ("sign-in.css", "js/unavailable.js"))  # noqa: S704  # own files
    icon = "data:image/svg+xml;base64," + base64.b64encode(assets.text("icon.svg").encode()).decode()
    shown = {"title": _UNAVAILABLE, "text": _WHY, "again": _AGAIN, "style": style, "script": script, "icon": icon}
    pages = {
        language: rendered("unavailable.html", language, root_url=root_url, **shown) for language in assets.LANGUAGES
    }
    policy = (
        f"default-src 'none'; style-src {_hash_of(style)}; script-src {_hash_of(script)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
    }
    response = {"status": 503, "headers": headers}
    return f"const PAGES = {json.dumps(pages)};\nconst RESPONSE = {json.dumps(response)};\n" + assets.text(
        "js/service_worker.js"
    )


def _hash_of(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
