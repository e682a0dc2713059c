"""Streams all data of a user, one conversation at a time: as one JSON document, or as a zip file of Markdown.

The first chunk comes after the first conversation was read, so it shows that the history can be read.
"""

from __future__ import annotations

import asyncio
import unicodedata
import zipfile
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from chatapp.domain.errors import ConversationNotFound, DocumentNotFound
from chatapp.userdata import json_export, markdown
from chatapp.userdata.json_export import moment
from chatapp.userdata.markdown import ENGLISH
from chatapp.userdata.queries import everything

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from chatapp.domain.conversation import Conversation, Document, Image, Message
    from chatapp.store import UserStore
    from chatapp.userdata.markdown import Language

PICTURES, FILES = "pictures", "files"  # the folders in the zip file
MOST_NAME, MOST_ENDING = 150, 16  # bytes of a document's name in the zip file
ZIP_YEARS = 1980, 2107  # the years that the format supports

if TYPE_CHECKING:
    _File = tuple[Document, int, Callable[[int], Awaitable[bytes]]]  # with the time of its change


async def as_json(store: UserStore, user: str) -> AsyncGenerator[bytes]:
    """Yield the document that `chatapp.userdata.json_export` describes.

    Raises:
        StoreUnavailable: a read failed; the chunks so far are no valid JSON.
    """
    before = json_export.header(user, await store.profile(user))
    async for conversation, messages in everything(store, user):
        yield before + await asyncio.to_thread(json_export.encode, conversation, messages)
        before = b",\n"
    if before != b",\n":
        yield before
    before = json_export.LIBRARY
    for listed in await store.library(user):
        with suppress(DocumentNotFound):  # removed meanwhile
            document = await store.library_document(user, listed.document.id)
            yield before + await asyncio.to_thread(json_export.encode_library_document, document)
            before = b",\n"
    yield json_export.FOOTER


async def as_zip(
    store: UserStore, user: str, label: Callable[[str], str], language: Language = ENGLISH
) -> AsyncGenerator[bytes]:
    """Yield a zip file with a Markdown file for each conversation, the images that they show, and files of documents.

    The files of the documents of collections are there, too. A file that several documents share is there once.

    ``label`` turns a model's id into its name; ``language`` is that of the words and file names.

    Raises:
        StoreUnavailable: a read failed; the chunks so far are no valid zip file.
    """
    written = _Written()
    names: set[str] = set()
    files: dict[str, _File] = {}
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
        async for conversation, messages in everything(store, user):
            name = _unique(markdown.file_name(conversation, ".md", language), names)
            pictures: dict[str, Image] = {}

            def shown(image: Image, language: Language, pictures: dict[str, Image] = pictures) -> str:
                if not image.data:
                    return markdown.mentioned(image, language)
                path = f"{PICTURES}/{image.id}.{image.media_type.removeprefix('image/')}"
                pictures[path] = image
                return f"![{markdown.described(image, language)}]({path})"

            text = await asyncio.to_thread(markdown.document, conversation, messages, label, shown, language)
            await asyncio.to_thread(file.writestr, _entry(name, conversation.updated_ms), text)
            yield written.drain()
            for path, image in pictures.items():
                if path not in names:  # the same picture in a second conversation
                    names.add(path)
                    await asyncio.to_thread(file.writestr, _entry(path, conversation.updated_ms), image.data)
                    yield written.drain()
            _note_files(files, store, user, conversation, messages)
        for one in await store.library(user):
            read = partial(store.library_file_part, user, one.document.id)
            files.setdefault(one.document.file, (one.document, one.added_ms, read))
        files.pop("", None)  # of documents without one
        for document, changed_ms, part in files.values():
            entry = _entry(_unique(_path_of(document), names), changed_ms)
            async for _ in _written_parts(file, entry, part, document.size):
                yield written.drain()
    yield written.drain()


def _note_files(
    files: dict[str, _File], store: UserStore, user: str, conversation: Conversation, messages: Sequence[Message]
) -> None:
    for document in (one for message in messages for one in message.documents):
        part = partial(store.document_file_part, user, conversation.id, document.id)
        bare = replace(document, data=b"")  # all of them are in memory until the end
        files.setdefault(document.file, (bare, conversation.updated_ms, part))


async def _written_parts(
    file: zipfile.ZipFile, entry: zipfile.ZipInfo, part: Callable[[int], Awaitable[bytes]], size: int
) -> AsyncGenerator[None]:
    """Write the file of a document, and yield after each part; one whose document was deleted meanwhile is left out."""
    try:
        piece = await part(0)
    except (ConversationNotFound, DocumentNotFound):
        return
    number, done = 0, 0
    with file.open(entry, "w", force_zip64=True) as stream:
        while piece:
            await asyncio.to_thread(stream.write, piece)
            yield
            number, done = number + 1, done + len(piece)
            piece = await part(number) if done < size else b""


def _path_of(document: Document) -> str:
    stem, _, ending = document.name.rpartition(".")
    name, ending = (
        markdown.safe_name(stem or ending, MOST_NAME),
        markdown.safe_name(ending if stem else "", MOST_ENDING),
    )
    return f"{FILES}/{name or document.id}{f'.{ending}' if ending else ''}"


def _entry(name: str, changed_ms: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    changed = moment(changed_ms)
    if ZIP_YEARS[0] <= changed.year <= ZIP_YEARS[1]:
        entry.date_time = changed.timetuple()[:6]
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


class _Written:
    """A write-only file without seek, whose content is taken in chunks."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes, /) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Do nothing."""

    def drain(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _unique(name: str, names: set[str]) -> str:
    """Return a unique name, with a number if needed; compared without case, as macOS and Windows do."""
    stem, dot, ending = name.rpartition(".") if "." in name else (name, "", "")
    number, candidate = 1, name
    while (key := unicodedata.normalize("NFKD", candidate).casefold()) in names:
        number += 1
        candidate = f"{stem} ({number}){dot}{ending}"
    names.add(key)
    return candidate
