"""How the text of a message is shown, in Chromium: what Markdown becomes, and what a hostile text cannot do."""

import asyncio
import base64
import itertools
import os
import re
import struct
from pathlib import Path

import pytest
from playwright.async_api import expect

from chatapp.http import assets as page_files
from tests.browser import gradio_dom
from tests.browser.hostile_markdown import document

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CHECK = (Path(__file__).parent / "rendering.js").read_text(encoding="utf-8")
# Seconds until something is drawn. The page's own bound is one second; a busy machine may paint later.
BOUND = 10
AT_ONCE = 50  # texts on the page
# What Chromium says of a formula that is none, and what the page itself loads.
EVENTS = re.compile(r"/conversations/\w+/events\?")  # the page follows its conversation
OWN_REQUESTS = ("/page/", "/assets/", "/models", "data:", "blob:")


async def problems_of(page, texts, *, is_question=False):
    """Render texts in rows of the page; return what they do that no text may."""
    requests = []

    def note(request):
        requests.append(request.url)

    page.tab.on("request", note)
    values = {
        "texts": texts,
        "version": page_files.version(),
        "isQuestion": is_question,
        "seconds": BOUND,
        "atOnce": AT_ONCE,
        "rowClasses": gradio_dom.ROW_CLASSES[is_question],
        "messageClasses": gradio_dom.MESSAGE_CLASSES[is_question],
    }
    problems = (await page.tab.evaluate(CHECK, values))["problems"]
    page.tab.remove_listener("request", note)
    # Handlers in the text of a diagram, which the policy of the frame for diagrams refuses.
    page.problems[:] = [problem for problem in page.problems if "script-src blob:" not in problem]
    paths = [url.removeprefix(page.url) for url in requests]
    return problems + [
        f"request: {path}" for path in paths if not (path.startswith(OWN_REQUESTS) or EVENTS.match(path))
    ]


async def html_of(page, text, *, is_question=False):
    """Return what a text becomes, without the attributes that all links have."""
    return await page.tab.evaluate(
        """async ({ text, version, isQuestion, rowClasses, messageClasses }) => {
          const module = (name) => import(new URL(`page/${version}/js/${name}.js`, document.baseURI));
          const [{ drawText }, { drawn }] = await Promise.all(["message_text", "renderer"].map(module));
          const row = document.createElement("div");
          row.className = rowClasses;
          row.innerHTML = `<div class="${messageClasses}"></div>`;
          document.querySelector("#messages").append(row);
          const id = String(Math.random());
          drawText(row, { id, text, isQuestion, isWriting: false, images: "conversations/own/images/" });
          for (let last = null; last !== row.innerHTML; ) {
            last = row.innerHTML;
            await drawn();
            await new Promise((resolve) => setTimeout(resolve, 50));
            if (row.querySelector("code.formula") && text.includes("$")) last = null; // its library is being loaded
          }
          row.remove();
          return row.querySelector(".message-text").innerHTML
            .replaceAll(/ (?:target|rel)="[^"]*"/g, "").replaceAll(/\\n/g, "");
        }""",
        {
            "text": text,
            "version": page_files.version(),
            "isQuestion": is_question,
            "rowClasses": gradio_dom.ROW_CLASSES[is_question],
            "messageClasses": gradio_dom.MESSAGE_CLASSES[is_question],
        },
    )


# --- What a hostile text cannot do ---

