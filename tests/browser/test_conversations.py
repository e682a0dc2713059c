"""The list of conversations, search, temporary chats, export and deletion, in Chromium."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.fakes.gate import Gate

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_the_list_is_grouped_by_day_and_marks_the_open_conversation_which_is_renamed_there(new_chat):
    await new_chat.ask("First")
    await expect(new_chat.tab.locator("#conversations h2")).to_have_text(["Today"])
    await expect(new_chat.tab.locator("#conversations [aria-current=page]")).to_have_text("First")
    await expect(new_chat.title).to_have_text("First")
    await expect(new_chat.tab).to_have_title("First · Hybrid chat")
    await new_chat.open_menu("First")
    await new_chat.choose("Rename")
    await new_chat.tab.get_by_label("Title").fill("Something else")
    await new_chat.tab.get_by_label("Title").press("Escape")
    await expect(new_chat.conversations).to_have_text(["First"])
    await new_chat.open_menu("First")
    await new_chat.choose("Rename")
    await new_chat.tab.get_by_label("Title").fill("Something better")
    await new_chat.tab.get_by_label("Title").press("Enter")
    await expect(new_chat.conversations).to_have_text(["Something better"])
    await expect(new_chat.title).to_have_text("Something better")
    await new_chat.reload()
    await expect(new_chat.conversations).to_have_text(["Something better"])


async def test_pinned_conversations_stand_first(new_chat):
    await new_chat.ask("First")
    await new_chat.start_new()
    await new_chat.ask("Second")
    await new_chat.open_menu("First")
    await new_chat.choose("Pin")
    await expect(new_chat.conversations).to_have_text(["First", "Second"])
    await new_chat.reload()
    await expect(new_chat.tab.locator("#conversations h2")).to_have_text(["Pinned", "Today"])
    await expect(new_chat.conversations).to_have_text(["First", "Second"])
    await new_chat.open_menu("First")
    await new_chat.choose("Unpin")
    await expect(new_chat.conversations).to_have_text(["Second", "First"])


async def test_archived_conversations_are_listed_apart(new_chat):
    await new_chat.ask("First")
    await new_chat.start_new()
    await new_chat.ask("Second")
    await new_chat.open_menu("First")
    await new_chat.choose("Archive")
    listed = new_chat.tab.locator("#conversations nav > ul a")
    await expect(listed).to_have_text(["Second"])
    await new_chat.reload()
    await expect(listed).to_have_text(["Second"])
    await new_chat.tab.get_by_text("Archived", exact=True).click()
    archived = new_chat.tab.locator("#conversations details li")
    await expect(archived).to_have_count(1)
    await archived.get_by_role("link").click()
    await expect(new_chat.questions).to_have_text(["First"])
    await archived.hover()
    await archived.get_by_role("button").click()
    await new_chat.choose("Unarchive")
    await expect(listed).to_have_count(2)


async def test_a_deletion_can_be_undone_for_a_moment_and_stays(new_chat):
    await new_chat.ask("First")
    address = new_chat.tab.url
    await new_chat.open_menu("First")
    await new_chat.choose("Delete")
    await expect(new_chat.conversations).to_have_count(0)
    await expect(new_chat.questions).to_have_count(0)
    await expect(new_chat.toast).to_contain_text("Deleted: First")
    await new_chat.button("Undo").click()
    await expect(new_chat.conversations).to_have_text(["First"])
    await expect(new_chat.questions).to_have_text(["First"])
    await new_chat.reload()
    await expect(new_chat.conversations).to_have_text(["First"])
    await new_chat.open_menu("First")
    await new_chat.choose("Delete")
    await expect(new_chat.toast).to_contain_text("Deleted")
    await new_chat.open(address)
    await expect(new_chat.refusal).to_contain_text("does not exist")
    await expect(new_chat.conversations).to_have_count(0)


async def test_a_search_result_opens_at_its_message(new_chat, gemma):
    gemma.answer = ["The capital of Mongolia is Ulaanbaatar."]
    await new_chat.ask("A question about geography")
    gemma.answer = ["Something else."]
    await new_chat.start_new()
    await new_chat.ask("Another question")
    search = new_chat.tab.locator("#search").get_by_role("textbox")
    await search.fill("ulaanb")
    hits = new_chat.tab.locator("#conversations .hits li")
    await expect(hits).to_have_count(1)
    await expect(hits).to_contain_text("A question about geography")
    await expect(hits.locator("mark")).to_have_text("Ulaanb")
    await hits.get_by_role("link").click()
    await expect(new_chat.questions).to_have_text(["A question about geography"])
    await expect(new_chat.tab.locator("#messages .found")).to_contain_text("Ulaanbaatar")
    await search.fill("no such word")
    await expect(new_chat.tab.locator("#conversations")).to_contain_text("No results")
    await search.fill("")
    await expect(new_chat.conversations).to_have_count(2)


async def test_a_search_reads_the_models_thinking_only_where_it_is_asked_to(new_chat, gemma):
    gemma.answer = ["<think>Penguins do not fly.</think>", "They swim."]
    await new_chat.ask("How do they travel?")
    await new_chat.tab.locator("#search").get_by_role("textbox").fill("penguins")
    await expect(new_chat.tab.locator("#conversations")).to_contain_text("No results")
    option = new_chat.tab.get_by_label("Search the models' thinking, too")
    await option.check()
    hits = new_chat.tab.locator("#conversations .hits li")
    await expect(hits.locator("mark")).to_have_text("Penguins")
    await hits.get_by_role("link").click()
    await expect(new_chat.tab.locator("#messages .found details[open]")).to_contain_text("Penguins do not fly.")
    await option.uncheck()


async def test_a_temporary_chat_is_not_stored(new_chat):
    await new_chat.tab.locator("#temporary").click()
    await expect(new_chat.tab.locator("#privacy")).to_contain_text("never stored")
    await new_chat.ask("A secret")
    await new_chat.ask("And more of it")
    await expect(new_chat.conversations).to_have_count(0)
    await new_chat.tab.locator("#search").get_by_role("textbox").fill("secret")
    await expect(new_chat.tab.locator("#conversations")).to_contain_text("No results")
    await new_chat.tab.locator("#search").get_by_role("textbox").fill("")
    everything = await new_chat.tab.evaluate("""fetch('export/everything.json', {
            method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}',
        }).then((answer) => answer.json())""")
    assert everything["conversations"] == []
    await new_chat.start_new()
    await expect(new_chat.conversations).to_have_count(0)


async def test_a_link_opens_a_conversation_and_back_and_forward_move_between_them(new_chat):
    await new_chat.ask("First")
    first = new_chat.tab.url
    assert re.search("/c/[0-9a-f]{32}$", first)
    await new_chat.start_new()
    await new_chat.ask("Second")
    await new_chat.tab.go_back()
    await expect(new_chat.questions).to_have_text(["First"])
    await new_chat.tab.go_forward()
    await expect(new_chat.questions).to_have_text(["Second"])
    await new_chat.open(first)
    await expect(new_chat.questions).to_have_text(["First"])


async def test_another_user_cannot_open_the_link(new_chat, open_chat, chat):
    await new_chat.ask("First")
    other = await open_chat(chat.url, new_chat.tab.url)
    await expect(other.refusal).to_contain_text("does not exist")
    await expect(other.questions).to_have_count(0)


async def test_a_conversation_is_exported_as_markdown_and_json(new_chat):
    await new_chat.ask("First")
    found = {}
    for action in ("Download as Markdown", "Download as JSON"):
        await new_chat.tab.locator("#more").click()
        async with new_chat.tab.expect_download() as download:
            await new_chat.choose(action)
        path = Path(await (await download.value).path())
        found[action] = await asyncio.to_thread(path.read_text)
    assert "Hello from Gemma." in found["Download as Markdown"]
    assert json.loads(found["Download as JSON"])["conversations"][0]["title"] == "First"


async def test_everything_can_be_done_by_keyboard(new_chat, gemma):
    await new_chat.ask("First")
    await new_chat.tab.keyboard.press("Control+Shift+O")
    await expect(new_chat.questions).to_have_count(0)
    await expect(new_chat.box).to_be_focused()
    await new_chat.tab.keyboard.press("Control+K")
    await new_chat.tab.keyboard.type("First")
    await expect(new_chat.tab.locator("#conversations .hits li")).to_have_count(1)
    await new_chat.tab.keyboard.press("Tab")
    await new_chat.tab.keyboard.press("Enter")
    await expect(new_chat.questions).to_have_text(["First"])
    await new_chat.tab.locator("#header h1").click()
    await new_chat.tab.keyboard.press("/")
    await expect(new_chat.box).to_be_focused()
    gemma.answer, gemma.gate = [f"word{number} " for number in range(200)], Gate(5)
    await new_chat.tab.keyboard.type("Write")
    await new_chat.tab.keyboard.press("Enter")
    await expect(new_chat.answers.last).to_contain_text("word3")
    await new_chat.tab.keyboard.press("Escape")
    await expect(new_chat.facts.last).to_contain_text("stopped")


async def test_a_menu_is_walked_through_with_the_arrow_keys(new_chat):
    await new_chat.ask("First")
    await new_chat.tab.locator("#more").focus()
    await new_chat.tab.keyboard.press("Enter")
    await expect(new_chat.tab.get_by_role("menuitem", name="Rename")).to_be_focused()
    await new_chat.tab.keyboard.press("ArrowDown")
    await expect(new_chat.tab.get_by_role("menuitem", name="Pin")).to_be_focused()
    await new_chat.tab.keyboard.press("ArrowUp")
    await new_chat.tab.keyboard.press("ArrowUp")
    await expect(new_chat.tab.get_by_role("menuitem", name="Delete")).to_be_focused()
    await new_chat.tab.keyboard.press("Escape")
    await expect(new_chat.tab.get_by_role("menu")).to_have_count(0)
    await expect(new_chat.tab.locator("#more")).to_be_focused()


async def test_a_change_is_shown_at_once_and_reverted_if_the_server_rejects_it(new_chat):
    await new_chat.ask("First")
    held = asyncio.Event()

    async def hold(route):
        if route.request.method == "PATCH":
            await held.wait()
            await route.fulfill(status=503, json={"error": "Not now."})
        else:
            await route.continue_()

    await new_chat.tab.route("**/conversations/*", hold)
    await new_chat.open_menu("First")
    await new_chat.choose("Pin")
    await new_chat.open_menu("First")
    await expect(new_chat.tab.get_by_role("menuitem", name="Unpin", exact=True)).to_be_visible()
    await new_chat.tab.keyboard.press("Escape")
    held.set()
    await expect(new_chat.refusal).to_have_text("Not now.")
    await new_chat.open_menu("First")
    await expect(new_chat.tab.get_by_role("menuitem", name="Pin", exact=True)).to_be_visible()
    await new_chat.tab.keyboard.press("Escape")


@pytest.mark.parametrize(
    ("locale", "width", "text"),
    [
        ("en-US", 1280, "הסבר בבקשה בחמישה משפטים קצרים איך פועל חיסון"),
        ("he-IL", 360, "Please explain in five short sentences how a vaccine works"),
    ],
)
async def test_a_long_title_of_the_other_direction_is_cut_at_its_end(open_chat, chat, locale, width, text):
    page = await open_chat(chat.url, locale=locale, width=width)
    await page.send(text)
    await expect(page.answers).to_have_text(["Hello from Gemma."])
    for title in (page.tab.locator("#header h1 > bdi"), page.conversations.first.locator("bdi")):
        await expect(title).to_contain_text(text[:10])
        assert await title.evaluate("""(title) => {
          const range = document.createRange();
          range.setStart(title.firstChild, 0);
          range.setEnd(title.firstChild, 1);
          const [first, box] = [range.getBoundingClientRect(), title.parentElement.getBoundingClientRect()];
          return first.left >= box.left && first.right <= box.right;
        }""")
        assert await title.evaluate("({ clientWidth, parentElement }) => clientWidth <= parentElement.clientWidth")
