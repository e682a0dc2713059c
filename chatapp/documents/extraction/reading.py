"""A file -> its kind and its pages."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from .blocks import code_blocks, csv_blocks, markdown_blocks, text_blocks
from .decoding import decoded
from .html_text import markdown_of
from .kinds import kind_of
from .shape import Block, Kind, Page, Reason, Refused, counted

if TYPE_CHECKING:
    from collections.abc import Callable

# Loaded for a file of their kind only: each takes up to 100 ms.
_MODULES = {Kind.PDF: "pdf", Kind.WORD: "word", Kind.SHEET: "sheets", Kind.SLIDES: "slides", Kind.MAIL: "mail"}
_TEXTS: dict[Kind, Callable[[str], list[Block]]] = {
    Kind.TEXT: text_blocks,
    Kind.MARKDOWN: markdown_blocks,
    Kind.CSV: csv_blocks,
    Kind.CODE: code_blocks,
    Kind.HTML: lambda text: markdown_blocks(markdown_of(text)),
}


def read(file: bytes, name: str) -> tuple[Kind, list[Page]]:
    """Return what a file is, and its pages.

    Raises:
        Refused: it is not read.
        MemoryError: it takes too much.
    """
    kind = kind_of(file, name)
    if kind in _TEXTS:
        return kind, counted([Page(1, tuple(_TEXTS[kind](decoded(file) or "")))])
    module = import_module(f".{_MODULES[kind]}", __package__)
    pages_of = cast("Callable[[bytes], list[Page]]", module.pages_of)
    try:
        return kind, counted(pages_of(file))
    except (Refused, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # what the libraries raise over damaged files has no common base
        raise Refused(Reason.DAMAGED, detail=f"{kind}: {type(error).__name__}") from None
