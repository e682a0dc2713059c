"""Servers that cut a prompt without a word: recognized by the tokens that they count.

Some servers drop the beginning of a prompt that does not fit, and answer with HTTP 200
(https://github.com/ollama/ollama/issues/4967). The usage then counts what was left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SMALLEST_CONTEXT: Final = 512
"""No server that is worth a chat has a smaller one: a smaller count is not that of a whole prompt."""

_MARGIN: Final = 0.95
_GROWTH: Final = 200  # least tokens that a prompt must have gained to tell whether the count grows
# Scripts without spaces between words: Chinese, Japanese, Thai and their neighbours.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_CHARS_PER_TOKEN: Final = 4  # of these scripts, at most: tokens of longer words are rare


@dataclass(frozen=True, slots=True)
class CountedPrompt:
    """A prompt, and the tokens that the server counted.

    Attributes:
        first: id of its first message, which the next prompt of the conversation begins with, too.
        least: see `least_tokens`.
        tokens: as counted.
    """

    first: str
    least: int
    tokens: int


def least_tokens(texts: Iterable[str]) -> int:
    """Return how many tokens the texts have at least, in every tokenizer: one for each word."""
    return sum(map(_least_tokens, texts))


def was_cut(prompt: CountedPrompt, before: CountedPrompt | None) -> bool:
    """Return whether the server cannot have read the whole prompt.

    Args:
        prompt: of the last answer.
        before: of the answer before it.
    """
    if prompt.tokens < SMALLEST_CONTEXT:
        return False
    if prompt.tokens < _MARGIN * prompt.least:
        return True
    if before is None or before.first != prompt.first:
        return False
    gained = prompt.least - before.least
    return gained >= _GROWTH and prompt.tokens - before.tokens < gained / 2


def _least_tokens(text: str) -> int:
    words = len(text.split())
    return words if text.isascii() else max(words, len(_UNSPACED.findall(text)) // _CHARS_PER_TOKEN)