PANEL = '<div id="refusal" class="notice" style="position:fixed;inset:0">Your session is over</div>'
ATTACKS = {
    "escaped backtick": f"\\`{PANEL}`",
    "fence in a quote that has ended": f"> ```\n{PANEL}\n```",
    "fence in an item that has ended": f"- ```\n\n{PANEL}\n",
    "code across items": f"- `a\n- {PANEL}`",
    "code across a heading": f"# `a\n{PANEL}`",
    "code across cells": f"| `a | {PANEL}` |\n|---|---|\n| `b | {PANEL}` |",
    "code across carriage returns": f"`a\r\r{PANEL}\r`",
    "mermaid fence": f"```mermaid\n{PANEL}\n```",
    "mermaid fence in a quote": f"> ```mermaid\n> </div>{PANEL}\n> ```",
    "mermaid label": f'```mermaid\ngraph TD\n A["{PANEL}"] --> B\n```',
    "invisible link": '<a href="https://evil.example" style="position:fixed;inset:0"> </a>[x](https://evil.example)',
    "name of a panel": '<div id=personas></div><a name="message">x</a>',
    "form": "<form action=/sign-out method=post><button>Go</button><input name=x><select><option>1</select></form>",
    "title that breaks out": '[x](https://evil.example "a\\" style=\\"position:fixed")',
    "language that breaks out": f'```x"><b style=position:fixed>\n{PANEL}\n```',
    "alternative text that breaks out": '![" onerror="window.hacked=1](https://evil.example/x)',
    "formula with styles": "$\\htmlStyle{position:fixed}{x} \\htmlId{message}{y} \\href{javascript:hacked=1}{z}$",
    "formula that reaches out": "$\\hspace{-200em}\\rule{999em}{999em}\\raisebox{900em}{\\colorbox{red}{Sign in}}$",
    "exports as pictures": "![](/export/everything.json) ![](../export/everything.json) ![](//evil.example/x)" * 20,
    "sign-in as a picture": "![x](/sign-in/start) ![x](/?gcp-iap-mode=CLEAR_LOGIN_COOKIE)",
    "pictures of another conversation": "![x](conversations/another/images/1)",
    "links into the chat": "[x](/sign-out) [x](export/everything.json) [x](#message) [x](?a) <a href=/x>x</a>",
}


async def test_attacks_on_the_page_stay_text(new_chat):
    await new_chat.ask("First")
    for name, text in ATTACKS.items():
        assert await problems_of(new_chat, [text]) == [], name
        assert await problems_of(new_chat, [text], is_question=True) == [], name


async def test_hostile_documents_stay_text(new_chat):
    await new_chat.ask("First")
    assert await problems_of(new_chat, [document(seed) for seed in range(120)]) == []
    assert await problems_of(new_chat, [document(seed) for seed in range(200, 220)], is_question=True) == []


@pytest.mark.long
async def test_many_hostile_documents_stay_text(page):
    await page.ask("First")
    for first in range(1000, 1000 + int(os.environ.get("HOSTILE_DOCUMENTS", "8000")), AT_ONCE):
        texts = [document(seed) for seed in range(first, first + AT_ONCE)]
        assert await problems_of(page, texts, is_question=first % 500 == 0) == [], first


SLOW = {  # the sizes that froze a tab for 24 s, 7 s and for good, and some of as many characters as an answer can have
    "brackets of formulas": "\\[" * 5000,
    "bold that never ends": "**a " * 4000,
    "quotes in quotes": ">" * 3000,
    "display formulas": "$$a " * 25_000,
    "addresses": "http://a." * 11_000,
    "formula in formulas": "$" + "\\sqrt{" * 600 + "1" + "}" * 600 + "$",
}
MORE_SLOW = {
    "more brackets of formulas": "\\[" * 50_000,
    "dollars": "$a " * 30_000,
    "lines of dollars": "$$\n" * 30_000,
    "backticks of all lengths": "".join("`" * length + "a " for length in range(1, 400)),
    "open brackets": "[" * 50_000,
    "open links": "[a](" * 25_000,
    "open pictures": "![" * 50_000,
    "open tags": "<a " * 30_000,
    "lists in lists": "".join("  " * depth + "- a\n" for depth in range(300)),
    "items in items": "- " * 20_000,
    "wide table": "|a" * 300 + "\n" + "|-" * 300 + "\n" + "|\n" * 20_000,
    "definitions": "[a]: \n" * 16_000,
    "fences": "~~~a\n" * 20_000,
    "many formulas": "$x$ " * 20_000,
    "macros": "$\\def\\a#1{#1#1}" + "\\a{" * 30 + "x" + "}" * 30 + "$",
    "many tasks": "- [x] a\n" * 12_000,
}


async def test_a_text_that_takes_long_is_shown_in_time_and_the_page_stays_usable(page):
    await page.ask("First")
    await page.tab.evaluate(
        """() => {
          window.longest = 0;
          let last = performance.now();
          setInterval(() => {
            window.longest = Math.max(window.longest, performance.now() - last);
            last = performance.now();
          }, 20);
        }"""
    )
    for name, text in SLOW.items():
        assert await problems_of(page, [text]) == [], name
    assert await problems_of(page, ["```a\n" * 20_000], is_question=True) == []
    assert await page.tab.evaluate("window.longest") < 1000 * BOUND


