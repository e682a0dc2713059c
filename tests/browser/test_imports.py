"""A file of another chat is imported in the panel "Settings and data"."""

import re

import pytest
from playwright.async_api import expect

from tests.browser import gradio_dom
from tests.browser.test_languages import LOCALES
from tests.chatapp.imports.exports import EXPORTS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

WORDS = {
    "en": ("Settings and data", "Import finished", "Left out", "New conversations: 1"),
    "he": ("הגדרות ונתונים", "הייבוא הסתיים", "מה שלא יובא", "שיחות חדשות"),
}


def a_file(name):
    return {"name": "export.zip", "mimeType": "application/zip", "buffer": EXPORTS[name][0]}


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("he", 360)])
async def test_a_chosen_file_is_imported_and_its_conversations_are_listed(open_chat, chat, language, width):
    page = await open_chat(chat.url, locale=LOCALES[language], width=width)
    settings, finished, left_out, new = WORDS[language]
    if width < 700:
        await page.tab.locator(gradio_dom.SIDEBAR_BUTTON).click()
    await page.tab.get_by_role("button", name=settings).click()
    panel = page.tab.locator("#import")
    await panel.locator("input[type=file]").set_input_files(a_file("chatgpt, a zip with pictures"))
    for words in (finished, left_out, new):
        await expect(panel).to_contain_text(words)
    # Each name of a file is in an isolate: else it would mix with the Hebrew around it, or another name with it.
    name = "user.json" if language == "en" else "\u2068user.json\u2069"
    await expect(panel).to_contain_text(re.compile(rf"\({name}, |, {name}[,)]"))
    assert await page.accessibility_problems() == []
    assert await page.tab.evaluate("() => document.querySelector('#import').scrollWidth <= innerWidth - 16")
    await page.tab.keyboard.press("Escape")
    await expect(page.tab.get_by_text("Rye bread").first).to_be_attached()


async def test_a_file_that_is_no_export_is_refused_in_the_panel(new_chat):
    await new_chat.tab.get_by_role("button", name="Settings and data").click()
    panel = new_chat.tab.locator("#import")
    file = {"name": "photo.png", "mimeType": "image/png", "buffer": b"\x89PNG"}
    await panel.locator("input[type=file]").set_input_files(file)
    await expect(panel.locator(".refusal")).to_contain_text("There are no conversations in this file")
    await expect(panel.get_by_role("button", name="Choose a file")).to_be_enabled()
    await new_chat.tab.keyboard.press("Escape")


async def test_a_hebrew_name_in_an_english_sentence_keeps_its_direction(new_chat):
    main = await new_chat.tab.locator("script[src$='js/main.js']").get_attribute("src")
    names = ["צילום (2).png", "notes.txt"]
    said = await new_chat.tab.evaluate(
        "async ([url, names]) => (await import(url)).t('Deleted: {title}', { title: { names } })",
        [f"{new_chat.url}/{main.replace('main.js', 'words.js')}", names],
    )
    assert said == "Deleted: \u2068צילום (2).png\u2069, notes.txt"
