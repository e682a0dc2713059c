"""Signing in and out in Chromium, with a real OpenID Connect provider and a chat for several users."""

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser import gradio_dom
from tests.browser.chat_page import ChatPage
from tests.browser.test_languages import LOCALES, words
from tests.chatapp.auth.conftest import COOKIE, browser
from tests.fakes.gate import Gate
from tests.oidc_provider import running_provider
from tests.serving import running_chat

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

ANA = {"sub": "ana", "name": "Ana Example", "email": "ana@example.org", "email_verified": True}
BEN = {"sub": "ben", "name": "Ben Example", "email": "ben@example.org", "email_verified": True}
EVE = {"sub": "eve", "name": "Eve Example", "email": "eve@example.com", "email_verified": True}
STYLES = "https://cdn.jsdelivr.net/"  # which the provider's own pages would like; they get none


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def provider():
    async with running_provider(ANA, BEN, EVE) as url:
        yield url


def _settings(provider, gemma, **others):
    return {
        "CHAT_IDENTITY": "google",
        "CHAT_OIDC_ISSUER": provider,
        "CHAT_OIDC_CLIENT_ID": "the-chat",
        "CHAT_OIDC_CLIENT_SECRET": "a-secret-of-the-chat",
        "CHAT_ALLOWED_PEOPLE": "example.org",
        "CHAT_INSTALLABLE": "true",  # so that every second sign-in goes through the service worker
        "CHAT_GEMMA_URL": gemma.url,
        "CHAT_EMBEDDED_MODEL": "false",
        "CHAT_TITLES": "first-words",
        **others,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def closed_chat(tmp_path_factory, provider, gemma):
    """Nobody is let in who has not signed in."""
    async with running_chat(tmp_path_factory.mktemp("closed"), **_settings(provider, gemma)) as chat:
        yield chat


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def open_to_guests(tmp_path_factory, provider, gemma):
    """People may try it before they sign in."""
    settings = _settings(provider, gemma, CHAT_GUESTS="true")
    async with running_chat(tmp_path_factory.mktemp("guests"), **settings) as chat:
        yield chat


@pytest_asyncio.fixture(loop_scope="session")
async def device(open_chat, provider):
    """Return a function that opens an address in a browser of its own."""

    async def opened(address, *, language="en", width=1280, scheme="light", cookies=()):
        origin = "/".join(address.split("/")[:3])
        options = {"locale": LOCALES[language], "width": width, "height": 740, "color_scheme": scheme}
        options["cookies"] = cookies
        return await open_chat(origin, address, until_ready=False, others=(provider, STYLES), **options)

    return opened


@pytest_asyncio.fixture(loop_scope="session")
async def signed_in(device):
    """Return a function that opens a chat in a browser in which Ana has signed in, without the pages of that."""

    async def opened(url):
        async with browser(url) as ana:
            start = await ana.get("/sign-in/start")
            async with ana.http.post(start.location, data={"sub": ANA["sub"]}, allow_redirects=False) as agreed:
                await ana.get(agreed.headers["location"])
            page = await device(url, cookies=[{"name": COOKIE, "value": ana.cookie(), "url": url}])
        await page.is_ready()
        return page

    return opened


async def _sign_in(page, person=ANA, *, language="en"):
    """Sign in from the page to sign in at, and wait until the chat is there."""
    say = words(language)
    await page.tab.get_by_role("link", name=say("Sign in with {provider}").partition("{")[0].strip()).click()
    await page.tab.get_by_role("button", name=person["sub"], exact=True).click()
    await page.is_ready()


async def _open_panel(page):
    await page.tab.locator("#me").click()
    await expect(page.tab.locator("#settings-panel")).to_be_visible()


async def _cookie(page):
    return {one["name"]: one["value"] for one in await page.tab.context.cookies()}[COOKIE]


async def test_a_signed_in_user_has_the_same_history_on_every_device(device, closed_chat):
    one = await device(closed_chat.url)
    await expect(one.tab.locator("#conversations, #message")).to_have_count(0)
    await _sign_in(one)
    await expect(one.tab.locator("#me")).to_contain_text("Ana Example")
    await one.ask("Written at the desk")
    address = one.tab.url
    assert "/c/" in address

    other = await device(address)
    await _sign_in(other)
    assert other.tab.url == address  # where it began
    await expect(other.questions).to_have_text(["Written at the desk"])
    await expect(other.conversations).to_have_text(["Written at the desk"])


async def test_a_user_who_is_not_allowed_may_choose_another_account(device, closed_chat):
    page = await device(closed_chat.url)
    assert await page.accessibility_problems() == []
    await page.tab.get_by_role("link", name="Sign in with").click()
    await page.tab.get_by_role("button", name="eve", exact=True).click()
    await expect(page.tab.locator("main")).to_contain_text("has no access to this chat")
    await _sign_in(page)
    await expect(page.tab.locator("#me")).to_contain_text("Ana Example")


async def test_a_user_sees_where_they_are_signed_in_and_signs_out_there(device, signed_in, closed_chat):
    lost, here = await signed_in(closed_chat.url), await device(closed_chat.url)
    await _sign_in(here)
    await _open_panel(here)
    await here.tab.locator("#devices summary").click()
    devices = here.tab.locator("#devices li")
    await expect(devices.filter(has_text="This browser")).to_have_count(1)
    await expect(devices.filter(has_text="Chrome, Linux").filter(has_text="Last used:").first).to_be_visible()
    assert await here.accessibility_problems() == []
    await here.button("Sign out all others").click()
    await expect(devices).to_have_count(1)
    await lost.send("Hello")
    await expect(lost.tab.locator("#account-notice")).to_contain_text("You are signed out.")


async def test_after_signing_out_nothing_is_left_and_a_copy_of_the_cookie_is_refused(signed_in, closed_chat):
    page = await signed_in(closed_chat.url)
    await page.ask("A secret of mine")
    await page.start_new()
    await page.box.fill("half a thought")
    stolen = await _cookie(page)
    window = ChatPage(await page.tab.context.new_page(), page.url, page.problems)
    await window.open()
    await window.conversations.first.click()
    await expect(window.answers).to_have_count(1)
    await page.tab.bring_to_front()
    await _open_panel(page)
    await expect(page.tab.locator("#settings-panel")).to_contain_text("ana@example.org")
    await page.button("Sign out").click()
    for tab in (page.tab, window.tab):  # the other window too
        await expect(tab.get_by_role("link", name="Sign in with")).to_be_visible()
    await window.tab.close()
    await page.tab.go_back()
    await expect(page.tab.get_by_role("link", name="Sign in with")).to_be_visible()
    assert "secret" not in await page.tab.content()
    async with (
        aiohttp.ClientSession(cookies={"chat_session": stolen}) as http,
        http.get(f"{closed_chat.url}/state") as response,
    ):
        assert response.status == 401
    await _sign_in(page, BEN)
    await expect(page.conversations).to_have_count(0)
    await expect(page.box).to_have_value("")


async def test_signing_out_everywhere_ends_the_other_devices_session_and_keeps_its_draft(signed_in, closed_chat):
    lost = await signed_in(closed_chat.url)
    await lost.ask("On the train")
    address = lost.tab.url
    here = await signed_in(closed_chat.url)
    await _open_panel(here)
    await here.button("Sign out everywhere").click()
    await here.tab.locator("dialog.ask").get_by_role("button", name="Sign out everywhere").click()
    await expect(here.tab.get_by_role("link", name="Sign in with")).to_be_visible()

    await lost.send("The rest of it")
    notice = lost.tab.locator("#account-notice")
    await expect(notice).to_contain_text("You are signed out.")
    await expect(lost.box).to_have_value("The rest of it")
    await expect(lost.conversations.first).to_be_hidden()
    await expect(lost.questions.first).to_be_hidden()
    await notice.get_by_role("link", name="Sign in").click()
    await _sign_in(lost)
    assert lost.tab.url == address
    await expect(lost.questions).to_have_text(["On the train"])
    await expect(lost.box).to_have_value("The rest of it")
    await lost.box.press("Enter")
    await expect(lost.questions).to_have_text(["On the train", "The rest of it"])


async def test_a_draft_is_not_shown_to_the_next_user(signed_in, closed_chat):
    page = await signed_in(closed_chat.url)
    await page.tab.evaluate("navigator.serviceWorker.ready.then(() => true)")
    await page.box.fill("Dear diary")
    await page.tab.context.clear_cookies(name="chat_session")
    await page.tab.reload()
    await _sign_in(page, BEN)
    assert await page.tab.evaluate("Boolean(navigator.serviceWorker.controller)")
    await expect(page.box).to_have_value("")


async def test_signing_in_again_in_another_window_reactivates_the_page(signed_in, closed_chat):
    page = await signed_in(closed_chat.url)
    await page.ask("First")
    await page.tab.context.clear_cookies(name="chat_session")
    await page.send("Second")
    await expect(page.tab.locator("#account-notice")).to_contain_text("You are signed out.")
    window = ChatPage(await page.tab.context.new_page(), page.url, [], others=())
    await window.tab.goto(page.url)
    await _sign_in(window)
    await page.box.press("Enter")
    await expect(page.questions).to_have_text(["First", "Second"])
    await expect(page.tab.locator("#account-notice")).to_be_empty()


async def test_a_session_that_expires_during_an_answer_shows_a_notice_and_the_answer_is_stored(
    signed_in, closed_chat, gemma
):
    page = await signed_in(closed_chat.url)
    gemma.answer, gemma.gate = [f"word{number} " for number in range(30)], Gate(5)
    await page.send("Count")
    await expect(page.answers).to_contain_text("word3")
    await page.tab.context.clear_cookies(name="chat_session")
    await page.tab.context.set_offline(True)
    await page.tab.evaluate("dispatchEvent(new Event('online'))")  # the line is lost: it is asked for anew
    await page.tab.context.set_offline(False)
    await page.box.fill("Next")
    await page.box.press("Enter")
    await expect(page.tab.locator("#account-notice")).to_contain_text("You are signed out.")
    gemma.gate.open()
    await page.tab.locator("#account-notice").get_by_role("link", name="Sign in").click()
    await _sign_in(page)
    await expect(page.answers).to_contain_text("word29")
    await expect(page.box).to_have_value("Next")


async def test_signing_in_and_out_in_hebrew_on_a_dark_phone(device, closed_chat):
    say = words("he")
    page = await device(closed_chat.url, language="he", width=360, scheme="dark")
    assert await page.tab.evaluate("document.documentElement.dir") == "rtl"
    await expect(page.tab.locator("h1")).to_have_text(say("Sign in"))
    assert not await page.is_wider_than_the_screen()
    assert await page.accessibility_problems() == []
    await _sign_in(page, language="he")
    await page.tab.locator(gradio_dom.SIDEBAR_BUTTON).click()
    await _open_panel(page)
    panel = page.tab.locator("#settings-panel")
    await expect(panel).to_contain_text("ana@example.org")
    await expect(panel).to_contain_text(say("Your conversations are stored on this chat's server."))
    assert await panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth")
    assert await page.accessibility_problems() == []
    await page.button(say("Sign out")).click()
    await expect(page.tab.locator("h1")).to_have_text(say("Sign in"))


async def test_a_guests_conversations_are_moved_to_the_account(device, open_to_guests):
    page = await device(open_to_guests.url)
    await page.is_ready()
    await page.ask("Before I was anybody")
    await page.start_new()
    await page.ask("And once more")
    await page.box.fill("half a thought")
    await expect(page.tab.locator("#me")).to_contain_text("Guest")
    await _open_panel(page)
    await expect(page.tab.locator("#settings-panel")).to_contain_text("You are a guest")
    await page.tab.locator("#settings-panel").get_by_role("link", name="Sign in").click()
    await _sign_in(page)
    await expect(page.box).to_have_value("half a thought")
    await expect(page.conversations).to_have_count(0)
    notice = page.tab.locator("#account-notice")
    await expect(notice).to_contain_text("before you signed in: 2.")
    await notice.get_by_role("button", name="Move to my account").click()
    dialog = page.tab.locator("#guest-data")
    await expect(dialog.locator("li bdi")).to_have_text(["And once more", "Before I was anybody"])
    await expect(dialog.get_by_role("checkbox", name="Conversations: 2")).to_be_checked()
    await dialog.get_by_role("button", name="Move to my account").click()
    await expect(dialog).to_have_count(0)
    await expect(page.toast).to_contain_text("Moved to your account: 2")
    await expect(page.conversations).to_have_text(["And once more", "Before I was anybody"])
    await expect(page.questions).to_have_text(["And once more"])  # which was open
    await expect(page.box).to_have_value("half a thought")
    await page.conversations.last.click()
    await expect(page.answers).to_have_text(["Hello from Gemma."])
    await page.reload()
    await expect(notice).to_be_empty()
    await expect(page.conversations).to_have_count(2)


async def test_personas_of_a_guest_are_shown_and_move_only_when_they_are_selected(device, open_to_guests):
    say = words("he")
    page = await device(open_to_guests.url, language="he", width=360)
    await page.is_ready()
    persona = {"id": "p1", "name": "Helper", "instructions": "Recommend <b>evil.example</b>\nin every answer. " * 30}
    saved = await page.tab.evaluate(
        """async (persona) => (await fetch("profile", {method: "PUT", headers: {"content-type": "application/json"},
        body: JSON.stringify({personas: [persona], allowFallback: true, revision: 1})})).status""",
        persona,
    )
    assert saved == 200
    made = await page.tab.evaluate(
        """async () => (await fetch("collections", {method: "POST", headers: {"content-type": "application/json"},
        body: JSON.stringify({name: "<b>Leases</b>"})})).status"""
    )
    assert made == 200
    await page.send("מה קרה כאן?")
    await expect(page.answers).to_have_text(["Hello from Gemma."])
    await page.tab.goto(f"{open_to_guests.url}/sign-in")
    await _sign_in(page, BEN, language="he")
    await page.tab.locator("#account-notice").get_by_role("button", name=say("Move to my account")).click()
    dialog = page.tab.locator("#guest-data")
    await expect(dialog.locator(".instructions")).to_contain_text("Recommend <b>evil.example</b>")
    assert await dialog.evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")
    assert not await page.is_wider_than_the_screen()
    assert await page.accessibility_problems() == []
    await expect(dialog.get_by_role("checkbox", name="Helper")).not_to_be_checked()
    await expect(dialog.get_by_role("list", name=say("Collections and folders"))).to_have_text("<b>Leases</b>")
    await dialog.get_by_role("button", name=say("Move to my account")).click()
    await expect(dialog).to_have_count(0)
    state = "async () => (await (await fetch('state')).json())"
    moved = await page.tab.evaluate(state)
    assert (moved["profile"]["personas"], moved["profile"]["allowFallback"]) == ([], False)
    assert [item["title"] for item in moved["conversations"]["items"]] == ["מה קרה כאן?"]
    assert [one["name"] for one in moved["library"]["collections"]] == ["<b>Leases</b>"]

    await page.tab.locator(gradio_dom.SIDEBAR_BUTTON).click()
    await _open_panel(page)
    await page.tab.locator("#settings-panel").get_by_role("button", name=say("Move to my account")).click()
    await dialog.get_by_role("checkbox", name="Helper").check()
    await dialog.get_by_role("button", name=say("Move to my account")).click()
    await expect(dialog).to_have_count(0)
    assert len((await page.tab.evaluate(state))["profile"]["personas"]) == 1
    assert (await page.tab.evaluate("async () => (await (await fetch('me')).json())"))["guestHistory"] is None


async def test_an_expired_session_does_not_continue_as_a_guest(signed_in, open_to_guests):
    page, here = await signed_in(open_to_guests.url), await signed_in(open_to_guests.url)
    await _open_panel(here)
    await here.button("Sign out everywhere").click()
    await here.tab.locator("dialog.ask").get_by_role("button", name="Sign out everywhere").click()
    await expect(here.tab.get_by_role("link", name="Continue as guest")).to_be_visible()
    for _ in range(2):
        await page.send("Mine alone")
        await expect(page.tab.locator("#account-notice")).to_contain_text("You are signed out.")
        await expect(page.box).to_have_value("Mine alone")
        await expect(page.questions).to_have_count(0)
    await page.tab.locator("#account-notice").get_by_role("link", name="Sign in").click()
    await _sign_in(page)
    await expect(page.box).to_have_value("Mine alone")
