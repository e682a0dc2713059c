"""Copying, editing, regenerating, rating and comparing messages, in Chromium."""

import pytest
from playwright.async_api import expect

from tests.browser import gradio_dom
from tests.fakes.gate import Gate

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_an_edited_question_is_another_version(new_chat, gemma):
    gemma.answer = ["About cats."]
    await new_chat.ask("Tell me about cats")
    gemma.answer = ["And more."]
    await new_chat.ask("More")
    gemma.answer = ["About dogs."]
    await new_chat.questions.first.hover()
    await new_chat.button("Edit and resend").first.click()
    box = new_chat.tab.locator(".edit textarea")
    await expect(box).to_have_value("Tell me about cats")
    await box.fill("Tell me about dogs")
    await box.press("Enter")
    await expect(new_chat.questions).to_have_text(["Tell me about dogs"])
    await expect(new_chat.answers).to_have_text(["About dogs."])
    assert [message["content"] for message in gemma.chats[-1]["messages"]] == ["Tell me about dogs"]

    await new_chat.button("Previous version").click()
    await expect(new_chat.questions).to_have_text(["Tell me about cats", "More"])
    await expect(new_chat.answers).to_have_text(["About cats.", "And more."])
    await new_chat.reload()
    await expect(new_chat.questions).to_have_text(["Tell me about cats", "More"])
    await new_chat.button("Next version").click()
    await expect(new_chat.questions).to_have_text(["Tell me about dogs"])


async def test_an_edit_that_is_cancelled_changes_nothing(new_chat):
    await new_chat.ask("First")
    await new_chat.button("Edit and resend").click()
    await new_chat.tab.locator(".edit textarea").fill("Something else")
    await new_chat.tab.locator(".edit").get_by_role("button", name="Cancel").click()
    await expect(new_chat.questions).to_have_text(["First"])
    await expect(new_chat.tab.locator(".edit")).to_have_count(0)


async def test_a_regenerated_answer_is_another_version(new_chat, gemma):
    gemma.answer = ["One."]
    await new_chat.ask("Say a number")
    gemma.answer = ["Two."]
    await new_chat.button("Regenerate").click()
    await expect(new_chat.answers).to_have_text(["Two."])
    await expect(new_chat.tab.locator(".versions")).to_contain_text("2/2")
    await new_chat.button("Previous version").click()
    await expect(new_chat.answers).to_have_text(["One."])
    gemma.answer = ["Three."]
    await new_chat.ask("And now?")
    sent = [message["content"] for message in gemma.chats[-1]["messages"]]
    assert sent == ["Say a number", "One.", "And now?"]
    await new_chat.reload()
    await expect(new_chat.answers).to_have_text(["One.", "Three."])


async def test_feedback_on_an_answer_is_stored(new_chat):
    await new_chat.ask("First")
    await new_chat.button("Good answer").click()
    await expect(new_chat.button("Good answer")).to_have_attribute("aria-pressed", "true")
    await new_chat.reload()
    await expect(new_chat.button("Good answer")).to_have_attribute("aria-pressed", "true")
    await new_chat.button("Bad answer").click()
    await expect(new_chat.button("Good answer")).to_have_attribute("aria-pressed", "false")
    await new_chat.button("Bad answer").click()
    await new_chat.reload()
    await expect(new_chat.button("Bad answer")).to_have_attribute("aria-pressed", "false")


async def test_a_message_is_copied_as_it_was_written(new_chat, gemma):
    gemma.answer = ["**Bold** and\n\n```python\nprint(1)\n```"]
    await new_chat.tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await new_chat.ask("First")
    await new_chat.tab.locator(gradio_dom.ANSWER_ROWS).get_by_role("button", name="Copy", exact=True).click()
    await expect(new_chat.toast).to_contain_text("Copied")
    assert await new_chat.tab.evaluate("navigator.clipboard.readText()") == gemma.answer[0]


