"""Makes Markdown inert: it loads nothing, runs nothing, leaves nothing open, and keeps every word.

Outside of code, ``<`` before a tag becomes ``&lt;``, an image becomes a link, and a link to anything but http, https,
mailto or a relative address becomes text; so does a link reference definition. What is code follows from CommonMark's
rules for containers and fences (https://spec.commonmark.org/0.31.2/), which need no parser where there is no HTML: one
pass over the lines with a bound on nesting, so that the time grows with the length alone. Where renderers may disagree
(a code span across lines or table cells, an indented block beside a footnote), the text counts as not code: then an
escape can be visible in code, and nothing is alive outside of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_DEPTH = 16  # containers; a text that nests deeper becomes a code block

_ALIVE = re.compile(r"<[a-z/!?]|!\[|\]\(|\]:", re.IGNORECASE)
_FENCE = re.compile(r"`{3,}(?=[^`]*$)|~{3,}")
_MARKER = re.compile(r"(?:[-+*]|\d{1,9}[.)])(?= |$)")
_HEADING = re.compile(r"#{1,6}(?: |$)")
_UNDERLINE = re.compile(r"(?:=+|-+) *$")

_TICKS = re.compile(r"`+")
_TICKS_OR_ESCAPED = re.compile(r"\\.|`+")
_OPENED_OR_ESCAPED = re.compile(r"\\.|\[")
_OTHER_LOOKS_FIRST = re.compile(r"[|$]")  # table cells and formulas, before code spans
_AUTOLINK = re.compile(r"<(?:https?://|mailto:)[^\s<>`\"']*>", re.IGNORECASE)
_SAFE_TARGET = re.compile(r"\(\s{0,3}(?:<?(?:https?://|mailto:)|<?[\w./?=#~+,-]*[>\s)])", re.IGNORECASE)
# A label with a caret is a footnote, unless what follows could be an address (CommonMark has no footnotes).
_FOOTNOTE = re.compile(r"\[\^[^\]\s]+\]: +(?:https?://|\S+ +[^\s\"'(])", re.IGNORECASE)
_BEFORE_LABEL = frozenset(" \t>-+*.)0123456789")
_CHANGED = re.compile(r"\\.|<(?=[a-zA-Z/!?])|!(?=\[)|\](?=[(:])")


def inert(text: str) -> str:
    """Return Markdown that is inert, and that more can follow after a blank line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
    is_alive = _ALIVE.search(text) is not None
    if not is_alive and "```" not in text and "~~~" not in text:
        return text
    lines, scanner = text.split("\n"), _Scanner(has_footnotes="[^" in text)
    kinds = []
    for line in lines:
        kinds.append(scanner.kind(line))
        if len(scanner.containers) > MAX_DEPTH:
            return as_code(text)
    closing = [scanner.fence] if scanner.fence and not scanner.containers else []
    return "\n".join([*(_changed_lines(lines, kinds) if is_alive else lines), *closing])


