"""A chat whose history is imported into, as its settings name it."""

import asyncio

import pytest

from chatapp.config.settings import load_settings
from chatapp.domain.conversation import new_id
from chatapp.userdata import queries
from chatapp.userdata.cli import history
from tests.firestore_emulator import PROJECT, firestore_emulator  # noqa: F401  # a fixture


class Chat:
    """The settings of a chat, in the environment where a command finds them, and its history."""

    def __init__(self, environment):
        self._environment = environment

    def set(self, **settings):
        for name, value in settings.items():
            self._environment.setenv(name, value)

    def everything(self, user="local"):
        """Return all conversations of a user with their messages."""

        async def read(store):
            return [one async for one in queries.everything(store, user)]

        return self.do(read)

    def do(self, work):
        """Return what ``await work(store)`` returns."""

        async def done():
            async with history(load_settings()) as store:
                return await work(store)

        return asyncio.run(done())


@pytest.fixture
def chat(tmp_path, monkeypatch):
    """A chat on a laptop: SQLite, one user."""
    monkeypatch.chdir(tmp_path)  # where no .env is
    for name in ("GOOGLE_CLOUD_PROJECT", "CHAT_STORE", "CHAT_IDENTITY", "CHAT_RETENTION_DAYS"):
        monkeypatch.delenv(name, raising=False)
    chat = Chat(monkeypatch)
    chat.set(CHAT_DATA_DIR=str(tmp_path / "data"))
    return chat


@pytest.fixture
def cloud_chat(chat, request):
    """A chat in the cloud: Firestore, a history for every browser."""
    request.getfixturevalue("firestore_emulator")
    chat.set(
        CHAT_STORE="firestore",
        CHAT_IDENTITY="anonymous",
        GOOGLE_CLOUD_PROJECT=PROJECT,
        CHAT_FIRESTORE_DATABASE=f"chat-{new_id()}",
    )
    return chat
