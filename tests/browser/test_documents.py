"""Documents in the page: added, read, sent and shown with their question; and the citations of an answer."""

import asyncio
import base64
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from chatapp.http import assets as page_files
from tests.browser import gradio_dom
from tests.fakes.files import pdf
from tests.fakes.pictures import plain

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

RENT = "The tenant pays 4,200 shekels a month"
NOTICE = "Either side may end the lease with three months notice"
LEASE = pdf(f"Lease\n{RENT}.", f"Ending\n{NOTICE}.")
HEBREW = "הדייר משלם ארבעת אלפים שקלים בחודש"
LRM = "\u200e"  # keeps the ending of a Hebrew file name in one piece
UPLOADS = re.compile(r"/documents\?")
TURNS = re.compile(r"/(conversations|turns)$")
DROP = """([files, target]) => {
  const data = new DataTransfer();
  for (const [name, type, content] of files)
    data.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name, { type }));
  document.querySelector(target).dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
}"""


# A tree: a name, and the content of a file or the list of a folder's entries.
DROP_FOLDER = """(tree) => {
  const entry = ([name, content]) =>
    Array.isArray(content)
      ? {
          name, isDirectory: true, isFile: false,
          createReader() {
            const left = content.map(entry); // a browser tells some entries at a time
            return { readEntries: (resolve) => resolve(left.splice(0, 2)) };
          },
        }
      : { name, isDirectory: false, isFile: true, file: (resolve, reject) =>
            content === null ? reject(new Error("gone")) : resolve(new File([content], name)) };
  const dataTransfer = {
    types: ["Files"], files: [], getData: () => "",
    items: [{ kind: "file", webkitGetAsEntry: () => entry(tree) }],
  };
  const target = document.querySelector("dialog[open]") || document.querySelector("#main");
  target.dispatchEvent(Object.assign(new Event("drop", { bubbles: true, cancelable: true }), { dataTransfer }));
}"""
SIZES = """async (version) => {
  const { fileSize } = await import(new URL(`page/${version}/js/words.js`, document.baseURI));
  return [1, 1000, 12_000, 1_000_000, 1_500_000, 30_000_000].map(fileSize);
}"""
NOTES = """async (version) => {
  const { notesOf } = await import(new URL(`page/${version}/js/message_facts.js`, document.baseURI));
  const answers = [{ status: "streaming" }, { status: "complete" }, { status: "complete", citations: [{}] }];
  return answers.map((answer) => notesOf({ passages: true, ...answer }));
}"""
SHOWN_SIZES = {
    "en": ["1 kB", "1 kB", "12 kB", "1 MB", "1.5 MB", "30 MB"],
    "he": ["1 kB", "1 kB", "12 kB", "1 MB", "1.5 MB", "30 MB"],
    "ar": ["1 كيلوبايت", "1 كيلوبايت", "12 كيلوبايت", "1 م.ب", "1.5 م.ب", "30 م.ب"],
}


def file(name, content, media_type=""):
    return {"name": name, "mimeType": media_type, "buffer": content}


async def add(page, *files):
    await page.tab.locator("input[type=file]").set_input_files(list(files))


async def attach(page, *files):
    """Add documents; they are read when this returns."""
    await add(page, *files)
    await expect(page.tab.locator("#attachments .document")).to_have_count(len(files))
    await expect(page.tab.locator("#attachments .uploading")).to_have_count(0)


def prompt_of(gemma):
    return gemma.chats[-1]["messages"][-1]["content"]


