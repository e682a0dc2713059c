"""Search in SQLite: a scan of all messages of the user, the newest conversations first.

The folded text is a column of the message's row, so it is deleted with the message. There is no full-text index: it
would not find substrings in every language, and would keep deleted text longer than the rows. Thinking is searched on
demand only, and folded then; so are the names of documents, which few messages have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.store import Hit, Page
from chatapp.store.folding import fold
from chatapp.store.snippets import first_match, snippet, words_of
from chatapp.store.sqlite.rows import CONVERSATION, conversation_of
from chatapp.store.values import MAX_HITS, cursor_after, position

if TYPE_CHECKING:
    import sqlite3

_THINKING = "coalesce(json_extract(details, '$.thinking'), '')"
_OF_CONVERSATION = "FROM messages WHERE conversation_id = conversations.id AND created_ms >= :oldest"
_OWN = "SELECT json_extract(value, '$.name') AS name FROM json_each(details, '$.documents')"
_CITED = "SELECT DISTINCT json_extract(value, '$.name') FROM json_each(details, '$.citations')"
_NAMES = f"ifnull((SELECT group_concat(name, char(10)) FROM ({_OWN} UNION ALL {_CITED})), '')"  # noqa: S608  # constants
# Few messages have a name of anything: the others are not parsed.
_FOLDED = f"folded || CASE WHEN instr(details, '\"name\"') THEN char(10) || fold({_NAMES}) ELSE '' END"
# With a limit, so that SQLite does not merge it into the query around it, and folds each text once for all words.
_TEXTS = f"SELECT id, created_ms, {_FOLDED} AS searched {_OF_CONVERSATION} LIMIT -1"
_WITH_THINKING = (
    f"SELECT id, created_ms, {_FOLDED} || char(10) || fold({_THINKING}) AS searched {_OF_CONVERSATION} LIMIT -1"
)


def search(
    connection: sqlite3.Connection,
    user: str,
    text: str,
    limit: int,
    cursor: str | None,
    oldest_ms: int,
    *,
    thinking: bool = False,
) -> Page[Hit]:
    """Return a page of `chatapp.store.ConversationStore.search`, without data from before ``oldest_ms``."""
    words = words_of(text)
    if not words:
        return Page([], None)
    limit = min(max(limit, 1), MAX_HITS)
    updated_ms, last_id = position(cursor)
    in_message = " AND ".join(f"instr(searched, :word{number})" for number in range(len(words)))
    in_title = " AND ".join(f"instr(fold(title), :word{number})" for number in range(len(words)))
    parameters = {f"word{number}": word for number, word in enumerate(words)}
    rows = connection.execute(
        f"SELECT {CONVERSATION}, message_id FROM (SELECT *,"  # noqa: S608  # constants; the words are parameters
        f" (SELECT id FROM ({_WITH_THINKING if thinking else _TEXTS}) WHERE {in_message}"
        " ORDER BY created_ms DESC, id DESC LIMIT 1) AS message_id"
        " FROM conversations WHERE user = :user AND updated_ms >= :oldest AND deleted_ms = 0"
        " AND (updated_ms, id) < (:updated, :last))"
        f" WHERE message_id IS NOT NULL OR ({in_title}) ORDER BY updated_ms DESC, id DESC LIMIT :limit",
        parameters | {"user": user, "oldest": oldest_ms, "updated": updated_ms, "last": last_id, "limit": limit + 1},
    ).fetchall()
    hits = [_hit(connection, row, words) for row in rows[:limit]]
    return Page(hits, cursor_after(hits[-1].conversation) if len(rows) > limit else None)


def _hit(connection: sqlite3.Connection, row: sqlite3.Row, words: list[str]) -> Hit:
    conversation = conversation_of(row)
    if row["message_id"] is None:
        return Hit(conversation, "", *snippet(conversation.title, words))
    query = f"SELECT content, {_THINKING}, {_NAMES} FROM messages WHERE conversation_id = ? AND id = ?"  # noqa: S608  # a constant
    texts = connection.execute(query, (conversation.id, row["message_id"])).fetchone()
    part = first_match([(text, fold(text)) for text in texts], words)
    return Hit(conversation, row["message_id"], *snippet(texts[part], words), in_thinking=part == 1)
