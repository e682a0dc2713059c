"""The text of a document as stores keep it: one blob of gzipped JSON of its pages.

    [[number, name, [[kind, text, level], ...]], ...]

A blob may come from an import, so unpacking limits what it takes before it parses anything.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import NoReturn

from chatapp.documents.extraction.shape import (
    MAX_BLOCKS,
    MAX_CHARACTERS,
    MAX_PAGES,
    Block,
    BlockKind,
    Page,
    Reason,
    Refused,
)
from chatapp.store.values import IMAGE_BYTES

MAX_PACKED_BYTES = IMAGE_BYTES  # every store keeps a document in one piece, as it keeps an image
# A character of JSON takes up to six bytes ("\\u0001"), a block up to 20 more.
MAX_JSON_BYTES = 6 * MAX_CHARACTERS + 20 * MAX_BLOCKS + 1_000_000
MAX_LEVEL = 6

# JSON without its strings is brackets, commas and numbers: '[,,0],' of a block, '[2000,,[]],' of a page. A hostile
# '[[],[],[] ...' takes 20 times its length in memory, so this is counted before it is parsed.
_MAX_STRUCTURE = 6 * MAX_BLOCKS + 11 * MAX_PAGES + 2
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)

_GZIP = 31  # zlib's number for the largest window, with gzip's header


class InvalidPacking(ValueError):
    """The data are not a packed document, or unpack to more than a document can have; the text is for the log."""


def packed(pages: tuple[Page, ...]) -> bytes:
    """Return the text of a document in at most `MAX_PACKED_BYTES`; the same pages make the same bytes.

    Raises:
        Refused: with `Reason.TEXT`; it does not fit.
    """
    values = [
        [page.number, page.name, [[block.kind, block.text, block.level] for block in page.blocks]] for page in pages
    ]
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    compressor = zlib.compressobj(9, wbits=_GZIP)  # writes no time and no name
    data = compressor.compress(text) + compressor.flush()
    if len(data) > MAX_PACKED_BYTES:
        raise Refused(Reason.TEXT, detail=f"{len(data)} bytes packed")
    return data


def unpacked(data: bytes) -> tuple[Page, ...]:
    """Return the pages of a document.

    Raises:
        InvalidPacking: the data were not made by `packed`, or exceed the limits of `extraction.shape`.
    """
    text = _decompressed(data)
    if len(_STRING.sub(b"", text)) > _MAX_STRUCTURE:
        raise InvalidPacking("more structure than a document can have")
    try:
        values = json.loads(text)
        pages = tuple(_page(number, *value) for number, value in enumerate(values, start=1))
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, InvalidPacking):
            raise
        raise InvalidPacking(f"not a packed document: {type(error).__name__}") from None
    blocks = sum(len(page.blocks) for page in pages)
    characters = sum(len(page.name) + sum(len(block.text) for block in page.blocks) for page in pages)
    # A name of a sheet is short and not counted by the reader; it may be on top of a text of the full length.
    if not 1 <= len(pages) <= MAX_PAGES or blocks > MAX_BLOCKS or characters > MAX_CHARACTERS + 1_000 * len(pages):
        raise InvalidPacking(f"{len(pages)} pages, {blocks} blocks, {characters} characters")
    return pages


def _decompressed(data: bytes) -> bytes:
    if len(data) > MAX_PACKED_BYTES:
        raise InvalidPacking(f"{len(data)} bytes")
    decompressor = zlib.decompressobj(_GZIP)
    try:
        text = decompressor.decompress(data, MAX_JSON_BYTES + 1)
    except zlib.error:
        raise InvalidPacking("not compressed") from None
    if len(text) > MAX_JSON_BYTES or not decompressor.eof or decompressor.unused_data:
        raise InvalidPacking("too long, cut off, or followed by something else")
    return text


def _page(place: int, number: object, name: object, blocks: object) -> Page:
    if _number(number) != place or not isinstance(name, str) or not isinstance(blocks, list):
        _refuse()
    return Page(place, tuple(_block(*block) for block in blocks), name)


def _block(kind: object, text: object, level: object) -> Block:
    number = _number(level)
    if not (isinstance(kind, str) and isinstance(text, str) and 0 <= number <= MAX_LEVEL):
        _refuse()
    return Block(BlockKind(kind), text, number)


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else _refuse()


def _refuse() -> NoReturn:
    raise InvalidPacking("a value of another kind than a document has")