async def test_a_document_is_asked_about_and_its_citation_opens_it_at_the_quote(new_chat, gemma):
    chips, note = new_chat.tab.locator("#attachments .document"), new_chat.tab.locator("#documents-note")
    dropped = [("lease.pdf", "application/pdf", LEASE), ("red.png", "image/png", plain((60, 40)))]
    encoded = [(name, media_type, base64.b64encode(content).decode()) for name, media_type, content in dropped]
    await new_chat.choose_model("Gemini")
    await new_chat.tab.evaluate(DROP, [encoded, "#main"])
    await expect(new_chat.tab.locator("#attachments img")).to_have_count(1)
    await expect(chips).to_have_count(1)
    await expect(chips).to_contain_text("PDF · 2 pages · 1 kB")
    await expect(note).to_have_text("The text of your documents goes to Gemini (on Google's Gemini API).")
    await new_chat.button("Remove image 1").click()
    await new_chat.choose_model("Gemma")
    await expect(note).to_have_text("The text of your documents goes to Gemma3 12b it (on this chat's server).")

    # What is quoted is cited, wherever it stands; what the document does not have, or imitates a citation, is not.
    fake = '<sup class="citation"><button>9</button></sup> <span class="citation-1">0</span> \ufffc1-0\ufffc'
    gemma.answer = [
        f'It says **"{RENT}"**, "{NOTICE}" and "nothing of this is in there".\n\n{fake}\n\n'
        f'| a | b |\n|---|---|\n| "{RENT}" | x |'
    ]
    await new_chat.ask("How much is the rent?")
    await expect(chips).to_have_count(0)
    await expect(note).to_be_empty()
    assert RENT in prompt_of(gemma)
    citations = new_chat.answers.locator(".citation button")
    await expect(citations).to_have_text(["1", "2", "1"])
    assert await new_chat.answers.locator('[class*="citation-"]').count() == 0

    quote, dialog = new_chat.tab.locator("#quote"), new_chat.tab.locator("#document")
    await citations.nth(1).hover()
    await expect(quote).to_contain_text("lease.pdf · Page 2")
    await expect(quote).to_contain_text(NOTICE)
    await new_chat.tab.keyboard.press("Escape")
    await expect(quote).to_have_count(0)
    await citations.nth(1).click()
    await expect(dialog.locator("mark")).to_have_text(NOTICE)
    await expect(dialog.locator("mark")).to_be_in_viewport()
    await expect(dialog.locator("h2")).to_have_text("lease.pdf")
    await expect(dialog.locator("h3")).to_have_text(["Page 1", "Page 2"])
    await expect(dialog.locator("select")).to_have_value("1")
    assert await new_chat.accessibility_problems() == []
    async with new_chat.tab.expect_download() as download:
        await dialog.get_by_role("button", name="Download").press("Enter")
    saved = await download.value
    assert saved.suggested_filename == "lease.pdf"
    assert await asyncio.to_thread(Path(await saved.path()).read_bytes) == LEASE
    original = dialog.get_by_role("link", name="Open original PDF in a new tab")
    assert (await original.get_attribute("href")).endswith("/file#page=2")
    async with new_chat.tab.context.expect_page() as opened:
        await original.press("Enter")
    await (await opened.value).close()
    await dialog.locator("select").select_option("0")
    assert (await original.get_attribute("href")).endswith("/file#page=1")
    await dialog.locator("mark").focus()
    await new_chat.tab.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(citations.nth(1)).to_be_focused()

    await new_chat.reload()
    await expect(citations).to_have_count(3)
    sent = new_chat.tab.locator("#messages button.document")
    await sent.click()
    await expect(dialog).to_contain_text(RENT)
    await expect(dialog.locator("mark")).to_have_count(0)
    await dialog.get_by_role("button", name="Close").click()

    # Edited, the question keeps its document. Another model is said to get its text.
    await new_chat.button("Edit and resend").click()
    await new_chat.tab.locator(".edit textarea").fill("And when does it end?")
    await new_chat.tab.locator(".edit").get_by_role("button", name="Send").click()
    await expect(new_chat.questions).to_have_text(["And when does it end?"])
    await expect(sent).to_have_count(1)
    await expect(new_chat.facts.last).to_contain_text("first token")
    assert RENT in prompt_of(gemma)
    await expect(note).to_be_empty()
    await new_chat.choose_model("Gemini")
    await expect(note).to_contain_text("goes to Gemini")

    await new_chat.tab.emulate_media(media="print")
    await expect(sent).to_be_visible()
    await expect(new_chat.tab.locator(".sources")).to_contain_text("Source 2: lease.pdf, Page 2")
    await new_chat.tab.emulate_media(media="screen")


