"""The Enter key: on a computer, on a phone, with an input method, and as it was set, in Chromium."""

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PHONE = {"width": 360, "height": 740, "has_touch": True, "is_mobile": True}
# Enter as an input method sends it to end a composition: by the standard, and in Safari after the composition.
COMPOSING = """(field, [key, isComposing]) => field.dispatchEvent(new KeyboardEvent("keydown", {
  key, code: key, keyCode: 229, isComposing, bubbles: true, cancelable: true,
}))"""


async def answered(page, number):
    """Wait until so many answers have ended; the button to stop is hidden before they begin, too."""
    await expect(page.facts).to_contain_text(["first token"] * number)
    await expect(page.stop_button).to_be_hidden()


async def test_on_a_phone_enter_makes_a_line_and_the_button_sends(open_chat, chat, gemma):
    page = await open_chat(chat.url, **PHONE)
    await expect(page.box).to_have_attribute("enterkeyhint", "enter")
    await page.box.fill("One")
    await page.box.press("Enter")
    await page.box.press_sequentially("two")
    await expect(page.box).to_have_value("One\ntwo")
    await page.send_button.click()
    await answered(page, 1)
    assert gemma.chats[-1]["messages"][-1]["content"] == "One\ntwo"
    await page.button("Edit and resend").click()
    edit = page.tab.locator(".edit textarea")
    await edit.fill("Three")
    await edit.press("Enter")
    await expect(edit).to_have_value("Three\n")
    await page.tab.locator(".edit").get_by_role("button", name="Send").click()
    await expect(page.questions).to_have_text(["Three"])
    await answered(page, 1)

    await page.box.fill("With a keyboard")
    await page.box.press("ArrowLeft")  # which no phone's keyboard has
    await expect(page.box).to_have_attribute("enterkeyhint", "send")
    await page.box.press("Enter")
    await expect(page.questions).to_have_text(["Three", "With a keyboard"])
    await answered(page, 2)
    await page.reload()
    await page.box.fill("A shortcut")
    await page.box.press("Control+Enter")
    await expect(page.questions).to_have_count(3)
    await answered(page, 3)

    for setting, sent in (("send", 4), ("line", 4)):
        await page.tab.evaluate("setting => localStorage.setItem('enter-key', setting)", setting)
        await page.box.fill(setting)
        await page.box.press("Enter")
        await expect(page.questions).to_have_count(sent)
        await answered(page, sent)
    await expect(page.box).to_have_value("line\n")


async def test_enter_is_a_setting(page):
    await page.tab.locator("#me").click()
    await page.tab.get_by_label("Enter key").select_option("line")
    await page.tab.locator("#settings-panel summary").click()
    await expect(page.tab.locator("#settings-panel dl")).to_contain_text("Ctrl+Enter")
    await page.tab.keyboard.press("Escape")
    await page.box.fill("One")
    await page.box.press("Enter")
    await expect(page.box).to_have_value("One\n")
    await page.reload()
    await page.box.press("Control+Enter")
    await expect(page.answers).to_have_count(1)


async def test_an_enter_that_ends_a_composition_does_nothing_else(new_chat):
    await new_chat.ask("First")

    async def compose(field):
        for key in ("Enter", "Escape"):
            for is_composing in (True, False):
                await field.evaluate(COMPOSING, [key, is_composing])

    await new_chat.box.fill("Message")
    await compose(new_chat.box)
    await new_chat.questions.hover()
    await new_chat.button("Edit and resend").click()
    edit = new_chat.tab.locator(".edit textarea")
    await edit.fill("Edit")
    await compose(edit)
    await expect(edit).to_have_value("Edit")
    await new_chat.tab.locator("#more").click()
    await new_chat.choose("Rename")
    name = new_chat.tab.get_by_label("Title")
    await name.fill("Name")
    await compose(name)
    await expect(name).to_have_value("Name")
    await name.press("Escape")
    await expect(new_chat.box).to_have_value("Message")
    await expect(new_chat.questions).to_have_text(["First"])
    await expect(new_chat.conversations).to_have_text(["First"])


async def test_no_field_is_so_small_that_ios_zooms_into_it(open_chat, chat):
    page = await open_chat(chat.url, **PHONE)
    await page.box.fill("Question")
    await page.send_button.click()
    await expect(page.facts).to_contain_text("first token")
    await page.button("Edit and resend").click()
    await page.tab.locator("#persona").click()
    await page.button("New persona").click()
    await page.tab.evaluate("document.querySelector('#me').click()")
    await page.tab.locator("#settings-panel").wait_for()
    await page.tab.evaluate("document.querySelector('#compare').click()")
    await page.tab.locator(".compare").wait_for()
    await page.tab.evaluate("document.querySelector('#parameters').showPopover()")
    small = await page.tab.evaluate(
        """() => [...document.querySelectorAll("input, textarea, select")]
          .filter((field) => parseFloat(getComputedStyle(field).fontSize) < 16).map((field) => field.outerHTML)"""
    )
    assert small == []
