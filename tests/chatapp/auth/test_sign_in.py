"""Sign-in with OpenID Connect, and all ways to get in without the right to."""

import asyncio
import dataclasses
import re
import time

import aiohttp
import jwt
import pytest
from structlog.testing import capture_logs

from chatapp.auth.audit import LINES_PER_MINUTE
from chatapp.auth.encrypted_cookies import CookieCipher
from chatapp.auth.sessions import Session, SessionCookies, user_id
from chatapp.limits.sign_in import FAILURES_PER_NETWORK
from tests.chatapp.auth.conftest import COOKIE, SESSION_SECRET, Browser, browser
from tests.fakes.oidc_provider import CLIENT, KEY, OTHER_KEY, SECRET
from tests.oidc_provider import running_provider
from tests.page_client import SAME_ORIGIN, PageClient

pytestmark = pytest.mark.slow  # a whole chat for each, which takes half a second

ANA = "ana@example.org"
FLOW = "chat_sign_in"


# Getting in


async def test_sign_in_at_a_real_provider_gives_the_same_user_on_every_device(settings, serve, google):
    ana = {"sub": "7", "name": "Ana", "email": ANA, "email_verified": True}
    async with (
        running_provider(ana, {"sub": "8", "email": "eve@example.org"}) as issuer,
        serve(settings.model_copy(update={**google, "oidc_issuer": issuer}), with_page=True) as url,
        browser(url) as laptop,
        browser(url) as phone,
        browser(url) as other,
    ):

        async def signed_in(one, sub):
            start = await one.get("/sign-in/start?next=%2Fc%2Fabc")
            async with one.http.post(start.location, data={"sub": sub}, allow_redirects=False) as agreed:
                return await one.get(agreed.headers["location"])

        assert (await laptop.get("/me")).status == 401
        shown = await signed_in(laptop, "7")
        assert (shown.status, shown.location) == (303, "/c/abc")
        page = await laptop.open("/c/abc")
        assert (page.status, "gradio" in page.text) == (200, True)
        conversation = await PageClient(laptop.http, url).send("mine", model="gemma")
        await signed_in(phone, "7")
        page = await PageClient(phone.http, url).open()
        assert (await page.messages(conversation))[0]["text"] == "mine"
        assert (await page.get("me"))["name"] == "Ana"
        refused = await signed_in(other, "8")
        assert (refused.status, (await other.get("/state")).status) == (403, 401)


async def test_signed_in_user_is_authenticated_and_shown_by_name(chat, provider):
    async with browser(chat) as ana:
        shown = await ana.sign_in(provider, "/c/0123-abc")
        assert (shown.status, shown.location) == (303, "/c/0123-abc")
        me = await PageClient(ana.http, chat).get("me")
        assert (me["kind"], me["name"], me["address"]) == ("google", "Ana", ANA)
        assert (me["canSignIn"], me["canSignOut"], me["signOutUrl"]) == (False, True, None)
        assert user_id(provider.url, "1") in (await ana.open("/")).text
        again = await ana.get("/sign-in?next=/c/0123-abc")
        assert (again.status, again.location) == (303, "/c/0123-abc")


async def test_session_cookie_is_unreadable_and_restricted_to_the_chat(chat, provider):
    async with browser(chat) as ana:
        session, flow = (await ana.sign_in(provider)).headers.getall("set-cookie")
    assert session.endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert "Max-Age=0" in flow
    for word in ("Ana", "example", provider.url):
        assert word not in session
    over_https = SessionCookies(SESSION_SECRET, secure=True, days=7)
    header = over_https.set_cookie(Session.create("https://x", "1", name="", email="", domain=""))
    assert header.startswith("__Host-chat_session=")
    assert header.endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")


async def test_each_sign_in_has_its_own_pkce_challenge_nonce_and_state(chat, provider):
    async with browser(chat) as ana:
        await ana.sign_in(provider)
        await ana.sign_in(provider)
    first, second = provider.asked
    assert first["scope"] == "openid email profile"
    assert "prompt" not in first
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 20
        assert first[name] != second[name]


async def test_redirect_uri_uses_the_root_url(serve_auth, provider):
    async with serve_auth(root_url="https://chat.example.org/talk") as url, browser(url) as ana:
        start = await ana.get("/sign-in/start", headers={"host": "chat.example.org"})
        provider.agree(start.location)
        assert start.headers["set-cookie"].startswith("__Host-chat_sign_in=")
        assert start.headers["set-cookie"].endswith("; Secure")
        page = await ana.open("/", headers={"host": "chat.example.org"})
        assert 'href="/talk/sign-in/start?next=/"' in page.text
    assert provider.asked[0]["redirect_uri"] == "https://chat.example.org/talk/sign-in/callback"


