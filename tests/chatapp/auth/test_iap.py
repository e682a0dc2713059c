"""Behind Google's Identity-Aware Proxy only its signed, current assertion for this chat authenticates a user."""

import base64
import contextlib
import hashlib
import hmac
import json
import time
from types import SimpleNamespace

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from structlog.testing import capture_logs

from chatapp.auth import iap_keys
from chatapp.auth.iap import HEADER, ISSUER
from chatapp.auth.sessions import user_id
from tests.chatapp.auth.conftest import browser
from tests.page_client import PageClient

pytestmark = pytest.mark.slow  # a whole chat for each, which takes half a second

KEY, OTHER_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
AUDIENCE = "/projects/123/global/backendServices/456"


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def assertion(key=KEY, kid="one", alg="ES256", headers=(), **lies):
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "accounts.google.com:7", "iat": now, "exp": now + 600}
    claims |= {"email": "ana@example.org", "hd": "example.org"} | lies
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, alg, headers={"kid": kid, **dict(headers)})


def raw(**lies):
    """Return a signed token with claims that PyJWT would not write."""
    good = jwt.decode(assertion(), options={"verify_signature": False})
    return jwt.api_jws.encode(json.dumps(good | lies).encode(), KEY, "ES256", headers={"kid": "one"})


class KeyServer:
    """Google's keys, on loopback."""

    def __init__(self):
        self.keys = {"one": pem(KEY)}
        self.status = 200
        self.text = None
        self.asked = 0

    async def answer(self, _request):
        self.asked += 1
        text = self.text if self.text is not None else json.dumps(self.keys)
        return web.Response(text=text, status=self.status, headers={"location": "/elsewhere"})


@pytest.fixture
async def key_server():
    server = KeyServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/keys"
    yield server
    await runner.cleanup()


@pytest.fixture
def proxied(serve_auth, key_server):
    """Return a context manager: a browser of a chat behind the proxy, in which everything goes through it."""

    @contextlib.asynccontextmanager
    async def made(**changes):
        given = {"identity": "iap", "iap_audience": AUDIENCE, "iap_keys_url": key_server.url, "allowed_people": ()}
        async with serve_auth(**given | changes) as url, browser(url) as one:
            yield one

    return made


async def status(one, token, path="/state"):
    return (await one.get(path, headers={HEADER: token} if token is not None else {})).status


@pytest.fixture
def later(monkeypatch):
    """Return a function that lets seconds pass for the keys alone: event loops in other threads use the same clock."""
    passed = [0.0]

    def pass_by(seconds):
        passed[0] += seconds

    monkeypatch.setattr(iap_keys, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0]))
    return pass_by


async def test_user_of_a_valid_assertion_is_authenticated_and_signs_out_at_the_proxy(proxied, key_server):
    async with proxied() as ana:
        headers = {HEADER: assertion()}
        assert user_id(ISSUER, "accounts.google.com:7") in (await ana.get("/state", headers=headers)).text
        me = await PageClient(ana.http, ana.url).ask("GET", "me", headers=headers)
        assert (me["kind"], me["address"], me["canSignOut"], me["canSignIn"]) == ("iap", "ana@example.org", True, False)
        assert me["signOutUrl"] == "/?gcp-iap-mode=CLEAR_LOGIN_COOKIE"
        assert key_server.asked == 1
        assert not list(ana.http.cookie_jar)


async def test_request_without_an_assertion_is_refused(proxied, key_server):
    async with proxied() as eve:
        shown = await eve.open("/c/abc", headers={"accept-language": "he"})
        assert (shown.status, "Identity-Aware Proxy" in shown.text, 'dir="rtl"' in shown.text) == (401, True, True)
        assert 'href="/c/abc"' in shown.text
        for path in ("/state", "/sign-in", "/sign-in/start", "/no-such-path", "/me"):
            shown = await eve.get(path)
            assert (shown.status, "did not come through" in shown.text) == (401, True)
        assert (await eve.get("/healthz")).status != 401
    assert key_server.asked == 0


