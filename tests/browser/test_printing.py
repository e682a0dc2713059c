"""A conversation on paper: Chromium's PDF and the text in it."""

import re

import pypdfium2
import pytest
from playwright.async_api import expect

from tests.browser import gradio_dom

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LONG_LINE = "value_" + "_".join(str(number) for number in range(100))
ANSWER = f"""שלום, הנה קוד וטבלה.

```python
{LONG_LINE} = 1
```

| {" | ".join(f"column{number}" for number in range(12))} |
|{"---|" * 12}
| {" | ".join(f"a-long-cell-of-{number}" for number in range(12))} |

{"A long paragraph. " * 40}

The last line."""
TURNS = 26  # of which the page loads 25


async def _pdf(page):
    """Return the text of the printed pages, and the pages."""
    pages = list(pypdfium2.PdfDocument(await page.tab.pdf(format="A4")))
    texts = [one.get_textpage().get_text_range() for one in pages]
    return " ".join(" ".join(texts).split()), pages


def _lightest_and_corner(page):
    """Return the lightest grey value of a page and the first one, where 255 is white."""
    values = bytes(page.render(scale=0.5, grayscale=True).buffer)
    return max(values), values[0]


async def test_a_whole_conversation_is_printed_light_and_without_buttons(open_chat, chat):
    page = await open_chat(chat.url, locale="he-IL", color_scheme="dark")
    await page.open_imported(TURNS, ANSWER)
    await expect(page.questions.last).to_have_text(f"Question {TURNS - 1}")
    await expect(page.tab.locator("#earlier")).to_be_visible()
    await expect(page.tab.locator(gradio_dom.DARK)).to_be_attached()
    await page.tab.locator("#parameters-button").click()
    await expect(page.answers.last).to_contain_text("The last line.")

    text, pages = await _pdf(page)
    assert [number for number in range(TURNS) if f"Question {number} " not in f"{text} "] == []  # also those not loaded
    assert text.count("The last line.") == TURNS
    solid = text.replace(" ", "")
    assert solid.count(LONG_LINE[-9:]) == TURNS  # nothing is cut off at the side
    cells = re.sub(r"\W", "", text)
    assert cells.count("alongcellof11") == TURNS
    labels = await page.tab.locator("button, #privacy, #status-notices").all_inner_texts()
    words = {line.strip() for label in labels for line in label.split("\n") if len(line.strip()) > 3}
    assert {word for word in words if word in text} <= {"Gemma3 12b it"}  # the model's button has its name
    assert _lightest_and_corner(pages[1]) == (255, 255)
    await page.tab.emulate_media(media="print")
    for part in ("p", "code", "td"):
        colour = await page.answers.last.locator(part).first.evaluate("element => getComputedStyle(element).color")
        assert max(int(value) for value in re.findall(r"\d+", colour)[:3]) < 100, part  # dark on the white paper
    highlighted = page.answers.last.locator(".hljs-number").first
    colour = await highlighted.evaluate("element => getComputedStyle(element).color")
    red, green, blue = (int(value) for value in re.findall(r"\d+", colour)[:3])
    assert 0.21 * red + 0.72 * green + 0.07 * blue < 128, "not the light colours of code on a dark page"
    await page.tab.emulate_media(media="screen")
    await expect(page.tab.locator("#print-earlier")).to_have_count(0)
    assert await page.direction(page.tab.locator("#header")) == "rtl"


async def test_the_menu_prints_with_all_messages_drawn(new_chat):
    await new_chat.open_imported(TURNS)
    await expect(new_chat.questions.last).to_have_text(f"Question {TURNS - 1}")
    await new_chat.tab.evaluate(
        """() => {
          print = () => (document.body.dataset.printed = document.querySelectorAll("#messages footer").length);
        }"""
    )
    await new_chat.tab.locator("#more").click()
    await new_chat.choose("Print or save as PDF")
    await expect(new_chat.tab.locator("body[data-printed]")).to_have_attribute("data-printed", str(2 * TURNS))