async def test_missing_claims_come_from_the_userinfo_endpoint(chat, provider):
    provider.lies = {"email": None, "email_verified": None}
    provider.metadata = {"userinfo_endpoint": f"{provider.url}/userinfo"}
    for userinfo, status in (
        ({"sub": "1", "email": ANA, "email_verified": True}, 303),
        ({"sub": "2", "email": ANA, "email_verified": True}, 400),
        ({"sub": "1", "email": ANA}, 403),
        ({"sub": "1"}, 403),
        ({}, 400),
    ):
        provider.userinfo = userinfo
        async with browser(chat) as ana:
            assert (await ana.sign_in(provider)).status == status, userinfo


# What nobody sees


async def test_sign_in_page_is_in_the_browsers_language_and_leads_back(chat):
    for language, words, direction in (
        ("en", "Sign in to use this chat", "ltr"),
        ("en", "Hybrid chat</title>", "ltr"),
        ("he-IL,en;q=0.5", "התחברו כדי", "rtl"),
        ("he", "צ׳אט היברידי</title>", "rtl"),
        ("fr, ar;q=0.8, he;q=0.2", "يُرجى تسجيل الدخول", "rtl"),
        ("x" * 8_000, "Sign in to", "ltr"),
        ("he;q=0, en", "Sign in to", "ltr"),
        ("he;q=x,iw", "התחברו", "rtl"),
        (";,=", "Sign in to", "ltr"),
        ("he;q=nan", "Sign in to", "ltr"),
    ):
        async with browser(chat) as stranger:
            shown = await stranger.open("/c/0123abc", headers={"accept-language": language})
        assert shown.status == 401
        assert words in shown.text, language
        assert f'dir="{direction}"' in shown.text
        assert 'href="/sign-in/start?next=/c/0123abc"' in shown.text
        assert shown.headers["cache-control"] == "no-store"
        assert "<script" not in shown.text
        assert " style=" not in shown.text
        assert "default-src 'none'" in shown.headers["content-security-policy"]


async def test_sign_in_page_is_in_the_language_chosen_in_the_chat(chat):
    for chosen, words in (("he", "התחברו"), ("en", "Sign in to"), ("xx", "يُرجى تسجيل الدخول")):
        async with browser(chat) as stranger:
            headers = {"accept-language": "ar", "cookie": f"language={chosen}"}
            assert words in (await stranger.open("/", headers=headers)).text


async def test_api_request_without_a_session_gets_401_and_the_sign_in_url(chat):
    async with browser(chat) as stranger:
        for path in ("/state", "/conversations", "/no-such-path", "/gradio_api/info", "/search", "/me"):
            shown = await stranger.get(path)
            assert shown.status == 401
            assert '"signIn":"/sign-in"' in shown.text
            assert "You are signed out" in shown.text
        for path in (
            "/conversations",
            "/export/everything.json",
            "/delete-everything",
            "/sign-out",
            "/sign-out-everywhere",
            "/take-along",
        ):
            assert (await stranger.post(path)).status == 401
        as_a_page = {"accept": "text/html", "sec-fetch-mode": "navigate", "sec-fetch-site": "none"}
        opened = await stranger.get("/search", headers=as_a_page)
        assert (opened.status, "<h1>" in opened.text) == (401, True)
        assert 'href="/sign-in/start?next=/"' in opened.text


async def test_public_paths_need_no_session_and_set_no_cookie(chat):
    async with browser(chat) as stranger:
        page = await stranger.get("/sign-in")
        assert page.status == 200
        files = re.findall(r'(?:href|src)="(/page/[^"]+)"', page.text)
        assert len(files) >= 2
        for path in files:
            assert (await stranger.get(path)).status != 401
        assert not list(stranger.http.cookie_jar)


ELSEWHERE = [
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example",
    "https:evil.example",
    "http://127.0.0.1/",
    "javascript:alert(1)",
    "///evil.example",
    "%2F%2Fevil.example",
    "/%2Fevil.example",
    "/%5Cevil.example",
    "/\t/evil.example",
    "/c/../../x",
    "/c/a/../../b",
    "/c/a?x=//evil",
    "/c/a#x",
    "/c/a\n",
    "/c/a b",
    " /c/a",
    "/c/",
    "/c/" + "a" * 81,
    "/c/א",
    "/sign-out",
]


async def test_next_leads_only_to_pages_of_the_chat(chat, provider):
    for to in ELSEWHERE:
        async with browser(chat) as ana:
            page = await ana.get("/sign-in", params={"next": to})
            assert re.findall(r'href="(/sign-in[^"]*)"', page.text) == ["/sign-in/start?next=/"], to
            start = await ana.get("/sign-in/start", params={"next": to})
            shown = await ana.get(provider.agree(start.location))
            assert (shown.status, shown.location) == (303, "/"), to
            again = await ana.get("/sign-in", params={"next": to})
            assert (again.status, again.location) == (303, "/"), to


