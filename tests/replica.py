"""The whole chat in this process, as one of several replicas before a fake cloud."""

import contextlib
from unittest import mock

from pydantic import SecretStr

from chatapp.app import create_app
from chatapp.config.settings import Settings
from chatapp.store.journal.store import JournaledStore
from tests.serving import NO_LIMITS, serving


class Replica:
    """The address of a chat, and its connection to the cloud."""

    def __init__(self, url, client):
        self.url = url
        self.client = client


@contextlib.asynccontextmanager
async def served(client, folder, gemma, *, with_page=False, **changes):
    """Serve a chat before a cloud; it has the same users at all replicas."""

    async def open_store(_settings):
        return await JournaledStore.open(folder / "journal.db", client, destination="the cloud")

    settings = Settings(
        _env_file=None,
        data_dir=folder,
        store="firestore",
        google_cloud_project="test",
        identity="anonymous",
        session_secret=SecretStr("the same at both replicas"),
        gemma_url=gemma.url,
        embedded_model=False,
        titles="first-words",
        shutdown_seconds=1,
        **NO_LIMITS | changes,
    )
    with mock.patch("chatapp.app.open_store", open_store):
        app = await create_app(settings, with_page=with_page)
    async with serving(app) as url:
        yield Replica(url, client)
