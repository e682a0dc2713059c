"""The log and the metrics contain no content and no personal data, on every route and with every failure."""

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
from tests.page_client import SAME_ORIGIN, Refused, open_page
from tests.serving import free_port, running_chat

pytestmark = pytest.mark.slow

ADDRESS = "203.0.113.77"  # in X-Forwarded-For, from a trusted proxy


class Marks:
    """Unique texts by name; each is created when it is first used."""

    def __init__(self):
        self._texts = {}

    def __getitem__(self, name):
        return self._texts.setdefault(name, f"{name.replace(' ', '-')}-{secrets.token_hex(6)}")

    def contained_in(self, text):
        """Return the names of the marks in a text."""
        return [name for name, mark in self._texts.items() if mark in text]


def jpeg(comment):
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "JPEG", comment=comment)
    return base64.b64encode(file.getvalue()).decode()


def replies(marks):
    """Return the responses of the model server, in order; most of them quote the question."""
    mark = marks["error of the model"]
    error = {"error": {"message": f"Bad prompt: {mark}, {marks['question']}", "type": "BadRequestError", "code": 400}}
    return [
        Reply(pieces=["Hello ", marks["answer"]]),
        *(Reply(status=status, body=error) for status in (400, 401, 403, 404, 413, 422, 429, 500, 503)),
        Reply(status=400, body=f"<html>{mark}</html>".encode(), content_type="text/html"),
        Reply(raw=[f"data: {{{mark}\n\n".encode()]),
        Reply(pieces=[marks["answer"]], ending="error", error=error["error"]),
        Reply(pieces=[marks["answer"]], ending="reset"),
        Reply(pieces=[marks["answer"]], ending="cut"),
    ]


async def send_questions(page, marks, count):
    """Send questions until the script of the model server ends."""
    first = await page.send(marks["question"], model="gemma", images=[{"data": jpeg(marks["comment"].encode())}])
    await page.messages(first)

    async def send():
        tab = await page.second_tab()
        await tab.messages(await tab.send(marks["question"], model="gemma", system_prompt=marks["system prompt"]))

    await asyncio.gather(*(send() for _ in range(count - 1)))  # the chat retries some of them with a delay
    return first


async def use_every_feature(page, conversation, marks):
    await page.change(conversation, title=marks["title"], pinned=True)
    await page.get("search", q=marks["search"])
    await page.get("state", conversation=marks["id"])
    persona = {"id": "a" * 32, "name": marks["persona"], "instructions": marks["instructions"]}
    await page.ask("PUT", "profile", {"personas": [persona], "allowFallback": False, "revision": 1})
    for path in ("everything.json", "everything.md.zip", f"{conversation}.json", f"{conversation}.md", "nothing.md"):
        async with page._http.post(f"{page._url}/export/{path}", json={}) as response:
            await response.read()
    document = await page.upload_document(f"{marks['document']} in a text.", f"{marks['file name']}.txt")
    await page.messages(await page.send(marks["question"], model="gemma", documents=[{"id": document["id"]}]))
    collection = (await page.ask("POST", "collections", {"name": marks["title"]}))["id"]
    name = f"{marks['file name']}.txt"
    kept = await page.upload_document(f"{marks['document']} in a text.", name, collection=collection)
    folder = {"name": marks["title"], "instructions": marks["instructions"], "collection": collection}
    await page.ask("POST", "folders", folder)
    await page.get("library")
    await page.get(f"collections/{collection}/documents/{kept['id']}")
    await page.ask("DELETE", f"collections/{collection}/documents/{kept['id']}")
    await page.ask("DELETE", f"collections/{collection}")
    await page.delete(conversation)
    await page.restore(conversation)


async def send_invalid_requests(page, chat, marks):
    refused = [
        page.send(marks["too long"] + "x" * 200_000, model="gemma"),
        page.send(marks["question"], model=marks["model"]),
        page.send(marks["question"], model="gemma", temperature=marks["temperature"]),
        page.send(marks["question"], model="gemma", images=[{"data": marks["invalid image"]}]),
        page.send(marks["question"], conversation=marks["id"], model="gemma"),
        page.upload_document(f"%PDF-1.4 {marks['document']}", f"{marks['file name']}.pdf"),
        page.upload_document(marks["document"], f"{marks['file name']}.txt", model=marks["model"]),
        page.send(marks["question"], model="gemma", documents=[{"id": "0" * 32}]),
        page.upload_document(marks["document"], f"{marks['file name']}.txt", collection=marks["id"]),
        page.ask("POST", "folders", {"name": marks["title"], "collection": marks["id"]}),
        page.change(marks["id"], title=marks["title"]),
        page.ask("PUT", "profile", {"personas": [marks["invalid persona"]]}),
    ]
    for call in refused:
        with pytest.raises(Refused):
            await call
    headers = {"cookie": f"chat_user={marks['cookie']}", "authorization": f"Bearer {marks['token']}"}
    headers |= {"x-goog-iap-jwt-assertion": marks["assertion"], "referer": f"{chat.url}/c/{marks['referer']}"}
    headers |= {"x-goog-authenticated-user-email": f"{marks['e-mail']}@example.org"}
    async with aiohttp.ClientSession(headers=headers) as http:
        for method, path in (
            ("GET", f"/{marks['path']}?{marks['query']}=1"),
            ("GET", f"/sign-in?next=/c/{marks['next']}"),
            ("GET", f"/sign-in/callback?code={marks['code']}&state={marks['state']}"),
            ("GET", f"/gradio_api/file=/tmp/{marks['file']}"),
            ("POST", "/conversations"),
            ("POST", "/delete-everything"),
        ):
            for origin in ({}, SAME_ORIGIN, {"origin": f"https://{marks['origin']}.example"}):
                async with http.request(method, chat.url + path, data=marks["body"], headers=origin) as response:
                    await response.read()


