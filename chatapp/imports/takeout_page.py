"""Reads "My Activity" of Google Takeout as a web page: the activities, one at a time, as its JSON would have them.

    <div class="outer-cell ..."><div class="mdl-grid">
    <div class="header-cell ..."><p class="mdl-typography--title">Gemini Apps<br></p></div>
    <div class="content-cell ... mdl-typography--body-1">Prompted&nbsp;the question<br>
        Attached 1 file.<br>-&nbsp;<a href="picture.png">picture.png</a><br>
        Apr 12, 2026, 3:34:31 PM EDT<br><p>the answer</p><img src="drawn.png"></div>
    <div class="content-cell ... mdl-typography--text-right"></div>
    <div class="content-cell ... mdl-typography--caption"><b>Products:</b><br>&emsp;Gemini Apps<br></div></div></div>

Google does not document it; the sources are those of `chatapp.imports.formats.gemini`. In languages other than English,
the verb before ``&nbsp;`` is in that language. No tree is built: whatever the page has, an activity ends where the next
one begins, and its size is bounded.
"""

from __future__ import annotations

import codecs
import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote

from chatapp.imports.formats import gemini
from chatapp.imports.formats.takeout_times import takeout_time
from chatapp.imports.refusals import TAKEOUT_TIMES, TOO_LARGE_CONVERSATION, InvalidImport

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1 << 20
MAX_BEFORE_CHARS = 4_000_000  # before the first activity: the styles of the page take 100,000
MAX_ACTIVITY_CHARS = 4_000_000  # an answer has 100,000
MAX_LINES = 10_000  # of a question: what follows is the answer
MAX_VERB_CHARS = 60
MAX_FILES = 100  # of an activity

_ACTIVITY = '<div class="outer-cell'
_CELL = '<div class="content-cell'
# Linear, as in `chatapp.documents.extraction.html_text`: a tag ends at the next bracket.
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_FILE = re.compile(r"""<(?:a|img)\b[^<>]*?\s(?:href|src)\s*=\s*["']([^"'<>]{1,500})["']""", re.IGNORECASE)
_GENERATED = re.compile(r"\d{1,4} generated images?\.?", re.IGNORECASE)


def read_activities(stream: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
    """Yield the activities of a page in UTF-8; ``name`` is for errors. A page of another kind has none.

    Raises:
        InvalidImport: an activity is too large, or no time can be read.
        OSError: it cannot be read.
    """
    readable = unreadable = 0
    for text in _cells(stream, name):
        if (activity := _activity(text)) is None:
            continue
        is_readable = bool(activity["time"]) or not gemini.recognizes(activity)
        readable, unreadable = readable + is_readable, unreadable + (not is_readable)
        yield activity
    if unreadable and not readable:
        raise InvalidImport(TAKEOUT_TIMES, detail=name)


def _cells(stream: BinaryIO, name: str) -> Iterator[str]:
    """Yield the HTML of each activity."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest, is_begun = "", False
    while True:
        data = stream.read(CHUNK_BYTES)
        text = rest + decoder.decode(data, final=not data)
        *whole, rest = text.split(_ACTIVITY)
        for cell in whole:
            if is_begun:
                yield cell
            is_begun = True
        if not data:
            if is_begun:
                yield rest
            return
        if not is_begun and len(rest) > MAX_BEFORE_CHARS:
            return
        if len(rest) > MAX_ACTIVITY_CHARS:
            raise InvalidImport(TOO_LARGE_CONVERSATION.filled(most=MAX_ACTIVITY_CHARS // 1_000_000), detail=name)


@dataclass(slots=True)
class _Lines:
    """What stands before the time of an activity."""

    title: list[str]
    attached: list[str]
    time: str = ""
    answer_at: int = 0


def _activity(cell: str) -> dict[str, Any] | None:
    """Return an activity as the JSON of Takeout has it; None if the cell is none."""
    header = _plain(_between(cell, "header-cell", "</div>"))
    at = cell.find("mdl-typography--body-1")
    begin = cell.find(">", at) + 1 if at >= 0 else 0
    if not begin:
        return None
    end = cell.find(_CELL, begin)
    body = cell[begin : end if end >= 0 else len(cell)]
    lines = _read_lines(body)
    answer = body[lines.answer_at :].strip().removesuffix("</div>") if lines.time else ""
    images = _files(answer, "img")
    has_answer = bool(images or _plain(answer).strip())
    activity = {
        "header": header,
        "title": _titled("\n".join(lines.title), has_answer=has_answer),
        "time": lines.time,
        "attachedFiles": lines.attached,
        "imageFiles": images,
    }
    return activity | ({"safeHtmlItem": [{"html": answer}]} if has_answer else {})


def _read_lines(body: str) -> _Lines:
    """Read lines up to the one with the time. A file is in a line of its own, with a line that counts them before."""
    found, begin = _Lines([], []), 0
    for number, line_end in enumerate(_BREAK.finditer(body)):
        line, begin = body[begin : line_end.start()], line_end.end()
        text = _plain(line)
        if time := takeout_time(text.strip()):
            found.time, found.answer_at = time, begin
            break
        if number >= MAX_LINES:
            break
        if files := _files(line):
            if not found.attached and len(found.title) > 1 and re.search(r"\d", found.title[-1]):
                found.title.pop()  # "Attached 1 file."
            found.attached += files
        elif not _GENERATED.fullmatch(text.strip()):
            found.title.append(text)
    return found


def _titled(title: str, *, has_answer: bool) -> str:
    """Return the title of an activity. A verb in another language than English is left out."""
    verb, separator, words = title.partition("\N{NO-BREAK SPACE}")
    title = title.replace("\N{NO-BREAK SPACE}", " ").strip()
    is_verb = separator and len(verb) <= MAX_VERB_CHARS and "\n" not in verb.strip()
    if has_answer and is_verb and not gemini.has_verb(title):
        return words.replace("\N{NO-BREAK SPACE}", " ").strip() or title
    return title


def _files(text: str, tag: str = "") -> list[str]:
    """Return the names of the files in the archive that elements name."""
    found = []
    for match in _FILE.finditer(text):
        address = html.unescape(match[1])
        is_wanted = match[0][1 : len(tag) + 1].lower() == tag
        if is_wanted and not re.match(r"[a-z][a-z0-9+.-]*:|//|#", address, re.IGNORECASE):
            found.append(unquote(address))
        if len(found) >= MAX_FILES:
            break
    return found


def _plain(text: str) -> str:
    return html.unescape(_TAG.sub("", text))


def _between(text: str, begin: str, end: str) -> str:
    """Return what stands between a tag with the word ``begin`` and ``end``; "" if there is no such part."""
    at = text.find(">", text.find(begin)) + 1 if begin in text else 0
    stop = text.find(end, at) if at else -1
    return text[at : min(stop, at + MAX_LINES)] if stop >= 0 else ""
