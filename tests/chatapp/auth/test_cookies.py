"""Cookies that other hosts of the domain can set never pass for the chat's own."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.requests import HTTPConnection

import chatapp
from chatapp.auth.anonymous import AnonymousAuthenticator
from chatapp.auth.cookies import Cookie, DuplicateCookie, read_cookie
from chatapp.auth.encrypted_cookies import CookieCipher
from chatapp.auth.sessions import Session, SessionCookies
from tests.chatapp.auth.conftest import SESSION_SECRET
from tests.security.raw_http import exchange, request

NAME = "__Host-chat_session"
HTTPS = {"root_url": "https://chat.example.org", "trusted_proxies": ("127.0.0.0/8",)}
# What browsers store under another name, but lenient parsers read as NAME: characters that `str.strip` or a parser of
# the standard library removes, the name in quotes or another case, and a cookie without a name.
OTHER_NAMES = [
    *(char + NAME.encode() for char in (b"\xa0", b"\x85", b"\xc2\xa0", b"\xc2\x85", b"\xe2\x80\x8b", b"\xef\xbb\xbf")),
    *(NAME.encode() + char for char in (b"\xa0", b"\x85", b" ", b"\t", b"\xe3\x80\x80")),
    *(bytes([code]) + NAME.encode() for code in (*range(1, 9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F)),
    b"\t" + NAME.encode(),
    b"  " + NAME.encode(),
    b"=" + NAME.encode(),
    b'"' + NAME.encode() + b'"',
    b"$" + NAME.encode(),
    NAME.lower().encode(),
    NAME.upper().encode(),
    b"__Host-chat%5Fsession",
    b"__Host-chat_session[]",
]


def sent(*headers):
    """Return a request with these ``Cookie`` headers."""
    return HTTPConnection({"type": "http", "headers": [(b"cookie", header) for header in headers]})


@pytest.mark.parametrize("other", OTHER_NAMES)
def test_a_similar_name_is_another_cookie(other):
    assert read_cookie(sent(b"a=b; " + other + b"=evil"), NAME) is None
    for header in (NAME.encode() + b"=own; " + other + b"=evil", other + b"=evil; " + NAME.encode() + b"=own"):
        if header.startswith(b"  "):
            continue  # a server removes spaces around a header's value
        assert read_cookie(sent(header), NAME) == "own"


@pytest.mark.parametrize(
    "headers",
    [
        (b"x=1; x=2",),
        (b"x=1; x=1",),
        (b"x=1;x=2",),
        (b"x=1; y=2; x=",),
        (b"x=1", b"x=2"),
        (b"x=1", b"y=1", b"y=2; x=3"),
        (b"; ".join([b"x=1"] * 3000),),
    ],
)
def test_a_name_that_comes_twice_is_refused(headers):
    with pytest.raises(DuplicateCookie):
        read_cookie(sent(*headers), "x")


NOT_VALUES = [
    *(b'"own', b'own"', b'o"wn', b'""own""', b"o wn", b" own", b"own ", b"ow\tn"),
    *(b"own\x00", b"own\xa0", b"own,x", b"o\\wn", b"\xd7\x90"),
]


@pytest.mark.parametrize("value", NOT_VALUES)
def test_a_value_that_no_cookie_may_have_is_empty(value):
    assert read_cookie(sent(b"x=" + value), "x") == ""


def test_cookies_are_read_as_browsers_send_them():
    assert read_cookie(sent(b"a=b; x=own=; y"), "x") == "own="
    assert read_cookie(sent(b"a=b", b"x=own"), "x") == "own"
    assert read_cookie(sent(b'x="own="'), "x") == "own="
    assert read_cookie(sent(b"x="), "x") == ""
    assert read_cookie(sent(b"x; y=x=1; xx=2; =x"), "x") is None
    assert read_cookie(sent(), "x") is None
    assert read_cookie(sent(b"; ".join(b"c%d=1" % number for number in range(3000)) + b"; x=own"), "x") == "own"


def test_only_one_module_reads_cookies():
    """Starlette's ``request.cookies`` takes similar names for the same."""
    files = Path(chatapp.__file__).parent.rglob("*.py")
    lenient = re.compile(r"\.cookies\.get|\bin request\.cookies|request\.cookies\[|SimpleCookie|cookie_parser")
    assert [path.name for path in files if lenient.search(path.read_text(encoding="utf-8"))] == []


