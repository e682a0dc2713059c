"""Share links, the manifest, and the notification of an answer, as a person sees them."""

import json

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.fakes.gate import Gate
from tests.serving import running_chat

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

ANSWER = "A **bold** word, $x^2$, <b>no html</b>\n\n```python\nprint(1)\n```"
# Counts in place of showing: a headless browser has no place for notifications.
NOTIFICATIONS = """
window.notified = [];
window.Notification = class {
  static permission = "default";
  static answer = "granted";
  static requestPermission = async () => (window.asked = true, (Notification.permission = Notification.answer));
  constructor(title, options) {
    window.notified.push({ title, ...options });
    window.last = this;
  }
  close() {}
};
"""


@pytest_asyncio.fixture(loop_scope="session")
async def own_chat(tmp_path, gemma):
    settings = {
        "CHAT_IDENTITY": "anonymous",
        "CHAT_SHARE_LINKS": "anyone",
        "CHAT_INSTALLABLE": "true",
        "CHAT_GEMMA_URL": gemma.url,
        "CHAT_EMBEDDED_MODEL": "false",
        "CHAT_TITLES": "first-words",
    }
    async with running_chat(tmp_path, **settings) as process:
        yield process


async def asked(page, text):
    """Send a message in Hebrew and wait for the end of its answer."""
    before = await page.answers.count()
    await page.send(text)
    await expect(page.answers).to_have_count(before + 1)
    await expect(page.facts.last).to_contain_text("טוקן ראשון")


async def test_conversation_is_shared_read_and_turned_off_and_the_page_has_a_manifest(
    own_chat, open_chat, gemma, problems
):
    page = await open_chat(own_chat.url, locale="he-IL", width=360)
    gemma.answer = [ANSWER]
    await asked(page, "שאלה")
    await page.tab.locator("#header .header-tools button").last.click()
    await page.choose("שיתוף עותק")
    dialog = page.tab.get_by_role("dialog", name="שיתוף עותק")
    await dialog.get_by_role("button", name="יצירת קישור").press("Enter")
    address = await dialog.get_by_label("קישור", exact=True).input_value()
    assert await page.accessibility_problems() == []
    assert not await page.is_wider_than_the_screen()

    reader = await open_chat(own_chat.url, address, locale="ar-EG", width=360, color_scheme="dark")
    await expect(reader.tab.locator("html[lang=ar][dir=rtl] body.ready")).to_be_attached()
    await expect(reader.tab.locator("strong")).to_have_text("bold")
    await expect(reader.tab.locator("#messages b")).to_have_count(0)
    await expect(reader.tab.locator("math")).to_have_count(1)
    await expect(reader.tab.locator("pre")).to_contain_text("print(1)")
    assert await reader.accessibility_problems() == []
    assert not await reader.is_wider_than_the_screen()
    assert problems == []
    assert await reader.tab.context.cookies() == []

    await dialog.get_by_role("listitem").get_by_role("button").click()
    await expect(dialog.get_by_text("אין קישורים.")).to_be_visible()
    await reader.tab.reload()
    await expect(reader.tab.get_by_role("heading", level=1)).to_have_text("هذا الرابط لا يعمل")
    problems[:] = [problem for problem in problems if "404" not in problem]

    manifest = await page.tab.evaluate("fetch('manifest.webmanifest').then((response) => response.json())")
    assert (manifest["lang"], manifest["dir"], manifest["display"]) == ("he", "rtl", "standalone")
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
    for icon in manifest["icons"]:
        size = await page.tab.evaluate(
            "async (src) => { const it = await createImageBitmap(await (await fetch(src)).blob()); return it.width; }",
            icon["src"],
        )
        assert icon["sizes"] == f"{size}x{size}"


async def test_an_answer_that_ends_in_a_hidden_tab_is_notified_only_if_the_person_wants_that(open_chat, chat, gemma):
    page = await open_chat(chat.url, script=NOTIFICATIONS)

    async def switch(box):
        await page.tab.locator("#me").click()
        await box.click()

    async def ask_hidden(text):
        gemma.gate = Gate()
        before = await page.answers.count()
        await page.send(text)
        await expect(page.answers).to_have_count(before + 1)
        await page.tab.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
        gemma.gate.open()
        await expect(page.facts.last).to_contain_text("first token")
        await page.tab.evaluate("delete document.hidden")
        return await page.tab.evaluate("window.notified")

    box = page.tab.get_by_label("Notify me when an answer ends while this tab is hidden")
    assert await ask_hidden("Quiet") == []
    assert not await page.tab.evaluate("window.asked")
    await page.tab.evaluate("Notification.answer = 'denied'")
    await switch(box)
    await expect(page.tab.locator("#settings-panel .refusal")).to_contain_text("does not allow notifications")
    await expect(box).not_to_be_checked()
    await page.tab.evaluate("Notification.answer = 'granted'")
    await box.click()
    await expect(box).to_be_checked()
    await page.tab.keyboard.press("Escape")
    (notified,) = await ask_hidden("SECRET words")
    assert notified["body"] == "The answer is ready."
    assert "SECRET" not in json.dumps(notified)
    await page.start_new()
    await page.tab.evaluate("window.last.onclick()")
    await expect(page.questions).to_have_count(2)
    await page.ask("Visible")
    assert len(await page.tab.evaluate("window.notified")) == 1