# Not getting in


async def refused(chat, provider, *words, status=400):
    """Sign in, and check that it is refused in words, with a way on, that nobody is signed in, and what is logged."""
    with capture_logs() as lines:
        async with browser(chat) as eve:
            shown = await eve.sign_in(provider)
            assert shown.status == status, shown.text
            assert "/sign-in/start?next=/" in shown.text
            for word in words:
                assert word in shown.text
            assert eve.cookie() is None
            assert not await eve.is_in()
    assert [line["action"] for line in lines if line["event"] == "audit"] == ["sign_in_refused"]
    asked = provider.asked[-1]
    for secret in (SECRET, "eyJ", "ana@", "eve@", "Ana", "access", asked["state"], asked["nonce"]):
        assert secret not in str(lines)
    return lines


LIES = [
    {"nonce": "another"},
    {"nonce": None},
    {"aud": "another-client"},
    {"aud": ["another-client"]},
    {"aud": None},
    {"aud": [CLIENT, "another-client"], "azp": "another-client"},
    {"iss": "https://accounts.google.com"},
    {"iss": None},
    {"exp": 1_000_000_000},
    {"exp": None},
    {"iat": 10_000_000_000},
    {"sub": None},
    {"sub": ""},
    {"sub": 1},
    {"sub": "x" * 300},
    {"name": ["Ana"]},
    {"email": {"a": 1}},
    {"at_hash": "wrong"},
]


async def test_id_token_of_another_sign_in_is_rejected(chat, provider):
    for lies in LIES:
        provider.lies = lies
        await refused(chat, provider, "could not be verified")


async def test_small_clock_skew_is_accepted(chat, provider):
    provider.lies = {"iat": int(time.time()) + 30, "exp": int(time.time()) - 30}
    async with browser(chat) as ana:
        assert (await ana.sign_in(provider)).status == 303


FORGERIES = {
    "another key": lambda claims: jwt.encode(claims, OTHER_KEY, "RS256", headers={"kid": "one"}),
    "an unknown key": lambda claims: jwt.encode(claims, OTHER_KEY, "RS256", headers={"kid": "two"}),
    "no signature": lambda claims: jwt.encode(claims, None, "none"),
    "the client's secret": lambda claims: jwt.encode(claims, SECRET.ljust(32, "-"), "HS256", headers={"kid": "one"}),
    "changed": lambda claims: jwt.encode(claims, KEY, "RS256", headers={"kid": "one"})[:-8] + "AAAAAAAA",
    "garbage": lambda _claims: "garbage",
    "empty": lambda _claims: "",
    "null": lambda _claims: None,
    "an object": lambda _claims: {"a": "b"},
}


async def test_id_token_with_an_invalid_signature_is_rejected(chat, provider):
    for sign in FORGERIES.values():
        provider.sign = sign
        await refused(chat, provider, "could not be verified")


async def test_authorization_code_cannot_be_replayed(chat, provider):
    async with browser(chat) as ana:
        start = await ana.get("/sign-in/start")
        back = provider.agree(start.location)
        async with ana.thief(FLOW) as eve:
            assert (await ana.get(back)).status == 303
            assert "could not be verified" in (await eve.get(back)).text
            assert eve.cookie() is None
        shown = await ana.get(back)
        assert (shown.status, "already finished" in shown.text) == (400, True)
        assert await ana.is_in(), "a page that is loaded again ends no session"


async def test_callback_in_another_browser_is_rejected(chat, provider):
    async with browser(chat) as eve, browser(chat) as ana:
        start = await eve.get("/sign-in/start")
        back = provider.agree(start.location)
        shown = await ana.get(back)  # eve would have ana write into her account
        assert (shown.status, "another browser" in shown.text) == (400, True)
        await ana.get("/sign-in/start")
        assert (await ana.get(back)).status == 400
        assert ana.cookie() is None


async def test_callback_with_a_wrong_or_missing_state_is_rejected(chat):
    for query in ("", "?code=x", "?state=x", "?code=x&state=x", "?code=x&state=", "?state=x&state=y&code=%00"):
        async with browser(chat) as eve:
            assert (await eve.get(f"/sign-in/callback{query}")).status == 400
            await eve.get("/sign-in/start")
            shown = await eve.get(f"/sign-in/callback{query}")
            assert (shown.status, eve.cookie()) == (400, None)


