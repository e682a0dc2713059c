"""The route that imports a file into the user's own history.

The file is the body; the response is a stream of events: how far the import is, and what it did. One request does all,
so that one replica does. It ends with its connection; the same file again continues.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, BinaryIO

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from chatapp.auth import audit
from chatapp.auth.audit import Action
from chatapp.domain.errors import InvalidMessage, StorageFull
from chatapp.domain.sentences import Sentence
from chatapp.http.api.event_stream import EventStream
from chatapp.http.api.routing import ERRORS, ApiRoute, Chat, Services, UserId
from chatapp.http.api.schemas.imports import ImportEvent, ImportProgress, ImportReport
from chatapp.imports.importer import Importer, Step

if TYPE_CHECKING:
    from chatapp.imports.report import Report

CONTENT_TYPE = "application/octet-stream"  # which no form of another site can send
FREE_BYTES = 200_000_000  # of the disk, which stay free
CHECKED_BYTES = 8_000_000  # between two looks at the disk
FILE_NAME = "export"

router = APIRouter(route_class=ApiRoute, responses=ERRORS)
log = structlog.get_logger(__name__)

BODY = {
    "requestBody": {"required": True, "content": {CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}


@router.post(
    "/imports",
    openapi_extra=BODY,
    response_class=StreamingResponse,
    responses={200: {"model": ImportEvent, "content": {"text/event-stream": {"schema": {"type": "object"}}}}},
)
async def import_file(request: Request, user: UserId, chat: Chat) -> EventStream:
    """Import an export of another chat, or of this one: the body, as it was downloaded.

    Each event has ``progress``, ``report`` (the last one), or ``error``: nothing was imported then, if it says so.
    """
    if not chat.settings.import_bytes:
        raise InvalidMessage(Sentence("Imports are turned off in this chat. Nothing was imported."))
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise InvalidMessage(Sentence("The upload was interrupted. Nothing was imported. Add the file again."))
    return await EventStream.start(_events(request, user, chat))


async def _events(request: Request, user: str, chat: Services) -> AsyncGenerator[ImportEvent | None]:
    folder = chat.settings.data_dir
    with chat.imports.place(user), tempfile.TemporaryFile(dir=folder) as file:
        await _receive(request, file, str(folder))
        audit.record(Action.IMPORT, user)
        yield ImportEvent(progress=ImportProgress(checking=True, share=0, conversations=0))
        async for event in _imported(file, user, chat):
            yield event


async def _receive(request: Request, file: BinaryIO, folder: str) -> None:
    """Write the body to a file, without taking all of the disk.

    Raises:
        StorageFull: it does not fit.
    """
    unchecked = CHECKED_BYTES
    async for chunk in request.stream():
        unchecked += len(chunk)
        if unchecked > CHECKED_BYTES:
            unchecked = 0
            if (await asyncio.to_thread(shutil.disk_usage, folder)).free < FREE_BYTES:
                raise StorageFull(
                    Sentence(
                        "The disk of this chat has no room for this file. Nothing was imported. Ask the operator of "
                        "this chat for more room."
                    ),
                    detail="disk",
                )
        await asyncio.to_thread(file.write, chunk)
    file.flush()


async def _imported(file: BinaryIO, user: str, chat: Services) -> AsyncGenerator[ImportEvent | None]:
    """Yield how far the import is while it runs, and what it did at the end; it ends with this generator."""
    steps: asyncio.Queue[Step | None] = asyncio.Queue()
    settings = chat.settings
    importer = Importer(chat.store, chat.images, limits=settings.storage_limits, oldest_ms=lambda: settings.oldest_ms)
    running: asyncio.Task[Report] = asyncio.create_task(importer.run(user, file, FILE_NAME, on_step=steps.put_nowait))
    running.add_done_callback(lambda _done: steps.put_nowait(None))
    try:
        while (step := await steps.get()) is not None:
            yield ImportEvent(progress=ImportProgress.of(step))
        yield ImportEvent(report=ImportReport.of(await running))
    finally:
        running.cancel()
        await asyncio.wait({running})
