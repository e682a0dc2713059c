"""Chromium in front of the chat as a person starts it."""

import collections
import contextlib
import os
import shutil
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Error, async_playwright, expect

from tests.browser.chat_page import ChatPage
from tests.fakes.gemini_server import GeminiServer
from tests.fakes.openai_server import FakeOpenAIServer
from tests.serving import running_chat

# Without these, Chromium looks up its maker's hosts at every start.
ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
]
# A worker would stay for the next chat on the same port.
CLEAR = """async () => {
  localStorage.clear();
  for (const registration of await navigator.serviceWorker.getRegistrations()) await registration.unregister();
}"""
VIEWPORT = {"width": 1280, "height": 800}
TIMEOUT_MS = 60_000  # only a failure takes as long
expect.set_options(timeout=TIMEOUT_MS)
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


def chromium_path():
    """Return the Chromium to use. The headless shell opens a page and asks for 2.2 s of CPU, Chromium for 4.0 s."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    return path or (MAC if Path(MAC).exists() else None)


def sandbox_arguments():
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium():
    path = chromium_path()
    if path is None:
        pytest.skip(
            "Chromium is not here; install it with: sudo apt-get install chromium (macOS: brew install chromium)"
        )
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *sandbox_arguments()])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gemma():
    async with FakeOpenAIServer() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gemini():
    async with GeminiServer() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chat(tmp_path_factory, gemma, gemini):
    """One chat with two models, shared by all tests that do not end it; every browser context is a user of its own."""
    folder = tmp_path_factory.mktemp("chat")
    settings = {
        "CHAT_IDENTITY": "anonymous",
        "CHAT_NEW_GUESTS_PER_HOUR": "0",
        "CHAT_GEMMA_URL": gemma.url,
        "GEMINI_API_KEY": "test",
        "CHAT_GEMINI_BASE_URL": gemini.url,
        "CHAT_EMBEDDED_MODEL": "false",
        "CHAT_TITLES": "first-words",
        "CHAT_MESSAGES_PER_MINUTE": "0",  # some tests ask as no person does
    }
    async with running_chat(folder, **settings) as process:
        yield process


class Profiles:
    """Browser profiles that tests borrow one after the other.

    Each starts empty but for its cached files: a page opens for 1.4 s of CPU, in a new profile for 2.2 s. So only a
    language, or a touch screen, has a profile of its own: size and colours are the tab's.
    """

    def __init__(self, chromium):
        self._chromium = chromium
        self._idle = collections.defaultdict(list)

    @contextlib.asynccontextmanager
    async def borrowed(self, *, width=1280, height=800, color_scheme="light", **options):
        """Yield a tab in a profile that no other test uses now."""
        options = {"locale": "en-US", "reduced_motion": "reduce"} | options
        idle = self._idle[repr(sorted(options.items()))]
        profile = idle.pop() if idle else await self._chromium.new_context(**options, viewport=VIEWPORT)
        profile.set_default_timeout(TIMEOUT_MS)
        try:
            tab = await profile.new_page()
            if (size := {"width": width, "height": height}) != VIEWPORT:
                await tab.set_viewport_size(size)
            if color_scheme != "light":
                await tab.emulate_media(color_scheme=color_scheme)
            yield tab
        finally:
            await _clear(profile)
            idle.append(profile)


async def _clear(profile):
    for tab in profile.pages:
        with contextlib.suppress(Error):  # where the test left the chat
            await tab.evaluate(CLEAR)
        await tab.close()
    await profile.unroute_all(behavior="ignoreErrors")
    await profile.set_offline(False)
    await profile.clear_cookies()
    await profile.clear_permissions()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def profiles(chromium):
    return Profiles(chromium)


def _answer_at_once(gemma):
    gemma.answer, gemma.gate, gemma.script = ["Hello", " from", " Gemma", "."], None, []


@pytest_asyncio.fixture(loop_scope="session")
async def open_tab(profiles, gemma):
    """Return a function that opens an empty tab in a browser profile of its own."""
    _answer_at_once(gemma)
    async with contextlib.AsyncExitStack() as stack:

        async def opened(**options):
            return await stack.enter_async_context(profiles.borrowed(**options))

        yield opened
        if gemma.gate:
            gemma.gate.open()  # no answer stays half written in the chat that the next test uses


@pytest.fixture
def problems():
    """What goes wrong in a page; anything in it at the end fails the test."""
    problems = []
    yield problems
    assert problems == []


@pytest_asyncio.fixture(loop_scope="session")
async def open_chat(open_tab, problems):
    """Return a function that opens a chat as a user whom it has never seen."""

    async def opened(url, **options):
        page = ChatPage(await open_tab(**options), url, problems)
        await page.open()
        return page

    return opened


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_chat, chat):
    """The open page of a user whom the shared chat has never seen."""
    return await open_chat(chat.url)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kept_page(profiles, chat):
    async with profiles.borrowed() as tab:
        page = ChatPage(tab, chat.url, [])
        await page.open()
        yield page


@pytest_asyncio.fixture(loop_scope="session")
async def new_chat(kept_page, gemma):
    """A new chat in a page that the tests of a file share. To open a page takes 1.5 s of CPU.

    For tests of one conversation, which change no settings. The list has the conversations of the other tests too.
    """
    _answer_at_once(gemma)
    page = kept_page
    page.problems.clear()
    if await page.tab.locator(":popover-open, dialog[open]").count():
        await page.reload()  # a test before failed there
    await page.start_new()
    await page.box.fill("")
    yield page
    if gemma.gate:
        gemma.gate.open()
    await page.tab.unroute_all(behavior="ignoreErrors")
    assert page.problems == []
