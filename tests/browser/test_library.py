"""Collections of documents ("Knowledge") and folders of conversations in the page."""

import asyncio
import re

import pytest
from playwright.async_api import expect

from chatapp.http import assets as page_files
from tests.browser import gradio_dom
from tests.browser.chat_page import ChatPage
from tests.browser.test_documents import DROP_FOLDER, LEASE, NOTICE, RENT, file, prompt_of

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def new_collection(page, say, name):
    """Make a collection, in the dialog that is open; it is shown when this returns."""
    dialog = page.tab.locator("#knowledge")
    await dialog.get_by_label(say("Name of the new collection")).fill(name)
    await dialog.get_by_role("button", name=say("New collection")).click()
    await expect(dialog.locator("h2")).to_have_text(name)


def say_english(text):
    return text


async def test_a_collection_is_filled_chosen_asked_and_cited(page, chat, gemma, problems):
    dialog, chip, note = (page.tab.locator(name) for name in ("#knowledge", "#collection", "#documents-note"))
    rows, refusals = dialog.locator(".rows > li"), dialog.locator(".refusals li")
    await page.button("Knowledge").click()
    await new_collection(page, say_english, "Lease")
    await page.tab.evaluate(
        DROP_FOLDER,
        ["all", [["a.txt", RENT], ["more", [["a.txt", "Another one."], ["broken.pdf", "%PDF-1.4 no"], [".x", "no"]]]]],
    )
    await expect(rows.locator("bdi")).to_have_text(["a.txt", "more - a.txt"])
    await expect(refusals).to_have_count(1)
    await expect(refusals).to_contain_text("broken.pdf is damaged or incomplete")
    await expect(dialog).to_contain_text("Documents: 2 of at most 100")

    # A restart, during which a proxy responds, and a rate limit are waited for; what is stopped is counted.
    uploads = []

    async def upload(route):
        uploads.append(route.request.url)
        if len(uploads) == 1:
            await route.fulfill(status=502, body="<h1>Bad gateway</h1>", content_type="text/html")
        elif len(uploads) == 2:
            error = {"text": "Busy.", "template": "Busy.", "values": {}}
            await route.fulfill(status=429, json={"error": error}, headers={"retry-after": "1"})
        elif "lease.pdf" in route.request.url:
            await route.continue_()

    await page.tab.route(re.compile(r"/documents\?"), upload)
    added = [file("lease.pdf", LEASE), file("c.txt", b"Words."), file("d.txt", b"Words.")]
    async with page.tab.expect_request(lambda request: "c.txt" in request.url):
        await dialog.locator("input[multiple]").set_input_files(added)
    await expect(dialog).to_contain_text("Reading 2 of 3: c.txt")
    await dialog.get_by_role("button", name="Stop").click()
    await expect(refusals).to_have_text(["Documents not added: 2. Add them again to go on."])
    assert len(uploads) == 4
    await page.tab.unroute_all()
    await expect(rows.locator("bdi")).to_have_text(["a.txt", "lease.pdf", "more - a.txt"])
    assert await page.accessibility_problems() == []

    await dialog.get_by_role("button", name="Remove more - a.txt").click()
    await page.tab.locator("dialog.ask").get_by_role("button", name="Remove").click()
    await expect(rows).to_have_count(2)
    await rows.filter(has_text="a.txt").locator("input").set_input_files([file("b.txt", b"Something else.")])
    await expect(rows.locator("bdi")).to_have_text(["b.txt", "lease.pdf"])
    await rows.filter(has_text="lease.pdf").locator("button.open").click()
    await expect(page.tab.locator("#document")).to_contain_text(NOTICE)
    await page.tab.keyboard.press("Escape")

    await dialog.get_by_role("button", name="Use in this conversation").click()
    await expect(dialog).to_have_count(0)
    await expect(chip).to_contain_text("Knowledge: Lease")
    await expect(note).to_have_text("The text of your documents goes to Gemma3 12b it (on this chat's server).")
    gemma.answer = [f'It says "{NOTICE}" and "nothing of this".']
    await page.ask("When does it end?")
    assert RENT in prompt_of(gemma)
    citation = page.answers.locator(".citation button")
    await expect(citation).to_have_accessible_name("Source 1: lease.pdf, Page 2")
    await citation.click()
    await expect(page.tab.locator("#document mark")).to_have_text(NOTICE)
    await page.tab.keyboard.press("Escape")

    # The conversation keeps its collection until it is taken away, from the menu or the chip.
    await page.reload()
    await expect(chip).to_contain_text("Knowledge: Lease")
    await page.button("Stop using Lease").click()
    await expect(chip).to_be_empty()
    await page.button("Add images and documents").click()
    await page.choose("Knowledge")
    await page.tab.get_by_role("menuitemradio", name="Lease").click()
    await expect(chip).to_contain_text("Knowledge: Lease")

    await chip.get_by_role("button", name="Knowledge: Lease").click()
    await dialog.get_by_role("button", name="All collections").click()
    await dialog.get_by_role("button", name="Rename Lease").click()
    await page.tab.keyboard.press("Escape")
    await expect(dialog.get_by_label("Name", exact=True)).to_have_count(0)
    await dialog.get_by_role("button", name="Rename Lease").click()
    await dialog.get_by_label("Name", exact=True).fill("House")
    await page.tab.keyboard.press("Enter")
    await expect(rows).to_contain_text("House")
    await expect(chip).to_contain_text("Knowledge: House")
    other = ChatPage(await page.tab.context.new_page(), chat.url, problems)
    await other.open(page.tab.url)
    await expect(other.tab.locator("#collection")).to_contain_text("Knowledge: House")
    await dialog.get_by_role("button", name="Delete House").click()
    await page.tab.locator("dialog.ask").get_by_role("button", name="Delete").click()
    await expect(rows).to_have_count(0)
    await expect(chip).to_be_empty()
    await expect(other.tab.locator("#collection")).to_be_empty()

    # What was quoted is still shown, and that its document is gone.
    await page.tab.keyboard.press("Escape")
    await citation.focus()
    await citation.hover()
    bubble = page.tab.get_by_role("tooltip")
    await expect(bubble.locator("blockquote")).to_have_text(NOTICE)
    await expect(bubble).to_contain_text("lease.pdf · Page 2")
    await expect(bubble).to_contain_text("This document is not in your collections.")
    await citation.click()
    await expect(page.tab.locator("#document mark")).to_have_text(NOTICE)
    await expect(page.tab.locator("#document .about")).to_have_text(
        "Page 2 · This document is not in your collections."
    )
    assert await page.accessibility_problems() == []
    ours = [problem for problem in problems if re.search("404|422|429|502", problem)]  # the refusals of above
    problems[:] = [problem for problem in problems if problem not in ours]


