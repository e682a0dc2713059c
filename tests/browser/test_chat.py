"""Questions, answers and the message box, in Chromium."""

import asyncio
import contextlib
import json
import re
import signal
import sqlite3
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser import gradio_dom
from tests.browser.chat_page import ChatPage
from tests.fakes.gate import Gate
from tests.serving import running_chat

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
]

MANY_WORDS = [f"word{number} " for number in range(400)]
HEBREW = """שלום! הנה טקסט עם code ורשימה:

- `code` פותח פריט
- פריט שני

```python
print(1)
```

The end in English."""


async def test_a_question_is_answered_and_the_box_is_ready_for_the_next(new_chat):
    await new_chat.send("Who are you?")
    await expect(new_chat.answers).to_have_text(["Hello from Gemma."])
    await expect(new_chat.questions).to_have_text(["Who are you?"])
    await expect(new_chat.writers).to_have_text(["Gemma3 12b it"])
    await expect(new_chat.box).to_have_value("")
    await expect(new_chat.send_button).to_be_visible()
    await expect(new_chat.conversations).to_have_text(["Who are you?"])


async def test_stop_keeps_the_streamed_text(new_chat, gemma):
    gemma.answer, gemma.gate = MANY_WORDS, Gate(10)
    await new_chat.send("Write a lot")
    partial_answer = "".join(MANY_WORDS[:10])
    await expect(new_chat.answers).to_have_text(partial_answer)
    await expect(new_chat.facts).to_contain_text("Writing")
    await new_chat.stop_button.click()
    await expect(new_chat.facts).to_contain_text("stopped")
    await expect(new_chat.send_button).to_be_visible()
    await expect(new_chat.answers).to_have_text(partial_answer)
    await new_chat.tab.reload()
    await expect(new_chat.answers).to_have_text(partial_answer)


async def test_switching_the_model_keeps_the_conversations_history(new_chat, gemini):
    await new_chat.send("My name is Ruth.")
    await expect(new_chat.answers).to_have_count(1)
    await new_chat.choose_model("Gemini")
    await new_chat.send("What is my name?")
    await expect(new_chat.answers).to_have_count(2)
    await expect(new_chat.writers.nth(1)).to_have_text("Gemini")
    await expect(new_chat.facts.nth(1)).to_contain_text("first token")
    asked = str(gemini.streams()[-1].body)
    assert "My name is Ruth." in asked
    assert "Hello from Gemma." in asked


async def test_the_last_of_several_quickly_clicked_conversations_is_shown(new_chat):
    for name in ("First", "Second", "Third"):
        await new_chat.ask(name)
        await new_chat.start_new()

    async def slowly(route):
        await asyncio.sleep(0.3)
        await route.continue_()

    await new_chat.tab.route("**/events*", slowly)  # a slow line
    for name in ("First", "Second", "Third", "First", "Second"):
        await new_chat.conversations.filter(has_text=name).click()
    await expect(new_chat.questions).to_have_text(["Second"])
    await new_chat.tab.wait_for_timeout(1500)  # nothing that was on its way may come after
    await expect(new_chat.questions).to_have_text(["Second"])
    await expect(new_chat.tab.locator("#conversations li.open")).to_have_text(["Second"])


async def test_an_answer_continues_in_its_conversation_while_another_is_open(new_chat, gemma):
    slow = Gate(3)
    gemma.answer, gemma.gate = [f"slow{number} " for number in range(100)], slow
    await new_chat.send("Slow")
    await expect(new_chat.answers).to_contain_text("slow2")
    await new_chat.start_new()
    gemma.answer, gemma.gate = ["Quick."], None
    await new_chat.send("Fast")
    await expect(new_chat.answers).to_have_text(["Quick."])
    await new_chat.conversations.filter(has_text="Slow").click()
    await expect(new_chat.facts).to_contain_text("Writing")
    await new_chat.conversations.filter(has_text="Fast").click()
    await expect(new_chat.answers).to_have_text(["Quick."])
    await new_chat.conversations.filter(has_text="Slow").click()
    await expect(new_chat.facts).to_contain_text("Writing")
    slow.open()
    await expect(new_chat.answers).to_contain_text("slow99")
    await expect(new_chat.questions).to_have_text(["Slow"])


