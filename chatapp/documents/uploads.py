"""Uploaded documents that wait for a message, in memory: what was read of them, not their files."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from chatapp.documents.extraction.shape import Refused
from chatapp.documents.packing import packed
from chatapp.documents.refusals import refusal
from chatapp.domain.conversation import Document, new_id
from chatapp.domain.sentences import Sentence
from chatapp.limits.uploads import KeptUploads, UploadLimits

if TYPE_CHECKING:
    from chatapp.documents.reader import DocumentReader

MAX_NAME = 200  # characters

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
    """

    def __init__(self, reader: DocumentReader, limits: UploadLimits | None = None) -> None:
        super().__init__(lambda document: len(document.data))
        self._reader = reader
        self._limits = limits or UploadLimits(SENTENCES)

    async def add(self, user: str, file: bytes, name: str) -> tuple[str, Document]:
        """Read and keep a document; return its id and the document.

        Args:
            user: whose it is.
            file: its bytes.
            name: as the person's computer calls the file; it decides between kinds of text, so it is a part of the id.

        Raises:
            InvalidDocument: it cannot be read.
            LimitReached: too many documents were uploaded, or are being read.
        """
        name = file_name(name)
        digest = await asyncio.to_thread(hashlib.sha256, file)
        digest.update(b"\0" + name.encode())
        upload_id = digest.hexdigest()[:32]
        if (document := self.get(user, upload_id)) is not None:
            return upload_id, document
        self._limits.admit(user)
        read = await self._reader.read(user, file, name)
        try:
            data = await asyncio.to_thread(packed, read.pages)
        except Refused as error:
            raise refusal(name, error.reason, error.facts, error.detail) from None
        document = Document(
            id=new_id(), name=name or read.kind, kind=read.kind, pages=len(read.pages), size=len(file), data=data
        )
        self.keep(user, upload_id, document)
        return upload_id, document


def file_name(name: str) -> str:
    """Return the name of a file without its folders and without what a page cannot show; may be empty.

    What changes the direction of text is left out too: it would make one kind of file look like another.
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = " ".join("".join(letter for letter in last if letter.isprintable()).split())
    return shown if len(shown) <= MAX_NAME else f"{shown[: MAX_NAME - 21]}…{shown[-20:]}"
