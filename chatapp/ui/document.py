"""The page's HTML: Gradio's, with the chat's own head, at ``/`` and at ``/c/ID``, which opens that conversation."""

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
from chatapp.ui.gradio_compat import katex_files, with_head

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CONVERSATION = re.compile(r"/c/[A-Za-z0-9-]{1,80}")
IMAGE_FOLDERS = ("conversations", "page", "assets")
_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


class DocumentMiddleware:
    """Adds the head to the page's HTML, and a security policy that allows the page's own scripts only.

    Args:
        app: the app behind it.
        root_url: the public address of the chat; "" where the ``Host`` header says it.
        head: more of the page's head.
    """

    def __init__(self, app: ASGIApp, *, root_url: str = "", head: str = "") -> None:
        self._app = app
        self._head = head
        self._root_url = root_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the page for ``/`` and for a conversation's address; pass on any other request."""
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
                html, zipped, scripts = _document(body.decode(), "../" if is_conversation else "./", self._head)
                headers["content-security-policy"] = policy(
                    scripts=scripts,
                    styles=("'unsafe-inline'",),
                    images=image_sources(Headers(scope=scope).get("host", ""), self._root_url),
                )
                body = zipped if takes_brotli else html
                if takes_brotli:
                    headers["content-encoding"] = "br"
                headers.add_vary_header("accept-encoding")
                headers["content-length"] = str(len(body))
                headers["cache-control"] = "no-store"  # it names the version of the files
            await send(start)
            await send({"type": "http.response.body", "body": body, "more_body": False})

        await self._app(scope, receive, send_completed)


@lru_cache(maxsize=8)  # the same for all requests with the same base
def _document(html: str, up: str, head: str) -> tuple[bytes, bytes, tuple[str, ...]]:
    """Return the page, the page compressed with brotli, and the hashes of its scripts."""
    page = completed(html, up=up, head=head)
    content = page.encode()
    return content, brotli.compress(content, quality=page_files.BROTLI_QUALITY), hashes(page)


def image_sources(host: str, root_url: str = "") -> tuple[str, ...]:
    """Return the security policy's sources of images: the folders of the chat that have any.

    A picture in an answer can name any address of the chat, and `'self'` would let the browser request it.

    Args:
        host: the header ``Host``, which `chatapp.http.middleware.trusted_hosts` has checked.
        root_url: the public address of the chat; "" for none.
    """
    if host.startswith("["):  # a policy cannot name an IPv6 address
        return ("'self'",)
    roots = [root for root in (root_url.rstrip("/"), host) if root]
    return tuple(f"{root}/{folder}/" for root in roots for folder in IMAGE_FOLDERS)


def hashes(html: str) -> tuple[str, ...]:
    """Return the security policy's sources that allow exactly the inline scripts of this HTML."""
    digests = (hashlib.sha256(script.encode()).digest() for script in _INLINE_SCRIPT.findall(html))
    return tuple(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def completed(html: str, *, up: str = "./", head: str = "") -> str:
    """Return Gradio's HTML with the chat's head and ``head``; ``up`` leads from the page's address to the app's root.

    Raises:
        GradioChangedError: Gradio's HTML has another structure.
    """
    folder = f"page/{page_files.version()}"
    scripts = "\n".join(f'<link rel="modulepreload" href="{folder}/{name}">' for name in page_files.first_scripts())
    # Where a page has several base elements, browsers use the first.
    own = f"""<base href="{up}">
<title>Hybrid chat</title>
<meta name="color-scheme" content="light dark">
<meta name="katex" content="{" ".join(katex_files())}">
<link rel="icon" href="{folder}/icon.svg">
{head}
<script>{page_files.text("js/head.js")}</script>
<link rel="stylesheet" href="{folder}/page.css">
{scripts}
<script type="module" src="{folder}/js/main.js"></script>"""
    return with_head(html, own)