async def test_provider_error_is_reported_without_the_providers_text(chat):
    for query, status, words in (
        ("error=access_denied", 403, "cancelled"),
        ("error=server_error", 400, "verified"),
        ("error=<script>&error_description=<b>", 400, "verified"),
    ):
        async with browser(chat) as ana:
            await ana.get("/sign-in/start")
            shown = await ana.get(f"/sign-in/callback?{query}")
        assert (shown.status, words in shown.text) == (status, True)
        assert "<script" not in shown.text
        assert "<b>" not in shown.text


async def test_sign_in_expires_after_ten_minutes(chat, provider, monkeypatch):
    async with browser(chat) as ana:
        start = await ana.get("/sign-in/start")
        late = time.time() + 601
        flow = ana.cookie(FLOW)
        monkeypatch.setattr("time.time", lambda: late)
        shown = await ana.get(provider.agree(start.location), headers={"cookie": f"{FLOW}={flow}"})
    assert (shown.status, "ten minutes" in shown.text) == (400, True)


async def test_sign_in_cookie_and_session_cookie_are_not_interchangeable(chat, provider):
    async with browser(chat) as ana:
        await ana.get("/sign-in/start")
        async with browser(chat, cookies={COOKIE: ana.cookie(FLOW)}) as eve:
            assert not await eve.is_in()
        await ana.sign_in(provider)
        async with browser(chat, cookies={FLOW: ana.cookie()}) as eve:
            assert (await eve.get("/sign-in/callback?code=x&state=next")).status == 400


async def test_unverified_email_address_is_refused(chat, provider):
    for verified in (False, None, "false", "yes", 1.5, [True]):
        provider.lies = {"email_verified": verified}
        await refused(chat, provider, "not verified", status=403)


async def test_unverified_email_address_is_dropped_where_every_account_is_allowed(serve_auth, provider):
    provider.lies = {"email_verified": False}
    async with serve_auth(allowed_people=("*",)) as url, browser(url) as ana:
        assert (await ana.sign_in(provider)).status == 303
        assert (await PageClient(ana.http, url).get("me"))["address"] == ""


async def test_account_not_on_the_allow_list_is_refused_and_may_choose_another(chat, provider):
    for email in ("eve@example.org", "ana@example.org.evil.example", "Ana@evil.example", "ana@example.org\n", "*"):
        provider.lies = {"email": email}
        lines = await refused(chat, provider, "choose=1", status=403)
        assert {line["user"] for line in lines if line["event"] == "audit"} == {user_id(provider.url, "1")}
    async with browser(chat) as eve:
        provider.agree((await eve.get("/sign-in/start?choose=1")).location)
    assert provider.asked[-1]["prompt"] == "select_account"


async def test_allowed_domain_allows_its_accounts_only(serve_auth, provider):
    async with serve_auth(allowed_people=("Example.org",)) as url:
        for email, status in (
            ("ana@EXAMPLE.org", 303),
            ("eve@sub.example.org", 403),
            ("eve@example.org.evil.example", 403),
            ("example.org", 403),
        ):
            provider.lies = {"email": email}
            async with browser(url) as one:
                assert (await one.sign_in(provider)).status == status, email


async def test_metadata_of_another_issuer_are_rejected(chat, provider):
    async with browser(chat) as ana:
        for issuer in ("https://evil.example", None):
            provider.metadata = {"issuer": issuer}
            start = await ana.get("/sign-in/start")
            assert (start.status, "verified" in start.text) == (400, True)
        provider.metadata = {}
        assert (await ana.get("/sign-in/start")).status == 303, "it may be put right"


@pytest.mark.parametrize("status", [301, 401, 404, 410])
async def test_permanent_failure_of_the_metadata_is_said_plainly_and_may_be_mended(chat, provider, status):
    provider.metadata_status = status
    async with browser(chat) as ana:
        with capture_logs() as logs:
            shown = await ana.get("/sign-in/start")
        assert (shown.status, "not set up correctly" in shown.text, "in a moment" in shown.text) == (502, True, False)
        assert f"status={status}" in str(logs)
        provider.metadata_status = 200
        assert (await ana.get("/sign-in/start")).status in {302, 303}


@pytest.mark.parametrize(
    "metadata", [{"token_endpoint": None}, {"jwks_uri": None}, {"authorization_endpoint": None}, ["a list"]]
)
async def test_incomplete_metadata_are_said_plainly(chat, provider, metadata):
    provider.metadata = metadata
    async with browser(chat) as ana:
        shown = await ana.get("/sign-in/start")
        assert (shown.status, "not set up correctly" in shown.text) == (502, True)