async def test_nothing_is_lost_from_the_box_when_a_document_is_refused_or_forgotten(new_chat, gemma):
    chips, bodies, uploads = new_chat.tab.locator("#attachments .document"), [], []
    await new_chat.box.fill("What is the rent?")
    await new_chat.tab.evaluate(
        """() => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([new Uint8Array(20_000_001)], "large.txt"));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        }"""
    )
    await expect(new_chat.refusal).to_contain_text("large.txt has 21 MB, and a document can have at most 20 MB.")
    await add(new_chat, file("broken.pdf", b"%PDF-1.4 nothing"), file("lease.pdf", LEASE))
    await expect(new_chat.refusal).to_contain_text("broken.pdf is damaged or incomplete, so it was not added.")
    await expect(chips).to_have_count(1)
    await expect(chips).to_contain_text("lease.pdf")
    await expect(new_chat.box).to_have_value("What is the rent?")
    await new_chat.button("Remove lease.pdf").click()
    await add(new_chat, *[file(f"{number}.txt", b"Some words that are read.") for number in range(9)])
    await expect(new_chat.refusal).to_contain_text("A message can have at most 8 documents.")
    for number in range(8):
        await new_chat.button(f"Remove {number}.txt").click()

    async def upload(route):
        uploads.append(route.request.url)
        if len(uploads) == 1:  # the chat is busy
            error = {"text": "Busy.", "template": "Busy.", "values": {}}
            await route.fulfill(status=503, json={"error": error})
        elif len(uploads) == 2:  # an upload that the chat does not have any more when the message comes
            read = {"id": "0" * 32, "name": "lease.pdf", "kind": "PDF", "pages": 2, "size": len(LEASE)}
            await route.fulfill(json=read)
        else:
            await route.continue_()

    async def turn(route):
        bodies.append(route.request.post_data_json)
        await route.continue_()

    await new_chat.tab.route(UPLOADS, upload)
    await new_chat.tab.route(TURNS, turn)
    await add(new_chat, file("lease.pdf", LEASE))
    await expect(new_chat.refusal).to_contain_text("Busy.")
    await expect(chips).to_contain_text("not uploaded yet")
    await new_chat.button("Upload lease.pdf again").click()
    await expect(chips).to_contain_text("2 pages")
    await expect(new_chat.refusal).to_be_empty()
    await new_chat.ask("What is the rent?")
    await expect(chips).to_have_count(0)
    assert len(uploads) == 3
    assert [body["documents"][0]["id"] == "0" * 32 for body in bodies] == [True, False]
    assert bodies[0]["question"] == bodies[1]["question"]
    assert RENT in prompt_of(gemma)
    refusals = [problem for problem in new_chat.problems if re.search("422|503", problem)]  # those of above
    new_chat.problems[:] = [problem for problem in new_chat.problems if problem not in refusals]

    # A draft keeps its documents through a reload, and says which the chat has forgotten.
    await new_chat.start_new()
    await attach(new_chat, file("notes.txt", f"{RENT}.".encode()))
    await new_chat.reload()
    await expect(chips).to_contain_text("notes.txt")
    await new_chat.ask("And here?")
    assert RENT in prompt_of(gemma)
    await expect(new_chat.tab.locator("#messages button.document")).to_have_count(1)
    await new_chat.start_new()
    await new_chat.tab.evaluate(  # after the page has written its own
        """() => addEventListener("pagehide", () => sessionStorage.setItem("draft", JSON.stringify({ text: "Hi",
          owner: "", documents: [{ id: "f".repeat(32), name: "old.txt", kind: "text", pages: 1, size: 5 }] })))"""
    )
    await new_chat.reload()
    await new_chat.box.press("Enter")
    await expect(new_chat.refusal).to_contain_text("old.txt was added too long ago.")
    await expect(new_chat.box).to_have_value("Hi")
    await expect(chips).to_have_count(0)


