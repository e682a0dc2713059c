"""How long an answer may become, in characters and seconds: some servers ignore Max tokens, and never end."""

from __future__ import annotations

from typing import Final

from chatapp.domain.errors import ModelError
from chatapp.domain.sentences import Duration, Sentence

# English has about 4 characters per token, code and tables have more; a token of white space may have 100.
CHARS_PER_TOKEN: Final = 40
THINKING_TOKENS: Final = 4096
"""Beyond Max tokens: some models think in addition to it (Gemini)."""
MAX_CHARS: Final = 500_000
"""Text and thinking of an answer, whatever Max tokens is: 2 MB at 4 bytes each, half of what one write stores."""
MAX_PICTURES: Final = 4
MAX_PICTURE_BYTES: Final = 2_000_000
"""Of all pictures of an answer together."""


SECONDS_FOR_PROMPT = 600.0
"""And for thinking beyond Max tokens."""
SECONDS_PER_TOKEN = 2.0
"""Slower than any model that is of use; the timeouts of a server bound the pauses."""


def max_seconds(max_tokens: int) -> float:
    """Return how long an answer may take."""
    return SECONDS_FOR_PROMPT + SECONDS_PER_TOKEN * max_tokens


def check_length(model: str, max_tokens: int, text: int, thinking: int) -> None:
    """Check the characters that a turn wrote so far.

    Raises:
        ModelError: the server ignores Max tokens; what came so far is kept.
    """
    most = min(CHARS_PER_TOKEN * max_tokens + 500, MAX_CHARS)
    most_in_all = min(most + CHARS_PER_TOKEN * THINKING_TOKENS, MAX_CHARS)
    if text > most or text + thinking > most_in_all:
        raise ModelError(
            Sentence(
                "{model} wrote far more than Max tokens ({most}) allows, so it was cut off.",
                model=model,
                most=max_tokens,
            )
        )


def too_slow(model: str, max_tokens: int) -> ModelError:
    """Return the error of an answer that took longer than `max_seconds`."""
    return ModelError(
        Sentence(
            "{model} was still writing after {time}, so it was cut off.",
            model=model,
            time=Duration(max_seconds(max_tokens)),
        )
    )
