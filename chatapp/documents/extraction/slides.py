"""PowerPoint (.pptx) -> a page for each slide, from its XML: titles, texts, tables and the speaker's notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .archive import opened, relations, tree
from .blocks import rows
from .shape import MAX_PAGES, Block, BlockKind, Page, Reason, Refused

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator
    from xml.etree import ElementTree as ET

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_TITLES = {"title", "ctrTitle"}
_FURNITURE = {"sldNum", "dt", "ftr", "hdr", "sldImg"}  # placeholders that repeat on every slide
_PRESENTATION = "ppt/presentation.xml"


def pages_of(file: bytes) -> list[Page]:
    """Return the slides that are shown, in their order.

    Raises:
        Refused: it is damaged or not safe to parse, or has too many slides.
    """
    archive = opened(file)
    root = tree(archive, _PRESENTATION)
    if root is None:
        raise Refused(Reason.DAMAGED, detail="no presentation")
    names = {key: name for key, kind, name in relations(archive, _PRESENTATION) if kind == "slide"}
    order = [names[key] for each in root.iter(f"{_P}sldId") if (key := each.get(f"{_R}id", "")) in names]
    if len(order) > MAX_PAGES:
        raise Refused(Reason.PAGES, number=len(order))
    return [Page(number, tuple(_slide(archive, name))) for number, name in enumerate(order, 1)]


def _slide(archive: zipfile.ZipFile, name: str) -> Iterator[Block]:
    root = tree(archive, name)
    if root is None or root.get("show") == "0":
        return
    yield from _blocks(root)
    for _, kind, target in relations(archive, name):
        notes = tree(archive, target) if kind == "notesSlide" else None
        if notes is not None:
            yield from (Block(BlockKind.TEXT, block.text) for block in _blocks(notes))


def _blocks(root: ET.Element) -> Iterator[Block]:
    for element in root.iter():
        if element.tag == f"{_P}sp":
            yield from _shape(element)
        elif element.tag == f"{_A}tbl":
            yield from rows(
                [" ".join(_text(each) for each in cell.iter(f"{_A}p")) for cell in row.iter(f"{_A}tc")]
                for row in element.iter(f"{_A}tr")
            )


def _shape(shape: ET.Element) -> Iterator[Block]:
    placeholder = next(shape.iter(f"{_P}ph"), None)
    kind = placeholder.get("type", "") if placeholder is not None else ""
    if kind in _FURNITURE:
        return
    for paragraph in shape.iter(f"{_A}p"):
        if text := _text(paragraph):
            yield Block(BlockKind.HEADING, text, 1) if kind in _TITLES else Block(BlockKind.TEXT, text)


def _text(paragraph: ET.Element) -> str:
    pieces = (" " if each.tag == f"{_A}br" else each.text or "" for each in paragraph.iter() if each.tag in _TEXTS)
    return " ".join("".join(pieces).split())


_TEXTS = {f"{_A}t", f"{_A}br"}
