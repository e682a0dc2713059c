"""The page as a person sees and uses it."""

import re

from playwright.async_api import expect

# What Chromium reports although nothing is wrong: two fields want the focus; a stream ends because the tab goes away or
# the server does.
HARMLESS = (
    "Autofocus processing was blocked",
    "AbortError",
    "Connection errored out",
    "ERR_",
    "network error",
)


class ChatPage:
    """One tab. ``problems`` collects script errors and requests to any other site."""

    def __init__(self, tab, url, problems):
        self.tab = tab
        self.problems = problems
        self.url = url
        self.box = tab.locator("#message textarea")
        self.model = tab.locator("#model input")
        self.conversations = tab.locator("#conversations label")
        self.questions = tab.locator("#messages .message.user")
        self.answers = tab.locator("#messages .bot-row:not(:has(.answer-facts)) .message.bot")
        self.facts = tab.locator("#messages .answer-facts")
        self.notes = tab.locator("#messages .answer-note")
        self.toast = tab.get_by_test_id("toast-body")
        self.refusal = tab.locator("#refusal")
        self.continue_button = tab.get_by_role("button", name="Continue")
        self.send_button = tab.get_by_test_id("submit-button")
        self.stop_button = tab.get_by_role("button", name="Stop")
        tab.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        tab.on("console", lambda line: self._check_line(line, problems))
        tab.on("request", lambda request: self._check_request(request, problems))

    def _check_line(self, line, problems):
        said = f"{line.text} {line.location.get('url', '')}"
        refused = (
            "the server responded with a status of" in said and "/conversations" in said
        )  # with words, on the page
        if line.type in {"error", "warning"} and not refused and not any(words in said for words in HARMLESS):
            problems.append(f"console: {said}")

    def _check_request(self, request, problems):
        if not request.url.startswith((self.url, "data:", "blob:")):
            problems.append(f"request to another site: {request.url}")

    async def open(self, address=None):
        await self.tab.goto(address or self.url)
        await expect(self.model).to_have_value(re.compile(r"\w"))

    async def send(self, text):
        await self.box.fill(text)
        await self.box.press("Enter")

    async def choose_model(self, name):
        await self.model.click()
        await self.tab.get_by_role("option", name=name).click()

    async def direction(self, locator):
        return await locator.evaluate("element => getComputedStyle(element).direction")
