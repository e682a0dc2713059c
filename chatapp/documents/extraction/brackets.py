"""Turns brackets in text from right to left that a PDF gave the wrong way round.

A bracket is mirrored where its text runs from right to left, so a file may have "(" for what is drawn as ")".
pdf-inspector 1.25.2 keeps the file's in what Chromium prints.
"""

from __future__ import annotations

import re

_PAIRS = {"(": ")", "[": "]", "{": "}", "«": "»", "‹": "›"}
_TURNED = str.maketrans({**_PAIRS, **{closing: opening for opening, closing in _PAIRS.items()}})
_BRACKETS = re.compile(r"[()\[\]{}«»‹›]")
_RIGHT_TO_LEFT = "\u0590-\u08ff"
_BESIDE_LETTERS = re.compile(rf"(?<=[{_RIGHT_TO_LEFT}])[()\[\]{{}}«»‹›]|[()\[\]{{}}«»‹›](?=[{_RIGHT_TO_LEFT}])")


def turned(text: str) -> str:
    """Return the text with its brackets turned, if they pair only then; all of them, or those beside its letters."""
    if not re.search(f"[{_RIGHT_TO_LEFT}]", text) or _pairs(text):
        return text
    forms = (text.translate(_TURNED), _BESIDE_LETTERS.sub(lambda bracket: bracket[0].translate(_TURNED), text))
    return next(filter(_pairs, forms), text)


def _pairs(text: str) -> bool:
    """Return whether every bracket has its partner, nested properly."""
    awaited: list[str] = []
    for bracket in _BRACKETS.findall(text):
        if bracket in _PAIRS:
            awaited.append(_PAIRS[bracket])
        elif not awaited or awaited.pop() != bracket:
            return False
    return not awaited
