"""A chat whose public address has a name in Hebrew or Arabic: every check compares what browsers send."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from chatapp.config.settings import load_settings
from chatapp.http.middleware.csrf import CsrfMiddleware
from chatapp.http.middleware.trusted_hosts import TrustedHostMiddleware

SENT = "xn--mgbh0fb.example"


@pytest.fixture(params=["https://مثال.example", f"https://{SENT}", f"https://{SENT.upper()}:443"])
def client(request, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAT_ROOT_URL", request.param)
    root_url = load_settings().root_url

    async def answer(_request):
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])
    app.add_middleware(CsrfMiddleware, root_url=root_url)
    app.add_middleware(TrustedHostMiddleware, root_url=root_url, local=False)
    return TestClient(app)


def test_page_at_an_international_name_may_be_used(client):
    assert client.get("/", headers={"host": SENT}).status_code == 200
    headers = {"host": SENT, "origin": f"https://{SENT}"}
    assert client.post("/", headers=headers).status_code == 200
    # Behind a proxy that passes another name to the chat, the public address still counts.
    assert client.post("/", headers=headers | {"host": "127.0.0.1:7860"}).status_code == 200


def test_other_names_are_refused_with_the_address_in_its_own_letters(client):
    refused = client.get("/", headers={"host": "evil.example"})
    assert refused.status_code == 421
    assert "https://مثال.example" in refused.text
    assert client.post("/", headers={"host": SENT, "origin": "https://evil.example"}).status_code == 403


def test_name_that_a_proxy_passes_on_in_utf_8_is_the_same(client):
    headers = [(b"host", "مثال.example:443".encode()), (b"origin", f"https://{SENT}".encode())]
    assert client.post("/", headers=headers).status_code == 200
    assert client.get("/", headers=[(b"host", "عدو.example".encode())]).status_code == 421
