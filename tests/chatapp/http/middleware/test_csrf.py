"""Only the chat's own page may change anything, and no other site may embed it."""

import re

import pytest
from starlette.testclient import TestClient

from chatapp.http.middleware.csrf import CsrfMiddleware
from chatapp.http.request_rules import UNKNOWN, rule_of
from tests.security.authorization_matrix import MATRIX

OWN, ROOT = "http://testserver", "https://chat.example.org"
FORGED = [
    {},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://["},
    {"origin": "https://evil.example"},
    {"origin": f"{OWN}.evil.example"},
    {"origin": "http://chat.example.org"},  # of the one address, but anybody on the way can write its pages
    {"sec-fetch-site": "cross-site", "origin": OWN},
    {"sec-fetch-site": "same-site", "origin": OWN},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": ""},
]


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{event}"
            await send({"type": f"lifespan.{event}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture(scope="module")
def client():
    """Yield a client with one event loop for all of its 2,000 requests: else it makes one, and a thread, for each."""
    with TestClient(CsrfMiddleware(app, root_url=ROOT)) as client:
        yield client


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "NONSENSE"])
@pytest.mark.parametrize("headers", [{"sec-fetch-site": "same-origin"}, {"origin": OWN}, {"origin": ROOT}])
def test_own_page_may_change_things(client, method, headers):
    assert client.request(method, "/", headers=headers).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "NONSENSE"])
@pytest.mark.parametrize("headers", FORGED)
def test_other_origins_may_not_change_things(client, method, headers):
    refused = client.request(method, "/", headers=headers)
    assert refused.status_code == 403
    assert refused.json()["error"]["text"] == "Only the chat's own page may send this request. Nothing was changed."


def test_without_a_root_url_the_host_header_is_the_own_origin():
    client = TestClient(CsrfMiddleware(app, root_url=""))
    assert client.post("/", headers={"origin": OWN}).status_code == 200
    assert client.post("/", headers={"origin": "null"}).status_code == 403
    assert client.post("/").status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, 200),
        (
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
            200,
        ),  # a link, or the way back from signing in
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),  # an <img> or a <script> of another site
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_another_site_may_link_but_not_embed_or_fetch(client, method, headers, status):
    assert client.request(method, "/", headers=headers).status_code == status


# What browsers send: the mode and the destination of a request, from a page of the chat itself.
NAVIGATE = ("navigate", "document")
FETCH = ("cors", "empty")
PICTURE = ("no-cors", "image")
EMBEDDED = [
    *(("navigate", name) for name in ("iframe", "frame", "embed", "object", "fencedframe")),
    *(
        ("no-cors", name)
        for name in ("embed", "object", "script", "style", "video", "audio", "track", "worker", "empty")
    ),
    *(("cors", name) for name in ("font", "manifest", "report", "xslt")),
    ("same-origin", "serviceworker"),
    ("navigate", "empty"),  # what a service worker makes of a navigation if it sends it on
]
DATA = [
    *("/state", "/models", "/me", "/search", "/conversations", "/conversations/x/events", "/conversations/x/messages"),
    *("/export/everything.json", "/export/x.md", "/profile", "/conversations/x"),
    "/conversations/x/documents/y",
]
PICTURES = ["/conversations/x/images/y"]
PAGES = ["/", "/c/x", "/nothing", "/gradio_api/info"]
LEADING_AWAY = ["/sign-in", "/sign-in/start", "/sign-in/callback"]
FILES = ["/page/0/js/main.js", "/assets/index.js", "/theme.css"]