@contextlib.asynccontextmanager
async def chat_with_failing_models(folder, marks, provider, **settings):
    """Run a chat with sign-in and two models that fail in every way; yield the chat and the first model server."""
    refusal = Refusal(400, "INVALID_ARGUMENT", f'Bad value "{marks["question"]}" at contents[0]')
    async with FakeOpenAIServer(script=replies(marks), answer=["Hello"]) as model, GeminiServer() as gemini:
        gemini.will_refuse(refusal)
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


async def sign_in_and_out(page, provider, marks):
    """Sign in and out, with every failure of the provider; return the secrets in the requests and cookies."""
    http, url, secret_texts = page._http, page._url, [SECRET]

    async def sign_in():
        async with http.get(f"{url}/sign-in/start?next=/c/{marks['next']}", allow_redirects=False) as redirect:
            callback = provider.agree(redirect.headers["location"])
        async with http.get(callback, allow_redirects=False) as response:
            secret_texts.extend(part.partition("=")[2] for part in callback.partition("?")[2].split("&"))
            secret_texts.extend(cookie.value for cookie in http.cookie_jar if cookie.value)
            return response.status

    assert await sign_in() == 303
    assert (await page.get("me"))["address"] == f"{marks['address']}@example.org"
    await page.ask("POST", "sign-out", {})
    assert await sign_in() == 303
    await page.ask("POST", "sign-out-everywhere", {})
    provider.claims["email"] = f"{marks['refused']}@example.com"
    assert await sign_in() == 403
    provider.lies = {"nonce": marks["nonce"], "aud": marks["audience"]}
    assert await sign_in() == 400
    provider.lies, provider.sign = {}, lambda _: marks["invalid token"]
    assert await sign_in() == 400
    provider.answers = 500
    assert await sign_in() in {400, 503}
    provider.down = True
    assert await sign_in() == 503
    return secret_texts


@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_logs_and_metrics_contain_no_content_and_no_personal_data(tmp_path, log_format):
    marks, port = Marks(), free_port()
    claims = {"sub": marks["subject"], "name": marks["name"], "email": f"{marks['address']}@example.org"}
    settings = {"CHAT_LOG_FORMAT": log_format, "CHAT_METRICS_PORT": str(port)}
    async with (
        FakeProvider(**claims) as provider,
        chat_with_failing_models(tmp_path, marks, provider, **settings) as (chat, model),
    ):
        headers = {"x-forwarded-for": ADDRESS, "user-agent": marks["browser"]}
        async with open_page(chat.url, headers=headers) as page:
            conversation = await send_questions(page, marks, len(model.script))
            await page.messages(await page.send(marks["question"], model="gemini"))
            await use_every_feature(page, conversation, marks)
            await send_invalid_requests(page, chat, marks)
            await page.ask("POST", "delete-everything", {"confirm": True})
            secret_texts = await sign_in_and_out(page, provider, marks)
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as response:
            metrics = await response.text()
    assert not model.script, "the model server has unused responses"
    if log_format == "json":  # the log has the events, so their content could be in it
        for event in ("answer_failed", '"refused"', "everything_deleted", "INVALID_ARGUMENT"):
            assert event in chat.output, event
        for action in ("export", "delete_everything", "sign_in", "sign_in_refused", "sign_out", "sign_out_everywhere"):
            assert f'"action": "{action}"' in chat.output
    assert "hybrid_chat_turns_total" in metrics
    for text in (chat.output, metrics):
        assert not marks.contained_in(text), [line for line in text.splitlines() if marks.contained_in(line)][:5]
        assert not [secret for secret in (ADDRESS, *secret_texts) if secret in text]
        assert not re.search(r"\b[\w.+-]+@[\w-]+\.\w+", text)  # an email address
