"""Which optional part of a request a server refuses, read from the error that it reports.

Servers agree on no format: OpenAI names the parameter and a code, vLLM the parameter, FastAPI a path, gateways only
words. The texts in the comments are those of the servers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.models.failure import ReportedError

NAMES = ("stream_options", "top_p", "temperature", "limit", "system")
"""The optional parts, in the order in which they give way: what an answer misses least comes first."""

_PARTS = {
    "stream_options": re.compile(r"stream_?options|include_usage", re.IGNORECASE),
    "top_p": re.compile(r"\btop[_ -]?p\b|\btopP\b", re.IGNORECASE),
    "temperature": re.compile(r"temperature", re.IGNORECASE),
    "limit": re.compile(
        r"max_(?:completion_|new_|output_)?tokens|maxOutputTokens|completion tokens|output (?:tokens|limit)",
        re.IGNORECASE,
    ),
    # "System role not supported" (Gemma 2), "Only user and assistant roles are supported!" (Mistral), "Conversation
    # roles must alternate user/assistant" (Llama 2), "Developer instruction is not enabled for models/gemma-3-12b-it".
    "system": re.compile(
        r"system\W{0,3} ?(?:role|message|prompt|instruction)|\brole\b.{0,60}\bsystem\b|^system$|body\W+system\b"
        r"|developer (?:instruction|message)|roles must alternate|only user.{0,20}assistant|messages\W+\d+\W+role",
        re.IGNORECASE | re.DOTALL,
    ),
}
_RANGE = re.compile(
    r"between|range|less than|greater than|at (?:most|least)|maximum|minimum|must be|too (?:large|small|high|low|many)"
    r"|higher|positive|exceed|supports? (?:up to|only|at most)|[<>]|limit was reached",
    re.IGNORECASE,
)
_NEVER = ("unsupported_parameter", "unsupported_value", "unknown_parameter")  # OpenAI's codes
_NEVER_WORDS = re.compile(
    r"not support|unsupported|not permitted|not allowed|unknown|unrecognized|unexpected|deprecated|only the default",
    re.IGNORECASE,
)
# "This model supports at most 4096 completion tokens" (OpenAI), "max_tokens: 8192 > 4096, which is the maximum allowed
# number of output tokens" (Anthropic), "the valid range of max_tokens is [1, 8192]" (DeepSeek).
_OUTPUT_LIMIT = re.compile(
    r"at most \d+ (?:completion|output) tokens|number of output tokens|range of max_tokens", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![\w.'-])\d+(?:\.\d+)?(?![\w'])")
# Ollama, OpenAI, vLLM, vLLM for a base model without a chat template, and the usual words of others.
_CANNOT_CHAT = re.compile(
    r"does not support (?:chat|generate|completion)|not (?:a|supported as a) chat model|not supported in the v1/chat"
    r"|does not support Chat Completions|chat template is no longer allowed|no chat template"
    r"|is an? (?:embedding|rerank\w*|speech|image) model|only supports? (?:embedding|rerank)",
    re.IGNORECASE,
)
# With such a status, a server has looked at the request and not begun to answer.
_REQUEST_STATUSES = frozenset({400, 404, 409, 422, 501})


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server refuses in a request.

    Attributes:
        parts: of `NAMES`, those that it names; empty if it names nothing.
        of_value: it refuses the value, such as one out of its range, and not the part itself.
        numbers: that it mentions, such as the ends of a range.
        is_output_limit: the answer may not be as long as it was allowed to be; this is not about the prompt.
    """

    parts: frozenset[str] = frozenset()
    of_value: bool = False
    numbers: tuple[float, ...] = ()
    is_output_limit: bool = False


def refusal_of(reported: ReportedError) -> Refusal | None:
    """Return what is refused; None if the error is about something else than an optional part of the request."""
    words = _words(reported.body)
    parameter = str(reported.body.get("param") or "")
    named = {name for name, pattern in _PARTS.items() if pattern.search(parameter)}
    if not named:
        named = {name for name, pattern in _PARTS.items() if pattern.search(words)}
    if reported.status not in _REQUEST_STATUSES and not (reported.status == 500 and "system" in named):
        return None  # llama.cpp has answered 500 to what a chat template refuses
    if not named and (parameter or reported.status not in {400, 422}):
        return None
    never = reported.body.get("code") in _NEVER or _NEVER_WORDS.search(words) is not None
    of_value = not never and _RANGE.search(words) is not None
    numbers = tuple(float(number) for number in _NUMBER.findall(words)) if of_value else ()
    return Refusal(frozenset(named), of_value, numbers, _OUTPUT_LIMIT.search(words) is not None)


def cannot_chat(reported: ReportedError | None) -> bool:
    """Return whether the model is for something else, such as embeddings."""
    return (
        reported is not None
        and reported.status in _REQUEST_STATUSES | {500}
        and _CANNOT_CHAT.search(_words(reported.body)) is not None
    )


def _words(body: Mapping[str, Any]) -> str:
    """Return the words of an error in any of its formats, without what they quote of the request."""
    message = body.get("message") or body.get("detail") or body.get("msg") or ""
    if isinstance(message, dict):
        message = message.get("detail") or message.get("message") or ""
    if isinstance(message, list):  # FastAPI: [{"loc": ["body", "top_p"], "msg": "Extra inputs ...", "input": ...}]
        items = [item for item in message if isinstance(item, dict)]
        message = "; ".join(f"{item.get('loc', '')} {item.get('msg', '')}" for item in items)
    return str(message)[:4000]
