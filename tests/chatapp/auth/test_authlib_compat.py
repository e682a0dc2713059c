"""The private parts of Authlib that `chatapp.auth.authlib_compat` uses still exist.

If a test fails after an upgrade: read the docstring of that module, compare the new version, then adapt both.
"""

import inspect
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.integrations.base_client.async_app import AsyncOAuth2Mixin
from authlib.integrations.base_client.async_openid import AsyncOpenIDMixin
from authlib.integrations.starlette_client import OAuth
from starlette.requests import Request

from chatapp.auth.authlib_compat import are_loaded, forget_metadata, has_state, restrict_algorithms, set_session

METADATA = {
    "issuer": "https://id.example.org",
    "authorization_endpoint": "https://id.example.org/authorize",
    "id_token_signing_alg_values_supported": ["RS256", "HS256", "none", "ES256"],
}


@pytest.fixture
def client():
    return OAuth().register("provider", client_id="chat", client_secret="secret", **METADATA, _loaded_at=1)


async def test_state_is_kept_in_the_session(client):
    request, session = Request({"type": "http", "headers": []}), {}
    set_session(request, session)
    answer = await client.authorize_redirect(request, "https://chat.example.org/callback")
    state = parse_qs(urlsplit(answer.headers["location"]).query)["state"][0]
    assert [key.startswith("_state_provider_") for key in session] == [True]
    assert [has_state(session, one) for one in (state, f"{state}x", "")] == [True, False, False]


async def test_metadata_is_the_cached_dictionary_itself(client):
    metadata = await client.load_server_metadata()
    assert metadata is client.server_metadata
    assert are_loaded(metadata)
    restrict_algorithms(metadata)
    assert client.server_metadata["id_token_signing_alg_values_supported"] == ["RS256", "ES256"]
    forget_metadata(metadata)
    assert client.server_metadata == {}
    assert not are_loaded(client.server_metadata)


def test_metadata_are_loaded_again_when_they_are_empty():
    assert '"_loaded_at" not in self.server_metadata' in inspect.getsource(AsyncOAuth2Mixin.load_server_metadata)


def test_algorithms_come_from_the_metadata():
    source = inspect.getsource(AsyncOpenIDMixin.parse_id_token)
    assert 'metadata.get("id_token_signing_alg_values_supported")' in source
    assert "algorithms=alg_values" in source


def test_without_a_list_rs256_is_accepted():
    metadata = {}
    restrict_algorithms(metadata)
    assert metadata == {"id_token_signing_alg_values_supported": ["RS256"]}
