"""The page's HTML: Gradio's own, with a head of ours, at ``/`` and at ``/c/ID``, which opens that conversation.

Gradio puts what its ``head`` parameter names into the page by script, after its own code has run. The language has to
be known before it: Gradio's and our own words are both chosen by it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING

import brotli  # type: ignore[import-untyped]  # it has no types
from starlette.datastructures import Headers, MutableHeaders

from chatapp.http import assets as page_files
from chatapp.http.middleware.security_headers import policy

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CONVERSATION = re.compile(r"/c/[A-Za-z0-9-]{1,80}")
_HEAD = "<head>"
# What it says of itself to other sites and to a page that holds it in a frame, which none can.
_LEFT_OUT = re.compile(
    r"<title>.*?</title>|<meta\s+(?:property|name)=\"(?:og|twitter):[^>]*>|<link rel=\"manifest\"[^>]*>"
    r"|<script>(?:(?!</script>).)*/iframeResizer\.contentWindow(?:(?!</script>).)*</script>",
    re.DOTALL,
)
_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


class DocumentMiddleware:
    """Completes the page's HTML on its way out, and allows its own scripts, and no others, to run in it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, as one for the page if it names a conversation."""
        path = scope.get("path", "")
        is_conversation = bool(_CONVERSATION.fullmatch(path))
        if scope["type"] != "http" or scope["method"] != "GET" or not (path == "/" or is_conversation):
            await self._app(scope, receive, send)
            return
        if is_conversation:
            scope = {**scope, "path": "/", "raw_path": b"/"}
        takes_brotli = bool(re.search(r"\bbr\b", Headers(scope=scope).get("accept-encoding", "")))
        start: Message = {}
        body = b""

        async def send_completed(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if message.get("more_body", False):
                return
            headers = MutableHeaders(scope=start)
            if headers.get("content-type", "").startswith("text/html"):
                html, zipped, headers["content-security-policy"] = _document(
                    body.decode(), "../" if is_conversation else "./"
                )
                body = zipped if takes_brotli else html
                if takes_brotli:
                    headers["content-encoding"] = "br"
                headers.add_vary_header("accept-encoding")
                headers["content-length"] = str(len(body))
                headers["cache-control"] = "no-store"  # it names the files' version
            await send(start)
            await send({"type": "http.response.body", "body": body, "more_body": False})

        await self._app(scope, receive, send_completed)


@lru_cache(maxsize=8)  # it is the same for everybody who comes by the same address
def _document(html: str, up: str) -> tuple[bytes, bytes, str]:
    """Return the page, the page zipped, and its security policy."""
    page = completed(html, up=up)
    content = page.encode()
    return content, brotli.compress(content), policy(scripts=hashes(page), styles=("'unsafe-inline'",))


def hashes(html: str) -> tuple[str, ...]:
    """Return the sources of a security policy that allow the scripts within this HTML, and no others."""
    digests = (hashlib.sha256(script.encode()).digest() for script in _INLINE_SCRIPT.findall(html))
    return tuple(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def completed(html: str, *, up: str = "./") -> str:
    """Return Gradio's HTML with our head; ``up`` leads from the page's address to the app's root.

    Raises:
        RuntimeError: Gradio's HTML is not as it was.
    """
    if html.count(_HEAD) != 1:
        raise RuntimeError(f"Gradio's page has no {_HEAD}: chatapp/ui/document.py was written for gradio 6.31.")
    folder = f"page/{page_files.version()}"
    scripts = "\n".join(f'<link rel="modulepreload" href="{folder}/{name}">' for name in page_files.first_scripts())
    # The first address that is called the base is the one.
    head = f"""<head>
<base href="{up}">
<title>Hybrid chat</title>
<meta name="color-scheme" content="light dark">
<link rel="icon" href="{folder}/icon.svg">
<script>{page_files.text("js/early.js")}</script>
<link rel="stylesheet" href="{folder}/page.css">
{scripts}
<script type="module" src="{folder}/js/main.js"></script>"""
    return _LEFT_OUT.sub("", html).replace(_HEAD, head)
