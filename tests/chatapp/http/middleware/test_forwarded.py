"""The client's address comes from ``X-Forwarded-For`` only as far as trusted proxies have written it."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.auth.client import client_address
from chatapp.config.settings import Settings
from chatapp.http.middleware.forwarded import MAX_PROXIES, ClientAddressMiddleware

TRUSTED = tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.1", "fd00::/8")))


async def seen(peer, *forwarded, trusted=TRUSTED):
    """Return what the app sees of a request: the client's address, and the headers."""
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    headers += [(b"x-forwarded-host", b"evil.example"), (b"forwarded", b"for=9.9.9.9"), (b"host", b"chat")]
    scope = {"type": "http", "client": (peer, 5000), "headers": headers}
    await ClientAddressMiddleware(app, trusted=trusted)(scope, None, None)
    return client_address(scopes[0]), scopes[0]["headers"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # not a trusted proxy
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # the client sent the first one
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1,192.0.2.1"], "198.51.100.1"),  # as Google's load balancer appends
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1 , 10.2.3.4"], "198.51.100.1"),  # two headers are one list
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # a client within the network
        ("10.0.0.1", ["nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1, "], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["2001:DB8::0007"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),  # a listener for both kinds of addresses
        ("fd00::1", ["fe80::1%eth0"], "fe80::1"),
    ],
)
async def test_client_is_the_last_address_that_no_trusted_proxy_has(peer, forwarded, client):
    assert (await seen(peer, *forwarded))[0] == client


async def test_scheme_is_not_taken_from_a_trusted_proxy():
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    headers = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-for", b"198.51.100.1")]
    scope = {"type": "http", "scheme": "http", "client": ("10.0.0.1", 5000), "headers": headers}
    await ClientAddressMiddleware(app, trusted=TRUSTED)(scope, None, None)
    assert (scopes[0]["scheme"], scopes[0]["headers"]) == ("http", [])


async def test_without_trusted_proxies_the_header_is_ignored():
    assert (await seen("10.0.0.1", "198.51.100.1", trusted=()))[0] == "10.0.0.1"


async def test_only_the_last_addresses_of_a_long_header_are_read():
    address, _ = await seen("10.0.0.1", ",".join(["198.51.100.1", *["10.0.0.2"] * 5000]))
    assert address == "10.0.0.2"
    address, _ = await seen("10.0.0.1", ",".join(["198.51.100.1", *["10.0.0.2"] * (MAX_PROXIES - 1)]))
    assert address == "198.51.100.1"


async def test_all_forwarding_headers_are_removed():
    assert (await seen("10.0.0.1", "198.51.100.1"))[1] == [(b"host", b"chat")]


@pytest.mark.slow
@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=40), max_size=3))
async def test_invalid_header_does_not_fail_the_request(forwarded):
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    scope = {"type": "http", "client": ("10.0.0.1", 1), "headers": headers}

    async def app(scope, receive, send):
        pass

    await ClientAddressMiddleware(app, trusted=TRUSTED)(scope, None, None)
    assert client_address(scope)


async def test_connection_without_an_address_has_none():
    assert client_address({"type": "http"}) == ""
    assert client_address({"type": "http", "client": None}) == ""


def test_networks_are_separated_by_commas_or_spaces():
    settings = Settings(_env_file=None, trusted_proxies="10.0.0.0/8, 192.0.2.1 fd00::/8")
    assert settings.trusted_proxies == TRUSTED


def test_invalid_network_is_reported():
    with pytest.raises(ValueError, match=r"networks like 10\.0\.0\.0/8"):
        Settings(_env_file=None, trusted_proxies="10.0.0.1/8")
