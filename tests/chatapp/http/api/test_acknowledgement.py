"""When a message counts as sent, and what the page hears of messages that the cloud does not have yet."""

import asyncio

import pytest

from chatapp.domain.errors import StoreUnavailable
from chatapp.http.api import unsaved
from tests.clocks import LoopClock
from tests.fakes.openai_server import FakeOpenAIServer
from tests.fakes.shared_cloud import SharedCloud
from tests.page_client import PARAMETERS, open_page
from tests.replica import served

QUESTION = "0" * 32


class Way:
    """The way to the cloud, which can be held up or broken."""

    def __init__(self):
        self.is_open, self.is_broken = asyncio.Event(), False
        self.is_open.set()

    async def travel(self, _name):
        await self.is_open.wait()
        if self.is_broken:
            raise StoreUnavailable("The cloud cannot be reached.")


@pytest.fixture
def way():
    return Way()


@pytest.fixture
async def model():
    async with FakeOpenAIServer(answer=["Hello."]) as server:
        yield server


@pytest.fixture
def cloud():
    return SharedCloud()


def chat(cloud, way, folder, model, acknowledge):
    return served(cloud.client(way.travel), folder, model, acknowledge=acknowledge)


async def unsaved_at_the_end(page, text):
    """Ask, and return the roles of the messages that the page shows as not saved when the stream ends."""
    body = {"text": text, "model": "gemma", **PARAMETERS}
    async for entries in page.send_and_read("conversations", body):
        last = entries
    return [entry["role"] for entry in last if not entry.get("saved", True)]


@pytest.mark.slow
async def test_a_message_counts_as_sent_once_the_cloud_has_it_and_the_model_is_asked_meanwhile(
    cloud, way, model, tmp_path, monkeypatch
):
    monkeypatch.setattr("chatapp.app.CLOUD_S", 60)
    async with chat(cloud, way, tmp_path, model, "cloud") as replica, open_page(replica.url) as page:
        way.is_open.clear()
        sending = asyncio.create_task(page.send("Hi", model="gemma", question=QUESTION))
        async with asyncio.timeout(60):
            while not model.chats:
                await asyncio.sleep(0.005)
        assert not sending.done()
        assert not cloud.calls["create"]
        way.is_open.set()
        await sending
        assert cloud.calls["create"]


@pytest.mark.slow
async def test_a_change_of_a_conversation_counts_once_the_cloud_has_it(cloud, way, model, tmp_path, monkeypatch):
    monkeypatch.setattr("chatapp.app.CLOUD_S", 60)
    async with chat(cloud, way, tmp_path, model, "cloud") as replica, open_page(replica.url) as page:
        conversation = await page.send("Hi", model="gemma")
        await page.messages(conversation)
        for change in (
            lambda: page.change(conversation, title="Renamed"),
            lambda: page.delete(conversation),
            lambda: page.restore(conversation),
        ):
            updates = cloud.calls["update"]
            await change()
            assert cloud.calls["update"] == updates + 1


async def test_on_this_disk_alone_a_message_counts_as_sent_at_once(cloud, way, model, tmp_path):
    async with chat(cloud, way, tmp_path, model, "local") as replica, open_page(replica.url) as page:
        way.is_open.clear()
        async with asyncio.timeout(60):
            await page.send("Hi", model="gemma")
        assert not cloud.calls["create"]
        way.is_open.set()


@pytest.mark.slow
@pytest.mark.parametrize("acknowledge", ["local", "cloud"])
async def test_messages_that_the_cloud_does_not_have_are_marked_until_it_has_them(
    cloud, way, model, tmp_path, acknowledge, monkeypatch
):
    async with chat(cloud, way, tmp_path, model, acknowledge) as replica, open_page(replica.url) as page:
        with monkeypatch.context() as patient:
            patient.setattr(unsaved, "PATIENCE_S", 60)
            assert await unsaved_at_the_end(page, "First") == []
        way.is_broken = True
        assert await unsaved_at_the_end(page, "Second") == ["user", "assistant"]
        way.is_broken = False
        (listed, *_) = (await page.get("conversations"))["items"]
        async with asyncio.timeout(60):
            while not all(entry.get("saved", True) for entry in await page.messages(listed["id"])):
                await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_while_the_cloud_is_away_only_one_message_waits_for_it(cloud, way, model, tmp_path):
    async with chat(cloud, way, tmp_path, model, "cloud") as replica, open_page(replica.url) as page:
        way.is_broken = True
        clock, seconds = LoopClock(), []
        for text in ("One", "Two", "Three"):
            began = clock()
            await page.send(text, model="gemma")
            seconds.append(clock() - began)
        assert seconds[0] >= 0.9
        assert sum(seconds[1:]) < seconds[0] + 0.9
        way.is_broken = False  # on shutdown the chat waits until the cloud has what it took
