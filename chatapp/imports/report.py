"""What an import did, for a person to read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chatapp.domain.sentences import Names, Sentence
from chatapp.imports.formats import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatapp.imports.parsed import Skipped

MAX_NAMES = 5


@dataclass(slots=True)
class Report:
    """Counts of an import.

    Attributes:
        sources: keys of `chatapp.imports.formats.NAMES`.
        conversations: that are new.
        extended: that were there, and have new messages.
        unchanged: that were there, with all their messages.
        messages: that are new.
        pictures: that are new.
        documents: that are new.
        personas: that are new.
        collections: that are new.
        folders: that are new.
        skipped: what was left out.
        files: names of files that have no conversations.
        missing: names of files that the archive should have, and has not.
    """

    sources: set[str] = field(default_factory=set)
    conversations: int = 0
    extended: int = 0
    unchanged: int = 0
    messages: int = 0
    pictures: int = 0
    documents: int = 0
    personas: int = 0
    collections: int = 0
    folders: int = 0
    skipped: Counter[Skipped] = field(default_factory=Counter)
    files: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def sentences(self) -> Iterator[Sentence]:
        """Yield what was added, a line each."""
        names = Names(sorted({NAMES[source] for source in self.sources}))
        yield Sentence("Read from an export of: {name}", name=names)
        yield Sentence("New conversations: {count}", count=self.conversations)
        yield Sentence("New messages: {count}", count=self.messages)
        for count, sentence in (
            (self.pictures, Sentence("New images: {count}")),
            (self.documents, Sentence("New documents: {count}")),
            (self.personas, Sentence("New personas: {count}")),
            (self.collections, Sentence("New collections: {count}")),
            (self.folders, Sentence("New folders: {count}")),
            (self.extended, Sentence("Conversations with new messages: {count}")),
            (self.unchanged, Sentence("Conversations that were here already: {count}")),
        ):
            if count:
                yield sentence.filled(count=count)

    def left_out(self) -> Iterator[Sentence]:
        """Yield what was left out, a line each."""
        for skipped, count in sorted(self.skipped.items(), key=lambda one: one[0].name):
            if count > 0:
                yield skipped.value.filled(count=count)
        if self.files:
            yield Sentence(
                "Files without conversations: {count} ({names})", count=len(self.files), names=_shown(self.files)
            )
        if self.missing:
            yield Sentence(
                "Files that the export lists, and that are missing in it: {count} ({names}). Add them, too.",
                count=len(self.missing),
                names=_shown(self.missing),
            )


def _shown(names: list[str]) -> Names:
    shown = [name.rpartition("/")[2][:60] for name in names[:MAX_NAMES]]
    return Names([*shown, "…"] if len(names) > MAX_NAMES else shown)
