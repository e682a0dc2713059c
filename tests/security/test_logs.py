"""What people write, and who they are, is in no line of the log and no metric, whatever they do and whatever fails."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import re
import secrets

import aiohttp
import pytest
from PIL import Image

from tests.fakes.gemini_server import GeminiServer, Refusal
from tests.fakes.oidc_provider import CLIENT, SECRET, FakeProvider
from tests.fakes.openai_server import FakeOpenAIServer, Reply
from tests.page_client import OWN_PAGE, Refused, open_page
from tests.serving import free_port, running_chat

pytestmark = pytest.mark.slow

ADDRESS = "203.0.113.77"  # which the chat believes of a proxy on this computer


class Marks:
    """Texts that are nowhere else, by what they are."""

    def __init__(self):
        self.made = {}

    def __getitem__(self, what):
        return self.made.setdefault(what, f"{what.replace(' ', '-')}-{secrets.token_hex(6)}")

    def found_in(self, text):
        return [what for what, mark in self.made.items() if mark in text]


def a_picture(comment):
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "JPEG", comment=comment)
    return base64.b64encode(file.getvalue()).decode()


def replies(marks):
    """Return how the model's server answers one question after the other; it likes to quote what it was asked."""
    mark = marks["error of the model"]
    said = {"error": {"message": f"Bad prompt: {mark}, {marks['question']}", "type": "BadRequestError", "code": 400}}
    return [
        Reply(pieces=["Hello ", marks["answer"]]),
        *(Reply(status=status, body=said) for status in (400, 401, 403, 404, 413, 422, 429, 500, 503)),
        Reply(status=400, body=f"<html>{mark}</html>".encode(), content_type="text/html"),
        Reply(raw=[f"data: {{{mark}\n\n".encode()]),
        Reply(pieces=[marks["answer"]], ending="error", error=said["error"]),
        Reply(pieces=[marks["answer"]], ending="reset"),
        Reply(pieces=[marks["answer"]], ending="cut"),
    ]


async def talks(page, marks, count):
    """Ask until the script of the model's server is over."""
    first = await page.send(marks["question"], model="gemma", images=[{"data": a_picture(marks["comment"].encode())}])
    await page.messages(first)

    async def talk():
        tab = await page.second_tab()
        await tab.messages(await tab.send(marks["question"], model="gemma", system_prompt=marks["system prompt"]))

    await asyncio.gather(*(talk() for _ in range(count - 1)))  # some are tried again after a while
    return first


async def uses_everything(page, conversation, marks):
    await page.change(conversation, title=marks["title"], pinned=True)
    await page.get("search", q=marks["search"])
    await page.get("state", conversation=marks["id"])
    persona = {"id": "a" * 32, "name": marks["persona"], "instructions": marks["instructions"]}
    await page.ask("PUT", "profile", {"personas": [persona], "allowFallback": False, "revision": 1})
    for path in ("everything.json", "everything.md.zip", f"{conversation}.json", f"{conversation}.md", "nothing.md"):
        async with page._http.get(f"{page._url}/export/{path}") as response:
            await response.read()
    await page.delete(conversation)
    await page.restore(conversation)


async def is_refused(page, chat, marks):
    refused = [
        page.send(marks["too long"] + "x" * 200_000, model="gemma"),
        page.send(marks["question"], model=marks["model"]),
        page.send(marks["question"], model="gemma", temperature=marks["temperature"]),
        page.send(marks["question"], model="gemma", images=[{"data": marks["no picture"]}]),
        page.send(marks["question"], conversation=marks["id"], model="gemma"),
        page.change(marks["id"], title=marks["title"]),
        page.ask("PUT", "profile", {"personas": [marks["no persona"]]}),
    ]
    for call in refused:
        with pytest.raises(Refused):
            await call
    odd = {"cookie": f"chat_user={marks['cookie']}", "authorization": f"Bearer {marks['token']}"}
    odd |= {"x-goog-iap-jwt-assertion": marks["assertion"], "referer": f"{chat.url}/c/{marks['referer']}"}
    odd |= {"x-goog-authenticated-user-email": f"{marks['e-mail']}@example.org"}
    async with aiohttp.ClientSession(headers=odd) as http:
        for method, path in (
            ("GET", f"/{marks['path']}?{marks['query']}=1"),
            ("GET", f"/sign-in?next=/c/{marks['next']}"),
            ("GET", f"/sign-in/callback?code={marks['code']}&state={marks['state']}"),
            ("GET", f"/gradio_api/file=/tmp/{marks['file']}"),
            ("POST", "/conversations"),
            ("POST", "/delete-everything"),
        ):
            for headers in ({}, OWN_PAGE, {"origin": f"https://{marks['origin']}.example"}):
                async with http.request(method, chat.url + path, data=marks["body"], headers=headers) as response:
                    await response.read()


