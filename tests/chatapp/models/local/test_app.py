"""A chat with a fake hub: download over the API, the real model answers, and a restart needs no second download."""

import asyncio
import json
import shutil

import aiohttp
import pytest

from chatapp.app import create_app
from chatapp.config.settings import InvalidSettings, Settings
from chatapp.domain.conversation import GenerationParameters
from chatapp.models import ModelState
from chatapp.models.llamacpp import gguf
from chatapp.models.llamacpp.setup import model_file
from tests.chatapp.models.answers import question, text_of
from tests.fakes.hub import ITEM, PATH, FakeHub
from tests.page_client import Refused, open_page
from tests.serving import serving
from tests.waiting import until


def settings_of(tmp_path, **changes):
    values = {"data_dir": tmp_path / "data", "identity": "local", "titles": "first-words", "shutdown_seconds": 0}
    return Settings(_env_file=None, **{**values, **changes})


@pytest.mark.slow
async def test_a_model_is_downloaded_answers_and_is_there_after_a_restart(tmp_path):
    async with FakeHub({PATH: model_file().read_bytes()}) as hub:
        settings = settings_of(tmp_path, hf_endpoint=hub.url, local_catalogue=(ITEM,), default_model="smol")
        async with serving(await create_app(settings, with_page=False)) as url, open_page(url) as page:
            assert page.state["default"] != "smol"
            assert page.state["local"]["downloading"] is None
            with pytest.raises(Refused, match=r"Accept the licence of Smol first: Apache-2\.0"):
                await page.ask("POST", "local-models/smol/download", {"acceptLicence": False})
            with pytest.raises(Refused, match="not in the list"):
                await page.ask("POST", "local-models/other/download", {"acceptLicence": True})
            hub.bytes_per_second = 10_000_000
            started = await page.ask("POST", "local-models/smol/download", {"acceptLicence": True})
            assert started["state"] == "downloading"
            await until(lambda: hub.sent > 5_000_000)
            assert (await page.get("models"))["local"]["downloading"]["id"] == "smol"
            stopped = await page.ask("POST", "local-models/smol/cancel", {})
            assert stopped["state"] == "partial"
            hub.bytes_per_second = None
            await page.ask("POST", "local-models/smol/download", {})
            while (await page.get("local-models"))["models"][-1]["state"] == "downloading":
                await asyncio.sleep(0.05)
            (done,) = [one for one in (await page.get("local-models"))["models"] if one["id"] == "smol"]
            assert (done["state"], done["arrived"]) == ("downloaded", ITEM["size"])
            assert (await page.models())["smol"]["place"] == "this-computer"
            conversation = await page.send("What is the opposite of hot?", model="smol", max_tokens=12)
            messages = await page.messages(conversation)
            assert messages[1]["status"] == "complete", messages[1]
            assert messages[1]["model"] == "smol"
            assert (await page.get("models"))["local"]["recommended"] is None
        requests = len(hub.requests)
        async with serving(await create_app(settings, with_page=False)) as url, open_page(url) as page:
            assert page.state["default"] == "smol"
            await page.ask("DELETE", "local-models/smol")
            assert "smol" not in await page.models()
            assert not (tmp_path / "data" / "models" / "smol").exists()
            assert page.state["local"]["downloading"] is None
        assert len(hub.requests) == requests


@pytest.mark.slow
async def test_a_gguf_file_of_ones_own_answers_and_its_memory_is_freed_when_it_is_idle(tmp_path):
    own = tmp_path / "My model.gguf"
    shutil.copy(model_file(), own)
    settings = settings_of(tmp_path, local_model=str(own), local_idle_minutes=0.5 / 60)
    app = await create_app(settings, with_page=False)
    async with app.router.lifespan_context(app):
        model = app.state.catalog.first_choice()
        assert (model.id, model.label) == ("local-file", "Smollm2 135M 8k Lc100K Mix1 Ep2")  # as the file says
        parameters = GenerationParameters(temperature=0.1, max_tokens=5)
        assert text_of([event async for event in model.stream(question("Hello"), parameters)])
        assert model.has_server
        assert model.context_tokens == 8192  # as the file says
        await until(lambda: not model.has_server)
        assert (await model.status()).state is ModelState.READY
        assert text_of([event async for event in model.stream(question("Hello"), parameters)])  # it starts again


async def test_a_file_that_is_no_model_is_said(tmp_path):
    (tmp_path / "x.gguf").write_text("no model")
    for name, words in (("x.gguf", "is no GGUF file"), ("y.gguf", "cannot be read")):
        app = await create_app(settings_of(tmp_path, local_model=str(tmp_path / name)), with_page=False)
        async with app.router.lifespan_context(app):
            status = await app.state.catalog.get("local-file").status()
            assert words in status.reason


@pytest.mark.slow
async def test_a_model_gives_way_to_another_where_memory_is_short(tmp_path, monkeypatch):
    own = tmp_path / "own.gguf"
    shutil.copy(model_file(), own)
    app = await create_app(settings_of(tmp_path, local_model=str(own)), with_page=False)
    async with app.router.lifespan_context(app):
        own_model, demo = app.state.catalog.get("local-file"), app.state.catalog.get("demo")
        parameters = GenerationParameters(temperature=0.1, max_tokens=3)
        _ = [event async for event in demo.stream(question("Hello"), parameters)]
        free = [500_000_000]
        monkeypatch.setattr(gguf, "free_memory", lambda: free[0] if demo.has_server else 10**10)
        _ = [event async for event in own_model.stream(question("Hello"), parameters)]
        assert not demo.has_server
        _ = [event async for event in demo.stream(question("Hello"), parameters)]
        await own_model.unload()
        monkeypatch.setattr(gguf, "free_memory", lambda: 1_000_000)
        with pytest.raises(Exception, match="GB of memory"):
            _ = [event async for event in own_model.stream(question("Hello"), parameters)]


@pytest.mark.slow
@pytest.mark.parametrize("identity", ["anonymous", "iap"])
async def test_a_chat_of_many_people_offers_no_download(tmp_path, identity):
    more = {"iap_audience": "/projects/1/global/backendServices/2"} if identity == "iap" else {}
    app = await create_app(settings_of(tmp_path, identity=identity, **more), with_page=False)
    async with app.router.lifespan_context(app):
        assert app.state.local_models is None
        assert "local-models" not in json.dumps(app.openapi()["paths"])
    with pytest.raises(InvalidSettings, match="only a chat for one person downloads models"):
        await create_app(settings_of(tmp_path, identity=identity, local_model="gemma-3-1b", **more), with_page=False)


async def test_another_site_cannot_start_a_download(tmp_path):
    async with (
        serving(await create_app(settings_of(tmp_path), with_page=False)) as url,
        aiohttp.ClientSession(headers={"Origin": "https://evil.example", "sec-fetch-site": "cross-site"}) as http,
        http.post(f"{url}/local-models/gemma-3-1b/download", json={"acceptLicence": True}) as response,
    ):
        assert response.status == 403


async def test_an_unknown_local_model_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(InvalidSettings, match=r"'gemma-9': it must be one of gemma-3-1b, .*, or the path of a GGUF"):
        await create_app(settings_of(tmp_path, local_model="gemma-9"), with_page=False)
