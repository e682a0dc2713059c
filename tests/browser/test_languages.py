"""The page in its three languages, on a phone and on a wide screen, in light and dark."""

import json
import re

import pytest
from playwright.async_api import expect

from chatapp.http import assets as page_files
from tests.browser import gradio_dom
from tests.browser.test_documents import SHOWN_SIZES, SIZES

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LOCALES = {"en": "en-US", "he": "he-IL", "ar": "ar-EG"}
WIDTHS = {"phone": 360, "wide": 1280}
ANSWERS = {
    "en": "An answer with `code` and **bold** words.",
    "he": "תשובה עם `code` ועם מילים **מודגשות**, ו-12 מספרים.",
    "ar": "إجابة فيها `code` وكلمات **غامقة**.",
}
# Names, which stay as they are, and what the test itself wrote.
NAMES = re.compile(
    "Gemma3 12b it|Gemini|Top-p|Markdown|JSON|English|Ctrl|Enter|Esc|Question|code|Vertex AI|API|Google|"
    "PNG|JPEG|WebP|PDF|kB|MB|Cookie|ChatGPT|Claude|Takeout|Open WebUI|LibreChat"
)


def words(language):
    return lambda text: page_files.translations(language).get(text, text)


@pytest.mark.parametrize(("language", "width"), [("en", "wide"), ("he", "wide"), ("he", "phone"), ("ar", "wide")])
async def test_the_page_has_the_browsers_language_and_direction(open_chat, chat, gemma, language, width):
    say = words(language)
    gemma.answer = [ANSWERS[language]]
    page = await open_chat(chat.url, locale=LOCALES[language], width=WIDTHS[width])
    direction = "ltr" if language == "en" else "rtl"
    assert await page.tab.evaluate("document.documentElement.lang") == language
    for place in ("#main", "#tools", "#header", "#sidebar", gradio_dom.MESSAGE_LIST):
        if await page.tab.locator(place).count():
            assert await page.direction(page.tab.locator(place)) == direction, place
    await expect(page.tab).to_have_title(say("Hybrid chat"))
    await expect(page.tab.locator("#welcome h2")).to_have_text(say("How can I help?"))
    await expect(page.box).to_have_attribute("placeholder", say("Write a message"))
    await page.box.fill("Question")
    await page.send_button.click()
    await expect(page.answers).to_have_count(1)
    await expect(page.button(say("Copy"))).to_have_count(2)
    assert await page.direction(page.tab.locator(gradio_dom.MESSAGE_LIST)) == direction
    assert not await page.is_wider_than_the_screen()
    assert await page.accessibility_problems() == []
    assert await page.tab.evaluate(SIZES, page_files.version()) == SHOWN_SIZES[language]
    if (language, width) in {("he", "wide"), ("ar", "wide")}:
        assert await _english_left(page) == set()
    await _sidebar_is_where_reading_begins(page, WIDTHS[width], direction)


async def _sidebar_is_where_reading_begins(page, width, direction):
    if width < 700:
        await page.tab.locator(gradio_dom.SIDEBAR_BUTTON).click()
    sidebar = await page.tab.locator(gradio_dom.SIDEBAR).bounding_box()
    is_at_the_left = sidebar["x"] == 0
    assert is_at_the_left or abs(sidebar["x"] + sidebar["width"] - width) < 1
    if width > 700:
        assert is_at_the_left == (direction == "ltr")
        main = await page.tab.locator("#composer").bounding_box()
        assert main["x"] >= sidebar["width"] or main["x"] + main["width"] <= width - sidebar["width"]


async def _english_left(page):
    """Return the English words that the page and its panels show."""
    texts = [await _all_texts(page)]
    for opener in (
        "#me",
        "#more",
        "#model",
        "#persona",
        "#compare",
        "#parameters-button",
        "#add-files",
        "#knowledge-button",
    ):
        await page.tab.locator(opener).click()
        await page.tab.locator(":popover-open, dialog[open]").wait_for()
        texts.append(await _all_texts(page))
        await page.tab.keyboard.press("Escape")
    return set(re.findall(r"[A-Za-z]{2,}[A-Za-z ]*", NAMES.sub("", "\n".join(texts))))


async def _all_texts(page):
    """Return every visible text and every accessible name."""
    return await page.tab.evaluate(
        """() => [...document.querySelectorAll("body *")]
          .filter((element) => element.checkVisibility?.() && !element.closest("svg, script, style"))
          .flatMap((element) => [
            ...[...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data),
            ...["aria-label", "title", "placeholder", "alt"].map((name) => element.getAttribute(name) || ""),
          ])
          .join("\\n")"""
    )


