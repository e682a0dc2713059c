"""Chromium in front of the chat as a person starts it."""

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
expect.set_options(timeout=20_000)  # a shared machine; what fails is shown at once by -x
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


@pytest_asyncio.fixture(loop_scope="session")
async def open_chat(chromium, gemma):
    """Return a function that opens a chat in a new browser profile; what goes wrong in the page fails the test."""
    gemma.answer, gemma.gate, gemma.script = ["Hello", " from", " Gemma", "."], None, []
    contexts, problems = [], []

    async def opened(url, *, context=None, **options):
        if context is None:
            context = await new_profile(chromium, **options)
            contexts.append(context)
        page = ChatPage(await context.new_page(), url, problems)
        await page.open()
        return page

    yield opened
    if gemma.gate:
        gemma.gate.open()  # no answer stays half written in the chat that the next test uses
    for context in contexts:
        await context.close()
    assert problems == []


async def new_profile(chromium, *, locale="en-US", width=1280, height=800, **options):
    context = await chromium.new_context(
        locale=locale, viewport={"width": width, "height": height}, reduced_motion="reduce", **options
    )
    context.set_default_timeout(20_000)
    return context


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def everyday_profile(chromium):
    context = await new_profile(chromium)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_chat, chat, everyday_profile):
    """A page of somebody whom the chat never saw; the browser has its files, a third of what opening it takes."""
    page = await open_chat(chat.url, context=everyday_profile)
    yield page
    await everyday_profile.set_offline(False)
    await everyday_profile.clear_cookies()
    await everyday_profile.clear_permissions()
    with contextlib.suppress(Error):  # where the test left the chat
        await page.tab.evaluate("localStorage.clear()")
    for tab in everyday_profile.pages:
        await tab.close()
