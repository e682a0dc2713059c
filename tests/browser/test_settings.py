"""What settings of the chat change in its page, in Chromium: one chat that has them all, since each costs a start."""

import json
import re

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.fakes.pictures import plain
from tests.serving import running_chat

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def set_up_chat(tmp_path_factory, gemma):
    priced = {"id": "priced", "label": "Priced", "url": gemma.url, "price": {"input": 1000.0, "output": 2000.0}}
    settings = {
        "CHAT_IDENTITY": "anonymous",
        "CHAT_EMBEDDED_MODEL": "false",
        "CHAT_GEMMA_URL": gemma.url,
        "CHAT_GEMMA_IMAGES": "false",
        "CHAT_MODELS": json.dumps([priced]),
        "CHAT_DEFAULT_MODEL": "gemma",
        "CHAT_MAX_DOCUMENTS": "0",
        "THEME": "green",
    }
    async with running_chat(tmp_path_factory.mktemp("set-up"), **settings) as chat:
        yield chat


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_chat, set_up_chat):
    return await open_chat(set_up_chat.url)


async def test_the_theme_is_a_setting(page):
    colour = await page.send_button.evaluate("element => getComputedStyle(element).backgroundColor")
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    assert green > max(red, blue)


async def test_an_answer_shows_its_cost(page):
    await page.model.click()
    priced = page.tab.get_by_role("menuitemradio", name="Priced")
    await expect(priced).to_contain_text("$1,000 in, $2,000 out")
    await priced.click()
    await page.ask("one two three four five six seven")
    await expect(page.facts).to_contain_text(re.compile(r"\$0\.\d+"))


async def test_a_conversation_gets_a_short_title_from_the_model(page, gemma):
    gemma.answer = lambda messages: ["Sea ", "shanties"] if len(messages) > 1 or "title" in str(messages) else ["Aye."]
    await page.send("Please tell me, at length and with many examples, what sailors sang when they hauled")
    await expect(page.conversations).to_have_text(["Sea shanties"])
    await expect(page.title).to_have_text("Sea shanties")


async def test_a_model_without_image_support_is_reported_before_anything_is_sent(page, gemma):
    content = {"name": "red.png", "mimeType": "image/png", "buffer": plain()}
    await page.tab.locator("input[type=file]").set_input_files(content)
    await expect(page.refusal).to_contain_text("does not support images")
    await page.send("Who is in the picture?")
    await expect(page.box).to_have_value("Who is in the picture?")
    await expect(page.refusal).to_contain_text("does not support images")
    assert "Who is in the picture?" not in str(gemma.chats)


async def test_a_chat_without_documents_offers_images_only(page):
    await expect(page.button("Add images")).to_be_visible()
    content = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"text"}
    await page.tab.locator("input[type=file]").set_input_files(content)
    await expect(page.refusal).to_contain_text("notes.txt is not a PNG, JPEG or WebP image.")
    await expect(page.tab.locator("#attachments .document")).to_have_count(0)