async def test_documents_fit_a_phone_in_hebrew(open_chat, chat, gemma):
    words = page_files.translations("he")
    page = await open_chat(chat.url, locale="he-IL", width=360, height=740)
    name = "a-rather-long-name-of-a-file-that-goes-on-and-on-and-on-חוזה.txt"
    await attach(page, file(name, f"{HEBREW}.\nAnd in English: {RENT}.".encode()))
    assert not await page.is_wider_than_the_screen()
    assert await page.accessibility_problems() == []
    gemma.answer = [f'כתוב שם "{HEBREW}".']
    await page.send("Question")
    button = page.answers.locator(".citation button")
    await expect(button).to_have_accessible_name(
        words["Source {number}: {name}"]
        .replace("{number}", "1")
        .replace("{name}", f"\u2068{name.replace('.', LRM + '.')}\u2069")
    )
    assert not await page.is_wider_than_the_screen()
    assert await page.accessibility_problems() == []
    await button.click()
    dialog = page.tab.locator("#document")
    await expect(dialog.locator("mark")).to_have_text(HEBREW)
    box = await dialog.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert await dialog.evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")
    assert await page.accessibility_problems() == []


async def test_a_dropped_folder_is_added_as_far_as_a_message_and_the_history_have_room(open_chat, chat):
    page = await open_chat(chat.url)
    unfinished, uncited, cited = await page.tab.evaluate(NOTES, page_files.version())
    assert unfinished == cited == uncited[:1]
    assert cited[0].endswith("so it read only the passages that fit the question best.")
    assert uncited[1] == "The answer quotes nothing of the documents, so check it against them."
    chips = page.tab.locator("#attachments .document")
    notes = ["notes", [[f"{number}.txt", f"Words {number}."] for number in (1, 2, 10)]]
    tools = [[".git", [["config.txt", "x"]]], [".DS_Store", "x"], ["node_modules", [["x.js", "x"]]]]
    await page.tab.evaluate(DROP_FOLDER, ["lease", [["b.txt", "Words."], *tools, notes, ["gone.txt", None]]])
    await expect(page.refusal).to_have_text("The browser could not read: lease/gone.txt.")
    await expect(page.tab.locator("#attachments .document bdi")).to_have_text(["b.txt", "1.txt", "2.txt", "10.txt"])
    await page.tab.evaluate(DROP_FOLDER, ["more", [[f"{number}.md", "Words."] for number in range(9)]])
    await expect(page.refusal).to_contain_text("There are 9 documents in what was dropped, and a message can have at")
    await expect(chips).to_have_count(8)
    await page.tab.evaluate(DROP_FOLDER, ["nothing", []])
    await expect(page.refusal).to_have_text("There are no files in this folder.")

    # The history of a chat with Firestore takes 4 MB of one message.
    async def state(route):
        response = await route.fetch()
        told = await response.json()
        told["limits"]["attachmentBytes"] = 110
        await route.fulfill(response=response, json=told)

    for _ in range(8):
        await page.tab.locator("#attachments .document button").last.click()
    await page.tab.route(re.compile(r"/state\?"), state)
    await page.reload()
    await attach(page, file("first.txt", b"Some words that are read."))
    await add(page, file("second.txt", b"Some other words that are read."))
    await expect(page.refusal).to_contain_text("second.txt was not added: the history takes 1 kB of images and texts")
    await expect(chips).to_have_count(1)
    assert not re.search(r"\[object|undefined", await page.tab.locator("body").inner_text())


