"""The chat answers only to its own host names."""

import pytest
from starlette.testclient import TestClient

from chatapp.http.middleware.trusted_hosts import TrustedHostMiddleware


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the chat"})


def asked(host, path="/", *, root_url="", local=False, accept="*/*"):
    client = TestClient(TrustedHostMiddleware(app, root_url=root_url, local=local))
    return client.get(path, headers={"host": host, "accept": accept})


LOOPBACK = ["localhost", "localhost:7860", "LOCALHOST.", "127.0.0.1:80", "127.9.9.9", "[::1]:7860", "[::1]"]
FOREIGN = ["evil.example", "evil.example:7860", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.0.7"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_local_chat_answers_at_loopback_names(host):
    assert asked(host, local=True).status_code == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_local_chat_refuses_other_names(host):
    refused = asked(host, local=True)
    assert refused.status_code == 421
    assert "Open http://localhost:80 instead" in refused.json()["error"]["text"]


@pytest.mark.parametrize("host", ["chat.example.org", "CHAT.example.org.", "chat.example.org:443", *LOOPBACK])
def test_chat_with_a_root_url_answers_there_and_at_a_forwarded_port(host):
    assert asked(host, root_url="https://chat.example.org").status_code == 200


@pytest.mark.parametrize("host", [*FOREIGN, "example.org", "chat.example.org.evil.example"])
def test_chat_with_a_root_url_refuses_other_names(host):
    refused = asked(host, root_url="https://chat.example.org", accept="text/html")
    assert refused.status_code == 421
    assert "Open https://chat.example.org instead" in refused.text


@pytest.mark.parametrize("host", ["203.0.113.7", "chat.example.org:8000", "[2001:db8::7]:7860"])
def test_shared_chat_without_a_root_url_answers_at_any_name(host):
    assert asked(host).status_code == 200


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a,b", "<script>", "a@b", "a:b", "a:1:2", "[::1", "x" * 300])
def test_invalid_host_is_refused(host):
    assert asked(host).status_code == 400


def test_health_check_answers_at_any_address():
    assert asked("10.0.0.7:7860", "/healthz", local=True).status_code == 200