async def test_unsigned_headers_of_the_proxy_are_ignored(proxied):
    unsigned = {
        "x-goog-authenticated-user-email": "accounts.google.com:ana@example.org",
        "x-goog-authenticated-user-id": "accounts.google.com:7",
    }
    async with proxied() as eve:
        assert (await eve.get("/state", headers=unsigned)).status == 401


def forged_with_the_public_key():
    """Return a token whose HMAC secret is the public key, which everybody has."""

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "accounts.google.com:7", "iat": now, "exp": now + 600}
    signed = part({"alg": "HS256", "typ": "JWT", "kid": "one"}) + b"." + part(claims)
    signature = hmac.new(pem(KEY).encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def wrong():
    """Return tokens that prove nothing, by what is wrong with them."""
    now, good = int(time.time()), assertion()
    return {
        "expired": assertion(exp=now - 31),
        "no end": assertion(exp=None),
        "an end that is no time": raw(exp="soon"),
        "an end that is a list": raw(exp=[now + 600]),
        "no end ever": raw(exp=float("inf")),
        "a beginning that is no number": raw(iat=float("nan")),
        "from the future": assertion(iat=now + 60, exp=now + 600),
        "no beginning": assertion(iat=None),
        "another audience": assertion(aud="/projects/123/global/backendServices/4567"),
        "an audience around it": assertion(aud=f"x{AUDIENCE}"),
        "an audience with a line": assertion(aud=f"{AUDIENCE}\n"),
        "audiences": assertion(aud=[AUDIENCE]),
        "no audience": assertion(aud=None),
        "another issuer": assertion(iss="https://accounts.google.com"),
        "no issuer": assertion(iss=None),
        "nobody": assertion(sub=None),
        "an empty person": assertion(sub=""),
        "another key": assertion(OTHER_KEY),
        "an unknown key": assertion(OTHER_KEY, kid="two"),
        "no key": jwt.encode({"sub": "7"}, KEY, "ES256"),
        "a key that is no text": assertion(headers={"kid": "../one"}),
        "no signature": jwt.encode(jwt.decode(good, options={"verify_signature": False}), None, "none"),
        "the signature cut off": good.rsplit(".", 1)[0] + ".",
        "the public key as a secret": forged_with_the_public_key(),
        "RSA": assertion(RSA_KEY, alg="RS256"),
        "changed": good[:-6] + "AAAAAA",
        "twice": f"{good},{good}",
        "garbage": "garbage",
        "dots": "..",
        "more dots": "a.b.c.d.e",
        "empty": "",
        "brackets": base64.urlsafe_b64encode(b"[" * 5_000).decode().rstrip("=") + ".e30.AAAA",
        "long": "a" * 9_000,
        "odd letters": "é.é.é",
    }


async def test_invalid_assertion_is_refused(proxied, key_server):
    async with proxied() as eve:
        assert await status(eve, assertion()) == 200
        for what, token in wrong().items():
            with capture_logs() as lines:
                assert await status(eve, token) == 401, what
            assert lines, what
            for secret in ("accounts.google.com:7", "ana@", token if len(token) > 10 else "eyJ"):
                assert secret not in str(lines), what
        assert await status(eve, assertion()) == 200
    assert key_server.asked == 1, "nobody can make the chat ask again and again"


async def test_small_clock_skew_is_accepted(proxied):
    now = int(time.time())
    async with proxied() as ana:
        assert await status(ana, assertion(exp=now - 20)) == 200
        assert await status(ana, assertion(iat=now + 20)) == 200


async def test_star_in_the_audience_matches_any_number_only(proxied):
    async with proxied(iap_audience="/projects/123/global/backendServices/*") as ana:
        for audience, code in (
            (AUDIENCE, 200),
            ("/projects/123/global/backendServices/9", 200),
            ("/projects/123/global/backendServices/", 401),
            ("/projects/123/global/backendServices/a", 401),
            ("/projects/123/global/backendServices/1/2", 401),
            ("/projects/124/global/backendServices/1", 401),
            ("/projects/123/global/backendServices/*", 401),
            ("/projects/123/global/backendServices/\u0661", 401),
        ):
            assert await status(ana, assertion(aud=audience)) == code, audience


async def test_new_key_is_fetched_on_first_use_and_at_most_every_30_seconds(proxied, key_server, later):
    async with proxied() as ana:
        assert await status(ana, assertion()) == 200
        key_server.keys["two"] = pem(OTHER_KEY)
        assert await status(ana, assertion(OTHER_KEY, kid="two")) == 401, "asked a moment ago"
        later(31)
        assert await status(ana, assertion(OTHER_KEY, kid="two")) == 200
        for _ in range(3):
            assert await status(ana, assertion(OTHER_KEY, kid="three")) == 401
        assert key_server.asked == 2


async def test_keys_are_fetched_every_hour_and_removed_keys_are_rejected(proxied, key_server, later):
    async with proxied() as ana:
        assert await status(ana, assertion()) == 200
        key_server.keys = {"two": pem(OTHER_KEY)}
        assert await status(ana, assertion()) == 200
        later(3601)
        assert await status(ana, assertion()) == 401
        assert await status(ana, assertion(OTHER_KEY, kid="two")) == 200
        assert key_server.asked == 2


async def test_old_keys_are_valid_for_a_day_if_they_cannot_be_fetched(proxied, key_server, later):
    async with proxied() as ana:
        assert await status(ana, assertion()) == 200
        key_server.status = 500
        later(3601)
        assert await status(ana, assertion()) == 200
        assert await status(ana, assertion()) == 200
        assert key_server.asked == 2, "it is not asked at every request"
        later(23 * 3600)
        shown = await ana.get("/state", headers={HEADER: assertion()})
        assert (shown.status, "sign-in cannot be verified" in shown.text) == (503, True)
        key_server.status = 200
        later(31)
        assert await status(ana, assertion()) == 200


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (500, None),
        (404, None),
        (302, None),
        (200, ""),
        (200, "[]"),
        (200, "{}"),
        (200, '{"one": "no key"}'),
        (200, '{"one": null}'),
        (200, json.dumps({"one": pem(RSA_KEY)})),
        (200, "x" * 300_000),
        (200, "[" * 100_000),
    ],
    ids=range(11),
)
async def test_without_keys_requests_are_refused_with_503(proxied, key_server, code, text, later):
    key_server.status, key_server.text = code, text
    async with proxied() as ana:
        shown = await ana.open("/", headers={HEADER: assertion()})
        assert (shown.status, "keys cannot be loaded" in shown.text) == (503, True)
        key_server.status, key_server.text = 200, None
        later(31)
        assert await status(ana, assertion()) == 200


async def test_unreachable_key_server_means_refusal(proxied):
    async with proxied(iap_keys_url="http://127.0.0.1:9/keys") as ana:
        assert await status(ana, assertion()) == 503


async def test_allow_list_applies_in_addition_to_the_proxys_policy(proxied):
    async with proxied(allowed_people=("example.org", "ben@example.com")) as one:
        assert await status(one, assertion()) == 200
        assert await status(one, assertion(email="ben@example.com", hd=None)) == 200
        assert await status(one, assertion(email="eve@example.org", hd=None)) == 403, "an address is no organisation"
        assert await status(one, assertion(email=None, hd=None)) == 403
        assert await status(one, assertion(email=["ben@example.com"], hd={"example.org": 1})) == 403
        shown = await one.open("/", headers={HEADER: assertion(email="eve@example.com", hd=None)})
        assert (shown.status, "CLEAR_LOGIN_COOKIE" in shown.text) == (403, True)