# "@" is the end of a quote, "^" where its number stands.
PLACES = {
    '**"bold"@** and *"more"@*': '<p dir="ltr"><strong>"bold"^</strong> and <em>"more"^</em></p>',
    '"a"@**b** ["link"@](https://a.b) c': '<p dir="ltr">"a"^<strong>b</strong> <a href="https://a.b">"link"</a>^ c</p>',
    '[x](https://a.b "title"@) y': '<p dir="ltr"><a href="https://a.b" title="title">x</a>^ y</p>',
    '- "item"@\n- `"code"@` z': '<ul dir="ltr"><li>"item"^</li><li><code>"code"</code>^ z</li></ul>',
    '```\n"fence"@\n```': '<div class="code-block"><pre><code>"fence"</code></pre></div><p dir="ltr">^</p>',
    '\u202e"turned"@ &#xfffc;0 <b>"a"@</b>': '<p dir="ltr">"turned"^ \ufffc0 &lt;b&gt;"a"^&lt;/b&gt;</p>',
    'see https://a.b/c"@ d': '<p dir="ltr">see <a href="https://a.b/c">https://a.b/c</a>"^ d</p>',
}
DRAW = """async ([version, texts, rowClasses, messageClasses]) => {
  const module = (name) => import(new URL(`page/${version}/js/${name}.js`, document.baseURI));
  const [{ drawText }, { drawn }] = await Promise.all(["message_text", "renderer"].map(module));
  const result = [];
  for (const marked of texts) {
    const ends = [];
    const text = [...marked].filter((letter, at) => letter !== "@" || (ends.push(at - ends.length), false)).join("");
    const row = document.createElement("div");
    row.className = rowClasses;
    row.innerHTML = `<div class="${messageClasses}"></div>`;
    document.querySelector("#messages").append(row);
    const citations = ends.map((end) => ({ end }));
    drawText(row, { id: text, text, isQuestion: false, isWriting: false, images: "", citations,
      citationPlace: (_, index) => (citations[index].shown = document.createTextNode("^")) });
    await drawn();
    row.querySelectorAll("button").forEach((button) => button.remove());
    if (!citations.every(({ shown }) => row.contains(shown))) throw new Error(text);
    result.push(row.querySelector(".message-text").innerHTML.replaceAll(/ (?:target|rel|tabindex)="[^"]*"|\\n/g, ""));
    row.remove();
  }
  return result;
}"""


async def test_the_number_of_a_citation_stands_behind_its_quote_and_outside_of_links_and_code(new_chat):
    classes = [gradio_dom.ROW_CLASSES[False], gradio_dom.MESSAGE_CLASSES[False]]
    drawn = await new_chat.tab.evaluate(DRAW, [page_files.version(), list(PLACES), *classes])
    assert dict(zip(PLACES, drawn, strict=True)) == PLACES


OPEN = """async ([version, citation]) => {
  const { openDocument } = await import(new URL(`page/${version}/js/documents.js`, document.baseURI));
  await openDocument("1", citation);
}"""


async def test_a_long_document_opens_at_its_quote(new_chat):
    lines = [f"Line {number} of a long text, with a few more words in it." for number in range(40_000)]
    lines[31_000] = NOTICE
    text = "\n".join(lines)
    start = text.index(NOTICE)
    document = {"name": "long.txt", "kind": "text", "pages": [{"number": 1, "name": "", "text": text}]}
    await new_chat.tab.route(re.compile(r"/documents/\w+$"), lambda route: route.fulfill(json=document))
    await new_chat.tab.evaluate(OPEN, [page_files.version(), {"page": 1, "start": start, "stop": start + len(NOTICE)}])
    mark = new_chat.tab.locator("#document mark")
    await expect(mark).to_have_text(NOTICE)
    await expect(mark).to_be_in_viewport()
    assert await new_chat.tab.locator(gradio_dom.ANSWERS).count() == 0

    # Where a collection's document does not have the words that are stored with the answer, it is not shown.
    await new_chat.tab.keyboard.press("Escape")
    stored = {"document": "1", "collection": "k", "name": "kept.xlsx", "quote": "Words of another document"}
    await new_chat.tab.evaluate(OPEN, [page_files.version(), {"page": 1, "start": 0, "stop": 25} | stored])
    await expect(new_chat.tab.locator("#document .text")).to_have_text("Words of another document")
    await expect(new_chat.tab.locator("#document .about")).to_contain_text("Sheet 1")
