"""``make status``: the state of each model on a terminal."""

import pytest

from chatapp.server import status
from tests.fakes.embeddings import FakeEmbeddings
from tests.fakes.openai_server import FakeOpenAIServer


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no .env
    for name, value in {"CHAT_DATA_DIR": str(tmp_path / "data"), "CHAT_EMBEDDED_MODEL": "false"}.items():
        monkeypatch.setenv(name, value)


async def run():
    return await status._print(status.load_settings())


async def test_status_says_why_no_model_is_ready_and_fails(capsys, tmp_path):
    assert await run() == 1
    first, second = capsys.readouterr().out.splitlines()
    assert "not set up" in first
    assert "Set CHAT_GEMMA_URL" in first
    assert "GEMINI_API_KEY" in second
    assert not (tmp_path / "data").exists()


async def test_status_succeeds_once_a_model_is_ready(capsys, monkeypatch):
    async with FakeOpenAIServer() as server:
        monkeypatch.setenv("CHAT_GEMMA_URL", server.url)
        assert await run() == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["Gemma3", "12b", "it", "ready"]


async def test_status_says_whether_the_embeddings_answer_and_in_how_many_dimensions(capsys, monkeypatch):
    async with FakeEmbeddings() as server:
        monkeypatch.setenv("CHAT_EMBEDDINGS", "server")
        monkeypatch.setenv("CHAT_EMBEDDINGS_URL", server.url)
        assert await run() == 1  # embeddings answer no question
        assert capsys.readouterr().out.splitlines()[-1] == "  Embeddings  ready  2 dimensions, made at: this-computer"
        server.reply = (503, "loading")
        await run()
        assert "unavailable  status 503. Documents are searched by words" in capsys.readouterr().out.splitlines()[-1]


def test_invalid_setting_is_reported(capsys, monkeypatch):
    monkeypatch.setenv("CHAT_PORT", "many")
    assert status.main() == 2
    assert "CHAT_PORT" in capsys.readouterr().err
