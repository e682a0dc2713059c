"""The store adapters under the contract tests, and test messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from chatapp.domain.conversation import Conversation, Message, Role, new_id
from chatapp.store.firestore.store import FirestoreStore
from chatapp.store.journal.store import JournaledStore
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.store.temporary.memory import Memory, MemoryStore
from tests.fakes.stores import FakeCloud
from tests.firestore_emulator import PROJECT, firestore_emulator  # noqa: F401  # a fixture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from chatapp.store import Store


class Place(Protocol):
    """Where an adapter keeps conversations; opened again, it holds what it held."""

    async def open(self) -> Store: ...


class SQLitePlace:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "history" / "chat.sqlite3"

    async def open(self) -> Store:
        return await SQLiteStore.open(self.path)


class MemoryPlace:
    """Memory that outlives a store, as that of a temporary chat never does."""

    def __init__(self) -> None:
        self.memory = Memory()

    async def open(self) -> Store:
        return MemoryStore(self.memory)


class FirestorePlace:
    """A database of its own in the emulator, which keeps databases apart as Firestore does."""

    def __init__(self) -> None:
        self.database = f"chat-{new_id()}"

    async def open(self, **options: object) -> FirestoreStore:
        return FirestoreStore(PROJECT, self.database, **options)


class JournaledPlace:
    """A journal, and a cloud for it: a fake one, or what another place opens."""

    def __init__(self, folder: Path, beyond: Place | None = None) -> None:
        self.path = folder / "journal" / "journal.db"
        self.cloud_folder = folder / "cloud"
        self.beyond = beyond

    async def open(self, cloud: Store | None = None, **options: object) -> JournaledStore:
        if cloud is None:
            cloud = await self.beyond.open() if self.beyond else FakeCloud(self.cloud_folder)
        return await JournaledStore.open(self.path, cloud, **{"destination": "the cloud"} | options)


ADAPTERS = {
    "SQLite": "sqlite_place",
    "memory": "memory_place",
    "journaled": "journaled_place",
    "Firestore": "firestore_place",
    "journaled Firestore": "journaled_firestore_place",
}
# The journal takes twice the CPU of SQLite (`test_journal.py` is fast), and Firestore seconds for the emulator and a
# round trip for each call. The journal before Firestore is long: `make test` has each under the whole contract, and
# both together under the model of `test_any_sequence_of_calls_matches_the_model`.
MARKS = {"journaled": pytest.mark.slow, "Firestore": pytest.mark.slow, "journaled Firestore": pytest.mark.long}


@pytest.fixture
def sqlite_place(tmp_path: Path) -> SQLitePlace:
    return SQLitePlace(tmp_path)


@pytest.fixture
def memory_place() -> MemoryPlace:
    return MemoryPlace()


@pytest.fixture
def firestore_place(request: pytest.FixtureRequest) -> FirestorePlace:
    request.getfixturevalue("firestore_emulator")
    return FirestorePlace()


@pytest.fixture
def journaled_place(tmp_path: Path) -> JournaledPlace:
    return JournaledPlace(tmp_path)


@pytest.fixture
def journaled_firestore_place(tmp_path: Path, firestore_place: FirestorePlace) -> JournaledPlace:
    return JournaledPlace(tmp_path, firestore_place)


@pytest.fixture(
    params=[pytest.param(fixture, id=name, marks=MARKS.get(name, ())) for name, fixture in ADAPTERS.items()]
)
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(request.param)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    store = await place.open()
    yield store
    await store.aclose()


def a_conversation(**fields: object) -> Conversation:
    return Conversation(**{"id": new_id(), "title": "A chat", "created_ms": 1_000, "updated_ms": 1_000} | fields)


def a_message(content: str = "Hello", created_ms: int = 1_000, **fields: object) -> Message:
    defaults = {"id": new_id(), "turn_id": "turn", "role": Role.USER, "content": content, "created_ms": created_ms}
    return Message(**defaults | fields)
