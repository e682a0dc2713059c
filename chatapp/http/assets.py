"""What the page is made of besides Gradio: style sheets, scripts and translations.

``GET /page/{version}/{path}`` gives any of them. The version is a name of what is in them, so that browsers keep them
for good and ask for others once they have changed.

A page loads at first what it shows at first: `first_scripts`, and of a language ``locales/{language}.first.json``, the
sentences that those can say by themselves. A panel's script comes when the panel is opened, and with it, or with the
first sentence of the server's that is not there yet, ``locales/{language}.rest.json``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import brotli  # type: ignore[import-untyped]  # it has no types
from fastapi import APIRouter, Request
from fastapi.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parents[1] / "ui" / "assets"
LANGUAGES = ("en", "he", "ar")
# Served as one file, page.css, in this order: one request, and a later sheet overrides an earlier one.
STYLES = (
    *("base", "layout", "buttons", "messages", "welcome", "composer", "panels", "sidebar", "settings_panel", "phone"),
    "gradio",
)
# What the server says of models in a chat of which nobody has set up anything yet.
FIRST_SAID = (
    "not set up",
    "set CHAT_GEMMA_URL to the address of an OpenAI-compatible server (vLLM, Ollama, LM Studio)",
    "set GOOGLE_CLOUD_PROJECT for Gemini on Vertex AI, or GEMINI_API_KEY for the Gemini API, and restart the chat",
    "its status is being checked",
    "{model} uses a fixed value.",
)
_IMPORTED = re.compile(r'\bfrom "\./(\w+\.js)"')
_SAID = re.compile(r'\bt\(\s*("(?:[^"\\]|\\.)*")')
MIN_ZIPPED_BYTES = 500  # below it, zipping saves nothing worth a header
# Not what the system says: some say otherwise of scripts, which are then refused.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


@cache
def contents() -> Mapping[str, bytes]:
    """Return each file's bytes by its path beneath the folder."""
    written = sources()
    styles = b"".join(written[f"css/{name}.css"] for name in STYLES)
    served = {name: content for name, content in written.items() if not name.startswith("css/")}
    return served | {"page.css": styles} | _divided_catalogues(written)


def sources() -> Mapping[str, bytes]:
    """Return each file's bytes as it is written, by its path beneath the folder."""
    files = sorted(path for path in FOLDER.rglob("*") if path.suffix in MEDIA_TYPES)
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in files}


@cache
def version() -> str:
    """Return a name that changes with any of the files."""
    digest = hashlib.sha256()
    for name, content in contents().items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def text(name: str) -> str:
    """Return one file as text."""
    return contents()[name].decode()


def first_scripts() -> tuple[str, ...]:
    """Return the scripts that a page loads at first: ``js/main.js`` and what it imports."""
    return _imported(contents(), "js/main.js")


def translations(language: str) -> dict[str, str]:
    """Return the page's sentences in a language, by the English ones; none for English itself."""
    name = f"locales/{language}.json"
    return json.loads(contents()[name]) if name in contents() else {}


def router() -> APIRouter:
    """Return the route of the files."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/page/{asked_version}/{path:path}")
    def asset(request: Request, asked_version: str, path: str) -> Response:
        content = contents().get(path)
        if content is None:
            return Response("There is no such file.", 404, media_type="text/plain")
        # A page that was loaded before an update asks for the files of then: it gets those of now, and keeps none.
        is_current = asked_version == version()
        headers = {
            "cache-control": "public, max-age=31536000, immutable" if is_current else "no-store",
            "vary": "accept-encoding",
        }
        taken = request.headers.get("accept-encoding", "")
        for encoding in ("br", "gzip") if len(content) > MIN_ZIPPED_BYTES else ():
            if re.search(rf"\b{encoding}\b", taken):
                content = _zipped(path, encoding)
                headers["content-encoding"] = encoding
                break
        kind = MEDIA_TYPES[Path(path).suffix]
        return Response(content, headers=headers, media_type=kind)

    return routes


@cache
def _zipped(path: str, encoding: str) -> bytes:
    content = contents()[path]
    return brotli.compress(content) if encoding == "br" else gzip.compress(content, mtime=0)


def _imported(files: Mapping[str, bytes], name: str) -> tuple[str, ...]:
    found = [name]
    for script in found:
        names = (f"js/{imported}" for imported in _IMPORTED.findall(files[script].decode()))
        found += [other for other in dict.fromkeys(names) if other not in found]
    return tuple(found)


def _divided_catalogues(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return each catalogue in two: what is said at first, and the rest."""
    scripts = "\n".join(files[name].decode() for name in _imported(files, "js/main.js"))
    first = {*FIRST_SAID, *(json.loads(said) for said in _SAID.findall(scripts))}
    parts = {}
    for name in [name for name in files if name.startswith("locales/")]:
        catalogue = json.loads(files[name])
        for part, is_first in (("first", True), ("rest", False)):
            said = {english: words for english, words in catalogue.items() if (english in first) == is_first}
            text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
            parts[name.replace(".json", f".{part}.json")] = text.encode()
    return parts
