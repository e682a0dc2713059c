"""Chromium in front of the chat as a person starts it."""

import collections
import contextlib
import os
import shutil
import weakref
from pathlib import Path
from urllib.parse import urljoin

import pytest
import pytest_asyncio
from playwright.async_api import Error, async_playwright, expect

from chatapp.http import assets as page_files
from tests.browser import gradio_dom
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
    # The tests' hosts. (A route to refuse another one would take Chromium's cache from every page.)
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost",
]
# A worker would stay for the next chat on the same port.
CLEAR = """async () => {
  localStorage.clear();
  sessionStorage.clear();
  for (const registration of await navigator.serviceWorker.getRegistrations()) await registration.unregister();
}"""
# Take away what an earlier test left in the box, the search and the list.
EMPTY = """async (version) => {
  const { list, archive, removeFromLists } = await import(
    new URL(`page/${version}/js/conversation_lists.js`, document.baseURI)
  );
  document.querySelectorAll("#attachments button").forEach((button) => button.click());
  for (const field of document.querySelectorAll("#message textarea, #search textarea")) {
    if (!field.value) continue;
    field.value = "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  for (const { id } of [...list.pinned, ...list.items, ...archive.items]) {
    await fetch(`conversations/${id}`, { method: "DELETE" });
    removeFromLists(id);
  }
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
    """Browser profiles, each with a tab, that tests borrow one after the other.

    Each starts empty but for what Chromium has cached. In a tab in which another page was open, whose process has the
    scripts compiled, a page opens for half of the CPU that it takes in a new tab (1.1 s instead of 2.0 s, at a load of
    20), and in a new profile for more than in either. So only a touch screen has a profile of its own: language, size
    and colours are the tab's.

    Args:
        chromium: the browser.
        elsewhere: an address that answers as long as the tests run. It is on the chats' host, so that a tab that goes
            there keeps its process.
    """

    def __init__(self, chromium, elsewhere):
        self._chromium = chromium
        self._elsewhere = elsewhere
        self._idle = collections.defaultdict(list)
        self._sessions = weakref.WeakKeyDictionary()  # tab -> its session of the DevTools protocol
        self._used = collections.defaultdict(set)  # profile -> addresses of chats of which it may have stored something

    @contextlib.asynccontextmanager
    async def borrowed(self, *, script="", locale="en-US", width=1280, height=800, color_scheme="light", **options):
        """Yield a tab in a profile that no other test uses now.

        The next test gets the tab too: it may not keep listeners. Only a tab that runs a ``script`` before the scripts
        of each page, which cannot be taken from it, is closed.
        """
        options = {"reduced_motion": "reduce"} | options
        idle = self._idle[repr(sorted(options.items()))]
        profile = idle.pop() if idle else await self._chromium.new_context(**options, viewport=VIEWPORT)
        profile.set_default_timeout(TIMEOUT_MS)
        kept = profile.pages[0] if profile.pages else await profile.new_page()
        tab = kept
        try:
            if script:
                tab = await profile.new_page()
                await tab.add_init_script(script)
            await self._set_locale(tab, locale)
            if tab.viewport_size != (size := {"width": width, "height": height}):
                await tab.set_viewport_size(size)
            if color_scheme != "light":
                await tab.emulate_media(color_scheme=color_scheme)
            yield tab
        finally:
            await self._clear(profile, kept)
            if color_scheme != "light" and not kept.is_closed():
                await kept.emulate_media(color_scheme="light")
            idle.append(profile)

    async def _set_locale(self, tab, locale):
        """Set the locale as Playwright does for a whole profile."""
        session = self._sessions.get(tab)
        if session is None:
            session = self._sessions[tab] = await tab.context.new_cdp_session(tab)
        await session.send("Emulation.setLocaleOverride", {"locale": locale})
        await session.send("Emulation.setUserAgentOverride", {"userAgent": "", "acceptLanguage": locale})

    async def arrive(self, tab, url):
        """Prepare to open a chat: clear what was stored of another one that had this address, and had ended since."""
        if url in self._used[tab.context]:
            kept = tab.context.pages[0]  # this one may run a script that takes storage from pages
            await kept.goto(f"{url}/robots.txt")
            await kept.evaluate(CLEAR)
        self._used[tab.context].add(url)

    async def _clear(self, profile, kept):
        await profile.unroute_all(behavior="ignoreErrors")
        await profile.set_offline(False)
        for tab in profile.pages:
            if tab is kept:
                await self._leave(tab)
            else:
                with contextlib.suppress(Error):  # where the test left the chat
                    await tab.evaluate(CLEAR)
                await tab.close()
        await profile.clear_cookies()
        await profile.clear_permissions()

    async def _leave(self, tab):
        """Go where no script of the chat runs, and clear its storage, which a page also writes when it is left."""
        await tab.unroute_all(behavior="ignoreErrors")
        for address in (urljoin(tab.url, "/robots.txt"), self._elsewhere):  # that chat may have ended
            with contextlib.suppress(Error):
                response = await tab.goto(address)
                await tab.evaluate(CLEAR)
                if response.ok:
                    self._used[tab.context].discard(address.removesuffix("/robots.txt"))
                    return
        await tab.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def profiles(chromium, gemma):
    return Profiles(chromium, f"{gemma.url}/v1/models")


def _answer_at_once(gemma):
    gemma.answer, gemma.gate, gemma.script = ["Hello", " from", " Gemma", "."], None, []


@pytest.fixture
def problems():
    """What goes wrong in a page; anything in it at the end fails the test."""
    problems = []
    yield problems
    assert problems == []


@pytest_asyncio.fixture(loop_scope="session")
async def open_chat(profiles, problems, gemma):
    """Return a function that opens a chat, or an address of it, as a new user or one who has ``cookies``.

    Other options are those of `Profiles.borrowed`, and of `ChatPage`: ``others``.
    """
    _answer_at_once(gemma)
    async with contextlib.AsyncExitStack() as stack:

        async def opened(url, address=None, *, cookies=(), until_ready=True, others=(), **options):
            tab = await stack.enter_async_context(profiles.borrowed(**options))
            await profiles.arrive(tab, url)
            await tab.context.add_cookies(cookies)
            page = stack.enter_context(ChatPage(tab, url, problems, others=others))
            await page.tab.goto(address or url)
            if until_ready:
                await page.is_ready()
            return page

        yield opened
        if gemma.gate:
            gemma.gate.open()  # no answer stays half written in the chat that the next test uses


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_chat, chat):
    """The open page of a user whom the shared chat has never seen."""
    return await open_chat(chat.url)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kept_page(profiles, chat):
    async with profiles.borrowed() as tab:
        with ChatPage(tab, chat.url, []) as page:
            await page.open()
            yield page


@pytest_asyncio.fixture(loop_scope="session")
async def new_chat(kept_page, gemma):
    """A new chat, the only one in the list, in a page that tests share. To open a page takes 0.7 s of CPU.

    For tests that change no settings, and leave no personas, folders or collections.
    """
    _answer_at_once(gemma)
    page = kept_page
    usable = f"body.ready:not(:has(:popover-open, dialog[open])):has({gradio_dom.OPEN_SIDEBAR})"
    if page.problems or not await page.tab.locator(usable).count():  # a test before failed there
        page.problems.clear()
        await page.open()
    await page.start_new()
    await page.tab.evaluate(EMPTY, page_files.version())
    if "Gemma3" not in await page.model.inner_text():
        await page.choose_model("Gemma3")
    yield page
    if gemma.gate:
        gemma.gate.open()
    await page.tab.unroute_all(behavior="ignoreErrors")
    await page.tab.context.set_offline(False)
    assert page.problems == []