def as_code(text: str, language: str = "") -> str:
    """Return a text as a code block, whatever fences it has."""
    fence = "`" * max(3, 1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


class _Kind(Enum):
    CODE = "code"
    BLANK = "blank"
    TEXT = "text"


@dataclass(slots=True)
class _Container:
    """A quote, or a list item.

    Attributes:
        width: how far the content of an item is indented; 0 for a quote.
        is_empty: it is an item without content so far.
    """

    width: int
    is_empty: bool = False


class _Scanner:
    """Tells for each line whether it is code, as a CommonMark parser does that knows no HTML.

    Attributes:
        containers: that are open, the outermost first.
        fence: that is open in the innermost one, "" if none is.
    """

    def __init__(self, *, has_footnotes: bool) -> None:
        self.containers: list[_Container] = []
        self.fence = ""
        self._has_footnotes = has_footnotes
        self._in_paragraph = False
        self._follows_blank = True  # or the beginning, or indented code

    def kind(self, line: str) -> _Kind:
        """Return the kind of the next line."""
        line = line.expandtabs(4)
        at, matched = self._match(line)
        if self.fence:
            if matched == len(self.containers):
                self._close_fence(line[at:])
                return _Kind.CODE
            self.fence = ""  # it ends with its container
        at, matched = self._open_containers(line, at, matched)
        rest = line[at:].lstrip(" ")
        if not rest:
            self._start_block(matched)
            self._follows_blank = True
            return _Kind.BLANK
        kind = self._leaf(rest, len(line) - at - len(rest), matched)
        self._follows_blank = kind is _Kind.CODE and not self.fence
        return kind

    def _match(self, line: str) -> tuple[int, int]:
        """Return where the content begins, and how many of the open containers the line continues."""
        at = 0
        for number, container in enumerate(self.containers):
            rest = line[at:].lstrip(" ")
            indent = len(line) - at - len(rest)
            if not container.width:
                if indent > 3 or not rest.startswith(">"):
                    return at, number
                at += indent + 1
                at += line[at : at + 1] == " "
            elif not rest:
                if container.is_empty:  # an item begins with one blank line at most
                    return at, number
            elif indent >= container.width:
                at += container.width
            else:
                return at, number
        return at, len(self.containers)

    def _open_containers(self, line: str, at: int, matched: int) -> tuple[int, int]:
        """Open the containers that begin here; return where their content begins, and how many are open then."""
        while len(self.containers) <= MAX_DEPTH:
            rest = line[at:].lstrip(" ")
            indent = len(line) - at - len(rest)
            if indent > 3 or not rest:
                break
            if rest[0] == ">":
                width, length = 0, 1 + (rest[1:2] == " ")
                is_empty = False
            elif (marker := self._marker(rest, matched)) and not _is_rule(rest):
                content = rest[len(marker) :].lstrip(" ")
                spaces = len(rest) - len(marker) - len(content)
                padding = spaces if content and spaces < 5 else 1
                width, length = indent + len(marker) + padding, len(marker) + min(padding, spaces)
                is_empty = not content
            else:
                break
            self._start_block(matched)
            self._fill(matched)
            self.containers.append(_Container(width, is_empty))
            matched, at = matched + 1, at + indent + length
        return at, matched

    def _marker(self, rest: str, matched: int) -> str:
        """Return the list marker at the beginning of a line, "" if there is none."""
        if (found := _MARKER.match(rest)) is None:
            return ""
        if self._in_paragraph and matched == len(self.containers):  # few items interrupt a paragraph
            is_underline = _UNDERLINE.match(rest)
            if is_underline or not rest[found.end() :].strip(" ") or found[0][:-1] not in {"", "1"}:
                return ""
        return found[0]

    def _leaf(self, rest: str, indent: int, matched: int) -> _Kind:
        """Return the kind of a line with content, after its containers."""
        if indent > 3:
            if not self._in_paragraph:
                self._start_block(matched)
                self._fill(matched)
                is_certain = self._follows_blank and not self.containers and not self._has_footnotes
                return _Kind.CODE if is_certain else _Kind.TEXT
        elif fence := _FENCE.match(rest):
            self._start_block(matched)
            self._fill(matched)
            self.fence = fence[0]
            return _Kind.CODE
        elif (
            _HEADING.match(rest)
            or _is_rule(rest)
            or (self._in_paragraph and matched == len(self.containers) and _UNDERLINE.match(rest))
        ):
            self._start_block(matched)
            self._fill(matched)
            return _Kind.TEXT
        if not (self._in_paragraph and matched < len(self.containers)):  # else it continues the paragraph lazily
            self._start_block(matched)
            self._fill(matched)
            self._in_paragraph = True
        return _Kind.TEXT

    def _start_block(self, matched: int) -> None:
        """Close the containers that the line does not continue, and the paragraph."""
        del self.containers[matched:]
        self._in_paragraph = False

    def _fill(self, matched: int) -> None:
        for container in self.containers[:matched]:
            container.is_empty = False

    def _close_fence(self, rest: str) -> None:
        content = rest.lstrip(" ")
        if len(rest) - len(content) > 3:
            return
        content = content.rstrip(" ")
        if len(content) >= len(self.fence) and not content.strip(self.fence[0]):
            self.fence, self._in_paragraph, self._follows_blank = "", False, False


def _is_rule(rest: str) -> bool:
    """Return whether a line is a thematic break: three or more of one mark."""
    return rest[0] in "*-_" and rest.count(rest[0]) >= 3 and not rest.strip(f"{rest[0]} ")


def _changed_lines(lines: Sequence[str], kinds: Sequence[_Kind]) -> Iterator[str]:
    """Yield the lines with the changes that make them inert."""
    run: list[str] = []
    for line, kind in zip(lines, kinds, strict=True):
        if kind is _Kind.TEXT:
            run.append(line)
            continue
        yield from _changed_run(run)
        run = []
        yield line
    yield from _changed_run(run)


def _changed_run(run: Sequence[str]) -> Iterator[str]:
    """Yield consecutive lines of text; their code spans count where they are the same for every renderer.

    That is so where each line, each table cell and each formula has its spans to itself.
    """
    is_certain = all(
        _code_spans(part) is not None for line in run if "`" in line for part in _OTHER_LOOKS_FIRST.split(line)
    )
    for line in run:
        spans = _code_spans(line) if is_certain and "`" in line else None
        yield _changed_line(line, spans or [])


def _code_spans(text: str) -> list[tuple[int, int]] | None:
    """Return where the code spans of a text are; None if a backtick is left without its pair."""
    spans, at = [], 0
    while opening := _TICKS_OR_ESCAPED.search(text, at):
        at = opening.end()
        if opening[0][0] == "\\":
            continue
        closing = next((run for run in _TICKS.finditer(text, at) if run[0] == opening[0]), None)
        if closing is None:
            return None
        at = closing.end()
        spans.append((opening.start(), at))
    return spans


def _changed_line(line: str, spans: Sequence[tuple[int, int]]) -> str:
    opened = next((found.start() for found in _OPENED_OR_ESCAPED.finditer(line) if found[0] == "["), len(line))
    # A label begins its line, or an earlier one.
    is_label = _BEFORE_LABEL.issuperset(line[:opened]) and not _FOOTNOTE.match(line, opened)
    parts, at = [], 0
    for start, end in [*spans, (len(line), len(line))]:
        for found in _CHANGED.finditer(line, at, start):
            mark, place = found[0], found.start()
            if place < at:  # within an address
                continue
            parts.append(line[at:place])
            at = found.end()
            if mark == "<":
                address = _AUTOLINK.match(line, place)
                parts.append(address[0] if address else "&lt;")
                at = address.end() if address else at
            elif mark == "!":
                parts.append(r"\!")
            elif mark == "]":
                is_safe = _SAFE_TARGET.match(line, at) if line[at] == "(" else not (is_label or place < opened)
                parts.append("]" if is_safe else "]\\")
            else:
                parts.append(mark)
        parts.append(line[at:end])
        at = end
    return "".join(parts)
