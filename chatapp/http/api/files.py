"""Responses that are files: their headers, and the file of a document in parts."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from urllib.parse import quote

import structlog
from fastapi.responses import Response, StreamingResponse
from starlette.datastructures import Headers
from starlette.types import Send

from chatapp.documents.extraction.shape import Kind
from chatapp.domain.conversation import Document
from chatapp.domain.errors import ChatError, FileNotKept
from chatapp.store.values import FILE_PART_BYTES

# Nothing of it is run or loaded, however a browser shows it.
_NOTHING = "default-src 'none'; sandbox"
# A sandbox would keep browsers from showing a PDF in their viewer, which is no page of the chat: scripts of a PDF run
# there, if at all. Chromium puts the viewer into a page of its own, as an object with a style.
_PDF = (
    "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

log = structlog.get_logger(__name__)


class Download(StreamingResponse):
    """A stream that breaks off where something fails: its connection is closed before its end."""

    async def stream_response(self, send: Send) -> None:
        """Send the stream."""
        try:
            await super().stream_response(send)
        except ChatError as error:
            log.warning("download_broken_off", detail=error.detail)


def disposition(name: str, how: str = "attachment") -> str:
    """Return the header of a file with this name (RFC 6266; the first name is for old programs)."""
    ascii_name = " ".join(name.encode("ascii", "ignore").decode().replace('"', "").replace("\\", "").split())
    return f"{how}; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"


async def document_file(document: Document, part: Callable[[int], Awaitable[bytes]], asked: Headers) -> Response:
    """Return the file of a document, or the range of it that is asked for: a PDF to be shown, another to be saved.

    Args:
        document: its name, kind and size count.
        part: returns a part of the file by its number from 0, b"" behind its end.
        asked: the headers of the request.

    Raises:
        FileNotKept: its file was not kept, or is missing.
    """
    if not document.file:
        raise FileNotKept
    size, start, end = document.size, 0, document.size
    is_pdf = document.kind == Kind.PDF
    headers = {
        "accept-ranges": "bytes",
        "content-disposition": disposition(document.name, "inline" if is_pdf else "attachment"),
        "content-security-policy": _PDF if is_pdf else _NOTHING,
        "cache-control": "private, no-store",
        "x-content-type-options": "nosniff",
    }
    wanted = wanted_range(asked, size)
    if wanted is not None:
        start, end = wanted
        if start >= end:
            return Response(status_code=416, headers=headers | {"content-range": f"bytes */{size}"})
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    headers["content-length"] = str(end - start)
    number = start // FILE_PART_BYTES
    if not (first := await part(number)):
        raise FileNotKept

    async def content() -> AsyncGenerator[bytes]:
        at, done, piece = number, start, first[start - number * FILE_PART_BYTES :]
        while piece:
            yield piece[: end - done]
            at, done = at + 1, done + len(piece)
            piece = await part(at) if done < end else b""

    media_type = "application/pdf" if is_pdf else "application/octet-stream"
    return Download(content(), 206 if wanted else 200, headers=headers, media_type=media_type)


def wanted_range(asked: Headers, size: int) -> tuple[int, int] | None:
    """Return where the range of a request begins and ends in so many bytes, or None if it wants all of them.

    One that is not there begins at its end. Several ranges, and those that depend on a version (``If-Range``), which
    these files have none of, are answered with the whole, as RFC 9110 (14.2) allows.
    """
    found = re.fullmatch(r"bytes=(\d{0,15})-(\d{0,15})", asked.get("range", "").replace(" ", ""))
    if found is None or "if-range" in asked or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:  # the last so many bytes
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return None
    return min(int(first), size), min(int(last) + 1, size) if last else size
