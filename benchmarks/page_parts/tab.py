"""A tab of Chromium and its measurements."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.page_parts.texts import LAST_WORDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, CDPSession, Page

LONGEST_SECONDS = 120.0
QUIET_SECONDS = 1.5  # without traffic, after which the page has loaded
KEYS_PER_SECOND = 8.0
TYPING_TIMEOUT_SECONDS = 15.0  # after the last key
# The page records all times by its own clock, so that delays of this process do not count. A task after the start of a
# frame runs when that frame is painted.
NOTE = """(() => {
  const noted = (window.noted = { keys: [], long: [], clicked: 0, shown: 0 });
  const painted = (then) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = then;
    port2.postMessage(0);
  });
  addEventListener("click", (event) => event.isTrusted && (noted.clicked = event.timeStamp), true);
  addEventListener("keydown", (event) => {
    const at = event.timeStamp;
    painted(() => noted.keys.push(performance.now() - at));
  }, true);
  new PerformanceObserver((list) => list.getEntries().forEach(({ startTime, duration }) =>
    noted.long.push([startTime, duration]))).observe({ type: "longtask", buffered: true });
  window.watch = () => {
    noted.shown = 0;
    const look = () => {
      const last = [...document.querySelectorAll("#messages .message-row .prose p")].at(-1);
      const at = last?.textContent.includes("LAST WORDS") && last.getBoundingClientRect();
      if (at && at.height && at.top > 0 && at.bottom <= innerHeight) painted(() => (noted.shown = performance.now()));
      else requestAnimationFrame(look);
    };
    look();
  };
  addEventListener("DOMContentLoaded", () => window.watch());
})()""".replace("LAST WORDS", LAST_WORDS)


class Tab:
    """A tab with its network traffic.

    Attributes:
        page: Playwright's page.
        requests: method and path of each request, in order.
    """

    def __init__(self, page: Page, cdp: CDPSession) -> None:
        self.page = page
        self.requests: list[str] = []
        self._cdp = cdp
        self._paths: dict[str, str] = {}
        self._bytes: Counter[str] = Counter()
        self._last_byte = 0.0
        cdp.on("Network.requestWillBeSent", self._asked)
        cdp.on("Network.responseReceived", lambda it: self._received(it, it["response"]["encodedDataLength"]))
        cdp.on("Network.dataReceived", lambda it: self._received(it, it["encodedDataLength"]))
        cdp.on("Network.loadingFinished", lambda it: self._received(it, it["encodedDataLength"], is_all=True))

    def _asked(self, it: dict[str, Any]) -> None:
        address = urlsplit(it["request"]["url"])
        if address.scheme in {"http", "https"}:
            self._paths[it["requestId"]] = address.path
            self.requests.append(f"{it['request']['method']} {address.path}")
            self._last_byte = time.monotonic()

    def _received(self, it: dict[str, Any], count: int, *, is_all: bool = False) -> None:
        name = it["requestId"]
        if name in self._paths:
            self._bytes[name] = count if is_all else self._bytes[name] + count
            self._last_byte = time.monotonic()

    def bytes_by_path(self) -> Counter[str]:
        """Return the transferred bytes by path, headers included."""
        result: Counter[str] = Counter()
        for name, count in self._bytes.items():
            result[self._paths[name]] += count
        return result

    async def is_quiet(self) -> None:
        """Wait until there is no traffic for `QUIET_SECONDS`."""
        while (left := self._last_byte + QUIET_SECONDS - time.monotonic()) > 0:  # noqa: ASYNC110  # traffic moves the deadline
            await asyncio.sleep(left)

    async def seconds_to_last_words(self, *, since_click: bool) -> float:
        """Wait until the last words are painted; return the seconds since the click or since the navigation."""
        await self.page.wait_for_function("noted.shown > 0", timeout=LONGEST_SECONDS * 1000)
        return await self.page.evaluate(f"noted.shown - {'noted.clicked' if since_click else 0}") / 1000

    async def type(self, seconds: float) -> dict[str, Any] | None:
        """Press keys at the pace of a person; return delays (s), long tasks (s), and CPU time of the main thread.

        None if the page hangs: some key is not on the screen `TYPING_TIMEOUT_SECONDS` after the last one.
        """
        presses: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(seconds + TYPING_TIMEOUT_SECONDS):
                await self.page.evaluate("noted.keys.length = noted.long.length = 0")
                before, begun = await self._metrics(), time.monotonic()
                for i in range(int(seconds * KEYS_PER_SECOND)):
                    await asyncio.sleep(max(0.0, begun + i / KEYS_PER_SECOND - time.monotonic()))
                    # As with a person, a key press does not wait until the page has handled the previous one.
                    presses.append(asyncio.create_task(self._press("abcdefgh"[i % 8])))
                await asyncio.gather(*presses)
                await self.page.wait_for_function(f"noted.keys.length >= {len(presses)}")
                after, took = await self._metrics(), time.monotonic() - begun
                noted = await self.page.evaluate("noted")
        except TimeoutError:
            for press in presses:
                press.cancel()
            return None
        return {
            "delays": [delay / 1000 for delay in noted["keys"]],
            "long": [duration / 1000 for _, duration in noted["long"]],
            "work": {name: (after[name] - before[name]) / took for name in after},
            "took": took,
        }

    async def _press(self, letter: str) -> None:
        key = {"key": letter, "code": f"Key{letter.upper()}", "windowsVirtualKeyCode": ord(letter.upper())}
        await self._cdp.send("Input.dispatchKeyEvent", {"type": "keyDown", "text": letter, **key})
        await self._cdp.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})

    async def _metrics(self) -> dict[str, float]:
        metrics = (await self._cdp.send("Performance.getMetrics"))["metrics"]
        wanted = ("TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration")
        return {one["name"]: one["value"] for one in metrics if one["name"] in wanted}


@contextlib.asynccontextmanager
async def tab_of(browser: Browser, locale: str = "en-US") -> AsyncIterator[Tab]:
    """Open a tab in a new profile, whose cache is empty."""
    # Playwright waits for conditions with eval, which the page's policy forbids.
    viewport = {"width": 1280, "height": 800}
    context = await browser.new_context(locale=locale, viewport=viewport, bypass_csp=True)
    context.set_default_timeout(LONGEST_SECONDS * 1000)
    page = await context.new_page()
    await page.add_init_script(NOTE)
    cdp = await context.new_cdp_session(page)
    await cdp.send("Network.enable")
    await cdp.send("Performance.enable", {"timeDomain": "threadTicks"})  # CPU time, without waiting for a core
    try:
        yield Tab(page, cdp)
    finally:
        await context.close()
