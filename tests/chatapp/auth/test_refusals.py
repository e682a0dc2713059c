"""Refused requests are security events in the log, as many lines as an operator reads."""

from structlog.testing import capture_logs

from chatapp.auth.audit import LINES_PER_MINUTE, Refusal, RefusalLog
from chatapp.limits.moving_window import MovingWindow
from tests.chatapp.auth.conftest import COOKIE, browser


def events(lines):
    return [(line["reason"], line["status"]) for line in lines if line["event"] == "request_refused"]


async def test_refusals_by_origin_host_size_and_authentication_are_logged(serve_auth):
    async with serve_auth(root_url="http://chat.example.org") as url, browser(url) as eve:
        host = {"host": "chat.example.org"}
        requests = (
            (("origin", 403), "POST", "/sign-out", host | {"sec-fetch-site": "cross-site"}),
            (("host", 421), "GET", "/", {"host": "evil.example"}),
            (("host", 400), "GET", "/", {"host": "<evil>"}),
            (("size", 431), "GET", "/", host | {"x-long": "x" * 33_000}),
            # It sends no body, for which the server would wait 30 s before the next request of a connection.
            (("size", 413), "POST", "/sign-out", host | {"content-length": "999999999999", "connection": "close"}),
            (("authentication", 401), "GET", "/", host | {"cookie": f"{COOKIE}=forged"}),
            (("authentication", 400), "GET", "/", host | {"cookie": f"{COOKIE}=a; {COOKIE}=b"}),
        )
        for event, method, path, headers in requests:
            with capture_logs() as lines:
                async with eve.http.request(method, url + path, headers=headers) as response:
                    assert response.status == event[1], event
            assert events(lines) == [event]
            assert "evil" not in str(lines)
            assert "forged" not in str(lines)
        with capture_logs() as lines:
            assert (await eve.get("/", headers=host)).status == 401
        assert events(lines) == [], "a person who has yet to sign in"


def test_lines_of_each_kind_are_limited_and_those_left_out_are_counted():
    now = [0.0]
    refusals = RefusalLog(MovingWindow(60, lambda: now[0]))
    with capture_logs() as lines:
        for _ in range(LINES_PER_MINUTE + 5):
            refusals.request_refused(Refusal.HOST, 421)
        refusals.request_refused(Refusal.ORIGIN, 403)
        now[0] += 61
        refusals.request_refused(Refusal.HOST, 421)
        refusals.request_refused(Refusal.HOST, 421)
    assert len(events(lines)) == LINES_PER_MINUTE + 3
    assert [line.get("left_out") for line in lines[-3:]] == [None, 5, None]
