"""Word (.docx) -> one page, by mammoth: headings, lists and tables by their styles; no images, no fields, no macros."""

from __future__ import annotations

import io

import mammoth

from .archive import check_parts, opened
from .blocks import markdown_blocks
from .html_text import markdown_of
from .shape import Page

_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => h2:fresh"


def pages_of(file: bytes) -> list[Page]:
    """Return the document as one page; Word alone knows where its pages end.

    Raises:
        Refused: it is not safe to parse.
        Exception: of any kind, where it is damaged.
    """
    check_parts(opened(file), "word/", "_rels/", "[Content_Types]")
    made = mammoth.convert_to_html(
        io.BytesIO(file),
        style_map=_STYLES,
        include_embedded_style_map=False,
        convert_image=mammoth.images.img_element(lambda _image: {}),
    )
    return [Page(1, tuple(markdown_blocks(markdown_of(made.value))))]
