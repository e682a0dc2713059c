"""What the page sends, read with suspicion: anybody can send anything."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import GenerationParameters
from chatapp.domain.errors import InvalidMessage, TooLong
from chatapp.domain.images import MOST_SENT_BYTES
from chatapp.domain.sentences import Sentence
from chatapp.generation.requests import AnswerRequest
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

MOST_BODY_BYTES = 8_000_000  # the longest message in any alphabet, escaped, with room


async def sent(request: Request, *, most_bytes: int = MOST_BODY_BYTES) -> dict[str, Any]:
    """Return the object that was sent.

    Raises:
        InvalidMessage: it is none. Another site's page cannot send one: a form has no such type, and a script would
            have to ask first, which is not answered.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise not_understood()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise TooLong
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise not_understood() from None
    if not isinstance(found, dict):
        raise not_understood()
    return found


def most_sent_bytes(pictures: int) -> int:
    """Return the bytes of the longest message with so many pictures, in base64."""
    return MOST_BODY_BYTES + pictures * MOST_SENT_BYTES * 4 // 3


def not_understood() -> InvalidMessage:
    """Return what is said of a request that no page sends."""
    return InvalidMessage(Sentence("The page sent an invalid request. Reload the page and send again."))


def parameters(asked: Mapping[str, Any]) -> GenerationParameters:
    """Return how to generate an answer; the defaults where nothing is said.

    Raises:
        InvalidParameters: a value is out of its range.
    """
    names = ("temperature", "top_p", "max_tokens")
    known = {name: asked[name] for name in names if name in asked}
    return GenerationParameters(**known, system_prompt=asked.get("system_prompt") or "")


def name(asked: Mapping[str, Any], key: str) -> str:
    """Return the name that the page gave to what it asks for, 32 hex digits, "" if it gave none."""
    found = asked.get(key)
    return found if isinstance(found, str) and re.fullmatch("[0-9a-f]{32}", found) else ""


def text(asked: Mapping[str, Any], key: str) -> str:
    """Return a text, "" where there is none."""
    found = asked.get(key)
    return found if isinstance(found, str) else ""


def optional_text(asked: Mapping[str, Any], key: str, *, longest: int = 1000) -> str | None:
    """Return a text, None where there is none.

    Raises:
        InvalidMessage: it is no text, or too long a one.
    """
    found = asked.get(key)
    if found is not None and not (isinstance(found, str) and len(found) <= longest):
        raise not_understood()
    return clean_text(found) if found is not None else None


def pictures(asked: Mapping[str, Any]) -> list[str]:
    """Return the pictures of a question, in base64.

    Raises:
        InvalidMessage: they are no pictures.
    """
    found = asked.get("images")
    if found is None:
        return []
    match found:
        case [*images] if all(isinstance(one, dict) and isinstance(one.get("data"), str) for one in images):
            return [one["data"] for one in images]
    raise not_understood()


def answer(asked: Mapping[str, Any]) -> AnswerRequest:
    """Return which model is to answer, and how.

    Raises:
        InvalidParameters: a value is out of its range.
    """
    return AnswerRequest(
        model=asked.get("model"),  # type: ignore[arg-type]  # the catalogue checks it
        parameters=parameters(asked),
        allow_fallback=asked.get("orOther") is True,
    )


def second_answer(asked: Mapping[str, Any], first: AnswerRequest) -> AnswerRequest | None:
    """Return the second answer that is asked for, None if there is none.

    Raises:
        InvalidMessage: it is none.
        InvalidParameters: a value is out of its range.
    """
    found = asked.get("beside")
    if found is None:
        return None
    if not isinstance(found, dict):
        raise not_understood()
    changes = {key: found[key] for key in ("temperature", "top_p") if key in found}
    second = dataclasses.replace(first.parameters, **changes)
    return dataclasses.replace(first, model=found.get("model"), parameters=second)  # type: ignore[arg-type]  # as above
