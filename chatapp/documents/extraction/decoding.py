"""Bytes of text files -> text, also of files from before Unicode."""

from __future__ import annotations

import codecs
import re

# The longest first: the mark of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 200_000
# In Windows' code pages of Hebrew and Arabic, letters fill the upper half; in Western text, few bytes are there.
_HEBREW = re.compile(rb"[\xe0-\xfa]")
_ARABIC = re.compile(rb"[\xc0-\xd6\xd8-\xdb\xdd-\xdf\xe1\xe3-\xe6\xec\xed]")
_UPPER = re.compile(rb"[\x80-\xff]")
_CONTROLS = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f]")  # not tab, line feeds, escape
MAX_CONTROLS = 0.01  # of the characters


def decoded(file: bytes) -> str | None:
    """Return the text of a file with line feeds for all line ends, None if it is no text.

    UTF-8 and what has a byte order mark are known; else it is guessed between the code pages 1255 (Hebrew), 1256
    (Arabic) and 1252 (Western).
    """
    for mark, encoding in _MARKS:
        if file.startswith(mark):
            return _text(file[len(mark) :].decode(encoding, "replace"))
    try:
        return _text(codecs.getincrementaldecoder("utf-8")().decode(file))  # a cut character at the end is dropped
    except UnicodeDecodeError:
        return _text(file.decode(_guessed(file[:_SAMPLE]), "replace"))


def _guessed(sample: bytes) -> str:
    upper = len(_UPPER.findall(sample))
    if upper < len(sample) / 5:
        return "cp1252"
    hebrew, arabic = (len(letters.findall(sample)) / upper for letters in (_HEBREW, _ARABIC))
    if max(hebrew, arabic) < 0.8:
        return "cp1252"
    return "cp1255" if hebrew >= arabic else "cp1256"


def _text(text: str) -> str | None:
    if len(_CONTROLS.findall(text[:_SAMPLE])) > MAX_CONTROLS * min(len(text), _SAMPLE):
        return None
    return _CONTROLS.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
