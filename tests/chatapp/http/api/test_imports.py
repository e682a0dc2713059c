"""A file is imported into the history of the person who sends it."""

import asyncio
import json

import aiohttp
import pytest

from chatapp.app import create_app
from chatapp.domain.errors import LimitReached
from chatapp.imports.places import ImportPlaces
from tests.chatapp.imports.exports import EXPORTS, archive, encoded, small_chat
from tests.page_client import Refused, open_page
from tests.serving import serving

FILE, EXPECTED = EXPORTS["chatgpt, a zip with pictures"]


@pytest.fixture
async def served(settings):
    app = await create_app(settings.model_copy(update={"import_megabytes": 1}), with_page=False)
    async with serving(app) as url:
        yield app, url


@pytest.fixture
async def page(served):
    async with open_page(served[1]) as client:
        yield client


@pytest.fixture
async def other_page(served):
    async with open_page(served[1]) as client:
        yield client


async def send(page, file, content_type="application/octet-stream"):
    """Import a file, and return the events."""
    async with page._http.post(f"{page._url}/imports", data=file, headers={"content-type": content_type}) as response:
        if response.status != 200:
            raise Refused((await response.json())["error"], response.status)
        text = (await response.read()).decode()
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


async def conversations(page):
    return (await page.get("conversations"))["items"]


@pytest.mark.slow
async def test_file_is_imported_with_progress_and_a_summary_into_the_own_history_only(page, other_page):
    events = await send(page, FILE)
    assert events[0] == {"progress": {"checking": True, "share": 0, "conversations": 0}}
    added = [line["text"] for line in events[-1]["report"]["added"]]
    assert added[:3] == ["Read from an export of: ChatGPT", "New conversations: 1", "New messages: 5"]
    assert any("Images that are not in the file: 1" in line["text"] for line in events[-1]["report"]["leftOut"])
    [conversation] = await conversations(page)
    assert conversation["title"] == "Rye bread"
    assert sum(len(one["images"]) for one in await page.messages(conversation["id"])) == EXPECTED.pictures
    assert await conversations(other_page) == []
    await send(other_page, FILE)
    [copy] = await conversations(other_page)
    assert copy["id"] != conversation["id"]


@pytest.mark.slow
async def test_an_imported_conversation_can_be_continued(page):
    await send(page, encoded([small_chat()]))
    [conversation] = await conversations(page)
    messages = await page.messages(conversation["id"])
    await page.send("And in the freezer?", conversation=conversation["id"], model="gemma", follows=messages[-1]["id"])
    assert [one["role"] for one in await page.messages(conversation["id"])] == ["user", "assistant"] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "content_type", "status", "words"),
    [
        (b"x" * 1_000_001, "application/octet-stream", 413, "more than 1 MB"),
        (FILE, "text/plain", 422, "Nothing was imported"),
        (FILE, "multipart/form-data; boundary=x", 422, "Nothing was imported"),
    ],
    ids=["too large", "text", "form"],
)
async def test_file_is_refused_in_words(page, file, content_type, status, words):
    with pytest.raises(Refused, match=words) as refused:
        await send(page, file, content_type)
    assert refused.value.status == status
    assert await conversations(page) == []


@pytest.mark.slow
@pytest.mark.parametrize("file", [b"Hello", FILE[:-40], archive({"../x": b""})], ids=["text", "cut", "hostile"])
async def test_file_that_cannot_be_read_ends_with_an_error(page, file):
    events = await send(page, file)
    assert "Nothing was imported" in events[-1]["error"]["text"]
    assert await conversations(page) == []


@pytest.mark.slow
async def test_a_second_import_of_a_user_is_refused_while_the_first_one_runs(served, page, other_page):
    begun, end = asyncio.Event(), asyncio.Event()

    async def slow():
        yield FILE[:100]
        begun.set()
        await end.wait()
        yield FILE[100:]

    first = asyncio.create_task(send(page, slow()))
    await begun.wait()
    while not served[0].state.services.imports._running:
        await asyncio.sleep(0.01)
    with pytest.raises(Refused, match="in progress") as refused:
        await send(page, FILE)
    assert refused.value.status == 429
    assert "report" in (await send(other_page, FILE))[-1]
    end.set()
    assert "report" in (await first)[-1]
    assert "report" in (await send(page, FILE))[-1]


@pytest.mark.slow
async def test_an_import_ends_with_its_connection_and_gives_its_place_back(served, page):
    async def broken():
        yield FILE[:100]
        await asyncio.sleep(0.1)
        raise ConnectionResetError

    with pytest.raises(aiohttp.ClientError):
        await send(page, broken())
    async with asyncio.timeout(30):
        while served[0].state.services.imports._running:
            await asyncio.sleep(0.02)
    assert "report" in (await send(page, FILE))[-1]


def test_imports_are_limited_per_hour_and_in_total():
    now = [0.0]
    names = []
    places = ImportPlaces(2, names.append, clock=lambda: now[0])
    for _ in range(2):
        with places.place("ana"):
            pass
    with pytest.raises(LimitReached, match="too often") as refused, places.place("ana"):
        pass
    assert 3500 < refused.value.retry_after <= 3600
    now[0] = 3601
    with places.place("ana"), places.place("bela"), pytest.raises(LimitReached, match="Other imports"):  # noqa: SIM117
        with places.place("carla"):
            pass
    assert names == ["imports", "imports"]


@pytest.mark.slow
async def test_imports_can_be_turned_off(settings, serve):
    async with serve(settings.model_copy(update={"import_megabytes": 0})) as url, open_page(url) as page:
        assert (await page.get("me"))["importBytes"] == 0
        with pytest.raises(Refused):
            await send(page, FILE)
