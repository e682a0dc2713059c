"""What a server reports as an error: status, codes and words, wherever in the body they are.

The same reader serves HTTP responses and events inside a stream. OpenAI's shape is ``{"error": {"message", "type",
"code", "param"}}``; others send a string, a list, the fields without "error", or the body of another provider as the
message.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

_MAX_DEPTH: Final = 8
_MAX_WORDS: Final = 4000  # characters
_WORD_KEYS: Final = ("message", "msg", "error_msg", "error_message", "status_msg", "detail", "error", "raw", "reason")
_CODE_KEYS: Final = (
    *("code", "type", "status", "status_code", "error_code", "errorCode", "err_code", "error_type", "reason"),
    *("http_code", "http_status"),
)
# Where the fields of an error may be nested. Not "input", "body" or "loc": they quote the request.
_NESTED_KEYS: Final = (
    *("error", "errors", "message", "detail", "details", "metadata", "raw", "innererror", "base_resp", "cause"),
    *("provider_specific_fields", "previous_errors", "response"),
)
_JSON_IN_WORDS: Final = re.compile(r"[\[{].*[\]}]", re.DOTALL)
_STATUS_IN_WORDS: Final = re.compile(
    r"\b(?:error code|status(?: code)?|http)\s*:?\s*([45]\d\d)\b|^<?([45]\d\d)\b", re.IGNORECASE
)


@dataclass(slots=True)
class ErrorFacts:
    """An error as a server reports it.

    Attributes:
        codes: the words of "code", "type" and the like, in lower case and without punctuation.
        words: all messages, in lower case; they may quote the request, so they are never shown or logged.
        status: the HTTP status in the body, None without one.
        param: the parameter that it is about, "" for none.
        numbers: the fields of numbers that llama.cpp sends, by name.
        named: "type", "param" and "code" of the outermost error, for the log.
    """

    codes: set[str] = field(default_factory=set)
    words: str = ""
    status: int | None = None
    param: str = ""
    numbers: dict[str, int] = field(default_factory=dict)
    named: dict[str, object] = field(default_factory=dict)


def error_facts(body: object) -> ErrorFacts:
    """Return the error in a body: JSON values, or text that is not JSON."""
    error = ErrorFacts()
    _read(body, error, 0)
    error.words = error.words[:_MAX_WORDS].lower()
    if error.status is None and (match := _STATUS_IN_WORDS.search(error.words)):
        error.status = int(match[1] or match[2])
    return error


def _read(value: object, error: ErrorFacts, depth: int) -> None:
    if depth > _MAX_DEPTH or len(error.words) > _MAX_WORDS:
        return
    if isinstance(value, list):
        for item in value[:20]:
            _read(item, error, depth + 1)
    elif isinstance(value, str):
        error.words += f"{value}\n"
        if (quoted := _JSON_IN_WORDS.search(value)) and (inner := _parsed(quoted[0])) is not None:
            _read(inner, error, depth + 1)
    elif isinstance(value, dict):
        _read_fields(value, error, depth)


def _read_fields(values: dict[str, Any], error: ErrorFacts, depth: int) -> None:
    if not error.named and not isinstance(values.get("error"), (dict, list)):
        error.named = {name: values[name] for name in ("type", "param", "code") if values.get(name)}
    for name in _CODE_KEYS:
        _read_code(values.get(name), error)
    if not error.param and isinstance(param := values.get("param"), str):
        error.param = param.removeprefix("body.")  # vLLM names a malformed one like this
    for name in ("n_ctx", "n_prompt_tokens"):
        if _is_count(values.get(name)):
            error.numbers[name] = values[name]
    for name in _WORD_KEYS:
        if isinstance(value := values.get(name), str) and value:
            _read(value, error, depth + 1)
    for name in _NESTED_KEYS:
        if isinstance(value := values.get(name), (dict, list)):
            _read(value, error, depth + 1)


def _read_code(value: object, error: ErrorFacts) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return
    text = str(value).strip()
    if text.isascii() and text.isdigit():
        number = int(text[:6])
        if 400 <= number < 600 and error.status is None:  # the statuses of errors
            error.status = number
    if 0 < len(text) <= 100:  # longer ones are sentences
        error.codes.add(normalized(text))


def normalized(code: str) -> str:
    """Return a code in the form of `ErrorFacts.codes`: providers spell the same words in different ways."""
    return re.sub(r"[^a-z0-9]", "", code.lower())


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