async def test_a_long_list_is_filtered_by_names(open_chat, chat):
    say = page_files.translations("he").__getitem__
    page = await open_chat(chat.url, locale="he-IL", width=360, height=740)
    tab, rows = page.tab, page.tab.locator("#knowledge .rows bdi")
    names = [f"חוזה {number}.pdf" for number in range(8)]
    facts = {"kind": "PDF", "pages": 2, "size": 9_000, "addedMs": 1}
    leases = [{"id": name, "name": name} | facts for name in (*names, "Café הָאָרֶץ.txt")]
    few = [{"id": "k2", "name": "Notes", "documents": [{"id": "x", "name": "Protocol.pdf"} | facts]}]
    library = {"collections": [{"id": "k1", "name": "חוזים", "documents": leases}, *few], "folders": []}
    await tab.route(re.compile("/library$"), lambda route: route.fulfill(json=library))
    await tab.locator("#add-files").click()
    await page.choose(say("Knowledge"))
    await tab.get_by_role("menuitem", name=say("Manage collections")).click()
    await expect(rows).to_have_text(["חוזים", "Notes"])
    box = tab.get_by_label(say("Filter by name"))
    await expect(box).to_have_count(0)
    await tab.get_by_text("חוזים").click()
    await expect(rows).to_have_count(9)
    await box.click()
    height = await _height(tab)
    for typed, shown in {"PDF 7": ["חוזה 7"], "הארץ cafe\u0301": ["Café"], "xyz": []}.items():
        await box.fill(typed)
        await expect(rows).to_have_text([re.compile(name) for name in shown])
        await expect(box).to_be_focused()
        assert await _height(tab) == height
    await expect(tab.locator("#knowledge")).to_contain_text(say("No results"))
    await _fits(page, "#knowledge")
    await tab.set_viewport_size({"width": 360, "height": 400})
    assert await _height(tab) <= 400 - 16
    await tab.set_viewport_size({"width": 360, "height": 740})
    library["collections"] += [{"id": f"m{number}", "name": f"K{number}", "documents": []} for number in range(7)]
    await page.button(say("All collections")).click()
    await _reload_library(tab)
    await expect(rows).to_have_count(9)
    await box.fill("protocol")
    await expect(rows).to_have_text(["Notes"])


