"""Which kind of error a server reports: by its codes, then by its words, then by the HTTP status."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from chatapp.models.openai.error_tables import KINDS_OF_CODES, STATUSES, WORDS, ErrorKind

if TYPE_CHECKING:
    from chatapp.models.openai.error_facts import ErrorFacts

_CONTEXT_KEYS: Final = frozenset({"n_ctx", "n_prompt_tokens"})  # llama.cpp
# vLLM: input_tokens when the prompt is too long; max_tokens when it fills the context to the last token ("max_tokens
# must be at least 1, got 0", though 8 were requested: seen with 0.32). The adapter never requests less than 1 token.
_CONTEXT_PARAMETERS: Final = frozenset({"input_tokens", "max_tokens"})
_NEVER_TAKEN: Final = frozenset({"unsupportedparameter", "unsupportedvalue"})  # OpenAI, of its reasoning models
_KINDS_OF_STATUS: Final = {401: ErrorKind.KEY, 402: ErrorKind.NO_CREDIT, 429: ErrorKind.RATE, 529: ErrorKind.OVERLOADED}


def kind_of(error: ErrorFacts, status: int | None) -> ErrorKind:
    """Return the kind of an error; ``status`` is that of the response, or the one inside of a stream."""
    if never_taken(error):
        return ErrorKind.OTHER
    by_words = next(
        (kind for kind, pattern in WORDS if _is_plausible(kind, status) and pattern.search(error.words)), None
    )
    return (
        _size_kind(error, status, by_words)
        or _account_kind(error, by_words)
        or _KINDS_OF_STATUS.get(status or 0, ErrorKind.OTHER)
    )


def _size_kind(error: ErrorFacts, status: int | None, by_words: ErrorKind | None) -> ErrorKind | None:
    """Return the kind of an error about the size of the prompt or the answer, or about a parameter of the request."""
    is_refusal = status in {None, 400, 413, 422}
    if by_words is ErrorKind.MAX_TOKENS and "maximum context length" not in error.words:
        return by_words  # vLLM uses the same words for an answer for which the prompt leaves no room
    if by_words in {ErrorKind.NO_IMAGES, ErrorKind.TOO_MANY_IMAGES}:
        return by_words
    if error.numbers.keys() & _CONTEXT_KEYS or (is_refusal and error.param in _CONTEXT_PARAMETERS):
        return ErrorKind.TOO_LONG
    # Groq's free tier refuses one request over the tokens of a minute as a rate limit.
    if status == 413 or _TOO_LARGE_AT_ONCE.search(error.words) or by_words is ErrorKind.MAX_TOKENS:
        return ErrorKind.TOO_LONG
    return ErrorKind.NO_MODEL if error.param == "model" and status in {None, 400, 404} else None


def _account_kind(error: ErrorFacts, by_words: ErrorKind | None) -> ErrorKind | None:
    """Return the kind that the codes name, else the one that the words mean."""
    kind = next((found for code in error.codes if (found := KINDS_OF_CODES.get(code))), None)
    if kind in {ErrorKind.QUOTA, ErrorKind.NO_CREDIT} and _WILL_PASS.search(error.words):
        return ErrorKind.RATE
    if kind is ErrorKind.QUOTA and by_words is ErrorKind.NO_CREDIT:
        return by_words
    # The code of a key may come with words about credit or moderation.
    return by_words if by_words and kind in {None, ErrorKind.KEY} else kind


def never_taken(error: ErrorFacts) -> bool:
    """Return whether the model never accepts the parameter of the error, or not with its value."""
    return bool(error.codes & _NEVER_TAKEN)


_TOO_LARGE_AT_ONCE: Final = re.compile(r"request too large|too large for")
_WILL_PASS: Final = re.compile(r"(retry|try again) in \d")


def _is_plausible(kind: ErrorKind, status: int | None) -> bool:
    """Return whether a kind of error that the words mean goes with a status: the words may quote the request."""
    if status in {404, 405}:
        return kind in {ErrorKind.NO_MODEL, ErrorKind.NO_IMAGES}
    allowed = STATUSES.get(kind)
    return allowed is None or status in allowed
