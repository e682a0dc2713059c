"""Whether an answer says that the documents do not answer its question: what follows is what the model knows itself."""

from __future__ import annotations

import re

from chatapp.store.folding import fold

SENTENCES = {
    "English": "Not in your documents.",
    "Hebrew": "לא נמצא במסמכים שלכם.",
    "Arabic": "غير موجود في مستنداتك.",
}
"""With one of these an answer begins that is not from the documents, by language; the model is told so."""

# What models put around a sentence: Markdown, quotation marks, and the marks of right-to-left text.
_AROUND = re.compile(r"[\s*_#>\"'`«»“”.:\-\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def is_outside(text: str) -> bool:
    """Return whether an answer begins with one of `SENTENCES`, in whatever type."""
    plain = _AROUND.sub(" ", fold(text[:300])).strip()
    return any(re.match(rf"{re.escape(_plain(sentence))}(?!\w)", plain) for sentence in SENTENCES.values())


def _plain(sentence: str) -> str:
    return _AROUND.sub(" ", fold(sentence)).strip()
