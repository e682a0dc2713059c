"""Why a document is not added, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.documents.extraction.shape import MAX_PAGES, Reason
from chatapp.domain.errors import InvalidMessage
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FILE_BYTES = 20_000_000
MAX_NAME = 80  # characters of a file's name in a sentence

_DAMAGED = Sentence("{name} is damaged or incomplete, so it was not added. Open it, save it again, then add it again.")
_SENTENCES = {
    Reason.EMPTY: Sentence("{name} has no text, so it was not added. Check that it is the right file."),
    Reason.SCANNED: Sentence(
        "{name} has images of pages and no text, so it was not added. Run text recognition (OCR) on it, then add the "
        "result, or add single pages as images."
    ),
    Reason.ENCRYPTED: Sentence(
        "{name} is protected by a password, so it was not added. Save a copy without the password, then add the copy."
    ),
    Reason.DAMAGED: _DAMAGED,
    Reason.OTHER_KIND: Sentence(
        "The content of {name} is {kind}, and its name says otherwise, so it was not added. Give it the right ending, "
        "then add it again."
    ),
    Reason.UNSUPPORTED: Sentence(
        "{name} is a file of a kind that cannot be read here, so it was not added. Save it as PDF, Word, Excel, "
        "PowerPoint or text, then add it again."
    ),
    Reason.PAGES: Sentence(
        "{name} has {number} pages, and a document can have at most {most}. It was not added. Split it, then add the "
        "parts that you need."
    ),
    Reason.TEXT: Sentence(
        "{name} has more text than a document can have here, so it was not added. Split it, then add the parts that "
        "you need."
    ),
    Reason.UNSAFE: Sentence(
        "{name} is built in a way that is not safe to read, so it was not added. Open it, save it again, then add it "
        "again."
    ),
    Reason.MEMORY: Sentence(
        "{name} takes too much memory to be read, so it was not added. Split it, or save it as PDF or text, then add "
        "it again."
    ),
    Reason.TIME: Sentence(
        "{name} takes too long to be read, so it was not added. Split it, or save it as PDF or text, then add it again."
    ),
}
_TOO_LARGE = Sentence(
    "{name} has {size} MB, and a document can have at most {most} MB. It was not added. Split it, or save it with "
    "smaller images, then add it again."
)
BUSY = Sentence("Many documents are being read right now. Nothing was added. Try again in a moment.")


class InvalidDocument(InvalidMessage):
    """The file cannot be read; nothing of it was stored.

    Attributes:
        reason: why, None if it has too many bytes.
    """

    def __init__(self, message: str, reason: Reason | None = None, *, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.reason = reason


def refusal(name: str, reason: str, facts: Mapping[str, str | int] | None = None, detail: str = "") -> InvalidDocument:
    """Return the error for a reason of the child; one that is unknown counts as damage."""
    known = Reason(reason) if reason in set(Reason) else Reason.DAMAGED
    values = {"kind": "", "number": 0, **(facts or {}), "name": shown(name), "most": MAX_PAGES}
    return InvalidDocument(_SENTENCES[known].filled(**values), known, detail=detail or known)


def too_large(name: str, size: int, most: int = MAX_FILE_BYTES) -> InvalidDocument:
    """Return the error for a file of too many bytes."""
    megabytes = -(-size // 1_000_000)
    return InvalidDocument(
        _TOO_LARGE.filled(name=shown(name), size=megabytes, most=most // 1_000_000), detail="size of the file"
    )


def shown(name: str) -> str:
    """Return the name of a file as a sentence shows it: its end is kept, and nothing in it changes the direction."""
    name = "".join(letter for letter in name if letter.isprintable())
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 11]}…{name[-10:]}"