@pytest.mark.parametrize(
    ("userinfo", "allowed"),
    [
        ({"sub": "1", "email_verified": True}, True),
        ({"sub": "1", "email": ANA, "email_verified": True}, True),
        ({"sub": "1", "email": "eve@example.org", "email_verified": True}, False),
        ({"sub": "1", "email": ANA, "email_verified": False}, False),
        ({"sub": "2", "email": ANA, "email_verified": True}, False),
    ],
)
async def test_verification_may_come_from_the_userinfo_endpoint(chat, provider, userinfo, allowed):
    provider.lies = {"email_verified": None}
    provider.metadata = {"userinfo_endpoint": f"{provider.url}/userinfo"}
    provider.userinfo = userinfo
    async with browser(chat) as ana:
        await ana.sign_in(provider)
        assert await ana.is_in() is allowed


async def test_sessions_stay_valid_while_the_provider_is_down(chat, provider):
    async with browser(chat) as ana, browser(chat) as ben:
        provider.down = True
        shown = await ben.get("/sign-in/start")
        assert (shown.status, "sign-in service is unreachable" in shown.text) == (503, True)
        provider.down = False
        await ana.sign_in(provider)
        start = await ben.get("/sign-in/start")
        provider.down = True
        assert (await ben.get(provider.agree(start.location))).status == 503
        assert await ana.is_in()
        provider.down, provider.answers = False, 500
        assert (await ben.sign_in(provider)).status in {400, 503}
        assert not await ben.is_in()


# Not asking the provider without end


async def test_sign_ins_that_fail_ask_the_provider_a_limited_number_of_times(serve_auth, provider):
    provider.lies = {"nonce": "another"}
    async with serve_auth(trusted_proxies=("127.0.0.0/8",)) as url:
        ana, eve = ({"headers": SAME_ORIGIN | {"x-forwarded-for": one}} for one in ("192.0.2.1", "2001:db8::1"))
        statuses = []
        with capture_logs() as lines:
            for number in range(30):
                eve["headers"]["x-forwarded-for"] = f"2001:db8::{number}"
                async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
                    start = await Browser(http, url).get("/sign-in/start", **eve)
                    shown = await Browser(http, url).get(provider.agree(start.location), **eve)
                    statuses.append(shown.status)
        assert statuses == [400] * FAILURES_PER_NETWORK + [429] * (30 - FAILURES_PER_NETWORK)
        assert provider.requests.count("/token") == FAILURES_PER_NETWORK
        assert int(shown.headers["retry-after"]) in range(1, 601)
        assert "did not succeed" in shown.text
        assert sum(line.get("action") == "sign_in_refused" for line in lines) == LINES_PER_MINUTE
        provider.lies = {}
        async with browser(url) as http:  # from another network
            start = await http.get("/sign-in/start", **ana)
            assert (await http.get(provider.agree(start.location), **ana)).status == 303


async def test_sign_ins_that_succeed_are_not_limited(chat, provider):
    async with browser(chat) as ana:
        for _ in range(FAILURES_PER_NETWORK + 5):
            assert (await ana.sign_in(provider)).status == 303


async def test_a_provider_that_is_down_is_asked_a_limited_number_of_times(chat, provider):
    provider.metadata = {"issuer": "https://evil.example"}
    async with browser(chat) as eve:
        statuses = [(await eve.get("/sign-in/start")).status for _ in range(30)]
    assert statuses == [400] * FAILURES_PER_NETWORK + [429] * (30 - FAILURES_PER_NETWORK)
    assert len(provider.requests) == FAILURES_PER_NETWORK


async def test_a_callback_that_belongs_to_no_sign_in_asks_nothing_and_its_log_is_bounded(chat, provider):
    with capture_logs() as lines:
        async with browser(chat) as eve:
            for number in range(LINES_PER_MINUTE + 30):
                assert (await eve.get(f"/sign-in/callback?code={number}&state=x")).status == 400
    assert provider.requests == []
    assert sum(line.get("action") == "sign_in_refused" for line in lines) == LINES_PER_MINUTE


# Sessions


async def test_modified_session_cookie_is_rejected(chat, provider):
    async with browser(chat) as ana:
        await ana.sign_in(provider)
        good = ana.cookie()
    middle = len(good) // 2
    for cookie in (
        "A" + good[1:],
        good[:-3] + "AA=",
        good[:middle] + ("A" if good[middle] != "A" else "B") + good[middle + 1 :],
        good[:-10],
        good + "A",
        "",
        good * 10,
        "%00é",
    ):
        async with browser(chat) as eve:
            shown = await eve.get("/state", headers={"cookie": f"{COOKIE}={cookie}"})
            assert shown.status == 401
            assert f"{COOKIE}=; Max-Age=0" in shown.headers["set-cookie"]


