"""The catalogue follows the servers on this computer."""

import asyncio

import pytest

from chatapp.domain.conversation import GenerationParameters
from chatapp.domain.errors import ModelError
from chatapp.models import ModelState, ThinkingDelta
from chatapp.models.catalog import Catalog, UnconfiguredModel
from chatapp.models.discovery import discovery
from chatapp.models.discovery.discovery import Discovery
from chatapp.models.discovery.servers import Ollama, Vllm
from tests.chatapp.models.answers import question, text_of
from tests.fakes.local_server import LocalServer
from tests.fakes.models import ScriptedModel
from tests.fakes.ollama import FakeOllama

CHAT = ["completion"]


@pytest.fixture
async def catalog():
    catalog = Catalog([UnconfiguredModel("gemma", "Gemma", fix="set it up"), ScriptedModel("x", id="demo")])
    yield catalog
    await catalog.aclose()


@pytest.fixture
async def discovered(catalog, monkeypatch):
    """Return a function that makes a discovery, which looks each time that it is asked to."""
    monkeypatch.setattr(discovery, "FRESH_SECONDS", 0)
    made = []

    def discover(*servers):
        made.append(Discovery(catalog, servers))
        return made[-1]

    yield discover
    for one in made:
        await one.aclose()


def ids(catalog):
    return [model.id for model in catalog]


async def ask(model):
    return [event async for event in model.stream(question("Hello"), GenerationParameters())]


async def test_models_appear_before_the_demo_model_and_are_preselected(catalog, discovered):
    async with FakeOllama({"a": CHAT, "far": CHAT, "b": [*CHAT, "vision"]}, remote=["far"]) as ollama:
        finder = discovered(Ollama(ollama.root))
        await finder.refreshed(10)
        assert ids(catalog) == ["gemma", "ollama/a", "ollama/b", "demo", "ollama/far"]
        await catalog.check()
        assert catalog.first_choice().id == "ollama/a"
        assert [catalog.get(f"ollama/{name}").supports_images for name in "ab"] == [False, True]
        assert catalog.get("ollama/a").context_tokens == 4096


async def test_a_model_of_ollama_answers_with_its_thinking_apart(catalog, discovered):
    async with FakeOllama({"qwen3": [*CHAT, "thinking"]}, load_seconds=0.1) as ollama:
        await discovered(Ollama(ollama.root)).refreshed(10)
        model = catalog.get("ollama/qwen3")
        assert (await model.status()).reason == "starts with the first question"
        events = await ask(model)
        assert text_of(events) == "Hello from Ollama."
        assert ThinkingDelta("Hm.") in events
        assert ollama.chats[-1]["model"] == "qwen3"
        assert (await model.status()).reason == ""


async def test_models_that_are_pulled_or_removed_come_and_go(catalog, discovered):
    async with FakeOllama({"a": CHAT}) as ollama:
        finder = discovered(Ollama(ollama.root))
        await finder.refreshed(10)
        kept = catalog.get("ollama/a")
        ollama.models = {"new": CHAT, "a": CHAT}
        await finder.refreshed(10)
        assert ids(catalog) == ["gemma", "ollama/a", "ollama/new", "demo"]
        assert catalog.get("ollama/a") is kept
        ollama.models = {"new": CHAT}
        with pytest.raises(ModelError, match=r"has no model named 'a'\. Choose another model\."):
            await ask(kept)
        await finder.refreshed(10)
        assert ids(catalog) == ["gemma", "ollama/new", "demo"]


async def test_models_of_a_server_that_stops_stay_and_say_so_and_answer_when_it_runs_again(catalog, discovered):
    async with FakeOllama({"a": CHAT}) as ollama:
        finder = discovered(Ollama(ollama.root))
        await finder.refreshed(10)
        await ollama.stop()
        await finder.refreshed(10)
        status = (await catalog.check())["ollama/a"]
        assert status.state is ModelState.UNAVAILABLE
        assert status.fix == "start the server there, or check OLLAMA_HOST"
        assert catalog.first_choice().id == "demo"
        await ollama.start()
        await finder.refreshed(10)
        assert (await catalog.check("ollama/a"))["ollama/a"].state is ModelState.READY
        assert text_of(await ask(catalog.get("ollama/a"))) == "Hello from Ollama."


async def test_ollama_that_starts_after_the_chat_is_found(catalog, discovered):
    ollama = FakeOllama({"a": CHAT})
    await ollama.start()
    await ollama.stop()
    finder = discovered(Ollama(ollama.root))
    await finder.refreshed(10)
    assert ids(catalog) == ["gemma", "demo"]
    async with ollama:
        await finder.refreshed(10)
        assert ids(catalog) == ["gemma", "ollama/a", "demo"]


@pytest.mark.slow
async def test_a_page_does_not_wait_for_a_slow_server(catalog, discovered):
    async with FakeOllama({"a": CHAT}) as ollama:
        ollama.delay = 0.2
        finder = discovered(Ollama(ollama.root))
        await finder.refreshed(0.01)
        assert ids(catalog) == ["gemma", "demo"]
        await finder.look()  # the same look: it goes on
        assert "ollama/a" in ids(catalog)
        assert ollama.paths.count("GET /api/tags") == 1


async def test_one_look_serves_all_pages_while_it_is_fresh(catalog):
    async with FakeOllama({"a": CHAT}) as ollama:
        finder = Discovery(catalog, [Ollama(ollama.root)])
        await asyncio.gather(*(finder.refreshed(10) for _ in range(5)))
        await finder.refreshed(10)
        assert ollama.paths.count("GET /api/tags") == 1
        await finder.aclose()


async def test_the_servers_own_gemma_takes_the_place_of_the_one_that_is_not_set_up(catalog, discovered):
    entry = {"id": "gemma", "owned_by": "vllm", "root": "google/gemma-3-4b-it", "max_model_len": 8192}
    async with LocalServer(models=[entry]) as server:
        assert (await catalog.check("gemma"))["gemma"].state is ModelState.NOT_SET_UP
        await discovered(Vllm(server.root)).refreshed(10)
        assert ids(catalog) == ["gemma", "demo"]
        assert catalog.statuses()["gemma"].state is ModelState.READY
        assert catalog.first_choice().label == "gemma-3-4b-it"


async def test_an_answer_that_no_code_expects_keeps_no_page_from_its_models(catalog, discovered):
    class Broken:
        async def models(self, before):
            raise KeyError("name")

    async with FakeOllama({"a": CHAT}) as ollama:
        await discovered(Broken(), Ollama(ollama.root)).refreshed(10)
        assert "ollama/a" in ids(catalog)
