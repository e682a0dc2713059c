"""The service worker: a page of its own while the chat is unavailable, and nothing else."""

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.test_languages import words
from tests.serving import running_chat

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

# The requests for which the browser asked the worker, in place of its routes. Chromium has no routes for the modules
# that a Web Worker imports, which are files of the page.
THROUGH_THE_WORKER = """
performance.getEntriesByType("resource")
  .filter(({ workerStart, workerFinalSourceType }) => workerStart && workerFinalSourceType !== "network")
  .map(({ name }) => name)
  .filter((name) => !name.includes("/page/"))
"""
CACHES = "caches.keys()"
REGISTRATIONS = (
    "navigator.serviceWorker.getRegistrations().then((all) => all.map((one) => one.active?.scriptURL ?? ''))"
)


@pytest_asyncio.fixture(loop_scope="session")
async def own_chat(tmp_path, gemma):
    settings = {
        "CHAT_IDENTITY": "anonymous",
        "CHAT_INSTALLABLE": "true",
        "CHAT_GEMMA_URL": gemma.url,
        "CHAT_EMBEDDED_MODEL": "false",
        "CHAT_TITLES": "first-words",
    }
    async with running_chat(tmp_path, **settings) as process:
        yield process


async def controlled(page):
    """Wait for the worker, and load the page again, through it."""
    await page.tab.evaluate("navigator.serviceWorker.ready.then(() => true)")
    await page.reload()
    await page.tab.wait_for_function("navigator.serviceWorker.controller")


async def assert_unavailable(page, language):
    await expect(page.tab.locator(f"html[lang={language}]")).to_be_attached()
    heading = page.tab.get_by_role("heading", level=1)
    await expect(heading).to_have_text(words(language)("The chat is not available"))
    assert not await page.is_wider_than_the_screen()
    assert await page.tab.evaluate("getComputedStyle(document.querySelector('main')).display") == "flex"


async def test_while_the_chat_is_away_a_page_says_so_and_comes_back_by_itself(own_chat, open_chat, problems):
    page = await open_chat(own_chat.url, locale="he-IL", width=360)
    await controlled(page)
    await page.send("שאלה")
    await expect(page.facts).to_contain_text("טוקן ראשון")
    address = page.tab.url
    assert await page.tab.evaluate(THROUGH_THE_WORKER) == []
    await own_chat.end()
    for _ in range(2):  # its reload, too
        await page.tab.reload()
        await assert_unavailable(page, "he")
    assert await page.accessibility_problems() == []
    assert await page.tab.evaluate(CACHES) == []
    await own_chat.start()
    await page.is_ready()
    assert page.tab.url == address
    await expect(page.questions).to_have_text(["שאלה"])
    await page.tab.context.set_offline(True)
    await page.tab.reload()
    await assert_unavailable(page, "he")
    await page.tab.context.set_offline(False)
    await page.is_ready()
    assert await page.tab.evaluate(CACHES) == []
    problems[:] = [problem for problem in problems if "503" not in problem]


async def test_a_chosen_language_replaces_the_worker_and_a_chat_that_is_not_installable_removes_it(
    own_chat, open_chat, problems
):
    page = await open_chat(own_chat.url)
    await controlled(page)
    await page.tab.evaluate("localStorage.setItem('language', 'ar')")
    await page.reload()
    await page.tab.wait_for_function(f"{REGISTRATIONS}.then((urls) => urls.join().endsWith('language=ar'))")
    await own_chat.end()
    await page.tab.goto(f"{own_chat.url}/c/nothing")
    await assert_unavailable(page, "ar")
    assert await page.accessibility_problems() == []
    own_chat.change(CHAT_INSTALLABLE="false")
    await own_chat.start()
    await page.is_ready()
    await page.tab.wait_for_function(f"{REGISTRATIONS}.then((urls) => urls.length === 0)")
    await own_chat.end()
    with pytest.raises(Exception, match="ERR_CONNECTION_REFUSED"):
        await page.tab.reload()
    problems[:] = [problem for problem in problems if "503" not in problem]
