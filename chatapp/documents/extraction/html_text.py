"""Makes Markdown of simple HTML: of an export's answers, Word documents, pages and e-mails."""

from __future__ import annotations

import html
import re

_BLOCKS = {"p", "div", "ul", "ol", "table", "blockquote", "section", "hr"}
_HEADINGS = {f"h{level}" for level in range(1, 7)}
_MARKS = {"b": "**", "strong": "**", "i": "*", "em": "*", "del": "~~"}
_BEGINNINGS = {
    **{name: f"\n\n{'#' * int(name[1])} " for name in _HEADINGS},
    "br": "\n",
}
_ROW = {"tr", "td", "th"}
_IN_CELLS = {*_HEADINGS, "p", "div", "br", "ul", "ol", "li", "pre", "blockquote"}
_DROPPED = {"script", "style", "head", "template"}
MAX_LISTS = 20

# Linear: a tag ends at the next bracket. (html.parser of Python 3.11 takes 100 s for 500 kB of tags without an end.)
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)([^<>]*)>|<!(?:--)?[^<>]*>")
_SPACES = re.compile(r"[^\S ]\s*| \s+")  # all but single spaces, which stay
_ADDRESS = re.compile(r"""\bhref\s*=\s*["'](https?://[^"'\s]+)["']""")
_MAX_ATTRIBUTES = 3_000  # characters


def markdown_of(page: str) -> str:
    """Return the text of HTML as Markdown. Unknown elements count as their text, scripts and styles as nothing."""
    made = _Markdown()
    at = 0
    for tag in _TAG.finditer(page):
        begin, end = tag.span()
        if at < begin:
            made.text(page[at:begin])
        at = end
        name = (tag[2] or "").lower()
        if name in _MARKS:  # the most frequent ones
            made.pieces.append(_MARKS[name])
        elif name:
            (made.end if tag[1] else made.begin)(name, tag[3][:_MAX_ATTRIBUTES])
    made.text(page[at:])
    lines: list[str] = []
    for line in "".join(made.pieces).split("\n"):
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).strip()


class _Markdown:
    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._lists: list[int] = []  # the number of the next item of each; 0 for bullets
        self._links: list[str] = []
        self._dropped = 0
        self._cells = 0  # that are open: what is in one stays in its line
        self._is_code = False

    def begin(self, tag: str, attributes: str) -> None:
        if tag in _DROPPED:
            self._dropped += 1
        elif tag in _ROW:
            self._begin_in_row(tag)
        elif self._cells and tag in _IN_CELLS:
            self.pieces.append(" ")
        elif tag in _BEGINNINGS:
            self.pieces.append(_BEGINNINGS[tag])
        elif tag in {"pre", "code"}:
            self._begin_code(tag)
        elif tag == "a":
            address = _ADDRESS.search(attributes)
            self._links.append(html.unescape(address[1]) if address else "")
            self.pieces.append("[" if self._links[-1] else "")
        elif tag == "li":
            self._begin_item()
        elif tag in _BLOCKS:
            self._begin_block(tag)

    def end(self, tag: str, _attributes: str) -> None:
        if tag in _DROPPED:
            self._dropped = max(0, self._dropped - 1)
        elif tag in _ROW or (tag == "table" and self._cells):
            self._cells = max(0, self._cells - 1) if tag in {"td", "th"} else 0
        elif self._cells and tag in _IN_CELLS:
            self.pieces.append(" ")
        elif tag == "pre":
            self._is_code = False
            self.pieces.append("\n```\n\n")
        elif tag == "code" and not self._is_code:
            self.pieces.append("`")
        elif tag == "a" and self._links:
            address = self._links.pop()
            self.pieces.append(f"]({address})" if address else "")
        elif tag in {"ul", "ol"} and self._lists:
            self._lists.pop()
            self.pieces.append("\n")
        elif tag in _BLOCKS or tag in _HEADINGS:
            self.pieces.append("\n" if self._lists else "\n\n")

    def text(self, text: str) -> None:
        if text and not self._dropped:
            text = html.unescape(text)
            self.pieces.append(text if self._is_code else _SPACES.sub(" ", text))

    def _begin_in_row(self, tag: str) -> None:
        if tag == "tr":
            self._cells = 0  # the end of a cell may be left out
            self.pieces.append("\n")
        else:
            self._cells += 1
            self.pieces.append(" | ")

    def _begin_code(self, tag: str) -> None:
        if tag == "pre":
            self._is_code = True
            self.pieces.append("\n\n```\n")
        elif not self._is_code:
            self.pieces.append("`")

    def _begin_item(self) -> None:
        number = self._lists[-1] if self._lists else 0
        if number:
            self._lists[-1] += 1
        self.pieces.append(f"\n{'   ' * max(0, len(self._lists) - 1)}{f'{number}.' if number else '-'} ")

    def _begin_block(self, tag: str) -> None:
        if tag in {"ul", "ol"} and len(self._lists) < MAX_LISTS:
            self._lists.append(int(tag == "ol"))
        self.pieces.append("\n" if len(self._lists) > 1 else "\n\n")