async def test_a_rejected_message_stays_in_the_box_with_the_reason(new_chat, gemma):
    gemma.answer, gemma.gate = MANY_WORDS, Gate(5)
    await new_chat.send("One")
    await expect(new_chat.answers).to_contain_text("word1")
    await new_chat.send("Two, too early")
    await expect(new_chat.refusal).to_contain_text("still being written")
    await expect(new_chat.box).to_have_value("Two, too early")
    await expect(new_chat.questions).to_have_text(["One"])
    await new_chat.stop_button.click()
    await expect(new_chat.send_button).to_be_visible()
    await expect(new_chat.box).to_have_value("Two, too early")


async def test_hebrew_reads_right_to_left_and_code_left_to_right(new_chat, gemma):
    gemma.answer = [HEBREW]
    await new_chat.box.fill("מה שלומך היום?")
    assert await new_chat.direction(new_chat.box) == "rtl"
    await new_chat.box.press("Enter")
    await expect(new_chat.answers).to_contain_text("The end in English.")
    bidi = await new_chat.questions.locator(".as-written").evaluate("element => getComputedStyle(element).unicodeBidi")
    assert bidi == "plaintext"  # each line has its own direction
    assert await new_chat.direction(new_chat.answers.locator("p").first) == "rtl"
    assert await new_chat.direction(new_chat.answers.locator("ul")) == "rtl"
    assert await new_chat.direction(new_chat.answers.locator("pre")) == "ltr"
    assert await new_chat.direction(new_chat.answers.locator("p").last) == "ltr"
    text = await new_chat.answers.locator("p").first.bounding_box()
    answer = await new_chat.answers.bounding_box()
    assert text["x"] + text["width"] >= answer["x"] + answer["width"] - 20
    alignment = await new_chat.answers.locator("li").first.evaluate("element => getComputedStyle(element).textAlign")
    assert alignment == "start"
    assert await new_chat.direction(new_chat.conversations.first.locator("bdi")) == "rtl"


async def test_parameters_and_system_prompt_reach_the_model_and_come_back(page, gemma):
    await page.tab.get_by_role("button", name="Answer settings").click()
    await page.tab.locator("#system-prompt textarea").fill("You are a pirate.")
    await page.tab.get_by_label("Max tokens, as a number").fill("55")
    await page.tab.get_by_label("Max tokens, as a number").press("Tab")
    await page.send("Ahoy")
    await expect(page.answers).to_have_count(1)
    request = gemma.chats[-1]
    assert request["max_tokens"] == 55
    assert request["messages"][0]["content"] == "You are a pirate."
    await page.tab.reload()
    await page.tab.get_by_role("button", name="Answer settings").click()
    await expect(page.tab.locator("#system-prompt textarea")).to_have_value("You are a pirate.")


async def test_on_a_phone_the_sidebar_is_a_drawer_and_nothing_is_wider_than_the_screen(open_chat, chat, gemma):
    gemma.answer = ["A very long line of code:\n\n```\n" + "x" * 500 + "\n```\n" + "y" * 300]
    page = await open_chat(chat.url, width=360, height=740, locale="he-IL", has_touch=True, is_mobile=True)
    drawer = page.tab.locator(gradio_dom.SIDEBAR)
    await expect(drawer).not_to_have_class(re.compile(r"\bopen\b"))
    await page.box.fill("שלום")
    await page.send_button.click()  # Enter makes a line on a phone
    await expect(page.answers).to_contain_text("yyy")
    assert not await page.is_wider_than_the_screen()
    await page.tab.locator(gradio_dom.SIDEBAR_BUTTON).click()
    await expect(drawer).to_have_class(re.compile(r"\bopen\b"))
    await page.tab.locator("#new-chat").click()
    await expect(drawer).not_to_have_class(re.compile(r"\bopen\b"))
    await expect(page.box).to_be_in_viewport()


