"""`OpenAICompatibleModel` against a real vLLM, which the fake imitates.

Run with ``VLLM_URL=http://127.0.0.1:8111 pytest -m vllm``; the server needs a context of a few thousand tokens at most,
since one test fills it.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import aclosing, asynccontextmanager

import aiohttp
import pytest

from chatapp.domain.conversation import FinishReason, GenerationParameters, Message, Role, Usage, new_id
from chatapp.domain.errors import ContextTooLong, ModelUnavailable
from chatapp.models import Finish, ModelState, TextDelta
from chatapp.models.openai.model import OpenAICompatibleModel
from tests.chatapp.models.answers import question, text_of

URL = os.environ.get("VLLM_URL", "")
pytestmark = [pytest.mark.vllm, pytest.mark.skipif(not URL, reason="VLLM_URL is not set")]


@pytest.fixture
async def model():
    model = OpenAICompatibleModel("gemma", "Gemma", URL)
    yield model
    await model.aclose()


async def ask(model, text="Say hello.", **parameters):
    async with aclosing(
        model.stream(question(text), GenerationParameters(**{"max_tokens": 8, **parameters}))
    ) as events:
        return [event async for event in events]


async def running():
    async with aiohttp.ClientSession() as session, session.get(f"{URL}/metrics") as metrics:
        text = await metrics.text()
    return sum(
        float(value) for value in re.findall(r"^vllm:num_requests_(?:running|waiting){.*} (\S+)$", text, re.MULTILINE)
    )


async def until_running(count):
    async with asyncio.timeout(30):
        while await running() != count:
            await asyncio.sleep(0.02)


async def test_answer_is_streamed_with_usage(model):
    *deltas, finish, usage = await ask(model, system_prompt="Answer in English.")
    assert deltas
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert isinstance(finish, Finish)
    assert isinstance(usage, Usage)
    assert usage.prompt_tokens > 5
    assert 1 <= usage.completion_tokens <= 8


async def test_max_tokens_ends_the_answer(model):
    events = await ask(model, "Count from one to one hundred in words.", max_tokens=2)
    assert Finish(FinishReason.LENGTH) in events
    assert Usage in {type(event) for event in events}


async def test_any_text_is_accepted(model):
    assert await ask(model, "half an emoji \ud83d, NUL \0, שלום, العربية, 👋🏽", system_prompt="\udc00 \0")


async def test_the_status_proves_generation_and_reads_the_context_size(model):
    status = await model.status()
    assert (status.state, status.reason) == (ModelState.READY, "")
    assert model.context_tokens > 100


async def test_prompt_over_the_context_is_an_error_with_the_context_size(model):
    await model.status()
    with pytest.raises(ContextTooLong) as caught:
        await ask(model, "word " * (model.context_tokens + 10))
    assert caught.value.context_tokens == model.context_tokens
    assert f"{model.context_tokens:,}" in str(caught.value)


async def test_prompt_that_fills_the_context_is_too_long(model):
    one = (await ask(model, "word", max_tokens=1))[-1].prompt_tokens
    two = (await ask(model, "word word", max_tokens=1))[-1].prompt_tokens
    assert two == one + 1
    with pytest.raises(ContextTooLong) as caught:
        await ask(model, " ".join(["word"] * (model.context_tokens - one + 1)))
    assert "param=max_tokens" in caught.value.detail


async def test_max_tokens_may_exceed_the_context(model):
    await model.status()
    assert model.context_tokens < 4096, "this test needs a smaller context"
    events = model.stream(question("Say hello."), GenerationParameters(max_tokens=4096))
    assert isinstance(await anext(events), TextDelta)
    await events.aclose()


async def test_unknown_model_is_named_with_its_setting():
    model = OpenAICompatibleModel("gemma", "Gemma", URL, model="nope")
    with pytest.raises(ModelUnavailable, match=r"no model named 'nope'. Check CHAT_GEMMA_MODEL"):
        await ask(model)
    status = await model.status()
    assert status.state is ModelState.UNAVAILABLE
    assert "'nope'" in status.reason
    await model.aclose()


@pytest.mark.parametrize(("name", "value"), [("temperature", 3.0), ("top_p", 1.5), ("top_p", 0.0)])
async def test_parameter_out_of_range_is_named(model, name, value):
    parameters = GenerationParameters()
    object.__setattr__(parameters, name, value)  # without the check of its class
    with pytest.raises(ModelUnavailable, match=f"does not accept {name}"):
        async for _ in model.stream(question("Say hello."), parameters):
            pass


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_stopped_answer_stops_the_generation(model, how):
    await until_running(0)
    events = model.stream(question("Count from one to one thousand in words."), GenerationParameters(max_tokens=1500))
    await anext(events)
    await until_running(1)
    if how == "close":
        await events.aclose()
    else:
        reading = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    stopped = asyncio.get_running_loop().time()
    await until_running(0)
    assert asyncio.get_running_loop().time() - stopped < 1.5  # the facts say 0.3 s


@pytest.mark.parametrize("lost_after", [1, 7])
async def test_an_answer_lost_in_the_middle_is_the_same_in_the_end(model, lost_after):
    asked = {"text": "Count from one to twenty in words.", "max_tokens": 16, "temperature": 0.1, "top_p": 0.1}
    whole = await ask(model, **asked)
    async with _that_loses_an_answer(lost_after) as (url, lost):
        behind = OpenAICompatibleModel("gemma", "Gemma", url)
        events = await ask(behind, **asked)
        await behind.aclose()
    assert lost.is_set()
    assert text_of(events) == text_of(whole)
    assert events[-1] == whole[-1]  # the usage


@asynccontextmanager
async def _that_loses_an_answer(tokens):
    """Yield the address of a proxy that closes the first answer's connection after some tokens, and when it has."""
    host, port = URL.removeprefix("http://").split(":")
    lost = asyncio.Event()

    async def serve(reader, writer):
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        request = asyncio.create_task(_copy(reader, server_writer))
        seen = b""
        while part := await server_reader.read(1 << 16):
            writer.write(part)
            await writer.drain()
            seen += part
            if seen.count(b'"delta"') > tokens + 1 and not lost.is_set():  # the first one has the role
                lost.set()
                break
        request.cancel()
        server_writer.close()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as proxy:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}", lost


async def _copy(reader, writer):
    while part := await reader.read(1 << 16):
        writer.write(part)
        await writer.drain()


async def test_conversation_with_empty_answers_is_answered(model):
    turns = [(Role.ASSISTANT, "Hi"), (Role.USER, "a"), (Role.ASSISTANT, ""), (Role.USER, "b"), (Role.USER, "c")]
    messages = [Message(id=new_id(), turn_id="t", role=role, content=text, created_ms=1) for role, text in turns]
    assert [event async for event in model.stream(messages, GenerationParameters(max_tokens=3))]
