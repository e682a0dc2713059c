"""The adapters that keep the contract, and messages to give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from chatapp.conversation import Conversation, Message, Role, new_id
from chatapp.store.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from chatapp.store import ConversationStore


class Place(Protocol):
    """Where an adapter keeps conversations; opened again, it holds what it held."""

    async def open(self) -> ConversationStore: ...


class SQLitePlace:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "history" / "chat.sqlite3"

    async def open(self) -> ConversationStore:
        return await SQLiteStore.open(self.path)


ADAPTERS = [SQLitePlace]


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.__name__)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return request.param(tmp_path)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[ConversationStore]:
    store = await place.open()
    yield store
    await store.aclose()


def a_conversation(**fields: object) -> Conversation:
    return Conversation(**{"id": new_id(), "title": "A chat", "created_ms": 1_000, "updated_ms": 1_000} | fields)


def a_message(content: str = "Hello", created_ms: int = 1_000, **fields: object) -> Message:
    given = {"id": new_id(), "turn_id": "turn", "role": Role.USER, "content": content, "created_ms": created_ms}
    return Message(**given | fields)