async def test_session_cookie_of_another_secret_issuer_or_time_is_rejected(chat, provider):
    def cookie(secret=SESSION_SECRET, issuer=provider.url, days_ago=0.0):
        session = Session.create(issuer, "1", name="Ana", email=ANA, domain="example.org")
        values = {name: getattr(session, name) for name in Session.__slots__}
        values["began_ms"] -= int(days_ago * 24 * 3600 * 1000)
        return SessionCookies(secret, secure=False, days=7).set_cookie(Session(**values)).split(";")[0].split("=", 1)[1]

    for value, is_in in (
        (cookie(), True),
        (cookie(days_ago=6.9), True),
        (cookie(days_ago=7.1), False),
        (cookie(secret="another-secret-of-16"), False),
        (cookie(issuer="https://evil.example"), False),
        (CookieCipher(SESSION_SECRET, "session").encrypt({"issuer": provider.url}), False),
    ):
        async with browser(chat, cookies={COOKIE: value}) as one:
            assert await one.is_in() == is_in


async def test_session_cookie_from_before_an_upgrade_is_still_valid(chat, provider):
    facts = dataclasses.asdict(Session.create(provider.url, "1", name="Ana", email=ANA, domain="example.org"))
    facts["address"] = facts.pop("email")
    async with browser(chat, cookies={COOKIE: CookieCipher(SESSION_SECRET, "session").encrypt(facts)}) as ana:
        assert (await PageClient(ana.http, chat).get("me"))["address"] == ANA


async def test_expired_session_is_rejected_with_a_message(serve_auth, provider, monkeypatch):
    async with serve_auth(session_days=1) as url, browser(url) as ana:
        await ana.sign_in(provider)
        sent = {"cookie": f"{COOKIE}={ana.cookie()}"}
        late = time.time() + 24 * 3600 + 2
        monkeypatch.setattr("time.time", lambda: late)
        shown = await ana.open("/c/abc", headers=sent)
    assert (shown.status, "Your session has expired" in shown.text) == (401, True)


def set_clock(monkeypatch, seconds):
    """Set the clock of the chat's cookies and of sessions, in seconds since the epoch."""
    monkeypatch.setattr("time.time", lambda: seconds)
    monkeypatch.setattr("chatapp.auth.sessions.now_ms", lambda: int(seconds * 1000))
    monkeypatch.setattr("chatapp.http.api.recent_sign_in.now_ms", lambda: int(seconds * 1000))


async def test_a_session_that_is_not_used_expires(serve_auth, provider, monkeypatch):
    start = time.time()
    async with serve_auth(session_idle_hours=4, session_days=7) as url, browser(url) as ana:
        await ana.sign_in(provider)
        first = ana.cookie()
        for hours, status, is_renewed in ((0.5, 200, False), (1.5, 200, True), (5, 200, True), (8.5, 200, True)):
            set_clock(monkeypatch, start + hours * 3600)
            cookie = ana.cookie()
            shown = await ana.get("/state")
            assert (shown.status, "set-cookie" in shown.headers) == (status, is_renewed), hours
        set_clock(monkeypatch, start + 12.6 * 3600)
        for old in (first, cookie):
            async with browser(url, cookies={COOKIE: old}) as eve:
                shown = await eve.get("/state")
                assert (shown.status, "Your session has expired" in shown.text) == (401, True)
    set_clock(monkeypatch, start)
    async with serve_auth(session_idle_hours=0) as url, browser(url) as ana:
        await ana.sign_in(provider)
        set_clock(monkeypatch, start + 100 * 3600)
        shown = await ana.get("/state")
        assert (shown.status, "set-cookie" in shown.headers) == (200, True), "only noted"


async def test_use_does_not_prolong_a_session_beyond_its_days(serve_auth, provider, monkeypatch):
    start = time.time()
    async with serve_auth(session_idle_hours=72, session_days=1) as url, browser(url) as ana:
        await ana.sign_in(provider)
        set_clock(monkeypatch, start + 23 * 3600)
        assert (await ana.get("/state")).headers["set-cookie"].startswith(COOKIE)
        set_clock(monkeypatch, start + 25 * 3600)
        assert (await ana.get("/state")).status == 401


async def test_signing_out_when_a_cookie_is_due_for_renewal_deletes_it(serve_auth, provider, monkeypatch):
    start = time.time()
    async with serve_auth(session_idle_hours=4) as url, browser(url) as ana:
        await ana.sign_in(provider)
        set_clock(monkeypatch, start + 2 * 3600)
        headers = (await ana.post("/sign-out")).headers
        assert [one.partition(";")[0] for one in headers.getall("set-cookie")] == [f"{COOKIE}="]