async def test_language_and_appearance_are_switched_and_stay(page):
    await page.tab.get_by_role("button", name="Settings and data").click()
    await page.tab.get_by_label("Appearance").select_option("dark")
    await expect(page.tab.locator(gradio_dom.DARK)).to_be_attached()
    await page.is_ready()
    await page.tab.get_by_role("button", name="Settings and data").click()
    await page.tab.get_by_label("Language").select_option("he")
    await expect(page.tab.locator("html")).to_have_attribute("dir", "rtl")
    await page.is_ready()
    await expect(page.tab.locator("#new-chat")).to_have_text("שיחה חדשה")
    await page.reload()
    await expect(page.tab.locator("#new-chat")).to_have_text("שיחה חדשה")
    await expect(page.tab.locator(gradio_dom.DARK)).to_be_attached()


async def test_a_browser_in_another_language_gets_english(open_chat, chat):
    page = await open_chat(chat.url, locale="fr-FR")
    await expect(page.tab.locator("#new-chat")).to_have_text("New chat")
    assert await page.tab.evaluate("document.documentElement.dir") == "ltr"


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (WIDTHS["phone"], "dark"),
        (WIDTHS["wide"], "light"),
        pytest.param(WIDTHS["phone"], "light", marks=pytest.mark.long),
        pytest.param(WIDTHS["wide"], "dark", marks=pytest.mark.long),
    ],
)
async def test_every_panel_is_accessible(open_chat, chat, width, scheme):
    page = await open_chat(chat.url, width=width, color_scheme=scheme)
    assert await page.accessibility_problems() == []
    await page.box.fill("Question")
    await page.send_button.click()
    await expect(page.facts).to_contain_text("first token")
    for opener in ("#more", "#model", "#persona", "#compare", "#parameters-button"):
        await page.tab.locator(opener).click()
        await page.tab.locator(":popover-open, dialog[open]").wait_for()
        assert await page.accessibility_problems() == [], opener
        await page.tab.keyboard.press("Escape")
    await page.questions.hover()
    await page.button("Edit and resend").click()
    if width < 700:
        await page.tab.locator(gradio_dom.SIDEBAR_BUTTON).click()
    await page.open_menu("Question")
    await page.choose("Rename")
    assert await page.accessibility_problems() == [], "rename and edit"
    await page.tab.locator("#me").click()
    await page.tab.locator("#settings-panel summary").click()
    assert await page.accessibility_problems() == []


async def test_numbers_and_latin_names_are_in_order_inside_hebrew(open_chat, chat, gemma):
    gemma.answer = [ANSWERS["he"]]
    page = await open_chat(chat.url, locale="he-IL")
    await page.send("Question")
    await expect(page.answers).to_have_count(1)
    facts = page.facts.locator("span").nth(1)
    number = await facts.evaluate(
        """(element) => {
          const range = document.createRange();
          range.setStart(element.firstChild, 0);
          range.setEnd(element.firstChild, 1);
          const first = range.getBoundingClientRect().right;
          range.selectNodeContents(element);
          return first - range.getBoundingClientRect().right;
        }"""
    )
    assert abs(number) < 2  # what comes first in the sentence stands at its right end


PHONE = {"width": 360, "height": 740, "has_touch": True, "is_mobile": True}


