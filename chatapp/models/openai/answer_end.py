"""Why an answer ended, read from the finish reasons of many servers."""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache
from typing import Final


class AnswerEnd(Enum):
    """How an answer ended."""

    UNKNOWN = auto()  # no reason came
    COMPLETE = auto()
    LENGTH = auto()
    FILTERED = auto()
    FAILED = auto()


EARLY_ENDS: Final = frozenset({AnswerEnd.FILTERED, AnswerEnd.FAILED})
"""They are not undone by a later reason."""

_NO_REASON: Final = frozenset({"", "null", "none"})
# OpenAI: content_filter; Zhipu: sensitive; Gemini: SAFETY, PROHIBITED_CONTENT, BLOCKLIST, SPII, RECITATION; Anthropic:
# refusal; Bedrock: guardrail_intervened; Cohere: ERROR_TOXIC.
_FILTERED: Final = re.compile(
    r"filter|sensitive|safety|prohibited|blocklist|spii|recitation|moderation|refusal|guardrail|toxic|polic(?:y|ies)"
)
# vLLM: abort, error; DeepSeek: insufficient_system_resource; Zhipu: network_error; TGI, SGLang and others: the rest.
_FAILED: Final = re.compile(
    r"abort|error|cancel|fail|insufficient|timeout|time_limit|interrupt|overload|unavailable|malformed|incomplete"
)
# OpenAI: length; Anthropic and Gemini: max_tokens; Mistral: model_length; Responses: max_output_tokens.
_AT_LENGTH: Final = re.compile(r"length|max_?(?:\w+_)?tokens|token_?limit|context_window|truncat")


@lru_cache(maxsize=64)
def _end_of(reason: str) -> AnswerEnd:
    if reason in _NO_REASON:
        return AnswerEnd.UNKNOWN
    for end, pattern in ((AnswerEnd.FILTERED, _FILTERED), (AnswerEnd.LENGTH, _AT_LENGTH), (AnswerEnd.FAILED, _FAILED)):
        if pattern.search(reason):
            return end
    return AnswerEnd.COMPLETE


def end_of(reason: object) -> AnswerEnd:
    """Return what a finish reason means; a word that is not known ends a complete answer."""
    return _end_of(reason.lower()[:100]) if isinstance(reason, str) else AnswerEnd.UNKNOWN