@contextlib.asynccontextmanager
async def chatting(folder, marks, provider, **settings):
    """Run a chat at which people can sign in, with two models that fail in every way; yield it and one of these."""
    quoting = Refusal(400, "INVALID_ARGUMENT", f'Bad value "{marks["question"]}" at contents[0]')
    async with FakeOpenAIServer(script=replies(marks), answer=["Hello"]) as model, GeminiServer() as gemini:
        gemini.will_refuse(quoting)
        async with running_chat(
            folder,
            CHAT_IDENTITY="google",
            CHAT_GUESTS="true",
            CHAT_OIDC_ISSUER=provider.url,
            CHAT_OIDC_CLIENT_ID=CLIENT,
            CHAT_OIDC_CLIENT_SECRET=SECRET,
            CHAT_ALLOWED_PEOPLE=f"{marks['address']}@example.org",
            CHAT_GEMMA_URL=model.url,
            CHAT_GEMMA_IMAGES="true",
            CHAT_GEMINI_BASE_URL=gemini.url,
            GEMINI_API_KEY=marks["key"],
            CHAT_EMBEDDED_MODEL="false",
            CHAT_TRUSTED_PROXIES="127.0.0.0/8",
            CHAT_TITLES="first-words",
            CHAT_TURNS_PER_USER="32",
            CHAT_MESSAGES_PER_MINUTE="0",
            CHAT_SESSION_SECRET=marks["session secret"],
            **settings,
        ) as chat:
            yield chat, model


async def signs_in_and_out(page, provider, marks):
    """Sign in, out, and in vain in every way; return whatever was secret on the way."""
    http, url, secret = page._http, page._url, [SECRET]

    async def signs_in():
        async with http.get(f"{url}/sign-in/start?next=/c/{marks['next']}", allow_redirects=False) as sent:
            back = provider.agree(sent.headers["location"])
        async with http.get(back, allow_redirects=False) as came:
            secret.extend(part.partition("=")[2] for part in back.partition("?")[2].split("&"))
            secret.extend(one.value for one in http.cookie_jar if one.value)
            return came.status

    assert await signs_in() == 303
    assert (await page.get("me"))["address"] == f"{marks['address']}@example.org"
    await page.ask("POST", "sign-out", {})
    assert await signs_in() == 303
    await page.ask("POST", "sign-out-everywhere", {})
    provider.claims["email"] = f"{marks['refused']}@example.com"
    assert await signs_in() == 403
    provider.lies = {"nonce": marks["nonce"], "aud": marks["audience"]}
    assert await signs_in() == 400
    provider.lies, provider.sign = {}, lambda _: marks["no token"]
    assert await signs_in() == 400
    provider.answers = 500
    assert await signs_in() in {400, 503}
    provider.down = True
    assert await signs_in() == 503
    return secret


@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_no_line_and_no_metric_tells_what_somebody_wrote_or_who_they_are(tmp_path, log_format):
    marks, port = Marks(), free_port()
    who = {"sub": marks["subject"], "name": marks["name"], "email": f"{marks['address']}@example.org"}
    settings = {"CHAT_LOG_FORMAT": log_format, "CHAT_METRICS_PORT": str(port)}
    async with FakeProvider(**who) as provider, chatting(tmp_path, marks, provider, **settings) as (chat, model):
        headers = {"x-forwarded-for": ADDRESS, "user-agent": marks["browser"]}
        async with open_page(chat.url, headers=headers) as page:
            conversation = await talks(page, marks, len(model.script))
            await page.messages(await page.send(marks["question"], model="gemini"))
            await uses_everything(page, conversation, marks)
            await is_refused(page, chat, marks)
            await page.ask("POST", "delete-everything", {"confirm": True})
            secret = await signs_in_and_out(page, provider, marks)
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as response:
            metrics = await response.text()
    assert not model.script, "not every reply was asked for"
    if log_format == "json":  # what was done is there, so that what was written could be
        for event in ("answer_failed", '"refused"', "everything_deleted", "INVALID_ARGUMENT"):
            assert event in chat.output, event
        for action in ("export", "delete_everything", "sign_in", "sign_in_refused", "sign_out", "sign_out_everywhere"):
            assert f'"action": "{action}"' in chat.output
    assert "hybrid_chat_turns_total" in metrics
    for text in (chat.output, metrics):
        assert not marks.found_in(text), [line for line in text.splitlines() if marks.found_in(line)][:5]
        assert not [one for one in (ADDRESS, *secret) if one in text]
        assert not re.search(r"\b[\w.+-]+@[\w-]+\.\w+", text)  # whatever looks like an e-mail address