async def test_a_phone_can_do_everything(open_chat, chat, gemma):
    say = words("he")
    gemma.answer = [ANSWERS["he"]]
    page = await open_chat(chat.url, locale=LOCALES["he"], **PHONE)
    drawer = page.tab.locator(gradio_dom.SIDEBAR_BUTTON)

    async def ask(text, answers):
        await page.box.fill(text)
        await page.send_button.click()
        await expect(page.answers).to_have_count(answers)
        await expect(page.stop_button).to_be_hidden()

    await page.tab.locator("#persona").click()
    await page.tab.locator(".card").filter(has_text=say("Pirate")).click()
    await ask("First", 1)
    await page.button(say("Edit and resend")).click()
    await page.tab.locator(".edit textarea").fill("Second")
    await page.tab.locator(".edit").get_by_role("button", name=say("Send")).click()
    await expect(page.questions).to_have_text(["Second"])
    await expect(page.stop_button).to_be_hidden()  # versions are not switched under an answer that is being written
    await page.button(say("Previous version")).click()
    await expect(page.questions).to_have_text(["First"])
    await page.button(say("Regenerate")).click()
    await expect(page.tab.locator(f"{gradio_dom.ANSWER_ROWS} .versions")).to_contain_text("2/2")
    await expect(page.stop_button).to_be_hidden()
    await page.button(say("Good answer")).click()
    await expect(page.button(say("Good answer"))).to_have_attribute("aria-pressed", "true")

    await page.tab.locator("#compare").click()
    await page.tab.locator(".compare button.primary").click()
    await ask("Both", 3)
    first, second = [await page.tab.locator(f'[data-column="{column}"]').bounding_box() for column in (1, 2)]
    assert first["y"] + first["height"] <= second["y"] + 1  # one above the other, where there is no room beside
    await page.button(say("Choose this answer")).first.click()
    await expect(page.answers).to_have_count(2)
    assert not await page.is_wider_than_the_screen()

    await page.tab.locator("#more").click()
    await page.choose(say("Rename"))
    name = page.tab.get_by_label(say("Title"))
    await name.fill("Renamed")
    await name.press("Enter")
    await expect(page.title).to_have_text("Renamed")
    await page.tab.locator("#more").click()
    async with page.tab.expect_response(lambda response: response.request.method == "PATCH"):
        await page.choose(say("Pin"))
    await page.tab.locator("#more").click()
    await expect(page.tab.get_by_role("menuitem", name=say("Unpin"), exact=True)).to_be_visible()
    await page.tab.keyboard.press("Escape")
    await drawer.click()
    await expect(page.tab.locator("#conversations h2").first).to_contain_text(say("Pinned"))
    await page.tab.locator("#search textarea").fill("first")
    await page.tab.locator("#conversations .hits a").click()
    await expect(page.tab.locator(gradio_dom.OPEN_SIDEBAR)).to_have_count(0)
    await expect(page.questions.first).to_have_text("First")

    await page.tab.locator("#more").click()
    await page.choose(say("Delete"))
    await expect(page.questions).to_have_count(0)
    await page.button(say("Undo")).click()
    await expect(page.questions.first).to_have_text("First")
    await _controls_and_panels_fit(page)


@pytest.mark.parametrize("language", ["en", "ar"])
async def test_controls_and_panels_fit_a_phone_in_the_other_languages(open_chat, chat, gemma, language):
    gemma.answer = [ANSWERS[language]]
    page = await open_chat(chat.url, locale=LOCALES[language], **PHONE)
    await page.box.fill("Question")
    await page.send_button.click()
    await expect(page.answers).to_have_count(1)
    await expect(page.stop_button).to_be_hidden()
    assert not await page.is_wider_than_the_screen()
    await _controls_and_panels_fit(page)


async def _controls_and_panels_fit(page):
    for control in ("#model", "#persona", "#parameters-button", "#compare", "#add-files", "#more"):
        box = await page.tab.locator(control).bounding_box()
        assert min(box["width"], box["height"]) >= 44, control
    for label in ("#model bdi", "#model .state"):
        is_cut = await page.tab.locator(label).evaluate("it => !it.clientWidth || it.scrollWidth > it.clientWidth")
        assert not is_cut, label
    for opener in ("#more", "#model", "#persona", "#compare", "#parameters-button", gradio_dom.SIDEBAR_BUTTON, "#me"):
        await page.tab.locator(opener).click()
        if opener == gradio_dom.SIDEBAR_BUTTON:
            continue
        panel = page.tab.locator(":popover-open, dialog[open]")
        box = await panel.bounding_box()
        assert box["x"] >= 0, opener
        assert box["x"] + box["width"] <= 360, opener
        assert await panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth"), opener
        await page.tab.keyboard.press("Escape")


async def test_an_error_in_a_stream_is_translated(open_chat, chat, gemma):
    template = "{model} has crashed. Try again."
    line = json.dumps({"error": {"text": "", "template": template, "values": {"model": {"text": "Gemma"}}}})
    page = await open_chat(chat.url, locale="he-IL")
    await page.send("Question")
    await expect(page.answers).to_have_count(1)
    await expect(page.stop_button).to_be_hidden()

    async def fail(route):
        await route.fulfill(content_type="text/event-stream", body=f'data: {line}\n\ndata: {{"end": true}}\n\n')

    await page.tab.route("**/events*", fail)
    await page.reload()
    await expect(page.refusal).to_have_text(words("he")(template).replace("{model}", "\u2068Gemma\u2069"))
    assert await page.direction(page.refusal) == "rtl"  # although the sentence begins with a Latin name
