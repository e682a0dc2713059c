"""The tallies of the day outlive a restart, and a file that does not work keeps nobody from the chat."""

import asyncio
import sqlite3

import pytest

from chatapp.domain.conversation import Usage
from chatapp.domain.errors import LimitReached
from chatapp.limits import tallies
from chatapp.limits.tallies import KeptWindows
from chatapp.models import Price

ENOUGH = Usage(prompt_tokens=900, completion_tokens=100)


@pytest.fixture
async def opened(tmp_path, clock):
    """Return a function that opens the same tallies again; all are closed at the end."""
    made = []

    async def again():
        if made:
            await made[-1].aclose()
        made.append(await KeptWindows.open(tmp_path / "data" / "limits.db", clock))
        return made[-1]

    yield again
    for windows in made:
        await windows.aclose()


async def test_a_restart_forgives_nothing(opened, limited):
    limited(windows=await opened(), tokens_per_day=1000).count(ENOUGH, None, "ann")
    limits = limited(windows=await opened(), tokens_per_day=1000)
    with pytest.raises(LimitReached):
        limits.admit("ann")
    limits.admit("bob")


async def test_the_tally_stays_when_the_limit_is_changed(opened, limited):
    limits = limited(windows=await opened(), tokens_per_day=5000, cost_per_day=1)
    limits.count(ENOUGH, Price(10, 10), "ann")
    limits.count(ENOUGH, Price(10, 10), "ann")
    again = limited(windows=await opened(), tokens_per_day=2000, cost_per_day=1)
    with pytest.raises(LimitReached, match="daily limit of 2,000 tokens"):
        again.admit("ann")
    limited(windows=await opened(), tokens_per_day=2001, cost_per_day=0.021).admit("ann")
    with pytest.raises(LimitReached, match=r"0\.02 US dollars"):
        limited(windows=await opened(), cost_per_day=0.02).admit("ann")


async def test_the_next_day_finds_nothing_of_the_one_before(opened, limited, clock, tmp_path):
    limited(windows=await opened(), tokens_per_day=1000).count(ENOUGH, None, "ann")
    clock.now += 86_400
    limits = limited(windows=await opened(), tokens_per_day=1000)
    limits.admit("ann")
    limits.count(ENOUGH, None, "bob")
    await opened()
    with sqlite3.connect(tmp_path / "data" / "limits.db") as connection:
        assert [key for (key,) in connection.execute("SELECT key FROM tallies")] == ["tokens/bob"]
    connection.close()


async def test_a_killed_chat_forgets_a_moment_at_most(opened, limited, monkeypatch, tmp_path, clock):
    monkeypatch.setattr(tallies, "SAVE_SECONDS", 0.01)
    limits = limited(windows=await opened(), tokens_per_day=1000)
    limits.count(ENOUGH, None, "ann")
    with sqlite3.connect(tmp_path / "data" / "limits.db") as connection:
        async with asyncio.timeout(5):
            while connection.execute("SELECT amount FROM tallies").fetchall() != [(1000,)]:
                await asyncio.sleep(0.01)
    connection.close()


@pytest.mark.parametrize("content", [b"not SQLite at all, though long enough to be looked at" * 20, None])
async def test_a_file_that_cannot_be_used_is_left_alone_and_counting_goes_on(opened, limited, tmp_path, content):
    path = tmp_path / "data" / "limits.db"
    path.parent.mkdir()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    limits = limited(windows=await opened(), tokens_per_day=1000)
    limits.count(ENOUGH, None, "ann")
    with pytest.raises(LimitReached):
        limits.admit("ann")
    assert path.is_dir() if content is None else path.read_bytes() == content


async def test_a_write_that_fails_is_made_up_for(opened, limited, tmp_path, monkeypatch):
    monkeypatch.setattr(tallies, "SAVE_SECONDS", 0.0)
    windows = await opened()
    path = tmp_path / "data" / "limits.db"
    limits = limited(windows=windows, tokens_per_day=5000)
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE tallies RENAME TO elsewhere")
    limits.count(ENOUGH, None, "ann")
    await windows._saving
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO tallies")
    limits.count(ENOUGH, None, "bob")
    await windows._saving
    rows = connection.execute("SELECT key, amount FROM tallies ORDER BY key").fetchall()
    connection.close()
    assert rows == [("tokens/ann", 1000), ("tokens/bob", 1000)]
