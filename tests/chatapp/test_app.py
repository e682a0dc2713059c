"""The app closes what it opened: in reverse order at its end, and when its start fails halfway."""

import gc

import pytest

from chatapp import __main__ as command
from chatapp import app as composition
from chatapp.app import create_app
from chatapp.auth.revoked_sessions import RevokedSessions
from chatapp.conversations.service import Conversations
from chatapp.domain.errors import StoreUnavailable
from chatapp.generation.runner import TurnRunner
from chatapp.limits.daily_totals import DailyTotals
from chatapp.models.catalog import Catalog
from chatapp.store.temporary.router import StoreRouter

OWNED = (Catalog, StoreRouter, RevokedSessions, DailyTotals, TurnRunner, Conversations)  # in the order of opening


@pytest.fixture
def closed(monkeypatch):
    """Return the list of the classes whose ``aclose`` was called, in that order."""
    calls = []
    for kind in OWNED:

        async def aclose(self, *, kind=kind, original=kind.aclose):
            calls.append(kind)
            await original(self)

        monkeypatch.setattr(kind, "aclose", aclose)
    return calls


async def test_shutdown_closes_everything_in_reverse_order(settings, closed):
    app = await create_app(settings, with_page=False)
    async with app.router.lifespan_context(app):
        assert closed == []
    assert closed == list(reversed(OWNED))


async def test_failed_start_closes_what_is_open(settings, closed, monkeypatch):
    def fail(*_arguments):
        raise RuntimeError("no middleware")

    monkeypatch.setattr(composition, "_add_middleware", fail)
    with pytest.raises(RuntimeError, match="no middleware"):
        await create_app(settings, with_page=False)
    assert closed == list(reversed(OWNED))


async def test_unusable_data_folder_closes_the_models(settings, closed):
    settings.data_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.data_dir.write_text("not a folder")
    with pytest.raises(StoreUnavailable, match="CHAT_DATA_DIR"):
        await create_app(settings, with_page=False)
    assert closed == [Catalog]


async def test_the_garbage_collector_rests_during_the_start_and_leaves_alone_what_is_there(settings, monkeypatch):
    collects = []

    async def made(given):
        collects.append(gc.isenabled())
        return await create_app(given, with_page=False)

    monkeypatch.setattr(command, "create_app", made)
    try:
        assert await command._app(settings)
        frozen = gc.get_freeze_count()
    finally:
        gc.unfreeze()
    assert collects == [False]
    assert gc.isenabled()
    assert frozen > len(gc.get_objects()) / 2
