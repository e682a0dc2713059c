"""The page learns who is looking at it."""

import aiohttp


async def test_a_guest_is_a_guest(page):
    me = await page.get("me")
    assert (me["kind"], me["name"], me["address"], me["canSignIn"], me["canSignOut"]) == (
        "anonymous",
        "",
        "",
        False,
        False,
    )
    assert me["takeAlong"] is None


async def test_the_one_person_of_a_computer_has_no_account_and_may_know_how_long_all_is_kept(settings, serve):
    async with (
        serve(settings.model_copy(update={"identity": "local", "retention_days": 30})) as url,
        aiohttp.ClientSession() as http,
        http.get(f"{url}/me") as response,
    ):
        me = await response.json()
        assert response.headers["cache-control"] == "no-store"
        assert "set-cookie" not in response.headers
    assert (me["kind"], me["canSignIn"], me["canSignOut"], me["retentionDays"]) == ("local", False, False, 30)


async def test_what_is_done_with_all_is_noted_without_a_word_about_the_person(page, chat_url):
    from structlog.testing import capture_logs

    conversation = await page.send("my secret", model="gemma")
    await page.messages(conversation)
    with capture_logs() as lines:
        async with page._http.get(f"{chat_url}/export/{conversation}.md") as response:
            await response.read()
        await page.delete(conversation)
    noted = [line for line in lines if line["event"] == "audit"]
    assert [line["action"] for line in noted] == ["export", "delete"]
    assert {tuple(sorted(line)) for line in noted} == {("action", "event", "log_level", "user")}
    assert len({line["user"] for line in noted}) == 1