@pytest.mark.long
async def test_more_texts_that_take_long_are_shown_in_time(page):
    await page.ask("First")
    for name, text in MORE_SLOW.items():
        assert await problems_of(page, [text]) == [], name
        assert await problems_of(page, [text], is_question=True) == [], name


async def test_a_text_is_shown_as_it_is_if_the_renderer_never_answers(open_chat, chat, gemma):
    page = await open_chat(chat.url, script="window.Worker = class { postMessage() {} terminate() {} }", width=1000)
    gemma.answer = ["**Bold** <b>\n\nand more"]
    await page.send("Question <b>")
    await expect(page.answers).to_have_text("**Bold** <b> and more")
    await expect(page.questions).to_have_text("Question <b>")


async def test_lookups_of_the_page_do_not_look_into_messages(new_chat):
    await new_chat.ask("First")
    found = await new_chat.tab.evaluate(
        """async (version) => {
          const { find } = await import(new URL(`page/${version}/js/dom.js`, document.baseURI));
          const fake = document.createElement("div");
          fake.id = "personas";
          document.querySelector(".message-text").append(fake);
          return [find("#personas") === fake, find("#header") !== null];
        }""",
        page_files.version(),
    )
    assert found == [False, True]


async def test_a_diagram_that_is_never_drawn_stays_text_and_its_frame_is_closed(page, gemma):
    endless = "globalThis.mermaid = { initialize() {}, render: () => new Promise(() => {}) }"
    await page.tab.route(
        "**/vendor/mermaid.js", lambda route: route.fulfill(body=endless, content_type="text/javascript")
    )
    gemma.answer = ["```mermaid\ngraph TD\n A --> B\n```"]
    await page.ask("Draw")
    await expect(page.tab.locator("iframe")).to_have_count(1)
    await expect(page.tab.locator("iframe")).to_have_count(0)
    await expect(page.answers).to_contain_text("A --> B")


COUNT_FRAMES = """() => {
  window.framesAdded = 0;
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes)
      for (const { tagName } of addedNodes) if (tagName === "IFRAME") window.framesAdded++;
  }).observe(document.body, { childList: true });
}"""


async def test_a_diagram_that_loops_is_ended_in_time_and_stays_text(page, gemma):
    gemma.answer = ["```mermaid\nblock-beta\ncolumns 3\nspace:99999999\na\n```"]
    await page.tab.evaluate(COUNT_FRAMES)  # Chromium may show nothing of the page while the frame loops
    await page.ask("Draw")
    async with asyncio.timeout(60):
        while not await page.tab.evaluate("framesAdded"):
            await page.tab.wait_for_timeout(50)
    await expect(page.tab.locator("iframe")).to_have_count(0)
    await expect(page.answers).to_contain_text("space:99999999")


async def test_a_diagram_whose_settings_repeat_themselves_is_not_drawn(new_chat, gemma):
    levels = "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefg"))
    gemma.answer = [f"```mermaid\n---\na: &a [x]\n{levels}title: *g\n---\ngraph TD\n A --> B\n```"]
    frames = await new_chat.tab.locator("iframe").count()  # one stays open after an earlier diagram on this page
    await new_chat.ask("Draw")
    await new_chat.tab.wait_for_timeout(300)
    await expect(new_chat.answers).to_contain_text("A --> B")
    await expect(new_chat.answers.locator("[data-diagram]")).to_have_count(0)
    await expect(new_chat.tab.locator("iframe")).to_have_count(frames)


def data_url(kind, file):
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


