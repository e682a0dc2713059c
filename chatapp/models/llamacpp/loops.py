"""Answers of small models that go around in a circle."""

from __future__ import annotations

import re
from typing import Final

LONGEST_PERIOD: Final = 160  # characters: two or three sentences
REPEATED: Final = 40  # characters that have to repeat what precedes them, and at least two periods
SENTENCE_TIMES: Final = 3
FEWEST_LETTERS: Final = 8  # in what repeats itself with other numbers: not in counting, or a times table
_SHORTEST_SENTENCE = 12  # characters: a list may have short items twice
_END = re.compile(r"[.!?\n]+\s*")
_NUMBER = re.compile(r"\d+")


class LoopDetector:
    """Finds out that a text repeats itself, while it is being written.

    It does so at the third time of the same words in a row, even with other numbers, or of the same sentence anywhere.
    Rows of a single character (``-----`` in a table) are no loop.
    """

    def __init__(self) -> None:
        self._tail = ""
        self._unfinished = ""
        self._sentences: dict[str, int] = {}

    def loops(self, text: str) -> bool:
        """Return whether the answer repeats itself now that it has this text, too."""
        self._tail = (self._tail + text)[-(3 * LONGEST_PERIOD) :]
        return (
            _has_loop_at_end(self._tail)
            or _has_loop_at_end(_NUMBER.sub("0", self._tail), FEWEST_LETTERS)
            or self._has_sentence_again(text)
        )

    def _has_sentence_again(self, text: str) -> bool:
        *whole, self._unfinished = _END.split(self._unfinished + text)
        for sentence in whole:
            words = sentence.strip().lower()
            if len(words) < _SHORTEST_SENTENCE:
                continue
            self._sentences[words] = self._sentences.get(words, 0) + 1
            if self._sentences[words] == SENTENCE_TIMES:
                return True
        return False


def _has_loop_at_end(text: str, fewest_letters: int = 0) -> bool:
    for period in range(2, min(LONGEST_PERIOD, len(text) // 3) + 1):
        length = max(REPEATED, 2 * period)
        if len(text) >= length + period and text[-length:] == text[-length - period : -period]:
            repeated = text[-period:]
            return len(set(repeated)) > 1 and sum(map(str.isalpha, repeated)) >= fewest_letters
    return False
