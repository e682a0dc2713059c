"""What is found on this computer, and what is not taken for it."""

import contextlib

import pytest
from aiohttp import web

from chatapp.domain.conversation import Place
from chatapp.models.discovery import servers
from chatapp.models.discovery.servers import Ollama, ServerAway, Vllm, is_same_server, ollama_url
from tests.fakes.local_server import LocalServer
from tests.fakes.ollama import FakeOllama

CHAT = ["completion", "tools"]


@contextlib.asynccontextmanager
async def found_in(server):
    """Yield what a server has, and close its models."""
    found = await server.models({})
    try:
        yield found
    finally:
        for model in (*found.models, *found.passed_on):
            await model.aclose()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:11500", "http://127.0.0.1:11500"),
        ("[::]:11500", "http://127.0.0.1:11500"),
        ("[::1]:11500", "http://[::1]:11500"),
        (":11500", "http://127.0.0.1:11500"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ('"127.0.0.1:11500"', "http://127.0.0.1:11500"),
        ("http://gpu.example.org", "http://gpu.example.org:80"),
        ("https://gpu.example.org/ollama/", "https://gpu.example.org:443/ollama"),
        ("gpu:99999", "http://gpu:11434"),
        ("gpu", "http://gpu:11434"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(host, url):
    assert ollama_url(host) == url


@pytest.mark.parametrize("host", ["a b:x:y", "://", "http://", "]:[", ":::"])
async def test_an_ollama_host_that_is_no_address_finds_nothing(host):
    with pytest.raises(ServerAway):
        await Ollama(ollama_url(host)).models({})


async def test_the_chat_models_of_ollama_are_offered_by_name_and_those_of_its_cloud_say_so():
    models = {
        "gemma3:4b": [*CHAT, "vision"],
        "nomic-embed-text:latest": ["embedding"],
        "qwen3:latest": [*CHAT, "thinking"],
        "gpt-oss:120b-cloud": CHAT,
    }
    async with FakeOllama(models, remote=["gpt-oss:120b-cloud"]) as ollama, found_in(Ollama(ollama.root)) as found:
        assert [(one.id, one.label, one.place) for one in found.models] == [
            ("ollama/gemma3:4b", "gemma3:4b", Place.THIS_COMPUTER),
            ("ollama/qwen3", "qwen3", Place.THIS_COMPUTER),
        ]
        (cloud,) = found.passed_on
        assert (cloud.id, cloud.place) == ("ollama/gpt-oss:120b-cloud", Place.OTHER_SERVER)


async def test_an_old_ollama_that_tells_no_capabilities_is_judged_by_the_names():
    models = {"llama3": None, "mxbai-embed-large": None}
    async with FakeOllama(models) as ollama, found_in(Ollama(ollama.root)) as found:
        assert [one.label for one in found.models] == ["llama3"]


async def test_what_a_model_can_do_is_asked_once():
    async with FakeOllama({"a": CHAT, "b": ["embedding"]}) as ollama:
        server = Ollama(ollama.root)
        async with found_in(server) as found:
            again = await server.models({one.id: one for one in found.models})
            assert again.models == found.models
        assert ollama.paths.count("POST /api/show") == 2


async def test_names_from_ollama_are_bounded_and_clean():
    hostile = "x\0y" + "z" * 500
    async with FakeOllama({hostile: CHAT}) as ollama, found_in(Ollama(ollama.root)) as found:
        assert found.models[0].label == ("x\ufffdy" + "z" * 500)[:80]


@contextlib.asynccontextmanager
async def answering(handler):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def redirect(_request):
    raise web.HTTPFound("http://127.0.0.1:9/api/tags")


def body(text, **options):
    async def answer(_request):
        return web.Response(text=text, **options)

    return answer


OTHERS = {
    "a page": body("<html>", content_type="text/html"),
    "an error": body("not found", status=404),
    "a redirect": redirect,
    "a list": body("[]"),
    "another object": body('{"models": 7}'),
    "deep JSON": body("[" * 100_000),
    "an endless list": body('{"models": [' + '"x",' * 20_000 + "1]}"),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("kind", [Ollama, Vllm])
async def test_another_program_on_the_port_is_not_taken_for_a_model_server(monkeypatch, kind, other):
    monkeypatch.setattr(servers, "_MOST_BYTES", 50_000)
    async with answering(OTHERS[other]) as url:
        with pytest.raises(ServerAway):
            await kind(url).models({})


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Ollama, Vllm])
async def test_a_server_that_hangs_is_given_up(monkeypatch, kind):
    monkeypatch.setattr(servers, "ANSWER_SECONDS", 0.1)
    async with FakeOllama({"a": CHAT}) as server:
        server.delay = 30
        with pytest.raises(ServerAway):
            await kind(server.root).models({})


async def test_vllm_is_found_with_the_name_of_its_weights():
    entry = {
        "id": "gemma",
        "object": "model",
        "owned_by": "vllm",
        "root": "google/gemma-3-4b-it",
        "max_model_len": 8192,
    }
    async with LocalServer(models=[entry]) as server:
        vllm = Vllm(server.root)
        async with found_in(vllm) as found:
            (model,) = found.models
            assert (model.id, model.label, model.supports_images) == ("gemma", "gemma-3-4b-it", True)
            await model.status()
            assert model.context_tokens == 8192
            assert (await vllm.models({"gemma": model})).models == [model]
            entry["root"] = "/models/gemma-3-1b-it/"  # started again with other weights
            async with contextlib.AsyncExitStack() as closed:
                (other,) = (await vllm.models({"gemma": model})).models
                closed.push_async_callback(other.aclose)
                assert (other.label, other.supports_images) == ("gemma-3-1b-it", False)


async def test_a_program_that_is_not_vllm_is_not_asked_again_at_once():
    async with LocalServer(models=["m"]) as server:
        vllm = Vllm(server.root)
        for _ in range(3):
            with pytest.raises(ServerAway):
                await vllm.models({})
        assert server.paths == ["GET /v1/models"]


def test_addresses_of_one_server_are_the_same():
    assert is_same_server("http://localhost:11434/v1", "http://127.0.0.1:11434")
    assert is_same_server("http://[::1]:8000", "http://127.0.0.1:8000")
    assert not is_same_server("http://localhost:11434", "http://localhost:8000")
    assert not is_same_server("http://gpu:11434", "http://127.0.0.1:11434")
