"""Page benchmark in the browser, compared with plain Gradio: a chat of a few lines with the same messages.

Run: ``python -m benchmarks.page [--runs 5] [--seconds 8]``. The chat and a plain Gradio chat in its own process
alternate in Chromium, so that other load on the machine affects both. A conversation of 500 messages of 2,000
characters is in the chat's history. Measured, by the page's own clock:

- from the click in the list, or from a cold load by the conversation's link, until its last words are painted (goal:
  1 s from the click);
- while an answer is streamed at 50 tokens/s at its end and a person types: from a key press to the next painted frame;
  tasks of more than 50 ms; CPU time of the page's main thread per second. Plain Gradio shows
  all 500 messages or, if it hangs, as many as the chat shows at first, or two;
- the requests that sending takes (goal: one);
- the bytes of a first load (goal: 50 kB more than plain Gradio), by file where they differ.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.async_api import async_playwright

from benchmarks import percentile
from benchmarks.load_parts.processes import CHECKOUT, chat_process
from benchmarks.page_parts.plain import TOKENS, TOKENS_PER_SECOND
from benchmarks.page_parts.tab import tab_of
from benchmarks.page_parts.texts import MESSAGES, messages, tokens
from benchmarks.start import wait_for
from chatapp.auth.local import LOCAL
from chatapp.domain.conversation import Conversation, Message, Role, new_id, now_ms
from chatapp.http.api.stream import MESSAGES_AT_ONCE
from chatapp.store.sqlite.store import SQLiteStore
from tests.browser.conftest import ARGUMENTS, chromium_path, sandbox_arguments
from tests.fakes.openai_server import FakeOpenAIServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import Browser

RUNS = 5
SECONDS = 8.0  # of typing
LOCALES = {"English": "en-US", "Hebrew": "he-IL"}
LEAST_BYTES = 200  # smaller differences of a file are not listed
GOAL_BYTES = 50_000
QUESTION = "And how did the winter end?"
BEGUN = "[...document.querySelectorAll('#messages .message-row .prose')].at(-1)?.textContent.includes('number 0:')"
LINE = "  {:<44}  {:>10}  {:>10}  {:>8}"
PLAIN_MESSAGES = (
    MESSAGES,
    MESSAGES_AT_ONCE,
    2,
)  # the first number with which plain Gradio accepts keys while it streams
LONGEST_START_SECONDS = 30.0
POLLED = "GET /models"  # every few seconds


async def main(runs: int, seconds: float) -> None:
    path = chromium_path()
    if path is None:
        raise SystemExit("Chromium is not here; install it with: sudo apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, plain_process(Path(folder)) as plain:
        async with FakeOpenAIServer(
            answer=tokens(TOKENS), tokens_per_second=TOKENS_PER_SECOND, context_tokens=1 << 22
        ) as backend:
            conversation = await prepare(Path(folder) / "chat.db")
            with chat_process(Path(folder), settings(folder, backend.url)) as (_, chat):
                async with async_playwright() as playwright:
                    arguments_ = [*ARGUMENTS, *sandbox_arguments()]
                    browser = await playwright.chromium.launch(executable_path=path, args=arguments_)
                    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
                    print(f"Chromium {browser.version}, {os.cpu_count()} cores, load average {load}\n")
                    print(LINE.format("", "chat", "plain", "chat is"), flush=True)
                    await report_opening(browser, chat, plain, conversation, runs)
                    await report_typing(browser, chat, plain, conversation, seconds)
                    await report_weight(browser, chat, plain)
                    await browser.close()


def settings(folder: str, backend: str) -> dict[str, str]:
    return {
        "CHAT_DATA_DIR": folder,
        "CHAT_EMBEDDED_MODEL": "false",
        "CHAT_GEMMA_URL": backend,
        "CHAT_TITLES": "first-words",
    }


async def prepare(path: Path) -> str:
    """Write the long conversation; return its id."""
    store = await SQLiteStore.open(path)
    start_ms = now_ms() - MESSAGES - 1
    conversation = Conversation(id=new_id(), title="Long", created_ms=start_ms, updated_ms=start_ms)
    written, turn_id = [], ""
    for i, text in enumerate(messages()):
        turn_id = turn_id if i % 2 else new_id()
        role, model = (Role.ASSISTANT, "gemma") if i % 2 else (Role.USER, "")
        one = Message(id=new_id(), turn_id=turn_id, role=role, content=text, created_ms=start_ms + i, model=model)
        written.append(one)
    await store.create(LOCAL.id, conversation, *written)
    await store.aclose()
    return conversation.id


@contextlib.contextmanager
def plain_process(folder: Path) -> Iterator[str]:
    """Run plain Gradio; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.page_parts.plain", str(port)]
    environment = os.environ | {"TMPDIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for(port, "/", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


async def report_opening(browser: Browser, chat: str, plain: str, conversation: str, runs: int) -> None:
    """Print the time until the last message is painted."""
    clicks: dict[str, list[float]] = {"chat": [], "plain": []}
    loads: dict[str, list[float]] = {"chat": [], "plain": []}
    for _ in range(runs):
        for name, click, load in (
            ("chat", chat, f"{chat}/c/{conversation}"),
            ("plain", plain, f"{plain}/?last={MESSAGES}"),
        ):
            async with opened(browser, name, click) as tab:
                await tab.page.locator("#conversations li > a, #show-all").first.click()
                clicks[name].append(await tab.seconds_to_last_words(since_click=True))
            async with tab_of(browser) as tab:
                await tab.page.goto(load, wait_until="commit")
                loads[name].append(await tab.seconds_to_last_words(since_click=False))
    for title, seconds in (("click", clicks), ("cold load", loads)):
        compare(f"s, {title} to last words, median", *(statistics.median(seconds[name]) for name in seconds))
        compare("   longest", *(max(seconds[name]) for name in seconds))


@contextlib.asynccontextmanager
async def opened(browser: Browser, name: str, address: str) -> Any:  # noqa: ANN401
    """Open a page, and wait until it has loaded completely."""
    async with tab_of(browser) as tab:
        await tab.page.goto(address)
        await tab.page.locator("body.ready" if name == "chat" else "#message textarea").wait_for()
        await tab.is_quiet()
        yield tab


async def report_typing(browser: Browser, chat: str, plain: str, conversation: str, seconds: float) -> None:
    """Print the latency of keys while an answer is streamed, and the requests of sending."""
    ours, sent = await typed(browser, "chat", f"{chat}/c/{conversation}", seconds)
    print("\nRequests from sending on")
    for request, count in Counter(sent).items():
        print(f"  {count} x {request}")
    if ours is None:
        raise SystemExit("The chat's page hangs.")
    print("\nTyping while an answer is written")
    theirs = None
    for count in PLAIN_MESSAGES:
        theirs, _ = await typed(browser, "plain", f"{plain}/?last={count}", seconds)
        if theirs is not None:
            print(f"  (plain Gradio with {count} messages)")
            break
        print(f"  Plain Gradio with {count} messages hangs.")
    for percent, name in ((50, "p50"), (95, "p95"), (100, "longest")):
        compare(
            f"ms, key to frame, {name}",
            *(percentile(it["delays"], percent) * 1000 if it else None for it in (ours, theirs)),
        )
    compare("tasks over 50 ms, per second", *(len(it["long"]) / it["took"] if it else None for it in (ours, theirs)))
    compare("   longest, ms", *(max(it["long"], default=0.0) * 1000 if it else None for it in (ours, theirs)))
    for metric in ours["work"]:
        compare(f"ms per second, {metric}", *(it["work"][metric] * 1000 if it else None for it in (ours, theirs)))


async def typed(browser: Browser, name: str, address: str, seconds: float) -> tuple[dict[str, Any] | None, list[str]]:
    """Send a question and type while it is answered; return the measurements, and the requests since sending."""
    async with opened(browser, name, address) as tab:
        await tab.seconds_to_last_words(since_click=False)
        await tab.page.locator("#message textarea").fill(QUESTION)
        await tab.is_quiet()
        before = len(tab.requests)
        await tab.page.keyboard.press("Enter")  # the box keeps the focus
        try:
            async with asyncio.timeout(LONGEST_START_SECONDS):
                await tab.page.wait_for_function(BEGUN)
        except TimeoutError:
            return None, []
        measured = await tab.type(seconds)
        return measured, [request for request in tab.requests[before:] if request != POLLED]


async def report_weight(browser: Browser, chat: str, plain: str) -> None:
    """Print the transferred bytes of a first load."""
    for language, locale in LOCALES.items():
        weights = []
        for name, address in (("chat", chat), ("plain", plain)):
            async with tab_of(browser, locale) as tab:
                await tab.page.goto(address)
                await tab.page.locator("body.ready" if name == "chat" else "#message textarea").wait_for()
                await tab.is_quiet()
                weights.append(tab.bytes_by_path())
        ours, theirs = weights
        more = ours.total() - theirs.total()
        print(f"\nA first load in {language}: {len(ours)} and {len(theirs)} files")
        compare("kB over the wire", ours.total() / 1000, theirs.total() / 1000)
        fonts = [sum(count for path, count in weight.items() if "/fonts/" in path) for weight in weights]
        without = (more - fonts[0] + fonts[1]) / 1000
        print(f"  {more / 1000:+.1f} kB (goal: at most {GOAL_BYTES / 1000:+.0f}), {without:+.1f} without fonts")
        differences = {path: ours[path] - theirs[path] for path in ours.keys() | theirs.keys()}
        for path, difference in sorted(differences.items(), key=lambda it: -abs(it[1])):
            if abs(difference) >= LEAST_BYTES:
                print(f"    {difference / 1000:>+8.1f}  {path}")


def compare(title: str, one: float | None, other: float | None) -> None:
    ratio = f"{one / other:.2f} x" if one is not None and other else ""
    print(LINE.format(title, *("-" if it is None else f"{it:.2f}" for it in (one, other)), ratio), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS, help="number of times that the conversation is opened: 5")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="seconds of typing: 8")
    return parser.parse_args()


if __name__ == "__main__":
    chosen = arguments()
    asyncio.run(main(chosen.runs, chosen.seconds))