def status(client, path, sent, site="same-origin", method="GET", **headers):
    mode, destination = sent
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": destination, **headers}
    return client.request(method, path, headers=headers).status_code


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    ("paths", "allowed"),
    [
        (DATA, [FETCH]),
        (PICTURES, [FETCH, PICTURE, NAVIGATE]),
        (PAGES, [FETCH, NAVIGATE]),
        (LEADING_AWAY, [NAVIGATE]),
    ],
    ids=["data", "pictures", "pages", "sign-in"],
)
def test_an_answer_has_the_page_request_a_route_only_for_what_the_route_is_for(client, method, paths, allowed):
    for path in paths:
        for sent in [NAVIGATE, FETCH, PICTURE, *EMBEDDED]:
            assert (status(client, path, sent, method=method) == 200) == (sent in allowed), (path, sent)


@pytest.mark.parametrize("path", FILES)
def test_files_are_parts_of_the_page_and_embed_nothing(client, path):
    for sent in [("no-cors", "script"), ("cors", "script"), ("no-cors", "style"), ("cors", "font"), FETCH, PICTURE]:
        assert status(client, path, sent) == 200
    for sent in [("navigate", "iframe"), ("no-cors", "object"), ("no-cors", "embed")]:
        assert status(client, path, sent) == 403


@pytest.mark.slow
@pytest.mark.parametrize("path", [*DATA, *PICTURES, *PAGES, *LEADING_AWAY, *FILES])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_opens_pages_at_top_level_only(client, path, site):
    for sent in [FETCH, PICTURE, *EMBEDDED]:
        assert status(client, path, sent, site) == 403
    assert (status(client, path, NAVIGATE, site) == 200) == (path in PAGES + LEADING_AWAY)


def test_one_file_only_becomes_a_service_worker(client):
    worker = ("same-origin", "serviceworker")
    assert status(client, "/service-worker.js", worker) == 200
    assert status(client, "/service-worker.js", worker, "cross-site") == 403
    for path in [*DATA, *PICTURES, *PAGES, *LEADING_AWAY, *FILES, "/page/0/js/service_worker.js"]:
        assert status(client, path, worker) == 403
    for sent in [("no-cors", "script"), ("same-origin", "worker"), PICTURE, ("navigate", "iframe")]:
        assert status(client, "/service-worker.js", sent) == 403


def test_only_a_file_that_is_a_frame_is_framed_and_only_by_the_page(client):
    framed = ("navigate", "iframe")
    assert status(client, "/page/0/frames/diagram.html", framed) == 200
    assert status(client, "/page/0/frames/diagram.html", framed, "cross-site") == 403
    assert status(client, "/page/0/js/frames/x", framed) == 403


@pytest.mark.slow
@pytest.mark.parametrize("header", [{"sec-purpose": "prefetch;prerender"}, {"purpose": "prefetch"}])
def test_nothing_but_files_is_loaded_in_advance(client, header):
    for path in [*DATA, *PICTURES, *PAGES, *LEADING_AWAY]:
        for sent in (NAVIGATE, FETCH):
            assert status(client, path, sent, **header) == 403
    assert status(client, FILES[0], FETCH, **header) == 200


def test_a_person_may_enter_any_address_and_the_health_check_answers_everyone(client):
    for path in [*DATA, *PICTURES, *PAGES, *LEADING_AWAY, *FILES]:
        assert status(client, path, NAVIGATE, "none") == 200
    assert status(client, "/healthz", PICTURE, "cross-site") == 200


def test_a_form_of_the_page_itself_changes_nothing(client):
    for sent in (NAVIGATE, ("navigate", "iframe"), PICTURE):
        assert status(client, "/sign-out", sent, method="POST") == 403
    assert status(client, "/sign-out", FETCH, method="POST") == 200


def test_every_route_has_a_rule():
    for _, path in MATRIX:
        assert rule_of(re.sub(r"{[^}]*}", "x", path)) is not UNKNOWN, path


@pytest.mark.parametrize("address", ["/conversations", "/delete-everything", "/nothing", "/conversations/x/stop"])
async def test_all_routes_of_the_chat_are_protected(page, chat_url, address):
    forged = {"sec-fetch-site": "cross-site"}
    async with page._http.post(f"{chat_url}{address}", json={"confirm": True}, headers=forged) as response:
        assert response.status == 403
