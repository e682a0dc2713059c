"""The workarounds in the compat modules are still needed, and still work, with the installed versions."""

import asyncio
import gc
from contextlib import aclosing
from importlib.metadata import version

import aiohttp
import pytest
from google import genai
from google.genai import types

from chatapp.models.gemini import genai_compat
from chatapp.models.openai import aiohttp_compat
from tests.clocks import LoopClock
from tests.fakes.gemini_server import STALL, GeminiServer, chunk
from tests.fakes.openai_server import FakeOpenAIServer, Reply


@pytest.mark.parametrize(("package", "module"), [("google-genai", genai_compat), ("aiohttp", aiohttp_compat)])
def test_a_compat_module_names_the_version_that_it_was_written_for(package, module):
    assert f"{package} {version(package)}" in module.__doc__, (
        f"{package} has changed: check each workaround in {module.__name__}, then write the new version there."
    )


@pytest.mark.slow
async def test_the_request_of_a_stream_is_closed_with_its_context_and_not_by_google_genai():
    gc.disable()  # which would close it, sooner or later
    try:
        async with GeminiServer() as server, genai_compat.new_session(5) as session:
            server.will_answer(chunk("so far"), STALL)
            options = types.HttpOptions(base_url=server.url, aiohttp_client=session)
            models = genai.Client(vertexai=False, api_key="key", http_options=options).aio.models
            with genai_compat.closing_response():
                stream = await models.generate_content_stream(model="gemini-3.5-flash-lite", contents="Hi")
                async with aclosing(stream) as chunks:
                    await anext(chunks)
                closed_by_sdk = await server.disconnected(within=0.3)
            assert await server.disconnected(within=60)
    finally:
        gc.enable()
    assert not closed_by_sdk, "google-genai closes it now: remove genai_compat.closing_response"


def test_google_genai_has_one_timeout_and_none_for_connecting():
    """If this fails, it may have one now: see whether `genai_compat.new_session` can be removed."""
    assert {name for name in types.HttpOptions.model_fields if "timeout" in name} == {"timeout"}


async def test_paused_input_stays_in_the_socket_and_is_read_at_once():
    clock = LoopClock()
    reply = Reply(raw=[b"data: a\n\n", b"data: b\n\n", b"data: c\n\n"], seconds_between=0.02)
    async with FakeOpenAIServer(script=[reply]) as server, aiohttp.ClientSession() as session:
        question = {"model": "gemma", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
        async with session.post(f"{server.url}/v1/chat/completions", json=question) as response:
            first = await response.content.readany()
            paused = asyncio.create_task(aiohttp_compat.pause_input(response, 60))
            await asyncio.sleep(0.1)
            assert response.content.is_eof() is False
            assert response.content.total_bytes == len(first)
            await clock.pass_by(60)
            await paused
            assert await response.read() == b"data: b\n\ndata: c\n\n"[len(first) - len(b"data: a\n\n") :]
