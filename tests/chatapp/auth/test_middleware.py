"""Without a user, a request reaches public paths only."""

import pytest
from starlette.requests import Request
from starlette.responses import Response

from chatapp.auth import AuthenticationMiddleware, AuthResult, User, current_user

ANA = User(id="oidc-ana", kind="google", name="Ana", email="ana@example.org")


class OnlyAna:
    """Authenticates one user by a header."""

    async def authenticate(self, request):
        return AuthResult(user=ANA if request.headers.get("x-ana") else None, cookies=("seen=1",))


def refuse(_request, result):
    return Response(result.problem, result.status)


async def ask(path, *, signed_in=False, kind="http", method="GET", public=frozenset()):
    """Return the user that the app got (False: it was not called), and the messages sent."""
    reached, sent = False, []

    async def app(scope, _receive, send):
        nonlocal reached
        reached = current_user(Request(scope)) if "chat.user" in scope else None
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    headers = [(b"x-ana", b"1")] if signed_in else []
    scope = {"type": kind, "path": path, "method": method, "headers": headers, "query_string": b""}
    await AuthenticationMiddleware(app, OnlyAna(), refuse=refuse, public=public)(scope, None, send)
    return reached, sent


async def test_user_is_passed_on_and_the_response_sets_the_cookies():
    reached, (start,) = await ask("/state", signed_in=True)
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
async def test_request_without_a_user_is_refused(path, method):
    reached, (start, body) = await ask(path, method=method)
    assert reached is False
    assert start["status"] == 401
    assert b"You are signed out" in body["body"]


@pytest.mark.parametrize("path", ["/healthz", "/page/0123/page.css", "/page/0123/js/main.js"])
async def test_public_path_gets_no_user_even_if_there_is_one(path):
    assert (await ask(path))[0] is None
    reached, (start,) = await ask(path, signed_in=True)
    assert reached is None
    assert start["headers"] == []


async def test_paths_made_public_by_the_app_match_exactly():
    public = frozenset({"/sign-in"})
    assert (await ask("/sign-in", public=public))[0] is None
    for path in ("/sign-in/", "/sign-in/start", "/sign-inn", "/SIGN-IN"):
        assert (await ask(path, public=public))[0] is False


async def test_websocket_is_closed():
    for signed_in in (False, True):
        reached, sent = await ask("/", kind="websocket", signed_in=signed_in)
        assert reached is False
        assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_lifespan_is_not_authenticated():
    assert (await ask("", kind="lifespan"))[0] is None
