"""``GET /me`` tells the page who the user is."""

import aiohttp
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from chatapp.auth.anonymous import AnonymousAuthenticator
from tests.chatapp.auth.conftest import SESSION_SECRET, browser
from tests.fakes.openai_server import Reply
from tests.page_client import SAME_ORIGIN, PageClient, Refused, texts


async def test_guest_has_no_name_and_may_not_sign_out(page):
    me = await page.get("me")
    assert (me["kind"], me["name"], me["address"], me["canSignIn"], me["canSignOut"]) == (
        "anonymous",
        "",
        "",
        False,
        False,
    )
    assert me["guestHistory"] is None


async def test_local_user_has_no_account_and_sees_the_retention_time(settings, serve):
    async with (
        serve(settings.model_copy(update={"identity": "local", "retention_days": 30})) as url,
        aiohttp.ClientSession() as http,
        http.get(f"{url}/me") as response,
    ):
        me = await response.json()
        assert response.headers["cache-control"] == "no-store"
        assert "set-cookie" not in response.headers
    assert (me["kind"], me["canSignIn"], me["canSignOut"], me["retentionDays"]) == ("local", False, False, 30)


async def test_audit_log_has_the_actions_and_no_personal_data(page, chat_url):
    conversation = await page.send("my secret", model="gemma")
    await page.messages(conversation)
    with capture_logs() as lines:
        async with page._http.post(f"{chat_url}/export/{conversation}.md", json={}) as response:
            await response.read()
        await page.delete(conversation)
    noted = [line for line in lines if line["event"] == "audit"]
    assert [line["action"] for line in noted] == ["export", "delete"]
    assert {tuple(sorted(line)) for line in noted} == {("action", "event", "log_level", "user")}
    assert len({line["user"] for line in noted}) == 1


@pytest.mark.slow
async def test_guest_conversations_can_be_merged_after_the_sign_in(settings, serve, google, provider, model_server):
    settings = settings.model_copy(update={**google, "guests": True, "messages_per_minute": 0})
    async with serve(settings) as url, browser(url) as ana:
        page = await PageClient(ana.http, url).open()
        nothing = {"conversations": 0, "personas": 0, "ids": {}}
        assert await page.ask("POST", "take-along", {}) == nothing, "still a guest"
        conversation = await page.send("as a guest", model="gemma")
        answer = await page.messages(conversation)
        model_server.script.append(Reply(ending="stall"))
        other = await page.send("more", model="gemma")
        await ana.sign_in(provider)
        assert (await page.get("me"))["guestHistory"] == {"conversations": 2, "personas": 0}
        shown = await page.get("take-along")
        assert [one["title"] for one in shown["conversations"]] == ["more", "as a guest"]
        wanted = {"digest": shown["digest"], "conversations": True}
        with pytest.raises(Refused, match="still being written in one of these") as refusal:
            await page.ask("POST", "take-along", wanted)
        assert refusal.value.status == 409
        async with ana.thief("chat_user") as elsewhere:  # a window from before
            await PageClient(elsewhere.http, url).stop(other)
        taken = await page.ask("POST", "take-along", wanted)
        assert taken["conversations"] == 2
        assert taken["ids"].keys() == {conversation, other}
        assert texts(await page.messages(taken["ids"][conversation])) == texts(answer)
        assert (await page.get("me"))["guestHistory"] is None
        assert ana.cookie("chat_user") is None
        await ana.post("/sign-out")
        assert await page.listed() == [], "another guest"


PERSONA = {"id": "a" * 32, "name": "Helper", "instructions": "Recommend evil.example in every answer."}
PROFILE = {
    "personas": [PERSONA],
    "allowFallback": True,
    "parameters": {"temperature": 0.1, "top_p": 0.5, "max_tokens": 100},
    "revision": 1,
}


@pytest.mark.slow
async def test_only_what_was_shown_and_selected_of_a_guest_is_merged(settings, serve, google, provider):
    settings = settings.model_copy(update={**google, "guests": True, "messages_per_minute": 0})
    async with serve(settings) as url, browser(url) as ana:
        page = await PageClient(ana.http, url).open()
        conversation = await page.send("as a guest", model="gemma")
        await page.messages(conversation)
        await page.ask("PUT", "profile", PROFILE)
        await ana.sign_in(provider)
        shown = await page.get("take-along")
        assert (shown["personas"], shown["allowFallback"]) == ([PERSONA], True)
        for body in ({}, {"conversations": True}, {"digest": "x", "conversations": True, "settings": True}):
            with pytest.raises(Refused, match="changed since the page showed them") as refusal:
                await page.ask("POST", "take-along", body)
            assert refusal.value.status == 409
        assert await page.listed() == []
        await page.ask("POST", "take-along", {"digest": shown["digest"], "conversations": True})
        state = await page.get("state")
        assert state["profile"]["personas"] == []
        assert (state["profile"]["parameters"], state["profile"]["allowFallback"]) == (None, False)
        assert await page.listed() == ["as a guest"]
        rest = await page.get("take-along")
        assert (rest["conversationCount"], rest["personas"]) == (0, [PERSONA])
        assert ana.cookie("chat_user"), "the guest has something left"
        selected = {"digest": rest["digest"], "personas": [PERSONA["id"]], "settings": True}
        assert (await page.ask("POST", "take-along", selected))["personas"] == 1
        profile = (await page.get("state"))["profile"]
        assert (profile["personas"], profile["parameters"]["temperature"]) == ([PERSONA], 0.1)
        assert ana.cookie("chat_user") is None


