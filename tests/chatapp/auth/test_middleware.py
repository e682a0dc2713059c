"""Nothing but what is public is reached by nobody."""

import pytest
from starlette.requests import Request
from starlette.responses import Response

from chatapp.auth import Identified, IdentityMiddleware, Person, person_of

ANA = Person(user="oidc-ana", kind="google", name="Ana", address="ana@example.org")


class OnlyAna:
    """Knows one person, by a header."""

    async def identify(self, request):
        return Identified(person=ANA if request.headers.get("x-ana") else None, cookies=("seen=1",))


def refuse(_request, nobody):
    return Response(nobody.problem, nobody.status)


async def ask(path, *, known=False, kind="http", method="GET", public=frozenset()):
    """Return whom the app was reached by (False: it was not reached), and what was sent."""
    reached, sent = False, []

    async def app(scope, _receive, send):
        nonlocal reached
        reached = person_of(Request(scope)) if "chat.person" in scope else None
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    headers = [(b"x-ana", b"1")] if known else []
    scope = {"type": kind, "path": path, "method": method, "headers": headers, "query_string": b""}
    await IdentityMiddleware(app, OnlyAna(), refuse=refuse, public=public)(scope, None, send)
    return reached, sent


async def test_a_person_is_passed_on_and_cookies_are_answered_with():
    reached, (start,) = await ask("/state", known=True)
    assert reached == ANA
    assert (b"set-cookie", b"seen=1") in start["headers"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/c/ID",
        "/state",
        "/no-such-path",
        "/gradio_api/info",
        "/sign-in",
        "//healthz",
        "/healthz/",
        "/healthz/../state",
        "/page/",
        "/page/1",
        "/pages/1/x",
        "/x/page/1/page.css",
        "/PAGE/1/x",
        "/healthz\n",
        "",
        "/%68ealthz",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD", "OPTIONS", "NONSENSE"])
async def test_nobody_reaches_anything_else(path, method):
    reached, (start, body) = await ask(path, method=method)
    assert reached is False
    assert start["status"] == 401
    assert b"You are signed out" in body["body"]


@pytest.mark.parametrize("path", ["/healthz", "/page/0123/page.css", "/page/0123/js/main.js"])
async def test_what_is_public_gets_no_person_even_from_somebody(path):
    assert (await ask(path))[0] is None
    reached, (start,) = await ask(path, known=True)
    assert reached is None
    assert start["headers"] == []


async def test_what_an_app_makes_public_is_exactly_that():
    public = frozenset({"/sign-in"})
    assert (await ask("/sign-in", public=public))[0] is None
    for path in ("/sign-in/", "/sign-in/start", "/sign-inn", "/SIGN-IN"):
        assert (await ask(path, public=public))[0] is False


async def test_no_websocket_is_opened_by_anybody():
    for known in (False, True):
        reached, sent = await ask("/", kind="websocket", known=known)
        assert reached is False
        assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_the_life_of_the_app_is_no_request():
    assert (await ask("", kind="lifespan"))[0] is None
