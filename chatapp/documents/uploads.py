"""Uploaded documents that wait for a message: their texts in memory, and their files where the store keeps any.

A file waits in the store until a message, or a collection, names it with its document; else it is discarded with the
upload.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from chatapp.documents.extraction.shape import Refused
from chatapp.documents.packing import packed
from chatapp.documents.refusals import refusal
from chatapp.domain.conversation import Document, new_id
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.limits.uploads import DiskRoom, KeptUploads, UploadLimits
from chatapp.store.values import file_bytes

if TYPE_CHECKING:
    from chatapp.documents.reader import DocumentReader
    from chatapp.store import FileStore

MAX_NAME = 200  # characters
USERS_WITH_FILES = 4  # who may have as many bytes of files waiting as a message can have

SENTENCES = (
    Sentence(
        "Your limit of {most} documents per minute is reached. Your documents are still in the box. Try again {when}."
    ),
    Sentence(
        "This chat's shared limit on documents per minute is reached. Your documents are still in the box. Try again "
        "{when}."
    ),
)


class DocumentUploads(KeptUploads[Document]):
    """Reads uploaded documents, and keeps them.

    Args:
        reader: reads the files.
        limits: on how often.
        files: where the files themselves are kept; None: nowhere.
        most_file_bytes: of the files of one user that wait.
    """

    def __init__(
        self,
        reader: DocumentReader,
        limits: UploadLimits | None = None,
        files: FileStore | None = None,
        *,
        most_file_bytes: int = 0,
    ) -> None:
        room = DiskRoom(size_of=file_bytes, per_user=most_file_bytes, in_total=USERS_WITH_FILES * most_file_bytes)
        super().__init__(lambda document: len(document.data), room if files else None, self._discard)
        self._reader = reader
        self._limits = limits or UploadLimits(SENTENCES)
        self._files = files
        self._discarding: set[asyncio.Task[None]] = set()

    async def add(self, user: str, file: bytes, name: str, *, keeps_file: bool = True) -> tuple[str, Document]:
        """Read and keep a document; return its id and the document.

        Args:
            user: whose it is.
            file: its bytes.
            name: as the person's computer calls the file; it decides between kinds of text, so it is a part of the id.
            keeps_file: whether to keep the file, too, where files are kept.

        Raises:
            StoreUnavailable: its file cannot be written.
            InvalidDocument: it cannot be read.
            LimitReached: too many documents were uploaded, or are being read.
        """
        name = file_name(name)
        digest = await asyncio.to_thread(hashlib.sha256, file)
        digest.update(b"\0" + name.encode())
        upload_id = digest.hexdigest()[:32]
        document = self.get(user, upload_id)
        if document is None:
            document = await self._read(user, file, name)
        elif document.file or not (keeps_file and self._files):
            return upload_id, document
        if keeps_file and self._files:
            document = replace(document, file=await self._files.add_file(user, file))
        self.keep(user, upload_id, document)
        return upload_id, document

    async def _read(self, user: str, file: bytes, name: str) -> Document:
        self._limits.admit(user)
        read = await self._reader.read(user, file, name)
        try:
            data = await asyncio.to_thread(packed, read.pages)
        except Refused as error:
            raise refusal(name, error.reason, error.facts, error.detail) from None
        return Document(
            id=new_id(), name=name or read.kind, kind=read.kind, pages=len(read.pages), size=len(file), data=data
        )

    def _discard(self, user: str, documents: list[Document]) -> None:
        """Have the store delete the files of uploads, but for those that a document names now."""
        files = [one.file for one in documents if one.file]
        if files and self._files:
            task = asyncio.create_task(_discarded(self._files, user, files))
            self._discarding.add(task)
            task.add_done_callback(self._discarding.discard)


async def _discarded(store: FileStore, user: str, files: list[str]) -> None:
    with suppress(StoreUnavailable):  # they are deleted at the next start
        await store.discard_files(user, files)


def file_name(name: str) -> str:
    """Return the name of a file without its folders and without what a page cannot show; may be empty.

    What changes the direction of text is left out too: it would make one kind of file look like another.
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = " ".join("".join(letter for letter in last if letter.isprintable()).split())
    return shown if len(shown) <= MAX_NAME else f"{shown[: MAX_NAME - 21]}…{shown[-20:]}"
