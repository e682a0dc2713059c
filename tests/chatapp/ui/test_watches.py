"""Nothing of one conversation shows in the next."""

import asyncio
from contextlib import aclosing

from chatapp.ui.watches import Watches, until


async def ticks(stop_after=None):
    number = 0
    while number != stop_after:
        yield number
        number += 1
        await asyncio.sleep(0.01)


async def watch(watches, session, name, sent, stop_after=None):
    """Send names as `ChatPage.watch` sends messages; a slow line takes a while for each."""
    async with watches.only(("ann", session)) as superseded, aclosing(ticks(stop_after)) as values:
        async for _ in until(superseded, values):
            await asyncio.sleep(0.02)
            sent.append(name)


async def test_a_new_watch_of_a_page_ends_the_one_before_and_comes_after_all_that_it_sent():
    watches, sent = Watches(), []
    old = asyncio.create_task(watch(watches, "page", "old", sent))
    await asyncio.sleep(0.1)
    await watch(watches, "page", "new", sent, stop_after=3)
    await old
    assert "old" in sent
    assert sent[-3:] == ["new"] * 3
    assert sent == sorted(sent, reverse=True)  # no "old" after a "new"


async def test_a_watch_that_waits_for_a_slow_model_is_ended_at_once():
    async def silent():
        await asyncio.sleep(60)
        yield

    watches, sent = Watches(), []

    async def wait():
        async with watches.only(("ann", "page")) as superseded, aclosing(silent()) as values:
            async for _ in until(superseded, values):
                pass

    old = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    async with asyncio.timeout(0.5):
        await watch(watches, "page", "new", sent, stop_after=1)
        await old
    assert sent == ["new"]


async def test_pages_do_not_end_each_others_watches():
    watches, sent = Watches(), []
    await asyncio.gather(*(watch(watches, page, page, sent, stop_after=3) for page in ("a", "b")))
    assert sorted(sent) == ["a"] * 3 + ["b"] * 3


async def test_a_watch_that_never_ends_does_not_hold_up_the_next_for_long(monkeypatch):
    monkeypatch.setattr("chatapp.ui.watches.SUPERSEDE_SECONDS", 0.05)
    watches, sent = Watches(), []

    async def stuck():
        async with watches.only(("ann", "page")):
            await asyncio.sleep(60)

    old = asyncio.create_task(stuck())
    await asyncio.sleep(0.01)
    async with asyncio.timeout(0.5):
        await watch(watches, "page", "new", sent, stop_after=1)
    old.cancel()
    assert sent == ["new"]
