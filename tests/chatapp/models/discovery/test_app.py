"""A chat at home offers the models of Ollama without a setting; another chat never looks for them."""

import asyncio
import re

import pytest

from chatapp.app import create_app
from chatapp.config.settings import Settings
from chatapp.models.discovery import discovery
from tests.fakes.ollama import FakeOllama
from tests.page_client import Refused, open_page
from tests.serving import running_chat, serving


@pytest.fixture
async def ollama(monkeypatch):
    monkeypatch.setattr(discovery, "FRESH_SECONDS", 0)
    monkeypatch.setattr(
        "chatapp.server.catalog.VLLM_URL", "http://127.0.0.1:9"
    )  # what runs on this computer does not count
    async with FakeOllama({"gemma3:4b": ["completion", "vision"], "other": ["completion"]}) as ollama:
        yield ollama


def settings_of(tmp_path, ollama, **changes):
    values = {
        "data_dir": tmp_path / "data",
        "identity": "local",
        "find_servers": True,
        "OLLAMA_HOST": ollama.host,
        "titles": "first-words",
        "gemma_url": "",
        "gemini_api_key": "",
        "google_cloud_project": "",
    }
    return Settings(_env_file=None, **{**values, **changes})


async def test_the_model_of_ollama_is_preselected_beside_the_demo_model_and_answers(tmp_path, ollama):
    app = await create_app(settings_of(tmp_path, ollama), with_page=False)
    async with serving(app) as url, open_page(url) as page:
        assert page.state["default"] == "ollama/gemma3:4b"
        shown = (await page.models())["ollama/gemma3:4b"]
        assert (shown["place"], shown["images"], shown["context"]) == ("this-computer", True, 4096)
        conversation = await page.send("Hello?", model="ollama/gemma3:4b")
        answer = (await page.messages(conversation))[1]
        assert (answer["status"], answer["text"]) == ("complete", "Hello from Ollama.")
        del ollama.models["gemma3:4b"]
        models = await page.get("models")
        assert models["default"] == "ollama/other"
        with pytest.raises(Refused, match="not in the list"):
            await page.send("Again?", model="ollama/gemma3:4b")


@pytest.mark.slow
async def test_the_setting_of_the_first_choice_may_name_a_model_of_ollama(tmp_path, ollama):
    settings = settings_of(tmp_path, ollama, default_model="ollama/other:latest")
    async with serving(await create_app(settings, with_page=False)) as url, open_page(url) as page:
        assert page.state["default"] == "ollama/other"


@pytest.mark.parametrize(
    "off",
    [
        {"find_servers": False},
        pytest.param({"identity": "anonymous"}, marks=pytest.mark.slow),
        pytest.param({"gemma_url": "OLLAMA"}, marks=pytest.mark.slow),
    ],
)
async def test_a_chat_that_is_not_to_look_asks_no_server(tmp_path, ollama, off):
    if "gemma_url" in off:  # its server is set already
        off = {"gemma_url": f"{ollama.root.replace('127.0.0.1', 'localhost')}/v1"}
    app = await create_app(settings_of(tmp_path, ollama, **off), with_page=False)
    async with serving(app) as url, open_page(url) as page:
        assert not [one for one in await page.models() if one.startswith("ollama/")]
        assert "GET /api/tags" not in ollama.paths


@pytest.mark.slow
async def test_the_terminal_lists_the_models_of_ollama(tmp_path):
    async with FakeOllama({"gemma3:4b": ["completion"]}) as ollama:
        settings = {"CHAT_FIND_SERVERS": "true", "OLLAMA_HOST": ollama.host, "CHAT_EMBEDDED_MODEL": "false"}
        async with running_chat(tmp_path, **settings) as chat, asyncio.timeout(60):
            while "Ctrl-C" not in chat.output:
                await asyncio.sleep(0.05)
        assert re.search(r"gemma3:4b +ready", chat.output)
