"""The app as shipped, with a fake model server, served on loopback."""

import contextlib

import pytest

from chatapp.app import create_app
from chatapp.settings import Settings
from chatapp.store.sqlite import SQLiteStore
from tests.chatapp.turning import made_runner
from tests.fakes.openai_server import FakeOpenAIServer
from tests.page_client import open_page
from tests.serving import serving


@pytest.fixture
async def store(tmp_path):
    store = await SQLiteStore.open(tmp_path / "chat.db")
    yield store
    await store.aclose()


@pytest.fixture
async def chat(store):
    async with made_runner(store) as make:
        yield make


@pytest.fixture
async def model_server():
    async with FakeOpenAIServer(answer=["Hello", " from", " Gemma", "."]) as server:
        yield server


@pytest.fixture
def settings(tmp_path, model_server, monkeypatch):
    """Everything from a clean environment: one fake Gemma, a history of its own for every browser."""
    for name in ("GOOGLE_CLOUD_PROJECT", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        identity="anonymous",
        gemma_url=model_server.url,
        embedded_model=False,
        max_message_chars=5000,
        titles="first-words",
        shutdown_seconds=1,
    )


@pytest.fixture
async def chat_url(settings):
    async with serving(await create_app(settings)) as url:
        yield url


@pytest.fixture
async def page(chat_url):
    """Somebody's open page."""
    async with open_page(chat_url) as client:
        yield client


@pytest.fixture
async def other_page(chat_url):
    """Somebody else's."""
    async with open_page(chat_url) as client:
        yield client


@pytest.fixture
def serve():
    """Return a context manager that serves the app with given settings."""

    @contextlib.asynccontextmanager
    async def served(settings):
        async with serving(await create_app(settings)) as url:
            yield url

    return served