async def test_code_shows_its_language_and_has_a_copy_button(new_chat, gemma):
    gemma.answer = ["Look:\n\n```python\nif x:\n    print(1)\n```"]
    await new_chat.tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await new_chat.ask("First")
    code = new_chat.answers.locator("pre")
    await expect(code.locator("[class^=hljs]").first).to_be_visible()  # drawn again with its colours
    assert await code.evaluate("pre => getComputedStyle(pre, '::before').content") == '"python"'
    await new_chat.answers.locator(".code-block button").first.click()
    assert (await new_chat.tab.evaluate("navigator.clipboard.readText()")) == "if x:\n    print(1)"


async def test_an_answer_shows_its_tokens_and_times(new_chat):
    await new_chat.ask("First")
    await expect(new_chat.writers).to_have_text(["Gemma3 12b it"])
    for fact in ("Tokens", "first token after", "on this chat's server"):
        await expect(new_chat.facts).to_contain_text(fact)


async def test_a_growing_answer_does_not_scroll_a_reader_further_up(new_chat, gemma):
    gemma.answer = ["\n\n".join(f"Line {number}" for number in range(60))]
    await new_chat.ask("A long one")
    box = new_chat.tab.locator(gradio_dom.SCROLLER)
    await expect(new_chat.answers.last).to_contain_text("Line 59")  # it is drawn after its facts
    assert await _from_end(box) < 3
    gemma.answer, gemma.gate = [f"Word {number}\n\n" for number in range(120)], Gate(21)
    await new_chat.send("Another")
    await expect(new_chat.answers.last).to_contain_text("Word 20")
    assert await _from_end(box) < 60
    await box.evaluate("box => box.scrollTo(0, 100)")
    await expect(new_chat.tab.locator("#to-end")).to_be_visible()
    gemma.gate.release(40)
    await expect(new_chat.answers.last).to_contain_text("Word 60")
    assert abs(await box.evaluate("box => box.scrollTop") - 100) < 2
    await new_chat.tab.locator("#to-end").click()
    gemma.gate.release(40)
    await expect(new_chat.answers.last).to_contain_text("Word 100")
    assert await _from_end(box) < 60


async def _from_end(box):
    # As it is painted: what was added since the last frame is scrolled to in the next one.
    return await box.evaluate("""box => new Promise((resolve) => requestAnimationFrame(() => setTimeout(() =>
        resolve(box.scrollHeight - box.scrollTop - box.clientHeight))))""")


async def test_one_question_is_answered_in_two_columns_and_one_is_chosen(new_chat, gemma, gemini):
    gemma.answer = ["Gemma ", "says ", "so."]
    await new_chat.tab.locator("#compare").click()
    await new_chat.tab.get_by_label("Second model").select_option("gemini")
    await new_chat.tab.get_by_role("dialog").get_by_role("button", name="Compare").click()
    await expect(new_chat.tab.locator("#compared")).to_contain_text("Gemini")
    await new_chat.send("Who is right?")
    await expect(new_chat.answers).to_have_count(2)
    keep = new_chat.button("Choose this answer")
    await expect(keep).to_have_count(2)
    left, right = [await new_chat.tab.locator(f'[data-column="{column}"]').bounding_box() for column in (1, 2)]
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    await new_chat.send("Too early")
    await expect(new_chat.refusal).to_contain_text("Choose one of the two answers")
    await new_chat.reload()
    await expect(keep).to_have_count(2)
    await keep.first.click()
    await expect(new_chat.answers).to_have_text(["Gemma says so."])
    await expect(new_chat.tab.locator(".versions")).to_contain_text("1/2")
    await new_chat.ask("Go on")
    sent = [message["content"] for message in gemma.chats[-1]["messages"]]
    assert sent == ["Who is right?", "Gemma says so.", "Go on"]


