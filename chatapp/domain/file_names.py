"""Names of files among other words."""

from __future__ import annotations

import re

# Hebrew, Arabic and their presentation forms, as in the page's ``text_direction.js``.
RIGHT_TO_LEFT_LETTERS = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_LAST_POINT = re.compile(r"\.(?=[^.]*$)")
_DIRECTIONS = re.compile(r"[\u0000-\u001f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def shown_name(name: str) -> str:
    """Return a file's name to be shown, as ``shownName`` of the page does.

    After Hebrew or Arabic a mark keeps the ending in one piece: "2026.pdf" would read "pdf.2026". No character of the
    name turns its letters around.
    """
    text = _DIRECTIONS.sub("", name)
    return _LAST_POINT.sub("\N{LEFT-TO-RIGHT MARK}.", text) if RIGHT_TO_LEFT_LETTERS.search(text) else text
