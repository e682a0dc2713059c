"""PDF -> pages, by pdf-inspector; by pypdfium2 where that fails or breaks the words, and pypdfium2 is installed.

pdf-inspector 1.25.2 takes digits near the edges of an A4 page for its page number and drops them
(firecrawl/pdf-inspector#283), and splits the words of some Hebrew files into letters (#332, #497). `_restored` and
`is_broken` are for these two.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pdf_inspector

from . import ghostscript, tex
from .blocks import markdown_blocks, text_blocks
from .brackets import turned
from .drawn_backwards import unnamed_letters
from .positions import doubles_marked, repaired
from .right_to_left import RightToLeft
from .running_lines import without_running_lines
from .shape import MAX_PAGES, Block, BlockKind, Page, Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

_ENCRYPTED = re.compile(r"encrypt|password|decrypt", re.IGNORECASE)
_NUMBER = re.compile(r"[\d\u0660-\u0669]{1,4}")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff]+")
_FINALS = "ךםןףץ"  # Hebrew letters of the ends of words: one at the beginning shows a reversed word
_IMAGE = re.compile(r"^\[Image: [^\n]*\]$", re.MULTILINE)
EVERYWHERE = [0.0, 0.0, 20_000.0, 20_000.0]  # of a page, whose sides have at most 14,400 points
MIN_WORDS = 20
SAME_LINE = 1.6  # font sizes between the baselines of two items of a line: runs of Skia are off by one


class _Item(NamedTuple):
    page: int
    x: float
    y: float
    size: float
    text: str


def pages_of(file: bytes) -> list[Page]:
    """Return the pages of a PDF.

    Raises:
        Refused: it is encrypted, damaged, or has too many pages, or no page has text.
    """
    try:
        pages, is_scan = _inspected(file)
    except Refused:
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        if isinstance(error, MemoryError | KeyboardInterrupt | SystemExit):
            raise
        if (other := _by_pdfium(file)) is None or not any(page.blocks for page in other):
            raise _refusal(file, error) from None
        pages, is_scan = other, False
    else:
        if is_broken(pages) and (other := _by_pdfium(file)) is not None and not is_broken(other):
            pages = other
    pages = without_running_lines(pages)
    if not any(page.blocks for page in pages):
        raise Refused(Reason.SCANNED if is_scan else Reason.EMPTY)
    return pages


def is_broken(pages: Iterable[Page]) -> bool:
    """Return whether most Hebrew or Arabic words are single letters, or Hebrew ones are spelled backwards."""
    words = _RIGHT_TO_LEFT.findall(" ".join(page.text for page in pages))
    if len(words) < MIN_WORDS:
        return False
    letters = sum(len(word) == 1 for word in words)
    long = [word for word in words if len(word) > 2]
    backwards = sum(word[0] in _FINALS for word in long)
    forwards = sum(word[-1] in _FINALS for word in long)
    return letters > 0.4 * len(words) or backwards > max(2, forwards)


def _inspected(file: bytes) -> tuple[list[Page], bool]:
    """Return the pages, and whether there are images on them."""
    kind = pdf_inspector.classify_pdf_bytes(file)
    if kind.page_count > MAX_PAGES:
        raise Refused(Reason.PAGES, number=kind.page_count)
    file = _mended(file)
    made = pdf_inspector.extract_pages_markdown_bytes(file)
    items = pdf_inspector.extract_text_with_positions_bytes(file)
    missing = _numbers(items)
    is_needed = any(_RIGHT_TO_LEFT.search(item.text) for item in items)
    right_to_left = RightToLeft(items, pdf_inspector.extract_text_bytes(file)) if is_needed else None
    pages: list[tuple[int, list[Block]]] = []
    for page in made.pages:
        number = page.page + 1
        blocks = _restored(markdown_blocks(page.markdown), missing.get(number, []))
        better = right_to_left.better_blocks(number, blocks) if right_to_left else []
        pages.append((number, better or blocks))
    images = {item.page for item in items if item.item_type == "image"}
    pages = _with_hidden_text(file, pages, images)
    text = "\n".join(block.text for _, blocks in pages for block in blocks)
    mended = partial(repaired, has_doubles=doubles_marked(text), unnamed=unnamed_letters(text))
    return [
        Page(number, tuple(Block(one.kind, mended(turned(one.text)), one.level) for one in blocks))
        for number, blocks in pages
    ], bool(images)


def _mended(file: bytes) -> bytes:
    """Return a file as its text can be read; where it is damaged, as it is."""
    try:
        return tex.mended(ghostscript.mended(file))
    except (ValueError, ArithmeticError):  # numbers that are none
        return file


def _with_hidden_text(
    file: bytes, pages: list[tuple[int, list[Block]]], images: set[int]
) -> list[tuple[int, list[Block]]]:
    """Return the pages, those that are images alone with the text behind them, which OCR has read."""
    empty = [(number - 1, [EVERYWHERE]) for number, blocks in pages if not blocks and number in images]
    found: dict[int, list[Block]] = {}
    for page in pdf_inspector.extract_text_in_regions_bytes(file, empty) if empty else ():
        text = _IMAGE.sub("", "\n".join(region.text for region in page.regions))
        found[page.page + 1] = text_blocks(text)
    return [(number, blocks or found.get(number, [])) for number, blocks in pages]


def _numbers(text_items: list[pdf_inspector.TextItem]) -> dict[int, list[tuple[str, str]]]:
    """Return the short numbers of each page that stand in a line with other text, each with the text beside it."""
    pages: dict[int, list[_Item]] = {}
    for each in text_items:
        if each.item_type == "text" and (text := each.text.strip()):
            pages.setdefault(each.page, []).append(_Item(each.page, each.x, each.y, each.font_size or 10, text))
    found: dict[int, list[tuple[str, str]]] = {}
    for number, items in pages.items():
        numbers = [item for item in items if _NUMBER.fullmatch(item.text)]
        texts = [item for item in items if not _NUMBER.fullmatch(item.text)]
        for item in numbers[:200]:
            line = [other for other in texts if abs(other.y - item.y) <= SAME_LINE * item.size]
            if line:
                nearest = min(line, key=partial(_distance, item))
                found.setdefault(number, []).append((item.text, nearest.text))
    return found


def _distance(item: _Item, other: _Item) -> tuple[bool, float]:
    """Return how far apart two items are: those on one baseline are nearer than any others."""
    return abs(other.y - item.y) > 0.3 * item.size, abs(other.x - item.x)


def _restored(blocks: list[Block], numbers: list[tuple[str, str]]) -> list[Block]:
    """Return the blocks of a page with the numbers that are missing in them, each after the text beside it."""
    digits = set(re.findall(r"\d+", " ".join(block.text for block in blocks)))
    for number, neighbour in numbers:
        if number in digits:
            continue
        for at, block in enumerate(blocks):
            if neighbour in block.text:
                text = block.text.replace(neighbour, f"{neighbour} {number}", 1)
                blocks[at] = Block(block.kind, text, block.level)
                break
        else:
            blocks.append(Block(BlockKind.TEXT, f"{neighbour} {number}"))
    return blocks


def _by_pdfium(file: bytes) -> list[Page] | None:
    """Return the pages as pdfium reads them: without headings and tables. None if it cannot, or is not installed."""
    try:
        import pypdfium2  # noqa: PLC0415  # optional, and takes 50 ms

        with pypdfium2.PdfDocument(file) as document:
            if len(document) > MAX_PAGES:
                raise Refused(Reason.PAGES, number=len(document))
            texts = [page.get_textpage().get_text_bounded().replace("\r\n", "\n") for page in document]
    except ImportError:
        return None
    except pypdfium2.PdfiumError:
        return None
    return [Page(number, tuple(text_blocks(text))) for number, text in enumerate(texts, 1)]


def _refusal(file: bytes, error: BaseException) -> Refused:
    if b"/Encrypt" in file or _ENCRYPTED.search(str(error)):
        return Refused(Reason.ENCRYPTED)
    return Refused(Reason.DAMAGED, detail=f"PDF: {type(error).__name__}")
