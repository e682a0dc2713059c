"""SQLite rows of conversations and messages, and back."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import Conversation, Message
from chatapp.domain.errors import ConversationNotFound
from chatapp.store import codec
from chatapp.store.folding import fold
from chatapp.store.sqlite.attachments import put_attachments
from chatapp.store.sqlite.files import with_kept_files
from chatapp.store.values import storable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

# Not ``changed_ms``: one process writes a file, so no two changes can cross.
_CONVERSATION_COLUMNS = [field.name for field in fields(Conversation) if field.name != "changed_ms"]
CONVERSATION = ", ".join(_CONVERSATION_COLUMNS)
_CHANGING = [name for name in _CONVERSATION_COLUMNS if name not in {"id", "created_ms", "updated_ms"}]
UPDATE = (
    f"UPDATE conversations SET {', '.join(f'{name} = :{name}' for name in _CHANGING)},"  # noqa: S608  # constants
    " updated_ms = max(updated_ms, :updated_ms) WHERE id = :id AND user = :user"
)
_CREATE = (
    f"INSERT INTO conversations (user, {CONVERSATION}) VALUES (:user, :{CONVERSATION.replace(', ', ', :')})"  # noqa: S608  # constants
    " ON CONFLICT (id) DO NOTHING"
)

# The columns that queries use; the other fields are stored as JSON in `details`.
_COLUMNS = ("id", "turn_id", "role", "status", "content", "created_ms", "revision")
MESSAGE = f"{', '.join(_COLUMNS)}, details"
_RATED_MS = "ifnull(json_extract({}details, '$.feedback_ms'), 0)"
_RATE = "json_set({}details, '$.feedback', json_extract({}details, '$.feedback'), '$.feedback_ms', {})"
# A message with the rating that is stored, if that is later.
_DETAILS = (
    f"CASE WHEN {_RATED_MS.format('messages.')} > {_RATED_MS.format('excluded.')}"
    f" THEN {_RATE.format('excluded.', 'messages.', _RATED_MS.format('messages.'))} ELSE excluded.details END"
)
_PUT = (
    f"INSERT INTO messages (conversation_id, {MESSAGE}, folded)"  # noqa: S608  # constants
    f" VALUES (:conversation_id, :{MESSAGE.replace(', ', ', :')}, :folded) ON CONFLICT (conversation_id, id) DO UPDATE"
    f" SET {', '.join(f'{name} = excluded.{name}' for name in (*_COLUMNS[1:], 'folded'))}, details = {_DETAILS}"
    " WHERE excluded.revision > revision"
)


# JSON has the ids, because SQLite limits the number of parameters. With CROSS JOIN, SQLite looks up each of them.
_REVISIONS = (
    "SELECT conversations.id, messages.id, revision"
    " FROM json_each(:ids) AS ids CROSS JOIN conversations ON conversations.id = ids.value"
    " LEFT JOIN messages ON conversation_id = conversations.id AND messages.created_ms >= :oldest_ms"
    " WHERE user = :user AND conversations.updated_ms >= :oldest_ms"
)


def conversation_row(user: str, conversation: Conversation) -> dict[str, Any]:
    """Return the columns of a conversation."""
    conversation = codec.clean_conversation(conversation)
    return {name: getattr(conversation, name) for name in _CONVERSATION_COLUMNS} | {"user": user}


def conversation_of(row: sqlite3.Row) -> Conversation:
    """Return the conversation of a row that begins with the columns of `CONVERSATION`."""
    values = dict(row) | {"pinned": bool(row["pinned"]), "archived": bool(row["archived"])}
    return codec.conversation_of(values)


def owned(connection: sqlite3.Connection, user: str, conversation_id: str, oldest_ms: int = 0) -> Conversation:
    """Return a conversation of the user.

    Raises:
        ConversationNotFound: there is none.
    """
    row = connection.execute(
        f"SELECT {CONVERSATION} FROM conversations WHERE id = ? AND user = ? AND updated_ms >= ?",  # noqa: S608  # a constant
        (conversation_id, user, oldest_ms),
    ).fetchone()
    if row is None:
        raise ConversationNotFound
    return conversation_of(row)


def create(connection: sqlite3.Connection, user: str, conversation: Conversation, messages: Iterable[Message]) -> bool:
    """Add a conversation with its first messages, unless the user has it; return False if another user has its id."""
    if connection.execute(_CREATE, conversation_row(user, conversation)).rowcount:
        put(connection, conversation.id, messages)
        return True
    query = "SELECT 1 FROM conversations WHERE id = ? AND user = ?"
    return connection.execute(query, (conversation.id, user)).fetchone() is not None


def revisions(
    connection: sqlite3.Connection, user: str, conversation_ids: Iterable[str], oldest_ms: int
) -> dict[str, dict[str, int]]:
    """Return the revision of each message by id, by the ids of those conversations that the user has."""
    stored: dict[str, dict[str, int]] = {}
    ids = json.dumps([id_ for id_ in conversation_ids if storable(id_) == id_])  # no other one was ever stored
    rows = connection.execute(_REVISIONS, {"user": user, "oldest_ms": oldest_ms, "ids": ids})
    for conversation_id, message_id, revision in rows:
        of_conversation = stored.setdefault(conversation_id, {})
        if message_id is not None:
            of_conversation[message_id] = revision
    return stored


def message_of(row: sqlite3.Row) -> Message:
    """Return the message of a row with the columns of `MESSAGE`."""
    values = dict(row)
    return codec.message_of(values | json.loads(values.pop("details")))


def put(connection: sqlite3.Connection, conversation_id: str, messages: Iterable[Message]) -> None:
    """Add messages and their attachments, or replace those of a lower revision; of two ratings, the later stays."""
    for given in messages:
        message = with_kept_files(connection, conversation_id, codec.clean(given))
        if message.feedback_ms:
            _put_rating(connection, conversation_id, message)
        values = codec.message_fields(message)
        row = {name: values.pop(name) for name in _COLUMNS}
        row |= {"conversation_id": conversation_id, "details": json.dumps(values), "folded": fold(message.content)}
        if connection.execute(_PUT, row).rowcount:
            of_message = {"conversation_id": conversation_id, "message_id": message.id}
            put_attachments(connection, of_message, message)


def _put_rating(connection: sqlite3.Connection, conversation_id: str, message: Message) -> None:
    """Change the rating of a message that is stored at this revision or a higher one, if it is the later rating."""
    connection.execute(
        "UPDATE messages SET details = json_set(details, '$.feedback', :feedback, '$.feedback_ms', :feedback_ms)"
        " WHERE conversation_id = :conversation_id AND id = :id AND revision >= :revision"
        " AND ifnull(json_extract(details, '$.feedback_ms'), 0) < :feedback_ms",
        {
            "conversation_id": conversation_id,
            "id": message.id,
            "revision": message.revision,
            "feedback": message.feedback.value,
            "feedback_ms": message.feedback_ms,
        },
    )
