"""What a document is once it is read: pages of blocks. And why a file is not read."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

MAX_PAGES = 2_000
MAX_CHARACTERS = 4_000_000  # of a document; about a million tokens, the largest context window of a model
MAX_BLOCKS = 400_000


class Kind(StrEnum):
    """The kinds of files that can be read."""

    PDF = "PDF"
    WORD = "Word"
    SHEET = "Excel"
    SLIDES = "PowerPoint"
    TEXT = "text"
    MARKDOWN = "Markdown"
    HTML = "HTML"
    CSV = "CSV"
    MAIL = "e-mail"
    CODE = "source code"


class BlockKind(StrEnum):
    """The parts of a page."""

    HEADING = "heading"
    TEXT = "text"
    HEADER_ROW = "header"  # the first row of a table
    ROW = "row"
    CODE = "code"


ROWS = (BlockKind.HEADER_ROW, BlockKind.ROW)


# Not dataclasses: the module of these takes a fifth of the start of the child that reads a document.
class Block(NamedTuple):
    """A heading, a paragraph, a row of a table, or code.

    Attributes:
        text: without line breaks, except in code; the cells of a row are joined by " | ".
        level: of a heading, 1 to 6.
    """

    kind: BlockKind
    text: str
    level: int = 0


class Page(NamedTuple):
    """A page of a PDF, a sheet, a slide; all of a document without pages.

    Attributes:
        number: from 1.
        name: of a sheet, else empty.
    """

    number: int
    blocks: tuple[Block, ...]
    name: str = ""

    @property
    def text(self) -> str:
        """The blocks, one a line."""
        return "\n".join(block.text for block in self.blocks)


class Reason(StrEnum):
    """Why a file is not read."""

    EMPTY = "empty"
    SCANNED = "scanned"
    ENCRYPTED = "encrypted"
    DAMAGED = "damaged"
    OTHER_KIND = "other kind"
    UNSUPPORTED = "unsupported"
    PAGES = "pages"
    TEXT = "text"
    UNSAFE = "unsafe"
    MEMORY = "memory"
    TIME = "time"


class Refused(Exception):
    """The file is not read.

    Attributes:
        reason: why.
        facts: values for the sentence: ``kind`` is what the file is, ``number`` how many pages it has.
        detail: for the log; never text of the document.
    """

    def __init__(self, reason: Reason, *, detail: str = "", **facts: str | int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.facts = facts
        self.detail = detail


def counted(pages: list[Page]) -> list[Page]:
    """Return the pages, if they are not too many and have text, but not too much.

    Raises:
        Refused: with `Reason.EMPTY`, `Reason.PAGES` or `Reason.TEXT`.
    """
    if len(pages) > MAX_PAGES:
        raise Refused(Reason.PAGES, number=len(pages))
    blocks = sum(len(page.blocks) for page in pages)
    characters = sum(len(block.text) for page in pages for block in page.blocks)
    if characters > MAX_CHARACTERS or blocks > MAX_BLOCKS:
        raise Refused(Reason.TEXT, detail=f"{characters} characters, {blocks} blocks")
    if not any(block.text.strip() for page in pages for block in page.blocks):
        raise Refused(Reason.EMPTY)
    return pages
