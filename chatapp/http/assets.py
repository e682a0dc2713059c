"""Static files of the page: style sheets, scripts and translations.

``GET /page/{version}/{path}`` serves them. The version is a digest of all their contents: browsers cache the files for
good and fetch them under a new address once one has changed.

A page first loads `first_scripts` and ``locales/{language}.first.json``, the translations of the sentences in these
scripts. Opening a panel, or a sentence from the server that is not among those, loads
``locales/{language}.rest.json``.

``vendor/`` has libraries as their authors published them; ``vendor/packages.json`` lists them with version, licence and
digest. docs/upgrade.md says how to fetch others.
"""

from __future__ import annotations

import base64
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

from chatapp.http.middleware.security_headers import frame_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parents[1] / "ui" / "assets"
LANGUAGES = ("en", "he", "ar")
# Served as one file, page.css, in this order: one request, and a later sheet overrides an earlier one.
STYLES = (
    *("base", "layout", "buttons", "messages", "answers", "welcome", "composer", "documents", "panels", "sidebar"),
    *("settings_panel", "knowledge", "guest_data", "phone", "print", "gradio"),
)
# Of the page of a share link: shared_page.css.
SHARED_PAGE_STYLES = ("base", "buttons", "answers", "panels", "shared_page")
# Sentences from the server about the models of a chat that is not set up yet: a first visit shows them.
FIRST_SERVER_SENTENCES = (
    "not set up",
    "set CHAT_GEMMA_URL to the address of an OpenAI-compatible server (vLLM, Ollama, LM Studio)",
    "set GOOGLE_CLOUD_PROJECT for Gemini on Vertex AI, or GEMINI_API_KEY for the Gemini API, and restart the chat",
    "its status is being checked",
    "{model} uses a fixed value.",
    "SmolLM2 (small demo)",
)
_IMPORT = re.compile(r'\bfrom "\./(\w+\.js)"')
_SENTENCE = re.compile(r'\bt\(\s*("(?:[^"\\]|\\.)*")')
MIN_COMPRESSED_BYTES = 500  # compressing less than this saves no more than the header costs
# Brotli's best, 11, makes them 10 % smaller in 50 times the CPU: 2.2 s in place of 0.04 for all but one library of
# 3.5 MB (9 s in place of 0.2), which the first visitors after a start wait for.
BROTLI_QUALITY = 6
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
# Not from the system's table: on some systems its type for scripts is one that browsers refuse.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",  # of frames
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}


@cache
def contents() -> Mapping[str, bytes]:
    """Return the contents of the served files, by their paths below ``/page/{version}/``."""
    files = sources()
    sheets = {"page.css": STYLES, "shared_page.css": SHARED_PAGE_STYLES}
    styles = {sheet: b"".join(files[f"css/{name}.css"] for name in names) for sheet, names in sheets.items()}
    served = {name: content for name, content in files.items() if not name.startswith("css/")}
    return served | styles | _split_catalogues(files)


def sources() -> Mapping[str, bytes]:
    """Return the contents of the files in the folder, by their paths below it."""
    files = sorted(path for path in FOLDER.rglob("*") if path.suffix in MEDIA_TYPES)
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in files}


@cache
def version() -> str:
    """Return a digest of all files."""
    digest = hashlib.sha256()
    for name, content in contents().items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def text(name: str) -> str:
    """Return a file as text."""
    return contents()[name].decode()


def first_scripts() -> tuple[str, ...]:
    """Return the scripts that a page loads first: ``js/main.js`` and its imports."""
    return _with_imports(contents(), "js/main.js")


def translations(language: str) -> dict[str, str]:
    """Return the translations of the English sentences into a language; none for English itself."""
    name = f"locales/{language}.json"
    return json.loads(contents()[name]) if name in contents() else {}


def router() -> APIRouter:
    """Return the route of the files."""
    files = APIRouter(include_in_schema=False)

    @files.get("/page/{requested_version}/{path:path}")
    def read_file(request: Request, requested_version: str, path: str) -> Response:
        content = contents().get(path)
        if content is None:
            return Response("There is no such file.", 404, media_type="text/plain")
        # A page from before an update requests the old version: it gets the current files, but does not cache them.
        is_current = requested_version == version()
        headers = {
            "cache-control": "public, max-age=31536000, immutable" if is_current else "no-store",
            "vary": "accept-encoding",
        }
        if path.endswith(".html"):
            headers["content-security-policy"] = frame_policy(scripts=_script_hashes(content))
        accepted = request.headers.get("accept-encoding", "")
        for encoding in ("br", "gzip") if len(content) > MIN_COMPRESSED_BYTES else ():
            if re.search(rf"\b{encoding}\b", accepted):
                content = _compressed(path, encoding)
                headers["content-encoding"] = encoding
                break
        return Response(content, headers=headers, media_type=MEDIA_TYPES[Path(path).suffix])

    return files


@cache
def _compressed(path: str, encoding: str) -> bytes:
    content = contents()[path]
    if encoding == "br":
        compressed: bytes = brotli.compress(content, quality=BROTLI_QUALITY)
        return compressed
    return gzip.compress(content, compresslevel=6, mtime=0)


def _script_hashes(html: bytes) -> tuple[str, ...]:
    digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(html))
    return tuple(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def _with_imports(files: Mapping[str, bytes], name: str) -> tuple[str, ...]:
    scripts = [name]
    for script in scripts:  # which grows meanwhile
        imports = (f"js/{imported}" for imported in _IMPORT.findall(files[script].decode()))
        scripts += [script for script in dict.fromkeys(imports) if script not in scripts]
    return tuple(scripts)


def _split_catalogues(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return each catalogue in two parts: the sentences of `first_scripts`, and the rest."""
    scripts = "\n".join(files[name].decode() for name in _with_imports(files, "js/main.js"))
    first = {*FIRST_SERVER_SENTENCES, *(json.loads(literal) for literal in _SENTENCE.findall(scripts))}
    parts = {}
    for name in [name for name in files if name.startswith("locales/")]:
        catalogue = json.loads(files[name])
        for part, is_first in (("first", True), ("rest", False)):
            chosen = {english: words for english, words in catalogue.items() if (english in first) == is_first}
            encoded = json.dumps(chosen, ensure_ascii=False, separators=(",", ":")).encode()
            parts[name.replace(".json", f".{part}.json")] = encoded
    return parts
