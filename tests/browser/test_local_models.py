"""A model is downloaded in the page from a fake hub, answers, and stays."""

import asyncio
import json
import re
import signal

import pytest
from playwright.async_api import expect

from chatapp.models.llamacpp.setup import model_file
from tests.fakes.hub import ITEM, PATH, FakeHub
from tests.fakes.ollama import FakeOllama
from tests.serving import running_chat

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser, pytest.mark.slow]


async def test_a_model_is_downloaded_over_two_starts_answers_and_is_removed(open_chat, tmp_path):
    async with FakeHub({PATH: model_file().read_bytes()}) as hub:
        settings = {"HF_ENDPOINT": hub.url, "CHAT_LOCAL_CATALOGUE": json.dumps([ITEM]), "CHAT_TITLES": "first-words"}
        async with running_chat(tmp_path, **settings) as chat:
            page = await open_chat(chat.url)
            await page.button("Get a better model").click()
            recommended = page.tab.locator("dialog li").filter(has_text="Recommended for this computer")
            await expect(page.tab.locator("dialog li").first.and_(recommended)).to_have_count(1)
            await expect(page.tab.locator("dialog li button.primary")).to_have_count(1)
            row = page.tab.locator("dialog li[data-model=smol]")
            await expect(row).to_contain_text("0.1 GB")
            await expect(row.get_by_role("link", name="Licence: Apache-2.0")).to_have_attribute(
                "href", ITEM["licence_url"]
            )
            assert await page.accessibility_problems() == []
            hub.bytes_per_second = 1_000_000  # 100 s: what follows may take long on a busy machine
            await row.get_by_role("button", name="Accept the licence and download").click()
            await expect(row.locator("progress")).to_be_visible()
            await expect(row).to_contain_text(re.compile(r"\d+ % of 0\.1 GB · [\d.]+ MB/s · .* left"))
            await page.tab.keyboard.press("Escape")
            await expect(page.tab.locator("#download")).to_contain_text("Downloading Smol")
            assert await chat.end(signal.SIGINT) == 0
            assert "Traceback" not in chat.output
        hub.bytes_per_second, before, hub.sent = None, hub.sent, 0
        assert before < ITEM["size"]
        async with running_chat(tmp_path, **settings) as chat:
            page = await open_chat(chat.url)
            await page.model.click()
            await page.tab.get_by_role("menuitem", name="Download a model").click()
            row = page.tab.locator("dialog li[data-model=smol]")
            await row.get_by_role("button", name="Continue the download").click()
            await expect(page.toast).to_contain_text("Smol is ready.")
            assert hub.sent < ITEM["size"]
            await expect(page.model).to_contain_text("Smol")
            await expect(page.tab.locator("#welcome .offer")).to_be_empty()
            await page.tab.get_by_role("button", name="Answer settings").click()
            await page.tab.get_by_label("Max tokens, as a number").fill("20")
            await page.ask("What is the opposite of hot?")
            await expect(page.writers).to_have_text(["Smol"])
            answer = await page.answers.inner_text()
            await page.reload()
            await expect(page.answers).to_have_text([answer])
            await page.model.click()
            await page.tab.get_by_role("menuitem", name="Download a model").click()
            row = page.tab.locator("dialog li[data-model=smol]")
            await row.get_by_role("button", name="Remove").click()
            await page.tab.locator("dialog.ask").get_by_role("button", name="Remove").click()
            await expect(row.get_by_role("button", name="Accept the licence and download")).to_be_visible()
        assert not (tmp_path / "data" / "models" / "smol").exists()


async def test_a_model_that_ollama_gets_while_the_page_is_open_is_in_the_menu(open_chat, tmp_path):
    async with FakeOllama({"gemma3:4b": ["completion", "vision"]}) as ollama:
        settings = {"CHAT_FIND_SERVERS": "true", "OLLAMA_HOST": ollama.host, "CHAT_DEFAULT_MODEL": "ollama/gemma3:4b"}
        async with running_chat(tmp_path, **settings) as chat:
            page = await open_chat(chat.url)
            await expect(page.model).to_contain_text("gemma3:4b")
            models = page.tab.get_by_role("menuitemradio")
            await page.model.click()
            await expect(models.filter(has_text="gemma3:4b")).to_contain_text("on this computer · supports images")
            await page.tab.keyboard.press("Escape")
            ollama.models["qwen3:8b"] = ["completion"]
            async with asyncio.timeout(60):
                while await models.filter(has_text="qwen3:8b").count() == 0:  # what was seen is believed for 5 s
                    await page.tab.keyboard.press("Escape")
                    await page.model.click()
                    await page.tab.wait_for_timeout(500)
            await expect(models.filter(has_text="gemma3:4b")).to_be_focused()
            await models.filter(has_text="qwen3:8b").click()
            await page.ask("Hello?")
            await expect(page.writers).to_have_text(["qwen3:8b"])
            await expect(page.answers).to_have_text(["Hello from Ollama."])
