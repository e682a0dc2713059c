"""Reads the conversations of an opened file, whatever format they have."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from chatapp.imports import formats, refusals
from chatapp.imports.formats import chatgpt, gemini, own
from chatapp.imports.json_items import LIBRARY, Item, Member, read_items
from chatapp.imports.parsed import Parsed, Skipped
from chatapp.imports.refusals import InvalidImport
from chatapp.imports.takeout_page import read_activities
from chatapp.store.library import library_bytes
from chatapp.userdata.json_export import Room

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from chatapp.domain.conversation import Profile
    from chatapp.domain.library import LibraryDocument
    from chatapp.imports.archive import Archive

LOOKED_AT = 20  # elements of a list before it counts as no conversations


@dataclass(slots=True)
class Reading:
    """What was read besides the conversations.

    Attributes:
        sources: keys of `chatapp.imports.formats.NAMES`.
        skipped: what was left out of all conversations, and elements that are none.
        files: names of files in the archive that have no conversations.
        missing: names of files that the archive should have, and has not.
        profile: of an export of this chat.
        room: for the documents of such exports.
        library_bytes: about how much the documents of collections of such exports take.
    """

    sources: set[str] = field(default_factory=set)
    skipped: Counter[Skipped] = field(default_factory=Counter)
    files: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    profile: Profile | None = None
    room: Room = field(default_factory=Room)
    library_bytes: int = 0


def read_conversations(archive: Archive, reading: Reading) -> Iterator[Parsed]:
    """Yield the conversations, one at a time in memory; fill in ``reading``.

    Raises:
        InvalidImport: there are none, or the file is damaged.
    """
    archive.progress.done = 0
    error: InvalidImport | None = None
    listed: set[str] = set()
    for name in archive.documents:
        document = _Document(archive, name, reading)
        try:
            yield from document.conversations()
        except InvalidImport as found:
            if document.is_recognized or "conversations" in name or not archive.is_zip:
                raise
            error = error or found
        if not document.is_recognized:
            reading.files.append(name)
            if name.endswith("export_manifest.json"):
                listed = chatgpt.parts_in(document.members)
    reading.files += [*archive.archives, *archive.others]
    present = {name.rpartition("/")[2] for name in archive.documents}
    reading.missing = sorted(one for one in listed if one.rpartition("/")[2] not in present)
    if not reading.sources:
        raise error or _unknown(archive)


def read_library(archive: Archive) -> Generator[LibraryDocument]:
    """Yield the documents of collections in the exports of this chat, one at a time in memory.

    The file was read to its end before: see `read_conversations`.
    """
    for name in archive.documents:
        with suppress(InvalidImport):  # a document beside the conversations, which the first reading left out, too
            yield from _Document(archive, name, Reading()).library()


def _unknown(archive: Archive) -> InvalidImport:
    return InvalidImport(refusals.NESTED if archive.archives else refusals.UNKNOWN)


class _Document:
    """One document: a list of conversations, an object that has one or is one, or a page of activities."""

    def __init__(self, archive: Archive, name: str, reading: Reading) -> None:
        self._archive = archive
        self._name = name
        self._reading = reading
        self._activities: gemini.Activities | None = None
        self._is_own = False
        self._number = self._documents = 0
        self.members: dict[str, Any] = {}
        self.is_recognized = False

    def conversations(self) -> Iterator[Parsed]:
        first = self._first()
        if first not in {b"{", b"[", b"<"}:
            if not self._archive.is_zip:
                raise InvalidImport(refusals.UNKNOWN)
            return
        with self._archive.document(self._name) as stream:
            for part in self._parts(stream, is_page=first == b"<"):
                if isinstance(part, Member):
                    self.members[part.name] = part.value
                elif part.of == LIBRARY:
                    self._reading.library_bytes += sum(map(library_bytes, self._kept(part)))
                else:
                    self._number += 1
                    yield from self._noted(self._item(part))
                    if not self.is_recognized and self._number >= LOOKED_AT:
                        return
        if self._activities is not None:
            yield from self._noted(self._activities.end())
            self._reading.skipped += self._activities.skipped
        if self._number == 0:
            yield from self._noted(self._whole())
        if self._is_own:
            self._reading.profile = own.profile_of(self.members) or self._reading.profile

    def library(self) -> Iterator[LibraryDocument]:
        """Yield the documents of collections, without a look at the conversations."""
        if self._first() != b"{":
            return
        with self._archive.document(self._name) as stream:
            for part in read_items(stream, self._name):
                if isinstance(part, Member):
                    self.members[part.name] = part.value
                elif part.of == LIBRARY:
                    yield from self._kept(part)

    def _first(self) -> bytes:
        with self._archive.document(self._name) as stream:
            return stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]

    def _kept(self, item: Item) -> Iterator[LibraryDocument]:
        """Yield a document of a collection, if this is an export of this chat."""
        self._recognize_own()
        if self._is_own:
            self._documents += 1
            yield own.document_of(item.value, self._documents - 1, self._reading.room)

    def _parts(self, stream: BinaryIO, *, is_page: bool) -> Iterator[Item | Member]:
        if is_page:
            return map(Item, read_activities(stream, self._name))
        return read_items(stream, self._name)

    def _item(self, item: Item) -> Iterator[Parsed]:
        if self._number == 1:
            self._recognize_own()
        if self._is_own:
            yield from own.convert(item.value, self._number - 1, self._reading.room)
            return
        if (found := formats.format_of(item.value)) is None:
            if self.is_recognized:
                self._reading.skipped[Skipped.UNREADABLE] += 1
            return
        if not self.is_recognized:  # those before were none
            self.is_recognized = True
            self._reading.skipped[Skipped.UNREADABLE] += self._number - 1
        if found is gemini and "conversation_turns" not in item.value:
            self._reading.sources.add("gemini")
            self._activities = self._activities or gemini.Activities()
            yield from self._activities.add(item.value)
        else:
            yield from found.convert(item.value)

    def _whole(self) -> Iterator[Parsed]:
        """Yield the conversation that the document is; an export of this chat may have none."""
        self._recognize_own()
        if self._is_own:
            return
        if (found := formats.format_of(self.members)) is not None:
            self.is_recognized = True
            yield from found.convert(self.members)
        elif not self._archive.is_zip and self.members:
            raise InvalidImport(refusals.UNKNOWN, detail=json.dumps(sorted(self.members))[:100])

    def _recognize_own(self) -> None:
        if own.recognizes_document(self.members):
            self._is_own = self.is_recognized = True
            self._reading.sources.add("own")

    def _noted(self, conversations: Iterator[Parsed]) -> Iterator[Parsed]:
        for parsed in conversations:
            self._reading.sources.add(parsed.source)
            yield parsed