async def test_after_kill_9_during_an_answer_the_text_is_stored_and_marked_interrupted(open_chat, gemma, tmp_path):
    gemma.answer, gemma.gate = MANY_WORDS, Gate(161)
    settings = {"CHAT_GEMMA_URL": gemma.url, "CHAT_EMBEDDED_MODEL": "false"}
    async with running_chat(tmp_path, **settings) as chat:
        page = await open_chat(chat.url)
        await page.send("Write a lot")
        await expect(page.answers).to_contain_text("word160")
        await _checkpoint(tmp_path / "data/chat.db", "word160")
        await chat.end(signal.SIGKILL)
        await chat.start()
        await page.tab.reload()
        await expect(page.questions).to_have_text(["Write a lot"])
        await expect(page.answers).to_contain_text("word160")
        await expect(page.notes).to_contain_text("restarted")
        await expect(page.send_button).to_be_visible()
        gemma.answer, gemma.gate = ["And on."], None
        await page.continue_button.click()
        await expect(page.answers).to_contain_text("And on.")
        await expect(page.answers).to_contain_text("word160")
        await expect(page.notes).to_have_count(0)


async def _checkpoint(file, text):
    """Wait until a growing answer is stored as far as this text, which takes some seconds."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        while not database.execute("SELECT 1 FROM messages WHERE instr(content, ?)", (text,)).fetchall():
            await asyncio.sleep(0.1)


async def test_an_open_page_works_after_a_restart_of_the_server(open_chat, gemma, tmp_path):
    settings = {"CHAT_GEMMA_URL": gemma.url, "CHAT_EMBEDDED_MODEL": "false"}
    async with running_chat(tmp_path, **settings) as chat:
        page = await open_chat(chat.url)
        await page.ask("Before")
        await page.box.fill("Half a thought")
        await chat.end()
        await chat.start()  # nothing was sent meanwhile: the page shows no error
        await expect(page.questions).to_have_text(["Before"])
        await expect(page.box).to_have_value("Half a thought")
        await page.ask("Half a thought")
        await chat.end()
        await page.send("While it is down")
        await expect(page.refusal).to_contain_text("unreachable")
        await expect(page.box).to_have_value("While it is down")
        await chat.start()  # the page sends it again by itself
        await expect(page.questions).to_have_text(["Before", "Half a thought", "While it is down"])
        await expect(page.box).to_have_value("")
        await expect(page.answers).to_have_count(3)
        await expect(page.refusal).to_be_hidden()
        await page.tab.reload()
        await expect(page.questions).to_have_text(["Before", "Half a thought", "While it is down"])


@pytest.mark.parametrize("taken", [True, False])
async def test_a_message_whose_response_is_lost_is_stored_once(new_chat, gemma, taken):
    lost = []

    async def lose_the_reply(route):
        lost.append(route.request.url)
        if len(lost) > 2:
            await route.continue_()
            return
        if taken:
            await route.fetch()
        await route.abort()

    await new_chat.tab.route("**/conversations", lose_the_reply)
    await new_chat.send("Once, please")
    await expect(new_chat.answers).to_have_text(["Hello from Gemma."])
    await expect(new_chat.questions).to_have_text(["Once, please"])
    await expect(new_chat.conversations).to_have_text(["Once, please"])
    await expect(new_chat.box).to_have_value("")
    await new_chat.tab.reload()
    await expect(new_chat.questions).to_have_text(["Once, please"])
    assert len(lost) == 3


async def test_text_typed_before_the_last_message_was_accepted_stays_in_the_box(new_chat):
    may_go, asked = asyncio.Event(), []

    async def hold(route):
        asked.append(route.request.url)
        await may_go.wait()
        await route.continue_()

    await new_chat.tab.route("**/conversations", hold)
    await new_chat.send("First")
    await new_chat.box.press("Enter")
    await new_chat.box.press_sequentially("Second")
    may_go.set()
    await expect(new_chat.box).to_have_value("Second")
    await expect(new_chat.answers).to_have_count(1)
    await expect(new_chat.stop_button).to_be_hidden()
    await new_chat.box.press("Enter")
    await expect(new_chat.questions).to_have_text(["First", "Second"])
    await expect(new_chat.box).to_have_value("")
    assert len(asked) == 1


async def test_text_in_the_box_survives_a_reload(new_chat):
    await new_chat.box.fill("Not sent yet")
    await new_chat.tab.reload()
    await expect(new_chat.box).to_have_value("Not sent yet")


async def test_a_stream_reconnects_after_the_connection_was_lost(new_chat, gemma):
    gemma.answer, gemma.gate = [f"{number} " for number in range(60)], Gate(5)
    lost = []

    async def lose_the_line(route):
        lost.append(route.request.url)
        if len(lost) <= 2:
            await route.abort()
        else:
            await route.continue_()

    await new_chat.tab.route("**/events*", lose_the_line)
    await new_chat.send("Count")
    await expect(new_chat.answers).to_contain_text("3")
    await new_chat.tab.reload()  # what the reload asks for is lost twice
    await expect(new_chat.refusal).to_contain_text("Reconnecting")
    await expect(new_chat.stop_button).to_be_visible()
    gemma.gate.open()
    await expect(new_chat.answers).to_contain_text("58 59")
    await expect(new_chat.refusal).to_be_hidden()
    await expect(new_chat.send_button).to_be_visible()


async def test_all_data_is_exported_and_deleted(page):
    for name in ("First", "Second"):
        await page.ask(name)
        await page.start_new()
    await page.tab.get_by_role("button", name="Settings and data").click()
    found = {}
    for link in ("Download all conversations (Markdown)", "Download all data (JSON)"):
        async with page.tab.expect_download() as download:
            await page.button(link).click()
        path = Path(await (await download.value).path())
        found[link] = await asyncio.to_thread(path.read_bytes)
    assert found["Download all conversations (Markdown)"].startswith(b"PK")
    everything = json.loads(found["Download all data (JSON)"])
    assert {one["title"] for one in everything["conversations"]} == {"First", "Second"}
    await page.button("Delete everything").click()
    await page.button("Cancel").click()
    await expect(page.conversations).to_have_count(2)
    await page.button("Delete everything").first.click()
    await page.tab.locator("dialog.ask").get_by_role("button", name="Delete everything").click()
    await page.is_ready()
    await expect(page.conversations).to_have_count(0)


async def test_two_windows_on_one_conversation_show_the_same(new_chat, gemma):
    await new_chat.send("First")
    await expect(new_chat.facts).to_contain_text("first token")
    other = ChatPage(await new_chat.tab.context.new_page(), new_chat.url, new_chat.problems)
    await other.open(new_chat.tab.url)
    await expect(other.questions).to_have_text(["First"])
    gemma.answer, gemma.gate = [f"{number} " for number in range(40)], Gate(10)
    await new_chat.send("Second")
    await expect(other.questions).to_have_text(["First", "Second"])
    shown = ["Hello from Gemma.", "0 1 2 3 4 5 6 7 8 9"]
    await expect(other.answers).to_have_text(shown)
    await expect(other.facts.last).to_contain_text("Writing")
    await other.send("Third, too early")
    await expect(other.refusal).to_contain_text("still being written")
    await expect(other.box).to_have_value("Third, too early")
    await other.stop_button.click()
    for window in (new_chat, other):
        await expect(window.facts.last).to_contain_text("stopped")
        await expect(window.send_button).to_be_visible()
        await expect(window.answers).to_have_text(shown)  # it is drawn after its facts
    await other.tab.close()


async def test_an_answer_streams_to_another_device_too(page, open_chat, chat, gemma):
    gemma.answer, gemma.gate = [f"{number} " for number in range(150)], Gate(5)
    await page.send("Count")
    await expect(page.answers).to_contain_text("3")
    await page.tab.wait_for_url(re.compile("/c/"))
    address, cookies = page.tab.url, await page.tab.context.cookies()
    await page.tab.close()
    device = await open_chat(chat.url, address, cookies=cookies, width=400)
    await expect(device.facts).to_contain_text("Writing")
    gemma.gate.open()
    await expect(device.answers).to_contain_text("148 149")
    await expect(device.questions).to_have_text(["Count"])


async def test_a_stopped_answer_is_continued_in_its_place(new_chat, gemma):
    gemma.answer, gemma.gate = [f"one{number} " for number in range(100)], Gate(5)
    await new_chat.send("Count")
    await expect(new_chat.answers).to_contain_text("one3")
    await expect(new_chat.continue_button).to_be_hidden()
    await new_chat.stop_button.click()
    await expect(new_chat.continue_button).to_be_visible()
    gemma.answer, gemma.gate = ["and on."], None
    await new_chat.continue_button.click()
    await expect(new_chat.answers).to_contain_text("and on.")
    await expect(new_chat.answers).to_contain_text("one3")
    await expect(new_chat.questions).to_have_text(["Count"])
    await expect(new_chat.continue_button).to_be_hidden()
    asked = gemma.chats[-1]["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant", "user"]
    whole = await new_chat.answers.inner_text()
    await new_chat.tab.reload()
    await expect(new_chat.answers).to_have_text([whole])


async def test_with_nothing_set_up_the_demo_model_answers_and_the_conversation_survives_a_reload(open_chat, tmp_path):
    async with running_chat(tmp_path) as chat:
        page = await open_chat(chat.url)
        await expect(page.model).to_contain_text("SmolLM2")
        await expect(page.tab.locator("#welcome .examples button").nth(1)).to_contain_text("reverses a string")
        await page.tab.get_by_role("button", name="Answer settings").click()
        await page.tab.get_by_label("Max tokens, as a number").fill("12")
        await page.send("What is the opposite of hot?")
        await expect(page.facts).to_contain_text("first token")
        answer = await page.answers.inner_text()
        assert len(answer) > 5
        await expect(page.tab.locator(".demo-note")).to_contain_text("a tiny model to try the page with")
        await page.tab.reload()
        await expect(page.answers).to_have_text([answer])
        await page.send("And of big?")
        await expect(page.facts).to_have_count(2)
        await expect(page.facts.last).to_contain_text("first token")
        await expect(page.tab.locator(".demo-note")).to_have_count(1)  # above the first answer only
        await page.choose_model("Gemini")
        await expect(page.notices).to_contain_text("GOOGLE_CLOUD_PROJECT")
        await page.send("Not set up")
        await expect(page.refusal).to_contain_text("not set up")
        await expect(page.box).to_have_value("Not set up")


async def test_a_conversation_that_went_on_at_another_device_keeps_the_text_in_the_box(new_chat, open_chat):
    await new_chat.ask("First")
    cookies = await new_chat.tab.context.cookies()
    device = await open_chat(new_chat.url, new_chat.tab.url, cookies=cookies)
    await expect(device.answers).to_have_count(1)
    await new_chat.ask("Second")
    await device.tab.route("**/events?**", lambda route: route.abort())  # it does not hear of that while typing
    await device.send("Mine")
    await expect(device.refusal).to_contain_text("went on in another window or on another device")
    await expect(device.box).to_have_value("Mine")
    await expect(device.questions).to_have_text(["First", "Second"])
    await device.tab.unroute("**/events?**")
    await device.box.press("Enter")
    await expect(device.questions).to_have_text(["First", "Second", "Mine"])
    await expect(device.box).to_have_value("")
    await expect(device.facts.last).to_contain_text("first token")