async def test_a_late_response_does_not_replace_a_newer_library(page):
    held, sent = asyncio.Event(), asyncio.Event()

    async def answer(route):
        name = "New" if sent.is_set() else "Old"
        sent.set()
        if name == "Old":
            await held.wait()
        folder = {"id": "f", "name": name, "instructions": "", "collection": ""}
        await route.fulfill(json={"collections": [], "folders": [folder]})

    await page.tab.route(re.compile("/library$"), answer)
    late = asyncio.ensure_future(_reload_library(page.tab))
    await sent.wait()
    await _reload_library(page.tab)
    held.set()
    await late
    await expect(page.tab.locator("#conversations .folder summary")).to_have_text("New")


async def _reload_library(tab):
    await tab.evaluate(
        """async (version) => {
      const { reload } = await import(new URL(`page/${version}/js/library.js`, document.baseURI));
      await reload();
    }""",
        page_files.version(),
    )


async def test_a_folder_holds_conversations_with_instructions_and_knowledge(page, gemma):
    tab, dialog = page.tab, page.tab.locator("#folder")
    listed = tab.locator("#conversations .folder li a")
    await page.button("Knowledge").click()
    await new_collection(page, say_english, "Lease")
    await tab.locator("#knowledge input[multiple]").first.set_input_files([file("rent.txt", RENT.encode())])
    await expect(tab.locator("#knowledge .rows > li")).to_have_count(1)
    await tab.keyboard.press("Escape")
    await page.ask("An earlier question")

    await page.open_menu("An earlier question")
    await page.choose("Move to folder")
    await page.choose("New folder")
    await dialog.get_by_label("Name").fill("Flat")
    await dialog.get_by_label("Instructions").fill("Answer like a lawyer.")
    await dialog.get_by_label("Knowledge").select_option(label="Lease")
    assert await page.accessibility_problems() == []
    await dialog.get_by_role("button", name="Save").click()
    await expect(page.toast).to_contain_text("Moved to the folder Flat.")
    await expect(listed).to_have_text(["An earlier question"])
    await expect(page.conversations).to_have_count(1)
    await expect(tab.locator("#collection")).to_contain_text("Lease (of the folder Flat)")
    await expect(tab.locator("#header .folder")).to_contain_text("Flat")

    await tab.get_by_role("button", name="More about the folder Flat").click()
    await page.choose("New chat in this folder")
    await expect(page.title).to_have_text("New chat in Flat")
    await expect(page.questions).to_have_count(0)
    gemma.answer = ["Not in your documents. It may be more."]
    await page.ask("How much is it?")
    await expect(page.notes).to_have_text("Not from your documents: this is what Gemma3 12b it knows itself.")
    await expect(listed).to_have_text(["How much is it?", "An earlier question"])
    assert RENT in prompt_of(gemma)
    assert "Answer like a lawyer." in str(gemma.chats[-1]["messages"])
    await page.reload()
    await expect(listed).to_have_text(["How much is it?", "An earlier question"])
    assert await page.accessibility_problems() == []
    await tab.locator("#conversations .folder summary").click()
    await expect(listed.first).to_be_hidden()

    await tab.get_by_role("button", name="More about the folder Flat").click()
    await page.choose("Delete")
    await tab.locator("dialog.ask").get_by_role("button", name="Delete").click()
    await expect(tab.locator("#conversations .folder")).to_have_count(0)
    await expect(page.conversations).to_have_text(["How much is it?", "An earlier question"])
    await expect(tab.locator("#collection")).to_be_empty()


