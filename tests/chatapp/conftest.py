"""The app as shipped, with a fake model server, served on loopback; without the page where no test opens it."""

import contextlib
import functools
import os

import pytest

from chatapp.app import create_app
from chatapp.config.settings import Settings
from chatapp.store.sqlite.store import SQLiteStore
from tests.chatapp.generation.running import made_runner
from tests.fakes.openai_server import FakeOpenAIServer
from tests.page_client import open_page
from tests.serving import NO_LIMITS, in_a_thread, serving

ANSWER = ["Hello", " from", " Gemma", "."]


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
    async with FakeOpenAIServer(answer=ANSWER) as server:
        yield server


@pytest.fixture
def settings(tmp_path, model_server):
    return settings_of(tmp_path / "data", model_server)


def settings_of(folder, model_server):
    """Return everything as from a clean environment: one fake Gemma, a history of its own for every browser."""
    environment = frozenset((name, value) for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST")
    return _settings_in(environment).model_copy(update={"data_dir": folder, "gemma_url": model_server.url})


@functools.cache  # 25 ms of CPU
def _settings_in(_environment):
    return Settings(
        _env_file=None,
        identity="anonymous",
        gemma_url="http://127.0.0.1:9",
        gemini_api_key="",
        google_cloud_project="",
        embedded_model=False,
        max_message_chars=5000,
        titles="first-words",
        shutdown_seconds=1,
    )


@pytest.fixture
async def own_chat_url(settings):
    """The API of a chat for one test, which may say how its model answers."""
    async with serving(await create_app(settings, with_page=False)) as url:
        yield url


@pytest.fixture(scope="session")
def shared_chat_url(tmp_path_factory):
    """One chat with its page for all tests of a worker that only talk to it, each as users of its own."""

    @contextlib.asynccontextmanager
    async def chat():
        async with FakeOpenAIServer(answer=ANSWER) as server:
            settings = settings_of(tmp_path_factory.mktemp("chat"), server)
            async with serving(await create_app(settings.model_copy(update=NO_LIMITS))) as url:
                yield url

    with in_a_thread(chat()) as url:
        yield url


@pytest.fixture
def chat_url(request):
    """The address of a chat: an own one, with limits, for a test that uses ``settings`` or ``model_server``."""
    is_own = {"settings", "model_server"} & set(request.fixturenames)
    return request.getfixturevalue("own_chat_url" if is_own else "shared_chat_url")


@pytest.fixture
async def page(chat_url):
    """A user's open page."""
    async with open_page(chat_url) as client:
        yield client


@pytest.fixture
async def other_page(chat_url):
    """Another user's open page."""
    async with open_page(chat_url) as client:
        yield client


@pytest.fixture
def serve():
    """Return a context manager that serves the API, or the page too, with given settings."""

    @contextlib.asynccontextmanager
    async def served(settings, *, with_page=False):
        async with serving(await create_app(settings, with_page=with_page)) as url:
            yield url

    return served
