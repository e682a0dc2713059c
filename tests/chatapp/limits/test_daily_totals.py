"""Daily totals survive a restart, and a broken file does not stop the chat."""

import asyncio
import sqlite3

import pytest

from chatapp.domain.conversation import Usage
from chatapp.domain.errors import LimitReached
from chatapp.limits import daily_totals
from chatapp.limits.daily_totals import DailyTotals
from chatapp.models import Price

ENOUGH = Usage(prompt_tokens=900, completion_tokens=100)


@pytest.fixture
async def opened(tmp_path, clock):
    """Return a function that reopens the same file; everything is closed at the end."""
    made = []

    async def again():
        if made:
            await made[-1].aclose()
        made.append(await DailyTotals.open(tmp_path / "data" / "limits.db", clock))
        return made[-1]

    yield again
    for totals in made:
        await totals.aclose()


async def test_totals_survive_a_restart(opened, limited):
    limited(totals=await opened(), tokens_per_day=1000).count(ENOUGH, None, "ann")
    limits = limited(totals=await opened(), tokens_per_day=1000)
    with pytest.raises(LimitReached):
        limits.admit("ann")
    limits.admit("bob")


async def test_totals_stay_when_the_limit_changes(opened, limited):
    limits = limited(totals=await opened(), tokens_per_day=5000, cost_per_day=1)
    limits.count(ENOUGH, Price(10, 10), "ann")
    limits.count(ENOUGH, Price(10, 10), "ann")
    again = limited(totals=await opened(), tokens_per_day=2000, cost_per_day=1)
    with pytest.raises(LimitReached, match="daily limit of 2,000 tokens"):
        again.admit("ann")
    limited(totals=await opened(), tokens_per_day=2001, cost_per_day=0.021).admit("ann")
    with pytest.raises(LimitReached, match=r"0\.02 US dollars"):
        limited(totals=await opened(), cost_per_day=0.02).admit("ann")


async def test_totals_start_again_the_next_day_and_old_rows_are_deleted(opened, limited, clock, tmp_path):
    limited(totals=await opened(), tokens_per_day=1000).count(ENOUGH, None, "ann")
    clock.now += 86_400
    limits = limited(totals=await opened(), tokens_per_day=1000)
    limits.admit("ann")
    limits.count(ENOUGH, None, "bob")
    await opened()
    with sqlite3.connect(tmp_path / "data" / "limits.db") as connection:
        assert [key for (key,) in connection.execute("SELECT key FROM tallies")] == ["tokens/bob"]
    connection.close()


async def test_totals_are_saved_soon_after_they_change(opened, limited, monkeypatch, tmp_path, clock):
    monkeypatch.setattr(daily_totals, "SAVE_SECONDS", 0.01)
    limits = limited(totals=await opened(), tokens_per_day=1000)
    limits.count(ENOUGH, None, "ann")
    with sqlite3.connect(tmp_path / "data" / "limits.db") as connection:
        async with asyncio.timeout(30):
            while connection.execute("SELECT amount FROM tallies").fetchall() != [(1000,)]:
                await asyncio.sleep(0.01)
    connection.close()


@pytest.mark.parametrize("content", [b"not SQLite at all, though long enough to be looked at" * 20, None])
async def test_unusable_file_is_left_alone_and_counting_goes_on(opened, limited, tmp_path, content):
    path = tmp_path / "data" / "limits.db"
    path.parent.mkdir()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    limits = limited(totals=await opened(), tokens_per_day=1000)
    limits.count(ENOUGH, None, "ann")
    with pytest.raises(LimitReached):
        limits.admit("ann")
    assert path.is_dir() if content is None else path.read_bytes() == content


async def test_failed_write_is_repeated_with_the_next_one(opened, limited, tmp_path, monkeypatch):
    monkeypatch.setattr(daily_totals, "SAVE_SECONDS", 0.0)
    totals = await opened()
    path = tmp_path / "data" / "limits.db"
    limits = limited(totals=totals, tokens_per_day=5000)
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE tallies RENAME TO elsewhere")
    limits.count(ENOUGH, None, "ann")
    await totals._saving
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO tallies")
    limits.count(ENOUGH, None, "bob")
    await totals._saving
    rows = connection.execute("SELECT key, amount FROM tallies ORDER BY key").fetchall()
    connection.close()
    assert rows == [("tokens/ann", 1000), ("tokens/bob", 1000)]