async def test_a_folder_shows_what_was_moved_into_and_out_of_it_while_it_was_read(page):
    tab, listed = page.tab, page.tab.locator("#conversations .folder li a")
    held, sent = asyncio.Event(), asyncio.Event()

    async def hold(route):
        response = await route.fetch()
        sent.set()
        await held.wait()
        await route.fulfill(response=response)

    await tab.route("**/conversations?folder=*", hold)
    await page.ask("First")
    await page.button("New folder").click()
    await tab.locator("#folder").get_by_label("Name").fill("Flat")
    await tab.locator("#folder").get_by_role("button", name="Save").click()
    await sent.wait()  # the response has no conversation
    flat = tab.get_by_role("menuitemradio", name="Flat")
    out_of_it = tab.get_by_role("menuitem", name="Remove from the folder")
    for menu_item in (flat, out_of_it, flat):
        await tab.locator("#more").click()
        await page.choose("Move to folder")
        async with tab.expect_response(lambda response: response.request.method == "PATCH"):
            await menu_item.click()
        await expect(listed).to_have_count(int(menu_item is flat))
    held.set()
    async with tab.expect_response("**/conversations?folder=*"):
        pass
    await expect(listed).to_have_text(["First"])


async def test_the_library_fits_a_phone_in_arabic(open_chat, chat):
    say = page_files.translations("ar").__getitem__
    page = await open_chat(chat.url, locale="ar-EG", width=360, height=740)
    tab = page.tab
    await tab.locator("#add-files").click()
    await page.choose(say("Knowledge"))
    await tab.get_by_role("menuitem", name=say("Manage collections")).click()
    await new_collection(page, say, "a-rather-long-name-of-a-collection-that-does-not-fit-חוזים")
    name = "a-rather-long-name-of-a-file-that-goes-on-and-on-and-on-חוזה.txt"
    await tab.locator("#knowledge input[multiple]").first.set_input_files([file(name, b"Some words.")])
    await expect(tab.locator("#knowledge .rows > li")).to_have_count(1)
    await _fits(page, "#knowledge")
    await tab.get_by_role("button", name=say("Use in this conversation")).click()
    await expect(tab.locator("#collection .chip")).to_be_visible()
    assert not await page.is_wider_than_the_screen()
    await tab.locator(gradio_dom.SIDEBAR_BUTTON).click()
    await page.button(say("New folder")).click()
    await _fits(page, "#folder")
    await tab.locator("#folder input").fill("a-rather-long-name-of-a-folder-that-does-not-fit")
    await page.button(say("Save")).click()
    await expect(tab.locator("#conversations .folder")).to_have_count(1)
    assert not await page.is_wider_than_the_screen()
    assert await page.accessibility_problems() == []


async def _fits(page, selector):
    dialog = page.tab.locator(selector)
    box = await dialog.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert await dialog.evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")
    assert await page.accessibility_problems() == []


async def _height(tab):
    return (await tab.locator("#knowledge").bounding_box())["height"]