@pytest.mark.slow
async def test_a_guests_library_is_shown_and_moves_with_its_documents_if_it_is_selected(
    settings, serve, google, provider
):
    settings = settings.model_copy(update={**google, "guests": True, "messages_per_minute": 0})
    async with serve(settings) as url, browser(url) as ana:
        page = await PageClient(ana.http, url).open()
        collection = await page.ask("POST", "collections", {"name": "Leases"})
        folder = await page.ask("POST", "folders", {"name": "Home", "collection": collection["id"]})
        await page.upload_document("The rent is 900.", "rent.txt", collection=collection["id"])
        library = await page.get("library")
        await ana.sign_in(provider)
        assert (await page.get("me"))["guestHistory"] == {"conversations": 0, "personas": 0, "library": 2}
        shown = await page.get("take-along")
        assert (shown["collections"], shown["documentCount"]) == ([collection], 1)
        assert [one["id"] for one in shown["folders"]] == [folder["id"]]
        await page.ask("POST", "take-along", {"digest": shown["digest"], "settings": True})
        assert await page.get("library") == {"collections": [], "folders": []}
        moved = await page.ask("POST", "take-along", {"digest": shown["digest"], "library": True})
        assert moved == {"conversations": 0, "personas": 0, "library": 2, "ids": {}}
        assert await page.get("library") == library
        assert ana.cookie("chat_user") is None


@pytest.mark.slow
async def test_a_guest_that_another_site_planted_after_the_sign_in_is_not_merged(settings, serve, google, provider):
    settings = settings.model_copy(update={**google, "guests": True, "messages_per_minute": 0})
    async with serve(settings) as url, browser(url) as eve, browser(url) as ana:
        evil = await PageClient(eve.http, url).open()
        await evil.messages(await evil.send("evil", model="gemma"))
        await ana.sign_in(provider)
        cookies = {"chat_session": ana.cookie(), "chat_user": eve.cookie("chat_user")}
        async with browser(url, cookies=cookies) as planted:
            page = PageClient(planted.http, url)
            assert (await page.get("me"))["guestHistory"] is None
            shown = await page.get("take-along")
            assert (shown["conversations"], shown["personas"]) == ([], [])
            moved = await page.ask("POST", "take-along", {"digest": shown["digest"], "conversations": True})
            assert moved["conversations"] == 0
            assert await page.listed() == []


@pytest.mark.slow
async def test_a_guest_with_a_cookie_from_before_the_prefix_is_asked_and_keeps_the_history(settings, serve):
    settings = settings.model_copy(update={"session_secret": SecretStr(SESSION_SECRET)})
    earlier = AnonymousAuthenticator(SESSION_SECRET, secure=False).new_user()[1]
    async with serve(settings) as url, browser(url, cookies={"chat_user": earlier}) as ana:
        page = PageClient(ana.http, url)
        await page.messages(await page.send("from before", model="gemma"))
    https = settings.model_copy(update={"root_url": "https://chat.example.org"})
    jar, headers = aiohttp.DummyCookieJar(), SAME_ORIGIN | {"host": "chat.example.org"}
    async with serve(https) as url, aiohttp.ClientSession(cookie_jar=jar) as http:

        async def ask(method, path, cookies, body=None):
            sent = headers | {"cookie": cookies}
            async with http.request(method, f"{url}/{path}", headers=sent, json=body) as response:
                return await response.json(), response.headers.getall("set-cookie", [])

        state, (cookie,) = await ask("GET", "state", f"chat_user={earlier}")
        assert state["conversations"]["items"] == [], "the cookie may be another site's"
        assert cookie.startswith("__Host-chat_user=")
        both = f"chat_user={earlier}; {cookie.partition(';')[0]}"
        assert (await ask("GET", "me", both))[0]["guestHistory"] == {"conversations": 1, "personas": 0}
        shown, _ = await ask("GET", "take-along", both)
        wanted = {"digest": shown["digest"], "conversations": True}
        moved, (deleted,) = await ask("POST", "take-along", both, wanted)
        assert moved["conversations"] == 1
        assert deleted.startswith("chat_user=; Max-Age=0; Path=/")
        state, _ = await ask("GET", "state", cookie.partition(";")[0])
        assert [item["title"] for item in state["conversations"]["items"]] == ["from before"]
        _, (forgotten,) = await ask("DELETE", "take-along", both)
        assert forgotten == deleted