async def test_account_removed_from_the_allow_list_is_refused_at_once(serve_auth, provider):
    async with serve_auth() as url, browser(url) as ana:
        await ana.sign_in(provider)
        cookies = {COOKIE: ana.cookie()}
    async with serve_auth(allowed_people=("ben@example.org",)) as url, browser(url, cookies=cookies) as ana:
        shown = await ana.open("/")
        assert (shown.status, "has no access to this chat" in shown.text, "choose=1" in shown.text) == (401, True, True)
    async with serve_auth(allowed_people=("ben@example.org",)) as url, browser(url, cookies=cookies) as ana:
        assert not await ana.is_in()


async def test_sign_out_revokes_every_copy_of_the_cookie(serve_auth, provider):
    async with serve_auth() as url, browser(url) as ana, browser(url) as phone:
        await ana.sign_in(provider)
        await phone.sign_in(provider)
        copied = ana.cookie()
        async with ana.thief() as eve:
            assert await eve.is_in()
            with capture_logs() as lines:
                assert (await ana.post("/sign-out")).status == 200
            assert ana.cookie() is None
            assert not await eve.is_in()
        assert await phone.is_in(), "the other device stays in"
        stays = phone.cookie()
        assert [(line["action"], line["user"]) for line in lines] == [("sign_out", user_id(provider.url, "1"))]
    async with (
        serve_auth() as url,  # after a restart too
        browser(url, cookies={COOKIE: copied}) as eve,
        browser(url, cookies={COOKIE: stays}) as phone,
    ):
        assert not await eve.is_in()
        assert await phone.is_in()


async def test_sign_out_everywhere_revokes_all_sessions_but_not_later_ones(chat, provider):
    async with browser(chat) as ana, browser(chat) as phone:
        await ana.sign_in(provider)
        await phone.sign_in(provider)
        async with phone.thief() as eve:
            assert (await ana.post("/sign-out-everywhere")).status == 200
            for one in (ana, phone, eve):
                assert not await one.is_in()
        await ana.sign_in(provider)
        assert await ana.is_in()


async def test_user_sees_where_they_are_signed_in_and_signs_out_there(serve, settings, google, provider):
    firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
    async with (
        serve(settings.model_copy(update=google)) as url,
        browser(url) as laptop,
        browser(url) as phone,
        browser(url) as other,
        browser(url) as ben,
    ):

        async def devices(one):
            return (await PageClient(one.http, url).get("sign-ins"))["signIns"]

        async def until_listed(one, number):
            async with asyncio.timeout(30):
                while len(listed := await devices(one)) != number:
                    await asyncio.sleep(0.02)
                return listed

        for one, agent in ((phone, "curl/8 Ana's phone"), (other, ""), (laptop, firefox)):
            one.http.headers["user-agent"] = agent
            await one.sign_in(provider)
        listed = await until_listed(laptop, 3)
        assert sorted(one["device"] for one in listed) == ["", "", "Firefox, Windows"]
        assert [one["device"] for one in listed if one["isCurrent"]] == ["Firefox, Windows"]

        provider.claims["sub"] = "2"  # another account, with an address on the allow-list
        await ben.sign_in(provider)
        for one in listed:
            assert (await ben.http.delete(f"{url}/sign-ins/{one['id']}")).status == 404, "another user's"
        assert (await ben.http.delete(f"{url}/sign-ins/..%2Fx")).status == 404
        await ben.post("/sign-out-elsewhere")

        (phones,) = [one["id"] for one in await devices(phone) if one["isCurrent"]]
        assert (await laptop.http.delete(f"{url}/sign-ins/{phones}")).status == 200
        assert [await one.is_in() for one in (laptop, phone, other, ben)] == [True, False, True, True]
        assert (await laptop.http.delete(f"{url}/sign-ins/{phones}")).status == 404
        assert len(await devices(laptop)) == 2
        assert (await laptop.post("/sign-out-elsewhere")).status == 200
        assert [await one.is_in() for one in (laptop, other, ben)] == [True, False, True]
        assert [one["isCurrent"] for one in await devices(laptop)] == [True]


async def test_signing_out_removes_what_the_browser_stored(chat, provider):
    for path in ("/sign-out", "/sign-out-everywhere"):
        async with browser(chat) as ana:
            await ana.sign_in(provider)
            assert (await ana.post(path)).headers["clear-site-data"] == '"cache", "storage"'


async def test_after_signing_out_the_page_leads_to_the_providers_sign_out(chat, provider):
    asked = f'href="{provider.url}/end?client_id={CLIENT}"'
    provider.metadata = {"end_session_endpoint": f"{provider.url}/end"}
    async with browser(chat) as ana:
        before = await ana.get("/sign-in?signed-out=1")
        assert (asked in before.text, provider.requests) == (False, []), "strangers have the chat ask nothing"
        await ana.sign_in(provider)
        await ana.post("/sign-out")
        page = await ana.get("/sign-in?signed-out=1")
        assert ("You are signed out of this chat" in page.text, asked in page.text) == (True, True)
        assert asked not in (await ana.get("/sign-in")).text


