"""``GET /me`` tells the page who the user is."""

import aiohttp
import pytest
from structlog.testing import capture_logs

from tests.chatapp.auth.conftest import browser
from tests.fakes.openai_server import Reply
from tests.page_client import PageClient, Refused, texts


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


async def test_guest_conversations_can_be_merged_after_the_sign_in(settings, serve, google, provider, model_server):
    settings = settings.model_copy(update={**google, "guests": True, "messages_per_minute": 0})
    async with serve(settings) as url, browser(url) as ana:
        page = await PageClient(ana.http, url).open()
        assert await page.ask("POST", "take-along", {}) == {"conversations": 0, "ids": {}}, "still a guest"
        conversation = await page.send("as a guest", model="gemma")
        answer = await page.messages(conversation)
        model_server.script.append(Reply(ending="stall"))
        other = await page.send("more", model="gemma")
        await ana.sign_in(provider)
        assert (await page.get("me"))["guestHistory"] == {"conversations": 2}
        with pytest.raises(Refused, match="still being written in one of these") as refusal:
            await page.ask("POST", "take-along", {})
        assert refusal.value.status == 409
        async with ana.thief("chat_user") as elsewhere:  # a window from before
            await PageClient(elsewhere.http, url).stop(other)
        taken = await page.ask("POST", "take-along", {})
        assert taken["conversations"] == 2
        assert taken["ids"].keys() == {conversation, other}
        assert texts(await page.messages(taken["ids"][conversation])) == texts(answer)
        assert (await page.get("me"))["guestHistory"] is None
        assert ana.cookie("chat_user") is None
        await ana.post("/sign-out")
        assert await page.listed() == [], "another guest"