async def test_two_temperatures_of_one_model_stream_side_by_side(new_chat, gemma):
    gemma.answer, gemma.gate = [f"word{number} " for number in range(60)], Gate(6)
    await new_chat.tab.locator("#compare").click()
    await new_chat.tab.get_by_label("Second model").select_option("gemma")
    await new_chat.tab.locator(".compare").get_by_label("Temperature").fill("0.2")
    await new_chat.tab.get_by_role("dialog").get_by_role("button", name="Compare").click()
    await new_chat.send("Twice")
    await expect(new_chat.answers).to_have_count(2)
    for column in (0, 1):
        await expect(new_chat.answers.nth(column)).to_contain_text("word5")
    assert {round(chat["temperature"], 2) for chat in gemma.chats[-2:]} == {0.9, 0.2}
    await new_chat.stop_button.click()
    await expect(new_chat.button("Choose this answer")).to_have_count(2)
    await expect(new_chat.facts.first).to_contain_text("temperature")


async def test_a_very_long_conversation_shows_its_end_and_loads_the_rest_on_demand(new_chat):
    await new_chat.open_imported(30)
    await expect(new_chat.questions.last).to_have_text("Question 29")
    await expect(new_chat.questions).to_have_count(25)
    await new_chat.button("Show earlier messages").click()
    await expect(new_chat.questions).to_have_count(30)
    await expect(new_chat.questions.first).to_have_text("Question 0")
    await expect(new_chat.button("Show earlier messages")).to_have_count(0)


async def test_buttons_that_need_a_finished_answer_explain_it(new_chat, gemma):
    await new_chat.ask("First")
    gemma.answer, gemma.gate = [f"word{number} " for number in range(400)], Gate(3)
    await new_chat.send("Second")
    await expect(new_chat.answers.last).to_contain_text("word1")
    good = new_chat.button("Good answer")
    await expect(good).to_have_attribute("aria-disabled", "true")
    await good.click(force=True)
    await expect(new_chat.toast).to_contain_text("An answer is being written.")
    await expect(new_chat.refusal).to_be_empty()
    await new_chat.stop_button.click()
    await expect(good.first).to_have_attribute("aria-disabled", "false")
    await good.first.click()
    await expect(good.first).to_have_attribute("aria-pressed", "true")


async def test_thinking_is_folded_and_stays_open_while_it_grows(new_chat, gemma):
    gemma.answer = ["<think>", "First ", "<b>I</b> ", "think.", "</think>", "It is ", "Tuesday."]
    gemma.gate = Gate(3)
    await new_chat.send("Which day is it?")
    thinking = new_chat.tab.locator("#messages .thinking")
    await expect(thinking.locator("summary")).to_have_text("Thinking…")
    await expect(thinking.locator("div")).to_be_hidden()
    await thinking.locator("summary").click()
    await expect(thinking.locator("div")).to_have_text("First <b>I</b>")  # as text, not as markup
    gemma.gate.open()
    await expect(new_chat.answers).to_have_text(["It is Tuesday."])
    await expect(thinking.locator("div")).to_have_text("First <b>I</b> think.")
    await expect(thinking.locator("summary")).to_have_text("Thinking")
    await new_chat.reload()
    await expect(thinking.locator("summary")).to_have_text("Thinking")
    await expect(thinking.locator("div")).to_be_hidden()
    await expect(new_chat.answers).to_have_text(["It is Tuesday."])


async def test_words_in_a_table_stay_whole_and_a_wide_table_is_scrolled(open_chat, chat, gemma):
    page = await open_chat(chat.url, width=360)
    row = "| " + "extraordinary | " * 6
    gemma.answer = [f"{row}\n{'|---' * 6}|\n{row}\n"]
    await page.ask("A table")
    table = page.answers.locator("table")
    lines = await table.evaluate("""(table) => [...table.querySelectorAll("th, td")].map((cell) => {
      const range = document.createRange();
      range.selectNodeContents(cell);
      return new Set([...range.getClientRects()].map(({ top }) => top)).size;
    })""")
    assert lines == [1] * 12
    assert await table.evaluate("table => table.scrollWidth > table.clientWidth")
    assert not await page.is_wider_than_the_screen()
    assert await page.accessibility_problems() == []
