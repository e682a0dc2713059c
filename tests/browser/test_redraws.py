"""What a person types or has chosen survives whatever redraws the page meanwhile, in Chromium."""

import asyncio

import pytest
from playwright.async_api import expect

from chatapp.http import assets as page_files
from tests.browser import gradio_dom
from tests.browser.test_gradio_bridge import in_bridge
from tests.fakes.gate import Gate

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


# Draw the list with its conversations at another place.
LISTS = f"page/{page_files.version()}/js/conversation_lists.js"
REDRAW = f"""import(new URL("{LISTS}", document.baseURI)).then((lists) => {{
  [lists.list.pinned, lists.list.items] = [lists.list.items, lists.list.pinned];
  lists.listChanged();
}})"""


async def _hold(page, method, address):
    """Hold the next request of this kind, and return the event that lets it through and the one that it was sent."""
    held, sent = asyncio.Event(), asyncio.Event()

    async def hold(route):
        if route.request.method == method and not sent.is_set():
            sent.set()
            await held.wait()
        await route.continue_()

    await page.tab.route(address, hold)
    return held, sent


async def test_a_name_being_typed_survives_the_response_to_an_earlier_change(new_chat):
    await new_chat.ask("First")
    held, sent = await _hold(new_chat, "PATCH", "**/conversations/*")
    await new_chat.open_menu("First")
    await new_chat.choose("Pin")
    await sent.wait()
    await new_chat.tab.locator(gradio_dom.SIDEBAR_BUTTON).click()
    for place in ("header", "list"):
        if place == "list":
            await new_chat.tab.locator(gradio_dom.SIDEBAR_BUTTON).click()
        await (new_chat.tab.locator("#more").click() if place == "header" else new_chat.open_menu("First"))
        await new_chat.choose("Rename")
        box = new_chat.tab.locator("h1" if place == "header" else "#conversations").get_by_label("Title")
        await box.fill("Half a na")
        await box.evaluate("box => { box.setSelectionRange(2, 4); window.typedInto = box; }")
        if place == "header":
            async with new_chat.tab.expect_response(lambda response: response.request.method == "PATCH"):
                held.set()
        await new_chat.tab.evaluate(REDRAW)
        await expect(box).to_be_focused()
        await expect(box).to_have_value("Half a na")
        assert await box.evaluate("box => box === window.typedInto && [box.selectionStart, box.selectionEnd]") == [2, 4]
        await box.press("Escape")
        await expect(new_chat.title).to_have_text("First")
    await new_chat.open_menu("First")
    await expect(new_chat.tab.get_by_role("menuitem", name="Unpin", exact=True)).to_be_visible()
    await new_chat.tab.keyboard.press("Escape")


async def test_escape_in_a_field_leaves_the_answer_running(new_chat, gemma):
    await new_chat.ask("First")
    gemma.answer, gemma.gate = [f"word{number} " for number in range(100)], Gate(5)
    await new_chat.send("Second")
    await expect(new_chat.answers.last).to_contain_text("word3")
    await new_chat.open_menu("First")
    await new_chat.choose("Rename")
    await new_chat.tab.get_by_label("Title").press("Escape")
    await new_chat.questions.first.hover()
    await new_chat.button("Edit and resend").first.click()
    await new_chat.tab.locator(".edit textarea").press("Escape")
    await expect(new_chat.tab.locator(".edit")).to_have_count(0)
    gemma.gate.open()
    await expect(new_chat.answers.last).to_contain_text("word99")


async def test_a_half_edited_question_stays_with_its_message(new_chat):
    await new_chat.open_imported(28)
    await expect(new_chat.questions.last).to_have_text("Question 27")
    row = new_chat.tab.locator(gradio_dom.MESSAGE_ROWS).filter(has_text="Question 20")
    await row.hover()
    await row.get_by_role("button", name="Edit and resend").click()
    box = new_chat.tab.locator(".edit textarea")
    await box.fill("Half an edit")
    await new_chat.button("Show earlier messages").click()  # Gradio reuses each row for another message
    await expect(new_chat.questions).to_have_count(28)
    await expect(box).to_have_value("Half an edit")
    edited = new_chat.tab.locator(".editing")
    await expect(edited).to_have_count(1)
    shown = await in_bridge(new_chat, "bridge.messageRows().findIndex((row) => row.querySelector('.edit'))")
    assert shown == 40
    await new_chat.start_new()
    await expect(box).to_have_count(0)
    await new_chat.tab.go_back()
    await expect(new_chat.questions.last).to_have_text("Question 27")
    await expect(box).to_have_value("Half an edit")
    await new_chat.tab.locator(".edit").get_by_role("button", name="Cancel").click()
    await expect(new_chat.tab.locator(".editing")).to_have_count(0)


async def test_a_model_and_instructions_for_the_next_question_survive_another_load_of_the_conversation(new_chat, gemma):
    await new_chat.ask("First")
    await new_chat.button("Regenerate").click()
    await expect(new_chat.tab.locator(".versions")).to_contain_text("2/2")
    await expect(new_chat.stop_button).to_be_hidden()
    await new_chat.choose_model("Gemini")
    await new_chat.tab.locator("#parameters-button").click()
    instructions = new_chat.tab.locator("#system-prompt textarea")
    await instructions.fill("Answer in one word.")
    await new_chat.tab.keyboard.press("Escape")
    await new_chat.button("Previous version").click()  # which loads all messages again
    await expect(new_chat.tab.locator(".versions")).to_contain_text("1/2")
    await new_chat.tab.locator("#parameters-button").click()
    await expect(new_chat.model).to_contain_text("Gemini")
    await expect(instructions).to_have_value("Answer in one word.")
    await new_chat.tab.keyboard.press("Escape")
    await new_chat.choose_model("Gemma")
    await new_chat.ask("Second")
    assert gemma.chats[-1]["messages"][0]["content"] == "Answer in one word."


async def test_the_focus_stays_on_a_button_whose_message_is_drawn_again(new_chat):
    await new_chat.ask("First")
    await new_chat.button("Good answer").focus()
    await new_chat.tab.keyboard.press("Enter")
    await expect(new_chat.button("Good answer")).to_have_attribute("aria-pressed", "true")
    await expect(new_chat.button("Good answer")).to_be_focused()
