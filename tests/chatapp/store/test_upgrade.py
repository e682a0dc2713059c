"""A history of every earlier schema is upgraded, and loses nothing, even if messages arrive at once."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from chatapp.domain.errors import StoreUnavailable
from chatapp.store.folding import fold
from chatapp.store.sqlite.file import HISTORY
from chatapp.store.sqlite.store import SQLiteStore
from tests.chatapp.store.conftest import a_message

CONVERSATIONS, MESSAGES, WRITERS = 5, 20, 8
FOLDED_SINCE = 3  # programs of this schema and later write what a search compares


def old_history(path, version):
    """Make a history of an earlier schema, and return its texts by conversation."""
    texts = {
        f"c{number}": [f"שלום {number}.{index} café" for index in range(MESSAGES)] for number in range(CONVERSATIONS)
    }
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("fold", 1, fold, deterministic=True)
        for number, migration in enumerate(HISTORY.migrations[:version], start=1):
            connection.executescript(f"{migration}; PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {HISTORY.application_id}")
        connection.execute("BEGIN")
        for conversation, contents in texts.items():
            connection.execute(
                "INSERT INTO conversations (id, user, title, created_ms, updated_ms, model, system_prompt)"
                " VALUES (?, 'local', 'Title', 1, 1, 'gemma', '')",
                (conversation,),
            )
            connection.executemany(
                "INSERT INTO messages (conversation_id, id, turn_id, role, status, content, created_ms,"
                " revision, details)"
                " VALUES (?, ?, 't', 'user', 'complete', ?, ?, 0, '{}')",
                [(conversation, f"m{index:03}", text, index + 1) for index, text in enumerate(contents)],
            )
        if version >= FOLDED_SINCE:
            connection.execute("UPDATE messages SET folded = fold(content)")
        connection.execute("COMMIT")
    return texts


@pytest.mark.slow
@pytest.mark.parametrize("version", range(1, len(HISTORY.migrations)))
async def test_history_of_an_earlier_schema_is_upgraded_under_load_without_a_loss(tmp_path, version):
    path = tmp_path / "chat.db"
    texts = old_history(path, version)
    opening = [asyncio.ensure_future(SQLiteStore.open(path)) for _ in range(2)]  # two chats start at once
    opened = await asyncio.gather(*opening, return_exceptions=True)
    (store,) = [one for one in opened if isinstance(one, SQLiteStore)]
    assert [type(one) for one in opened if one is not store] == [StoreUnavailable]
    new = {f"c{number % CONVERSATIONS}": [] for number in range(WRITERS)}

    async def write(writer):
        conversation = f"c{writer % CONVERSATIONS}"
        for number in range(8):
            message = a_message(f"new {writer}.{number}", 1_000 + writer * 100 + number)
            await store.append("local", conversation, message)
            new[conversation].append(message.content)

    try:
        await asyncio.gather(*map(write, range(WRITERS)))
        for conversation, contents in texts.items():
            stored = [message.content for message in await store.messages("local", conversation)]
            assert stored[:MESSAGES] == contents
            assert sorted(stored[MESSAGES:]) == sorted(new[conversation])
        found = await store.search("local", "CAFE", limit=50)
        assert len(found.items) == CONVERSATIONS
        assert await store.stored_bytes("local") > 0
    finally:
        await store.aclose()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(HISTORY.migrations),)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