async def test_only_an_https_address_of_the_provider_is_a_link(serve_auth, provider):
    for address in ("javascript:alert(1)", "ftp://x", "//evil.example", "", None, 1, ["https://x"]):
        provider.metadata = {"end_session_endpoint": address}
        async with serve_auth() as url, browser(url) as ana:
            await ana.sign_in(provider)
            await ana.post("/sign-out")
            links = re.findall('<a[^>]* href="([^"]*)"', (await ana.get("/sign-in?signed-out=1")).text)
            assert links == ["/sign-in/start?next=/"], address


async def test_everything_is_deleted_only_after_a_recent_sign_in(settings, serve, google, provider, monkeypatch):
    start, wanted = time.time(), {"confirm": True}
    async with serve(settings.model_copy(update=google)) as url, browser(url) as ana:
        await ana.sign_in(provider)
        page = PageClient(ana.http, url)
        await page.messages(await page.send("mine", model="gemma"))
        assert (await page.get("me"))["signInAgainUrl"] is None
        set_clock(monkeypatch, start + 16 * 60)
        assert (await page.get("me"))["signInAgainUrl"] == "/sign-in/start?again=1"
        refused = await ana.post("/delete-everything", json=wanted)
        assert (refused.status, "Sign in again before you delete" in refused.text) == (403, True)
        assert await page.listed() == ["mine"]
        address = (await ana.get("/sign-in/start?again=1")).location
        assert (await ana.get(provider.agree(address))).status == 303
        assert (provider.asked[-1]["prompt"], provider.asked[-1]["max_age"]) == ("login", "0")
        assert (await ana.post("/delete-everything", json=wanted)).status == 200
        assert await page.listed() == []


async def test_an_authentication_from_before_is_not_taken_for_a_new_one(chat, provider):
    for minutes_ago, status in ((0, 303), (30, 400)):
        provider.lies = {"auth_time": int(time.time()) - minutes_ago * 60}
        async with browser(chat) as ana:
            start = await ana.get("/sign-in/start?again=1")
            assert (await ana.get(provider.agree(start.location))).status == status
            assert (await ana.sign_in(provider)).status == 303


async def test_another_site_cannot_sign_the_user_out(chat, provider):
    async with browser(chat) as ana:
        await ana.sign_in(provider)
        assert (await ana.post("/sign-out", headers={"sec-fetch-site": "cross-site"})).status == 403
        assert (await ana.get("/sign-out")).status in {404, 405}
        assert await ana.is_in()


# Guests


async def test_guest_may_chat_and_sign_in_later(serve_auth, provider):
    async with serve_auth(guests=True) as url, browser(url) as ana:
        guest = (await ana.get("/state")).text
        assert "anonymous-" in guest
        me = await PageClient(ana.http, url).get("me")
        assert (me["kind"], me["canSignIn"], me["signInUrl"], me["canSignOut"]) == (
            "anonymous",
            True,
            "/sign-in",
            False,
        )
        assert "Continue as guest" in (await ana.get("/sign-in?next=/c/a")).text
        await ana.sign_in(provider)
        assert (await ana.get("/state")).text != guest
        await ana.post("/sign-out")
        assert (await ana.get("/state")).text == guest, "still the guest of this browser"
        assert (await ana.post("/sign-out")).status == (await ana.post("/sign-out-everywhere")).status == 200
        assert (await ana.get("/state")).text == guest


async def test_expired_session_is_refused_before_the_user_becomes_a_guest(serve_auth, provider):
    async with serve_auth(guests=True) as url, browser(url) as ana:
        await ana.sign_in(provider)
        ended = {"cookie": f"{COOKIE}={ana.cookie()}"}
        await ana.post("/sign-out")
        shown = await ana.get("/state", headers=ended)
        assert (shown.status, "Your session has expired" in shown.text) == (401, True)
        shown = await ana.open("/", headers=ended)
        assert (shown.status, "Continue as guest" in shown.text) == (401, True)
        assert await ana.is_in()


async def test_refused_guest_may_still_sign_in(serve_auth, provider):
    async with serve_auth(guests=True, new_guests_per_hour=1) as url, browser(url) as ana, browser(url) as guest:
        await ana.get("/sign-in")  # makes nobody a guest
        assert await guest.is_in()
        assert (await ana.get("/state")).status == 429
        shown = await ana.open("/")
        assert (shown.status, "too many new guests" in shown.text, "Continue as guest" in shown.text) == (
            429,
            True,
            False,
        )
        await ana.sign_in(provider)
        assert await ana.is_in()
