"""Text folding for search: a query matches however the word is spelled.

Upper and lower case, Latin accents, Hebrew points, Arabic vowels and tatweel, the forms of alef, ya and ta marbuta,
Hebrew final letters, wide forms and kinds of quotes make no difference. Each character is folded on its own, so that a
position in the folded text can be mapped to one in the text.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from itertools import accumulate

_LETTERS = {
    **dict(zip("ךםןףץ", "כמנפצ", strict=True)),  # final letters
    **dict(zip("ٱىیةک", "اييهك", strict=True)),  # the other forms lose a hamza or madda as their mark
    **dict(zip("øłđðħı", "olddhi", strict=True)),
    "æ": "ae",
    "œ": "oe",
    **dict.fromkeys("׳‘’‚′", "'"),
    **dict.fromkeys("״“”„«»″", '"'),
}
# Optional marks and invisible characters. Marks of other scripts, such as Hindi vowels, stay.
_IGNORED = (
    *(range(0x300, 0x370), range(0x591, 0x5BE), range(0x5BF, 0x5C0), range(0x5C1, 0x5C3), range(0x5C4, 0x5C6)),
    *(range(0x5C7, 0x5C8), range(0x610, 0x61D), range(0x640, 0x641), range(0x64B, 0x660), range(0x670, 0x671)),
    *(range(0x6D6, 0x6DD), range(0x6DF, 0x6E5), range(0x6E7, 0x6E9), range(0x6EA, 0x6EE), range(0x8D3, 0x900)),
    *(range(0xAD, 0xAE), range(0x200B, 0x2010), range(0x202A, 0x202F), range(0x2060, 0x206A), range(0xFE00, 0xFE10)),
    range(0xFEFF, 0xFF00),
)
_CHUNK = 4096


class _Folded(dict[int, str]):
    """The folded form of each character, computed at its first use."""

    def __missing__(self, code: int) -> str:
        decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", chr(code)).casefold())
        letters = (letter for letter in decomposed if not any(ord(letter) in ignored for ignored in _IGNORED))
        self[code] = folded = "".join(_LETTERS.get(letter, letter) for letter in letters)
        return folded


_FOLDED = _Folded()


def fold(text: str) -> str:
    """Return the folded form of a text."""
    return text.lower() if text.isascii() else text.translate(_FOLDED)


def unfolded(text: str, position: int) -> int:
    """Return which character of a text became the one at a ``position`` of `fold` of it; its length if none did."""
    begins = 0
    for start in range(0, len(text), _CHUNK):
        chunk = text[start : start + _CHUNK]
        length = len(fold(chunk))
        if begins + length > position:
            ends = list(accumulate(len(fold(letter)) for letter in chunk))
            return start + bisect_right(ends, position - begins)
        begins += length
    return len(text)
