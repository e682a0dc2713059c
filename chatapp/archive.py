"""Conversations as one JSON document: to keep, to read with other programs, and to import into another chat.

    {"format": "hybrid-chat", "version": 1, "exported": "2026-11-02T10:15:30.123Z", "user": "local", "conversations": [
    {"id": ..., "title": ..., "created_ms": ..., "created": ..., ..., "messages": [{"id": ..., "role": ..., ...}]},
    ...
    ]}

A conversation has the fields of `chatapp.conversation.Conversation`, and its messages, in order, those of `Message`;
each conversation is one line. Beside every time in milliseconds since the epoch stands the same as ISO 8601, for
people: only the milliseconds are read. ``user`` says whose they were, as the chat knows its users; an import ignores
it. A reader must refuse a higher ``version``, and ignore fields that it does not know.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from chatapp.conversation import Conversation, Message, now_ms
from chatapp.errors import ChatError
from chatapp.store.firestore_documents import is_id

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT, VERSION = "hybrid-chat", 1
END = b"\n]}\n"
LATEST_MS = 253_402_300_799_999  # the last millisecond of the year 9999, where dates end

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONVERSATION, _MESSAGES = TypeAdapter(Conversation), TypeAdapter(list[Message])


class InvalidArchive(ChatError):
    """This is no export of a chat, or it is damaged; the sentence says where."""


class Archived(NamedTuple):
    """A conversation with all its messages."""

    conversation: Conversation
    messages: Sequence[Message]


def iso(ms: int) -> str:
    """Return milliseconds since the epoch as ISO 8601, in UTC."""
    return moment(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(ms: int) -> datetime:
    """Return milliseconds since the epoch as a time in UTC, without a rounding error."""
    return _EPOCH + timedelta(milliseconds=ms)


def beginning(user: str) -> bytes:
    """Return what comes before the first conversation."""
    head = {"format": FORMAT, "version": VERSION, "exported": iso(now_ms()), "user": user}
    return _encoded(head)[:-1] + b', "conversations": [\n'


def encoded(conversation: Conversation, messages: Sequence[Message]) -> bytes:
    """Return one conversation as a line without its end."""
    return _encoded(_dated(asdict(conversation)) | {"messages": [_dated(asdict(message)) for message in messages]})


def read(text: str) -> list[Archived]:
    """Return the conversations of an export, all of them checked.

    Raises:
        InvalidArchive: with the line, or the conversation, message and field, that is wrong.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        end = "" if text.rstrip().endswith("}") else " Maybe its download broke off."
        raise InvalidArchive(f"This is not JSON: {error}.{end}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InvalidArchive(f'This is no export of a chat: it has no "format": "{FORMAT}".')
    if found.get("version") != VERSION:
        version = f"This export has version {found.get('version')!r}, and this chat reads version {VERSION}"
        raise InvalidArchive(f"{version}. A newer chat may read it.")
    if not isinstance(found.get("conversations"), list):
        raise InvalidArchive('This export has no list of "conversations".')
    return [_archived(one, f"conversations[{number}]") for number, one in enumerate(found["conversations"])]


def _archived(found: object, where: str) -> Archived:
    messages = found.get("messages") if isinstance(found, dict) else None
    archived = Archived(_checked(_CONVERSATION, found, where), _checked(_MESSAGES, messages, f"{where}.messages"))
    _check(archived.conversation, where, "created_ms", "updated_ms")
    for number, message in enumerate(archived.messages):
        _check(message, f"{where}.messages[{number}]", "created_ms")
    return archived


def _checked(adapter: TypeAdapter[Any], found: object, where: str) -> Any:  # noqa: ANN401  # what the adapter makes
    try:
        return adapter.validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise InvalidArchive(f"{where}{path}: {first['msg'][:1].lower()}{first['msg'][1:]}.") from error


def _check(found: Conversation | Message, where: str, *times: str) -> None:
    if not is_id(found.id):
        raise InvalidArchive(f"{where}.id: {found.id[:80]!r} cannot be an id.")
    for name in times:
        if not 0 <= getattr(found, name) <= LATEST_MS:
            raise InvalidArchive(f"{where}.{name}: {getattr(found, name)} is no time in milliseconds since 1970.")


def _dated(fields: dict[str, Any]) -> dict[str, Any]:
    """Add the times in words, each after its milliseconds."""
    dated = {}
    for name, value in fields.items():
        dated[name] = value
        if name.endswith("_ms"):
            dated[name.removesuffix("_ms")] = iso(value)
    return dated


def _encoded(fields: dict[str, Any]) -> bytes:
    # A sentence of a model server's may hold half of a surrogate pair, which UTF-8 cannot.
    return json.dumps(fields, ensure_ascii=False).encode(errors="replace")