WEBP = b"RIFF\x20\0\0\0WEBPVP8L\x0c\0\0\0/" + struct.pack("<I", 16382 | 16382 << 14) + bytes(8)
GIF = bytes.fromhex("47494638396101000100000000")
FRAME = b"\x2c" + struct.pack("<HHHH", 0, 0, 9000, 9000) + b"\0\x02\x02\x44\x01\0"
PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
BOMBS = {
    "a WebP of 268 megapixels": data_url("webp", WEBP),
    "a PNG of 400 megapixels": data_url("png", PNG_HEAD + struct.pack(">II", 20_000, 20_000) + bytes(9)),
    "a GIF whose frame is larger than itself": data_url("gif", GIF + FRAME + b"\x3b"),
    "a JPEG of 4 gigapixels": data_url("jpeg", b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\x01\x01\x11\0"),
    "no picture": data_url("png", b"BM" + bytes(60)),
}


async def test_only_small_pictures_of_an_answer_are_decoded(new_chat):
    for name, url in BOMBS.items():
        assert await html_of(new_chat, f"![alt]({url})") == '<p dir="ltr">alt</p>', name
    small = data_url("png", PNG_HEAD + struct.pack(">II", 2, 2) + bytes(9))
    assert (await html_of(new_chat, f"![alt]({small})")).count("<img") == 1
    assert (await html_of(new_chat, f"![alt]({small}) " * 200)).count("<img") == 50
    large = data_url("png", PNG_HEAD + struct.pack(">II", 2000, 2000) + bytes(9))
    assert (await html_of(new_chat, f"![alt]({large}) " * 9)).count("<img") == 4


async def test_a_link_says_where_it_leads_before_it_opens(new_chat, gemma):
    gemma.answer = ["[https://bank.example](https://evil.example/login) and [mail](mailto:a@b.example)"]
    await new_chat.ask("Links")
    dialog = new_chat.tab.get_by_role("dialog")
    for click in ({}, {"button": "middle"}, {"modifiers": ["ControlOrMeta"]}):
        await new_chat.answers.get_by_role("link").first.click(**click)
        await expect(dialog).to_contain_text("This link leads to evil.example")
        await expect(dialog.get_by_role("link")).to_have_attribute("href", "https://evil.example/login")
        await dialog.get_by_role("button", name="Cancel").click()
        await expect(dialog).to_have_count(0)
    await new_chat.answers.get_by_role("link").last.press("Enter")
    await expect(dialog).to_contain_text("a@b.example")
    assert len(new_chat.tab.context.pages) == 1


# --- What Markdown becomes ---

RENDERED = {
    # Bold beside punctuation, in scripts that put no spaces there.
    "**הערה:**יש": '<p dir="rtl"><strong>הערה:</strong>יש</p>',
    'זה**"שלום"**עולם': '<p dir="rtl">זה<strong>"שלום"</strong>עולם</p>',
    "ב**(סוגריים)**כאן": '<p dir="rtl">ב<strong>(סוגריים)</strong>כאן</p>',
    "**ملاحظة:**هذا": '<p dir="rtl"><strong>ملاحظة:</strong>هذا</p>',
    "**ملاحظة؟**Text": '<p dir="rtl"><strong>ملاحظة؟</strong>Text</p>',
    "**注意：**请": '<p dir="ltr"><strong>注意：</strong>请</p>',
    "这是**“重点”**内容": '<p dir="ltr">这是<strong>“重点”</strong>内容</p>',
    "5 * 3 * 2 שלום * 4": '<p dir="rtl">5 * 3 * 2 שלום * 4</p>',
    "snake_case_name": '<p dir="ltr">snake_case_name</p>',
    # One tilde is no strike.
    "1~3 and 80~100": '<p dir="ltr">1~3 and 80~100</p>',
    "~~gone~~": '<p dir="ltr"><s>gone</s></p>',
    # Task lists have two shapes.
    "- [x] done\n- [ ] open": '<ul dir="ltr"><li class="task-item"><span class="task done">☑</span> done</li>'
    '<li class="task-item"><span class="task">☐</span> open</li></ul>',
    # Line breaks in cells, and nowhere else.
    "| a<br>b |\n|---|\n| c<br/>d |": '<table dir="ltr" tabindex="0"><thead><tr><th>a<br>b</th></tr></thead>'
    "<tbody><tr><td>c<br>d</td></tr></tbody></table>",
    "a <br> b": '<p dir="ltr">a &lt;br&gt; b</p>',
    # Addresses end before punctuation of any script.
    "ראו https://a.example/x؟": '<p dir="rtl">ראו <a href="https://a.example/x">https://a.example/x</a>؟</p>',
    "https://a.example/a، نعم": '<p dir="rtl"><a href="https://a.example/a">https://a.example/a</a>، نعم</p>',
    "https://a.example/x؛": '<p dir="ltr"><a href="https://a.example/x">https://a.example/x</a>؛</p>',
    "见https://a.example/x。": '<p dir="ltr">见<a href="https://a.example/x">https://a.example/x</a>。</p>',
    "www.a.example, main.rs": '<p dir="ltr"><a href="https://www.a.example">www.a.example</a>, main.rs</p>',
    # A list whose first word is Latin.
    "- Python היא שפה\n- Java גם": '<ul dir="rtl"><li>Python היא שפה</li><li>Java גם</li></ul>',
    "Python היא שפת תכנות": '<p dir="rtl">Python היא שפת תכנות</p>',
    "The word שלום means peace": '<p dir="ltr">The word שלום means peace</p>',
    # Prices.
    "costs $5 and $6": '<p dir="ltr">costs $5 and $6</p>',
    # Pictures of other sites are links.
    "![cat](https://a.example/c.png)": '<p dir="ltr"><a href="https://a.example/c.png">cat</a></p>',
    "![x](conversations/own/images/1)": '<p dir="ltr">'
    '<img src="conversations/own/images/1" alt="x" loading="lazy"></p>',
    "![x](conversations/other/images/1)": '<p dir="ltr">x</p>',
}
AS_WRITTEN = {
    "__dict__ # no heading\n    indented\n\n* a": '<div class="as-written">__dict__ # no heading    indented* a</div>',
    "http://a.example/x، ok": '<div class="as-written"><a href="http://a.example/x">http://a.example/x</a>، ok</div>',
    "```\nnever closed": '<div class="as-written">```never closed</div>',
}


async def test_prices_names_and_punctuation_are_no_marks_and_marks_beside_letters_are(new_chat):
    for text in ("$5 to $10, or x$ of", "x = $HOME/bin:$PATH", "$$a\\$$", "ה__init__ של"):
        html = await html_of(new_chat, text)
        assert not re.search("katex|strong", html), text
    assert "<strong>הערה:</strong>" in await html_of(new_chat, "__הערה:__יש")
    for text in ("~~https://x.example/a~~", "|https://x.example/a|", "https://x.example/a\u200fב"):
        assert 'href="https://x.example/a"' in await html_of(new_chat, text), text


async def test_markdown_is_rendered(new_chat):
    assert {text: await html_of(new_chat, text) for text in RENDERED} == RENDERED
    assert {text: await html_of(new_chat, text, is_question=True) for text in AS_WRITTEN} == AS_WRITTEN
    fenced = await html_of(new_chat, "look:\n```python\nx = 1\n```\nthere", is_question=True)
    assert '<pre data-language="python"' in fenced


async def test_formulas_are_rendered(new_chat):
    for formula in ("$A=\\{1,2,3\\}$", "\\(x\\)", "$$x$$", "\\[\nx\n\n+ y\n\\]", "text\n$$\nx\n$$", "| $x$ |\n|---|"):
        assert 'class="katex"' in await html_of(new_chat, formula), formula
    assert 'class="katex"' not in await html_of(new_chat, "`$x$` and \\$x\\$")


async def test_a_question_is_shown_as_it_was_written(new_chat):
    await new_chat.ask("Fix __dict__:\n\n    def f():  # comment\n        pass")
    await expect(new_chat.questions).not_to_be_empty()  # it is drawn by a worker
    assert await new_chat.questions.inner_text() == "Fix __dict__:\n\n    def f():  # comment\n        pass"


async def test_long_inline_code_is_not_cut_off_on_a_phone(open_chat, chat, gemma):
    gemma.answer = ["See `" + "a_long_name" * 20 + "`.\n\n| a |\n|---|\n| `" + "b" * 100 + "` |"]
    page = await open_chat(chat.url, width=360, height=740, has_touch=True, is_mobile=True)
    await page.box.fill("Code")
    await page.button("Send").click()  # Enter makes a line here
    await expect(page.facts).to_contain_text("first token")
    code = page.answers.locator("p code")
    assert await code.evaluate("it => it.getBoundingClientRect().right <= innerWidth")
    assert not await page.is_wider_than_the_screen()
