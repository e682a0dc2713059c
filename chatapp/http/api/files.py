"""Responses that are files: their headers, and the file of a document in parts."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from urllib.parse import quote

import structlog
from fastapi.responses import StreamingResponse
from starlette.types import Send

from chatapp.documents.extraction.shape import Kind
from chatapp.domain.conversation import Document
from chatapp.domain.errors import ChatError, FileNotKept

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


async def document_file(document: Document, part: Callable[[int], Awaitable[bytes]]) -> Download:
    """Return the file of a document: a PDF to be shown, any other one to be saved.

    Args:
        document: its name, kind and size count.
        part: returns a part of the file by its number from 0, b"" behind its end.

    Raises:
        FileNotKept: its file was not kept, or is missing.
    """
    if not document.file or not (first := await part(0)):
        raise FileNotKept

    async def content() -> AsyncGenerator[bytes]:
        number, done, piece = 0, 0, first
        while piece:
            yield piece
            number, done = number + 1, done + len(piece)
            piece = await part(number) if done < document.size else b""

    is_pdf = document.kind == Kind.PDF
    headers = {
        "content-disposition": disposition(document.name, "inline" if is_pdf else "attachment"),
        "content-length": str(document.size),
        "content-security-policy": _PDF if is_pdf else _NOTHING,
        "cache-control": "private, no-store",
        "x-content-type-options": "nosniff",
    }
    media_type = "application/pdf" if is_pdf else "application/octet-stream"
    return Download(content(), headers=headers, media_type=media_type)
