"""The pictures of docs/images: the real page, with answers that were written for them.

    python -m tests.browser.screenshots

In English and Hebrew, light and dark, on a wide screen and on a phone: docs/images/{language}-{device}-{scheme}.png
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import Browser, async_playwright, expect

from tests.browser.chat_page import ChatPage
from tests.browser.conftest import ARGUMENTS, chromium_path, sandbox_arguments
from tests.fakes.gemini_server import GeminiServer
from tests.fakes.openai_server import FakeOpenAIServer
from tests.serving import running_chat

FOLDER = Path(__file__).parents[2] / "docs" / "images"
SIZES = {"wide": (1280, 800, 1), "phone": (390, 760, 2)}
LOCALES = {"en": "en-US", "he": "he-IL"}
EARLIER = {
    "en": [
        "A gift for a nine-year-old",
        "Sourdough that does not rise",
        "Sorting a list in Python",
        "Plan a week in Rome",
    ],
    "he": ["מתנה לבת תשע", "לחם מחמצת שלא תופח", "מיון רשימה ב-Python", "תכנון שבוע ברומא"],
}
QUESTIONS = {
    "en": ("How do I read a large CSV file without filling the memory?", "And in one sentence, for my grandmother?"),
    "he": ("איך קוראים קובץ CSV גדול בלי למלא את הזיכרון?", "ובמשפט אחד, לסבתא שלי?"),
}
ANSWERS = {
    "en": (
        "Read it **row by row**: a file is an iterator, so only one line is in memory at a time.\n\n"
        "```python\nimport csv\n\nwith open('large.csv', newline='') as file:\n    for row in csv.DictReader(file):\n"
        "        total += float(row['price'])\n```\n\n"
        "| way | memory | speed |\n|---|---|---|\n"
        "| `csv` | one row | fine |\n| `pandas`, `chunksize=` | one chunk | fast |\n",
        "Instead of carrying the whole library home, you read one page at a time at the shelf.",
    ),
    "he": (
        "קוראים **שורה אחר שורה**: קובץ הוא איטרטור, ולכן רק שורה אחת נמצאת בזיכרון בכל רגע.\n\n"
        "```python\nimport csv\n\nwith open('large.csv', newline='') as file:\n    for row in csv.DictReader(file):\n"
        "        total += float(row['price'])\n```\n\n"
        "| דרך | זיכרון | מהירות |\n|---|---|---|\n"
        "| `csv` | שורה אחת | טובה |\n| `pandas`, `chunksize=` | מקטע אחד | גבוהה |\n",
        "במקום לסחוב הביתה את כל הספרייה, קוראים ליד המדף עמוד אחד בכל פעם.",
    ),
}


async def main() -> None:
    """Take all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = chromium_path()
    if path is None:
        raise SystemExit("Chromium is not here; install it with: sudo apt-get install chromium")
    async with (
        FakeOpenAIServer(tokens_per_second=300) as gemma,
        GeminiServer() as gemini,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *sandbox_arguments()])
        for language in LOCALES:
            with tempfile.TemporaryDirectory() as folder:
                settings = {
                    "CHAT_GEMMA_URL": gemma.url,
                    "CHAT_GEMMA_LABEL": "Gemma 3 12B",
                    "GEMINI_API_KEY": "test",
                    "CHAT_GEMINI_BASE_URL": gemini.url,
                    "CHAT_EMBEDDED_MODEL": "false",
                    "CHAT_TITLES": "first-words",
                }
                async with running_chat(Path(folder), **settings) as chat:
                    await _write(browser, chat.url, language, gemma)
                    for device in SIZES:
                        for scheme in ("light", "dark"):
                            await _take(browser, chat.url, language, device, scheme)
        await browser.close()


async def _page(browser: Browser, url: str, language: str, device: str, scheme: str) -> ChatPage:
    width, height, scale = SIZES[device]
    context = await browser.new_context(
        locale=LOCALES[language],
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        color_scheme=scheme,  # type: ignore[arg-type]  # one of its literals
        reduced_motion="reduce",
        has_touch=device == "phone",
        is_mobile=device == "phone",
    )
    page = ChatPage(await context.new_page(), url, [])
    await page.open()
    return page


async def _write(browser: Browser, url: str, language: str, gemma: FakeOpenAIServer) -> None:
    page = await _page(browser, url, language, "wide", "light")
    for title in EARLIER[language]:
        gemma.answer = ["Yes."]
        await _ask(page, title)
        await page.tab.locator("#new-chat").click()
        await expect(page.questions).to_have_count(0)
    for question, answer in zip(QUESTIONS[language], ANSWERS[language], strict=True):
        gemma.answer = _pieces(answer)
        await _ask(page, question)
    await page.tab.context.close()


async def _ask(page: ChatPage, text: str) -> None:
    before = await page.answers.count()
    await page.send(text)
    await expect(page.answers).to_have_count(before + 1)
    await expect(page.stop_button).to_be_hidden()


async def _take(browser: Browser, url: str, language: str, device: str, scheme: str) -> None:
    page = await _page(browser, url, language, device, scheme)
    await page.conversations.first.evaluate("link => link.click()")
    await expect(page.answers).to_have_count(2)
    await page.tab.wait_for_timeout(500)
    await page.tab.screenshot(path=FOLDER / f"{language}-{device}-{scheme}.png")
    await page.tab.context.close()


def _pieces(text: str) -> list[str]:
    return [text[i : i + 5] for i in range(0, len(text), 5)]


if __name__ == "__main__":
    asyncio.run(main())
