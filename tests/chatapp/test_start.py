"""Starting and ending ``python -m chatapp``: what is printed, what is refused, what is left behind.

``cold`` starts the command itself; what is the same once the modules are imported starts in a forked process.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from tests.fakes.gate import Gate
from tests.fakes.openai_server import FakeOpenAIServer
from tests.page_client import Refused, open_page, texts
from tests.serving import ChatProcess
from tests.waiting import until

pytestmark = pytest.mark.slow  # each starts a process

START_SECONDS = 120.0
NO_MODELS = {"CHAT_EMBEDDED_MODEL": "false"}
FIRESTORE = {
    "CHAT_STORE": "firestore",
    "GOOGLE_CLOUD_PROJECT": "demo-chat",
    "FIRESTORE_EMULATOR_HOST": "127.0.0.1:9",  # where nothing listens
}


@pytest.fixture
async def chat(tmp_path):
    """Return a function that starts a chat; whatever still runs at the end is killed."""
    chats = []

    async def start(*, cold=False, until_ready=True, **settings):
        chats.append(await ChatProcess(tmp_path, cold=cold, **settings).start(until_ready=until_ready))
        return chats[-1]

    yield start
    for running in chats:
        await running.end(signal.SIGKILL)


async def refused(start, *, cold=False, **settings):
    """Start a chat that cannot start and return what it says."""
    running = await start(cold=cold, until_ready=False, **{**NO_MODELS, **settings})
    assert await running.ended() == 2
    assert "Traceback" not in running.output
    return running.output


async def test_it_prints_its_address_and_models_and_ctrl_c_ends_it_with_everything_it_started(chat):
    running = await chat(cold=True, CHAT_GEMMA_URL="http://127.0.0.1:9")
    await until(lambda: "Ctrl-C" in running.output, START_SECONDS)
    assert f"http://127.0.0.1:{running.port}" in running.output
    lines = {line.split("  ")[1]: line for line in running.output.splitlines() if line.startswith("  ")}
    assert "unavailable" in lines["Gemma3 12b it"]
    assert "CHAT_GEMMA_URL" in lines["Gemma3 12b it"]
    assert "not set up" in lines["Gemini"]
    assert "GOOGLE_CLOUD_PROJECT" in lines["Gemini"]
    # On a busy computer the model takes longer to load than the list waits for it.
    assert "ready" in lines["SmolLM2 (small demo)"] or "loading" in lines["SmolLM2 (small demo)"]
    await ends_with_everything_it_started(running, signal.SIGINT)


async def test_sigterm_ends_it_with_everything_it_started(chat):
    await ends_with_everything_it_started(await chat(), signal.SIGTERM)


async def ends_with_everything_it_started(running, number):
    process = psutil.Process(running.pid)
    await until(lambda: process.children(recursive=True), START_SECONDS, pause=0.05)  # the embedded model
    children = process.children(recursive=True)
    assert await running.end(number) == 0
    assert "Traceback" not in running.output
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


async def test_open_pages_do_not_keep_it_from_ending_and_streams_get_an_end(chat):
    async with FakeOpenAIServer(answer=["word "] * 1000) as gemma:
        gemma.gate = Gate(3)
        running = await chat(CHAT_SHUTDOWN_SECONDS="0.2", CHAT_GEMMA_URL=gemma.url, **NO_MODELS)
        async with open_page(running.url) as page:  # whose connection stays open
            conversation = await page.send("Count", model="gemma")
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(f"GET /conversations/{conversation}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await reader.readuntil(b"word")
            try:
                assert await running.end(signal.SIGTERM) == 0
                assert "Traceback" not in running.output
                assert "exceeded" not in running.output
                assert (await reader.read()).endswith(b"0\r\n\r\n")  # a whole response, as far as it went
            finally:
                writer.close()
                await writer.wait_closed()


async def test_an_answer_that_is_being_written_may_end_first_and_its_reader_sees_that(chat):
    words = [f"word{number} " for number in range(40)]
    async with FakeOpenAIServer(answer=words) as gemma:
        gemma.gate = Gate(3)
        running = await chat(CHAT_SHUTDOWN_SECONDS="30", CHAT_GEMMA_URL=gemma.url, **NO_MODELS)
        async with open_page(running.url) as page:
            conversation = await page.send("Count", model="gemma")
            reading = asyncio.create_task(page.messages(conversation))
            await page.watch_until(conversation, lambda messages: "word1" in texts(messages)[1])
            ending = asyncio.create_task(running.end(signal.SIGTERM))
            await until(lambda: "finishing_answers" in running.output, START_SECONDS)
            with pytest.raises(Refused, match="is restarting"):
                await page.send("Another", model="gemma")
            gemma.gate.open()
            assert texts(await reading)[1] == "".join(words)
            assert await ending == 0


async def test_an_answer_that_takes_longer_is_kept_as_interrupted(chat):
    async with FakeOpenAIServer(answer=["word "] * 1000) as gemma:
        gemma.gate = Gate(3)
        settings = {"CHAT_GEMMA_URL": gemma.url, **NO_MODELS}
        running = await chat(CHAT_SHUTDOWN_SECONDS="0.2", **settings)
        async with open_page(running.url) as page:
            conversation = await page.send("Count", model="gemma")
            await page.watch_until(conversation, lambda messages: "word" in texts(messages)[1])
        assert await running.end(signal.SIGTERM) == 0
        again = await chat(**settings)
        async with open_page(again.url) as page:
            messages = await page.messages(conversation)
            assert texts(messages)[1].startswith("word ")
            assert (messages[1]["status"], messages[1]["canContinue"]) == ("interrupted", True)


async def test_a_taken_port_is_said_in_a_sentence_with_another_one(chat):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = await refused(chat, CHAT_PORT=str(port))
    assert f"Port {port} is taken" in said
    assert "make run CHAT_PORT=" in said


async def test_an_argument_is_refused_since_settings_are_environment_variables():
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatapp", "--port", "8000"),
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    _, words = await process.communicate()
    assert process.returncode == 2
    assert "unrecognized arguments: --port" in words.decode()


async def test_a_data_folder_that_cannot_be_one_is_said_in_a_sentence(chat, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    said = await refused(chat, CHAT_DATA_DIR=str(tmp_path / "file"))
    assert "CHAT_DATA_DIR" in said
    assert str(tmp_path / "file") in said


async def test_a_second_chat_on_the_same_history_is_refused(chat, tmp_path):
    await chat(**NO_MODELS)
    said = await refused(chat)
    assert "another" in said.lower()


async def test_with_its_history_in_firestore_it_starts_while_firestore_is_down(chat, tmp_path):
    running = await chat(**FIRESTORE, **NO_MODELS)  # which asks /healthz
    assert (tmp_path / "data" / "journal.db").exists()
    await until(lambda: "Ctrl-C" in running.output, START_SECONDS)
    assert "History: Firestore, database (default) of project demo-chat" in running.output
    async with open_page(running.url) as page:
        with pytest.raises(Refused, match="The chat history is unavailable"):
            await page.listed()
    assert await running.end() == 0
    assert "Traceback" not in running.output


async def test_what_was_sent_while_firestore_was_down_is_named_at_the_end_and_waits_for_the_next_start(chat):
    settings = FIRESTORE | NO_MODELS | {"CHAT_LOG_FORMAT": "json", "CHAT_GEMMA_URL": "http://127.0.0.1:9"}
    running = await chat(**settings, CHAT_DRAIN_SECONDS="0.2")
    async with open_page(running.url) as page:
        conversation = await page.send("Something SECRET", model="gemma")  # answered with an error, which is kept too
    assert await running.end() == 0
    assert "SECRET" not in running.output
    (left,) = [line for line in map(json.loads, running.output.splitlines()) if line["message"] == "not_delivered"]
    assert (left["severity"], left["conversation"]) == ("WARNING", conversation)
    again = await chat(**settings, CHAT_DRAIN_SECONDS="0")
    async with open_page(again.url) as page:
        assert texts(await page.messages(conversation))[0] == "Something SECRET"
    assert await again.end() == 0


async def test_a_history_in_firestore_needs_a_folder_for_its_journal(chat, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    said = await refused(chat, CHAT_DATA_DIR=str(tmp_path / "file"), **FIRESTORE)
    assert "CHAT_DATA_DIR" in said
    assert str(tmp_path / "file") in said


async def test_googles_library_is_loaded_only_for_a_history_in_firestore_and_that_of_traces_only_for_them():
    script = (
        "import sys, chatapp.__main__; "
        "unused = ('google.cloud', 'opentelemetry.sdk', 'opentelemetry.exporter'); "
        "sys.exit(any(name.startswith(unused) for name in sys.modules))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await process.wait() == 0


@pytest.mark.parametrize("key", ["", "a key"])
async def test_geminis_library_is_loaded_before_the_chat_serves_and_only_for_gemini(tmp_path, key):
    script = (
        "import asyncio, sys; from chatapp.__main__ import _app, load_settings; "
        "asyncio.run(_app(load_settings())); "
        "print('google.genai.types' in sys.modules)"
    )
    environment = (
        os.environ | NO_MODELS | {"CHAT_DATA_DIR": str(tmp_path), "GOOGLE_CLOUD_PROJECT": "", "GEMINI_API_KEY": key}
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.split()[-1] == str(bool(key)).encode()


async def test_a_missing_library_is_said_in_a_sentence(chat, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['google.cloud.firestore'] = None")
    said = await refused(chat, cold=True, PYTHONPATH=f"{tmp_path}{os.pathsep}{Path.cwd()}", **FIRESTORE)
    assert "needs the package google-cloud-firestore" in said


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"THEME": "red"}, "THEME is 'red'"),
        ({"CHAT_HOST": "0.0.0.0"}, "CHAT_IDENTITY=anonymous"),
        ({"CHAT_HOST": "no.such.host.invalid", "CHAT_IDENTITY": "anonymous"}, "does not know that address"),
        ({"CHAT_HOST": "192.0.2.1", "CHAT_IDENTITY": "anonymous"}, "no address of this computer"),
        ({"CHAT_DEFAULT_MODEL": "gpt"}, "no model 'gpt'"),
        ({"CHAT_GEMMA_URL": "http://user:pass@host"}, "CHAT_GEMMA_URL"),
    ],
)
async def test_a_wrong_setting_is_said_in_a_sentence(chat, settings, words):
    assert words in await refused(chat, **settings)


async def test_a_misspelt_setting_is_pointed_out_and_the_chat_starts(chat):
    running = await chat(CHAT_GEMA_URL="http://127.0.0.1:9", **NO_MODELS)
    await until(lambda: "did you mean CHAT_GEMMA_URL" in running.output, START_SECONDS)


async def test_in_a_container_every_line_is_json_that_cloud_logging_understands(chat):
    running = await chat(CHAT_LOG_FORMAT="json", CHAT_IDENTITY="anonymous", CHAT_HOST="0.0.0.0", **NO_MODELS)
    await until(lambda: '"gemini"' in running.output, START_SECONDS)
    assert await running.end() == 0
    lines = [json.loads(line) for line in running.output.splitlines()]
    assert any(line["message"] == "ready" for line in lines)
    assert {line["severity"] for line in lines} <= {"INFO", "WARNING"}
