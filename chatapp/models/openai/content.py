"""What a message of a chat completion holds: text, thinking and pictures, in the forms of many servers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from chatapp.models import PictureDelta, TextDelta, ThinkingDelta

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Part = TextDelta | ThinkingDelta | PictureDelta

# vLLM, DeepSeek; OpenRouter and newer vLLM; others. Gateways send the same words under two of them: the first counts.
_THINKING_FIELDS: Final = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "reasoning_details")
_THINKING_TYPES: Final = re.compile(r"thinking|thought|reasoning|summary")
_TEXT_FIELDS: Final = ("text", "thinking", "reasoning", "summary", "refusal", "content", "value")
_MAX_DEPTH: Final = 4
_PICTURE_FIELDS: Final = ("image_url", "url", "source", "b64_json", "data", "image", "result")
_DATA_URL: Final = re.compile(r"data:[\w.+/-]*(?:;[\w=-]+)*;base64,", re.ASCII)
# Gateways to models that draw write the picture into the text.
_MARKDOWN_PICTURE: Final = re.compile(r"!\[[^\]]*\]\((data:image/[\w.+-]+;base64,[A-Za-z0-9+/=\s]+)\)")
_WEB_ADDRESS: Final = re.compile(r"https?://[^\s<>]{1,2000}")


def parts_of(message: Mapping[str, Any]) -> Iterator[Part]:
    """Yield what a ``delta`` or a ``message`` holds; texts may have lone surrogates."""
    for name in _THINKING_FIELDS:
        if thinking := _words(message.get(name)):
            yield ThinkingDelta(thinking)
            break
    yield from _content(message.get("content"))
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        yield TextDelta(refusal)  # OpenAI
    if isinstance(audio := message.get("audio"), dict):
        yield from _content(audio.get("transcript"))
    for name in ("images", "image"):  # OpenRouter
        pictures = message.get(name)
        for picture in pictures if isinstance(pictures, list) else [pictures] if pictures else ():
            yield from _picture(picture)


def _content(content: object) -> Iterator[Part]:
    if isinstance(content, str):
        yield from _text(content)
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, str):
                yield from _text(part)
            elif isinstance(part, dict):
                yield from _part(part)
    elif isinstance(content, dict):
        yield from _part(content)


def _part(part: Mapping[str, Any]) -> Iterator[Part]:
    kind = str(part.get("type", ""))
    if _THINKING_TYPES.search(kind) or part.get("thought") is True:
        if words := _words(part):
            yield ThinkingDelta(words)
    elif "image" in kind:
        yield from _picture(part)
    elif words := _words(part):
        yield from _text(words)


def may_hold_picture(text: str) -> bool:
    """Return whether a picture may be written into this text."""
    return "](data:image/" in text


def _text(text: str) -> Iterator[Part]:
    if not may_hold_picture(text):
        if text:
            yield TextDelta(text)
        return
    for number, piece in enumerate(_MARKDOWN_PICTURE.split(text)):
        if number % 2:
            yield from _picture(piece)
        elif piece:
            yield TextDelta(piece)


def _picture(value: object) -> Iterator[Part]:
    """Yield a picture; of one on another site only its address, since fetching it would tell that site who reads."""
    address = _address(value)
    if _WEB_ADDRESS.fullmatch(address):
        yield TextDelta(f"\n\n<{address}>\n\n")
        return
    prefix = _DATA_URL.match(address)
    is_base64 = prefix or not address.startswith("data:")
    yield PictureDelta(address[prefix.end() if prefix else 0 :] if is_base64 else "")


def _address(value: object) -> str:
    """Return the address or the base64 of a picture, however deep it is; "" without one."""
    for _ in range(_MAX_DEPTH):
        if isinstance(value, str):
            return value.strip()
        if not isinstance(value, dict):
            break
        value = next((value[name] for name in _PICTURE_FIELDS if value.get(name)), None)
    return ""


def _words(value: object, depth: int = 0) -> str:
    """Return the text of a string, a part or a list of parts; signatures and encrypted thoughts are no text."""
    if isinstance(value, str):
        return value
    if depth == _MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return "".join(_words(part, depth + 1) for part in value)
    if isinstance(value, dict):
        return next((words for name in _TEXT_FIELDS if (words := _words(value.get(name), depth + 1))), "")
    return ""
