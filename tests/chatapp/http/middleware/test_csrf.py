"""Only the chat's own page may change anything, and no other site may embed it."""

import pytest
from starlette.testclient import TestClient

from chatapp.http.middleware.csrf import CsrfMiddleware

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
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture(scope="module")
def client():
    return TestClient(CsrfMiddleware(app, root_url=ROOT))


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


@pytest.mark.parametrize("address", ["/conversations", "/delete-everything", "/nothing", "/conversations/x/stop"])
async def test_all_routes_of_the_chat_are_protected(page, chat_url, address):
    forged = {"sec-fetch-site": "cross-site"}
    async with page._http.post(f"{chat_url}{address}", json={"confirm": True}, headers=forged) as response:
        assert response.status == 403