# In a chat


async def ask(url, path, *cookie_headers, accept="*/*"):
    """Return the response to a request with these headers, as bytes on a connection."""
    headers = [("sec-fetch-site", "same-origin"), ("accept", accept)]
    headers += [("cookie", header) for header in cookie_headers]
    sent = request("GET", path, headers).replace(b"host: localhost", b"host: chat.example.org")
    (response,) = await exchange(urlsplit(url).port, sent)
    return response


def session_of(name, issuer):
    session = Session.create(issuer, name, name=name, email="ana@example.org", domain="example.org")
    return SessionCookies(SESSION_SECRET, secure=True, days=7).set_cookie(session).partition(";")[0].encode()


async def test_another_host_of_the_domain_cannot_replace_a_session(serve_auth, provider):
    own, evil = session_of("ana", provider.url), session_of("eve", provider.url)
    async with serve_auth(**HTTPS) as url:
        user = (await ask(url, "/state", own)).body
        assert b"oidc-" in user
        for other in (b"\xa0", b"\x85", b"\xc2\xa0", b"  ", b"=", b"\t"):
            for header in (own + b"; " + other + evil, b"a=b; " + other + evil + b"; " + own):
                assert (await ask(url, "/state", header)).body == user, header
            assert (await ask(url, "/state", b"a=b; " + other + evil)).status == 401
        for headers in ((own + b"; " + evil,), (evil + b"; " + own,), (own, evil)):
            refused = await ask(url, "/state", *headers)
            assert refused.status == 400
            assert b"two cookies of the same name" in refused.body
            assert b"set-cookie" not in refused.head  # the other one would stay, alone
            assert (await ask(url, "/sign-in", *headers)).status == 400


async def test_another_host_of_the_domain_cannot_make_a_browser_its_guest(serve_auth):
    guests = AnonymousAuthenticator(SESSION_SECRET, secure=True)
    (_, own), (evil_id, evil) = guests.new_user(), guests.new_user()
    async with serve_auth(identity="anonymous", **HTTPS) as url:
        user = (await ask(url, "/state", f"__Host-chat_user={own}")).body
        assert user not in {b"", evil_id.encode()}
        for name in ("chat_user", "\xa0__Host-chat_user", "\x85__Host-chat_user", "__host-chat_user"):
            planted = f"{name}={evil}".encode("latin-1")
            assert (await ask(url, "/state", f"__Host-chat_user={own}; ".encode() + planted)).body == user
            response = await ask(url, "/state", planted)
            assert evil_id.encode() not in response.body
            assert b"set-cookie: __host-chat_user=" in response.head
        twice = await ask(url, "/state", f"__Host-chat_user={own}; __Host-chat_user={evil}")
        assert (twice.status, b"set-cookie" in twice.head) == (400, False)


async def test_another_host_of_the_domain_cannot_plant_a_sign_in(serve_auth, provider):
    flow = CookieCipher(SESSION_SECRET, "sign-in").encrypt({"next": "/c/evil"})
    async with serve_auth(**HTTPS) as url:
        for name in ("chat_sign_in", "\xa0__Host-chat_sign_in"):
            page = await ask(url, "/sign-in/callback?code=x&state=y", f"{name}={flow}".encode("latin-1"))
            assert (page.status, b"/c/evil" in page.body) == (400, False)
        own = f"__Host-chat_sign_in={flow}"
        twice = await ask(url, "/sign-in/callback?code=x&state=y", f"{own}; {own}", accept="text/html")
        assert (twice.status, b"two cookies of the same name" in twice.body) == (400, True)
        assert b"set-cookie" not in twice.head


async def test_another_host_of_the_domain_cannot_choose_the_language(serve_auth):
    async with serve_auth(**HTTPS) as url:
        for cookie, language in (
            (b"__Host-language=he", b'lang="he"'),
            (b"language=he", b'lang="en"'),
            (b"__Host-language=he; __Host-language=ar", b'lang="en"'),
            (b"\xa0__Host-language=ar; __Host-language=he", b'lang="he"'),
        ):
            assert language in (await ask(url, "/sign-in", cookie)).body


def test_cookies_over_https_are_bound_to_the_host():
    header = Cookie("x", secure=True).set("value", seconds=5)
    assert header == "__Host-x=value; Max-Age=5; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert Cookie("x", secure=False).deleted == "x=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"
