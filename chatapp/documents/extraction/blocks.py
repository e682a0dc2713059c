"""Text, Markdown, CSV and code -> blocks. PDF, Word, HTML and e-mails become Markdown first."""

from __future__ import annotations

import csv
import io
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from .shape import MAX_BLOCKS, Block, BlockKind, Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t]*#*$")
_DELIMITERS = re.compile(r"\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?$")
_FENCE = re.compile(r"[ \t]{0,3}(`{3,}|~{3,})")
_CELLS = re.compile(r"(?<!\\)\|")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]")
CODE_LINES = 40  # a block; the next one begins at an empty line or an unindented one, if there is any
CSV_SAMPLE = 64_000
MAX_CELLS = 2_000  # of a row of Markdown; what follows is one cell


def markdown_blocks(text: str) -> list[Block]:
    """Return the blocks of Markdown: headings, paragraphs, list items, rows and code."""
    made = _Markdown()
    for line in text.split("\n"):
        made.add(line)
    made.end()
    return made.blocks


def text_blocks(text: str) -> list[Block]:
    """Return the paragraphs of plain text, which empty lines divide; in a text without any, the lines."""
    paragraphs = re.split(r"\n[ \t]*\n", text)
    if len(paragraphs) < text.count("\n") / 50:
        paragraphs = text.split("\n")
    return [Block(BlockKind.TEXT, joined) for each in paragraphs if (joined := _joined(each.split("\n")))]


def code_blocks(text: str) -> list[Block]:
    """Return code in pieces of at most `CODE_LINES` lines."""
    lines, blocks = text.expandtabs(4).split("\n"), []
    while lines:
        end = min(CODE_LINES, len(lines))
        if end < len(lines):
            starts = (at for at in range(end, end // 2, -1) if lines[at][:1].strip() or not lines[at].strip())
            end = next(starts, end)
        piece, lines = lines[:end], lines[end:]
        if any(line.strip() for line in piece):
            blocks.append(Block(BlockKind.CODE, "\n".join(line.rstrip() for line in piece).strip("\n")))
    return blocks


def csv_blocks(text: str) -> list[Block]:
    """Return the rows of a CSV file, whatever it divides its cells with."""
    dialect: type[csv.Dialect] = csv.excel
    with suppress(csv.Error):
        dialect = csv.Sniffer().sniff(text[:CSV_SAMPLE], ",;\t|")
    csv.field_size_limit(1_000_000)
    try:
        return rows(csv.reader(io.StringIO(text, newline=""), dialect))
    except csv.Error as error:
        raise Refused(Reason.DAMAGED, detail=f"CSV: {error}"[:100]) from None


def rows(table: Iterable[Iterable[str]]) -> list[Block]:
    """Return the rows of a table that have any text; the first is the header.

    Raises:
        Refused: there are too many.
    """
    blocks: list[Block] = []
    for row in table:
        cells = [re.sub(r"\s+", " ", cell).strip() for cell in row]
        if any(cells):
            blocks.append(Block(BlockKind.ROW if blocks else BlockKind.HEADER_ROW, " | ".join(cells).strip(" |")))
            if len(blocks) > MAX_BLOCKS:
                raise Refused(Reason.TEXT, detail="rows")
    return blocks


class _Markdown:
    """Collects the blocks of Markdown, line by line."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._paragraph: list[str] = []
        self._table: list[list[str]] = []
        self._code: list[str] | None = None
        self._fence = ""

    def add(self, line: str) -> None:
        if self._code is not None:
            self._add_code(line)
        elif line.lstrip().startswith("|"):
            self._end_paragraph()
            if not _DELIMITERS.fullmatch(line.strip()):
                cells = _CELLS.split(line.strip().removeprefix("|").removesuffix("|"), MAX_CELLS)
                self._table.append([_plain(cell) for cell in cells])
        else:
            self._end_table()
            self._add_text(line)

    def end(self) -> None:
        self._end_paragraph()
        self._end_table()
        if self._code is not None:  # without an end
            self.blocks += code_blocks("\n".join(self._code))

    def _add_text(self, line: str) -> None:
        heading, fence = _HEADING.match(line), _FENCE.match(line)
        if heading or fence or not line.strip() or _LIST_ITEM.match(line):
            self._end_paragraph()
        if fence:
            self._code, self._fence = [], fence[1]
        elif heading:
            if text := _plain(heading[2]):
                self.blocks.append(Block(BlockKind.HEADING, text, len(heading[1])))
        elif line.strip():
            self._paragraph.append(_plain(line))

    def _add_code(self, line: str) -> None:
        assert self._code is not None  # noqa: S101  # for the type checker
        if line.strip().startswith(self._fence) and not line.strip().strip(self._fence[0]):
            self.blocks += code_blocks("\n".join(self._code))
            self._code = None
        else:
            self._code.append(line)

    def _end_paragraph(self) -> None:
        if self._paragraph:
            self.blocks.append(Block(BlockKind.TEXT, _joined(self._paragraph)))
            self._paragraph = []

    def _end_table(self) -> None:
        self.blocks += rows(self._table)
        self._table = []


def _plain(text: str) -> str:
    """Return text without the marks of bold type and without backslashes before signs."""
    text = re.sub(r"\*\*|__|</?(?:su[bp]|u)>", "", re.sub(r"<br\s*/?>", " ", text))
    return re.sub(r"\\([\\`*_{}\[\]()#+.!|~<>-])", r"\1", text).strip()


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
