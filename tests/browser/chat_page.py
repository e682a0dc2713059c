"""The page as a person sees and uses it."""

import re

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import expect

from chatapp.domain.conversation import Role
from chatapp.userdata import json_export
from tests.browser import gradio_dom
from tests.chatapp.store.conftest import a_conversation, a_message

# What Chromium reports although nothing is wrong: two fields want the focus; a stream ends because the tab goes away or
# the server does.
HARMLESS = (
    "Autofocus processing was blocked",
    "AbortError",
    "Connection errored out",
    "ERR_",
    "network error",
)
# Of what is refused with words, on the page, Chromium says that it was.
REFUSED = re.compile(
    r"the server responded with a status of (401|.*/(conversations|state|models|profile|search|sign-in/callback)\b)"
)

# To load style sheets and media first would be for rules that are not on, or find nothing serious here. It takes as
# much CPU as half of the rest.
AXE_OPTIONS = "{ resultTypes: ['violations'], preload: false }"


class ChatPage:
    """One tab. ``problems`` collects script errors and requests to any other site than the chat and the ``others``.

    As a context manager, it stops to watch the tab at the end: another page may be opened in it.
    """

    def __init__(self, tab, url, problems, *, others=()):
        self.tab = tab
        self.allowed = ("data:", "blob:", *others)
        self.problems = problems
        self.url = url
        self.box = tab.locator("#message textarea")
        self.model = tab.locator("#model")
        self.conversations = tab.locator("#conversations li > a")
        self.title = tab.locator("#header h1")
        self.questions = tab.locator(gradio_dom.QUESTIONS)
        self.answers = tab.locator(gradio_dom.ANSWERS)
        self.writers = tab.locator("#messages .author")
        self.facts = tab.locator("#messages .facts")
        self.notes = tab.locator("#messages .note")
        self.notices = tab.locator("#status-notices")
        self.toast = tab.locator("#toast")
        self.refusal = tab.locator("#refusal")
        self.continue_button = tab.locator("#messages button.go-on")
        self.send_button = tab.locator(gradio_dom.SEND)
        self.stop_button = tab.locator(gradio_dom.STOP)
        self._listeners = {
            "pageerror": self._note_error,
            "console": self._check_line,
            "request": self._check_request,
        }
        for event, listener in self._listeners.items():
            tab.on(event, listener)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for event, listener in self._listeners.items():
            self.tab.remove_listener(event, listener)

    def _note_error(self, error):
        self.problems.append(f"script error: {error}")

    def _check_line(self, line):
        text = f"{line.text} {line.location.get('url', '')}"
        is_harmless = REFUSED.search(text) or any(words in text for words in HARMLESS)
        if line.type in {"error", "warning"} and not is_harmless:
            self.problems.append(f"console: {text}")

    def _check_request(self, request):
        if not request.url.startswith((self.url, *self.allowed)):
            self.problems.append(f"request to another site: {request.url}")

    def button(self, name, *, exact=True):
        return self.tab.get_by_role("button", name=name, exact=exact)

    async def open(self, address=None):
        await self.tab.goto(address or self.url)
        await self.is_ready()

    async def is_ready(self):
        await expect(self.tab.locator("body.ready")).to_be_attached()

    async def reload(self):
        await self.tab.reload()
        await self.is_ready()

    async def send(self, text):
        await self.box.fill(text)
        await self.box.press("Enter")

    async def ask(self, text):
        """Send a message and wait for the end of its answer."""
        before = await self.answers.count()
        await self.send(text)
        await expect(self.answers).to_have_count(before + 1)
        await expect(self.facts.last).to_contain_text("first token")

    async def open_imported(self, turns, answer="Hello from Gemma."):
        """Import a conversation and open it: so many questions, with this answer. To ask 30 takes 4 s of CPU."""
        await self.open_turns([(f"Question {number}", answer) for number in range(turns)])

    async def open_turns(self, turns, *, title="A chat"):
        """Import a conversation of these questions and answers, and open it."""
        (conversation,) = await self.import_conversations((title, turns))
        await self.open(f"{self.url}/c/{conversation}")

    async def import_conversations(self, *conversations):
        """Import conversations, each a title and its questions and answers. Return their ids."""
        made = [(a_conversation(title=title), _messages(turns)) for title, turns in conversations]
        body = b",\n".join(json_export.encode(*one) for one in made)
        events = await self.tab.evaluate(
            """async (body) => {
              const headers = { "content-type": "application/octet-stream" };
              return (await fetch("imports", { method: "POST", headers, body })).text();
            }""",
            (json_export.header("a user") + body + json_export.FOOTER).decode(),
        )
        assert "report" in events, events
        return [conversation.id for conversation, _ in made]

    async def start_new(self):
        await self.button("New chat").click()
        await expect(self.questions).to_have_count(0)

    async def choose_model(self, name):
        await self.model.click()
        await self.tab.get_by_role("menuitemradio", name=name).click()

    async def open_menu(self, title):
        """Open the menu of a conversation of the list."""
        row = self.tab.locator("#conversations li").filter(has_text=title)
        await row.hover()
        await row.get_by_role("button").click()

    async def choose(self, action):
        """Choose from the menu that is open."""
        await self.tab.get_by_role("menuitem", name=action, exact=True).click()

    async def direction(self, locator):
        return await locator.evaluate("element => getComputedStyle(element).direction")

    async def accessibility_problems(self):
        """Return what axe-core finds serious or critical, as text."""
        if not await self.tab.evaluate("'axe' in window"):
            await self.tab.evaluate(AXE_SCRIPT)
        # The whole result is 50 kB, most of it on what is as it should be.
        found = await self.tab.evaluate(f"axe.run({AXE_OPTIONS}).then(({{ violations }}) => violations)")
        return [
            f"{one['id']}: {one['help']}: {node['html'][:200]}"
            for one in found
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"]
        ]

    async def is_wider_than_the_screen(self):
        return await self.tab.evaluate("document.documentElement.scrollWidth > innerWidth")


def _messages(turns):
    messages = []
    for number, (question, answer) in enumerate(turns):
        turn = {"turn_id": f"turn {number}"}
        messages.append(a_message(question, 2 * number, **turn))
        messages.append(a_message(answer, 2 * number + 1, role=Role.ASSISTANT, model="gemma", **turn))
    return messages
