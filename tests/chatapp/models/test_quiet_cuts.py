"""Servers that cut a prompt without a word, and the size of the context that they say."""

import pytest

from chatapp.domain.conversation import GenerationParameters, Message, Role
from chatapp.models import Omitted
from chatapp.models.context_window import ContextWindow
from chatapp.models.quiet_cuts import CountedPrompt, least_tokens, was_cut
from tests.chatapp.models.answers import text_of
from tests.fakes.local_server import LocalServer, count

BLOCK = "word " * 1500


class Conversation:
    """Asks one question after another, as a page does, and keeps what was said."""

    def __init__(self, model):
        self.window = ContextWindow(model)
        self.messages = []

    async def ask(self, text):
        """Return the answer, and how many messages the page says were not read."""
        self._add(Role.USER, text)
        events = [event async for event in self.window.stream(self.messages, GenerationParameters(max_tokens=512))]
        self._add(Role.ASSISTANT, text_of(events))
        return text_of(events), sum(event.messages for event in events if isinstance(event, Omitted))

    def _add(self, role, text):
        number = len(self.messages)
        message = Message(id=f"{number:03}", turn_id=f"{number // 2}", role=role, content=text, created_ms=number)
        self.messages.append(message)


def ollama(server, *, loaded=True, parameters="", trained=131_072, size=None):
    models = [{"model": "m:latest", "context_length": size or server.context_tokens}] if loaded else []
    server.native = {
        "/api/ps": {"models": models},
        "/api/show": {
            "capabilities": ["completion", "vision"],
            "model_info": {"gemma3.context_length": trained},
            "parameters": f"stop x\n{parameters}",
        },
    }


async def assert_says_what_is_forgotten(model, server):
    conversation = Conversation(model)
    await conversation.ask("Remember the word ROSEBUD.")
    for _ in range(4):
        await conversation.ask(BLOCK)
        sent = server.requests[-1]["messages"]
        assert count(sent) <= server.context_tokens  # so nothing is cut
    answer, omitted = await conversation.ask("What was the word?")
    assert (answer, omitted > 0) == ("ok", True)


@pytest.mark.parametrize("loaded", [True, False])
async def test_context_that_ollama_loads_with_is_kept_to(connect, loaded):
    async with LocalServer(context_tokens=4096) as server:
        ollama(server, loaded=loaded)
        await assert_says_what_is_forgotten(connect(server, model="m"), server)


@pytest.mark.parametrize(
    ("told", "size"),
    [
        ({"parameters": "num_ctx                        2048"}, 2048),
        ({"trained": 1024}, 1024),
        ({"parameters": "num_ctx 9999", "trained": 2000}, 2000),
        ({}, 4096),
        ({"loaded": True, "parameters": "num_ctx 2048", "size": 8192}, 8192),
    ],
)
async def test_context_of_a_model_of_ollama_is_as_it_says(connect, told, size):
    async with LocalServer() as server:
        ollama(server, **{"loaded": False, **told})
        model = connect(server, model="m")
        await model.read_context()
        assert model.context_tokens == size
        assert model.supports_images


async def test_context_that_was_seen_is_remembered_while_the_model_is_not_loaded(connect):
    async with LocalServer() as server:
        ollama(server, size=32_768)
        model = connect(server, model="m")
        await model.read_context()
        ollama(server, loaded=False)
        await model.status()
        assert model.context_tokens == 32_768


async def test_context_that_is_set_is_never_more_than_the_server_has(connect):
    async with LocalServer() as server:
        ollama(server, size=4096)
        for given, used in ((2048, 2048), (16_384, 4096)):
            model = connect(server, model="m", context_tokens=given)
            await model.read_context()
            assert model.context_tokens == used
        ollama(server, loaded=False)  # how it will be loaded may be set where it does not show
        model = connect(server, model="m", context_tokens=16_384)
        await model.read_context()
        assert model.context_tokens == 16_384


@pytest.mark.parametrize(
    ("entry", "native", "size"),
    [
        ({"max_model_len": 1234}, {}, 1234),
        ({"context_length": 1234}, {}, 1234),
        ({"context_window": 1234}, {}, 1234),
        ({"owned_by": "llamacpp"}, {"/props": {"default_generation_settings": {"n_ctx": 1234}}}, 1234),
        (
            {"owned_by": "llamacpp", "meta": {"n_ctx": 4936}},
            {"/props": {"default_generation_settings": {"n_ctx": 1234}}},
            1234,
        ),
        ({}, {"/api/v0/models": {"data": [{"id": "m", "state": "loaded", "loaded_context_length": 1234}]}}, 1234),
        ({}, {"/api/v0/models": {"data": [{"id": "m", "state": "not-loaded", "max_context_length": 9999}]}}, None),
        ({}, {"/api/ps": {"models": "none"}, "/props": [], "/running": {"running": None}}, None),
    ],
)
async def test_context_is_read_where_each_server_says_it(connect, entry, native, size):
    async with LocalServer(models=[{"id": "m"} | entry], native=native) as server:
        model = connect(server)
        await model.read_context()
        assert model.context_tokens == size


async def test_server_that_says_nothing_is_found_out_at_the_first_cut(connect):
    async with LocalServer(context_tokens=4096) as server:
        conversation = Conversation(connect(server))
        assert await conversation.ask("Remember the word ROSEBUD.") == ("ROSEBUD", 0)
        assert await conversation.ask(BLOCK) == ("ROSEBUD", 0)
        assert await conversation.ask(BLOCK) == ("ROSEBUD", 0)
        _, omitted = await conversation.ask(BLOCK)  # 4,500 words: the server drops the first messages
        assert 0 < omitted < len(conversation.messages)
        for _ in range(2):
            _, omitted = await conversation.ask(BLOCK)
            assert omitted > 0
            assert count(server.requests[-1]["messages"]) <= 4096


async def test_single_message_that_was_cut_is_told(connect):
    async with LocalServer() as server:
        server.context_tokens = 10**6
        window = Conversation(connect(server))
        await window.ask("Hi")

        def cut(messages):
            return [{"content": "word " * 3000}] if count(messages) > 3000 else messages

        server._read = cut
        _, omitted = await window.ask("word " * 9000)
        assert omitted > 0


@pytest.mark.parametrize(
    ("least", "tokens", "before", "cut"),
    [
        (4500, 4096, None, True),
        (4000, 4096, None, False),
        (1000, 30, None, False),  # counts what was not in its cache, or nothing
        (2000, 4090, CountedPrompt("a", 1500, 4000), True),  # Hebrew, two tokens for each word: it stops growing
        (2000, 5300, CountedPrompt("a", 1500, 4000), False),
        (2000, 4090, CountedPrompt("other", 1500, 4000), False),  # of another conversation, in another language
        (1600, 4020, CountedPrompt("a", 1500, 4000), False),  # too little to tell
    ],
)
def test_cut_is_recognized_by_the_count(least, tokens, before, cut):
    assert was_cut(CountedPrompt("a", least, tokens), before) is cut


@pytest.mark.parametrize("text", ["one two  three\nfour", "שלום עולם טוב מאוד", "你好世界你好世界你好世界你好世界"])
def test_least_tokens_is_a_bound_in_every_script(text):
    assert least_tokens([text]) == 4
