"""The rate limit of new guests per client address."""

import aiohttp
import pytest

from chatapp.app import create_app
from chatapp.domain.conversation import Usage
from chatapp.domain.errors import LimitReached
from chatapp.limits import Quota, networks
from chatapp.limits.daily_totals import DailyTotals
from chatapp.limits.guests import NewGuests
from chatapp.limits.moving_window import MovingWindow
from chatapp.limits.usage import UsageLimits
from tests.page_client import open_page
from tests.serving import serving


def taken(limit, *addresses):
    """Return which of them were let in."""
    return [limit.admit(address) == 0 for address in addresses]


def test_new_guests_per_address_and_hour_are_limited(clock):
    refused = []
    limit = NewGuests(2, refused.append, MovingWindow(3600, clock))
    assert taken(limit, "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2") == [True, True, False, True]
    assert refused == ["new_guests"]
    clock.now += 3000
    assert limit.admit("192.0.2.1") == 600
    clock.now += 600
    assert limit.admit("192.0.2.1") == 0


def test_a_network_of_ipv6_is_one_client():
    limit = NewGuests(1)
    assert taken(limit, "2001:db8::1", "2001:db8:0:ff::2", "2001:db8:0:100::1") == [True, False, True]


def test_clients_without_an_address_count_as_one():
    assert taken(NewGuests(1), "", "somewhere") == [True, False]


def test_zero_is_no_limit():
    assert all(taken(NewGuests(0), *["192.0.2.1"] * 1000))


def test_number_of_tracked_addresses_is_bounded(monkeypatch):
    monkeypatch.setattr(networks, "MAX_NETWORKS", 10)
    limit = NewGuests(2)
    assert all(taken(limit, *(f"192.0.2.{number}" for number in range(10))))
    assert taken(limit, "198.51.100.1", "198.51.100.2", "198.51.100.3") == [True, True, False]
    assert limit.admit("192.0.2.5") == 0


async def test_refused_guest_gets_429_with_a_message_and_known_guests_go_on(settings):
    app = await create_app(settings.model_copy(update={"new_guests_per_hour": 1, "metrics_port": 1}), with_page=False)
    async with serving(app) as url, open_page(url) as page:
        async with aiohttp.ClientSession(headers={"accept-language": "he"}) as http:
            for _ in range(3):  # what is public makes nobody a guest
                async with http.get(f"{url}/healthz") as response:
                    assert response.status == 200
            async with http.get(url, headers={"accept": "text/html"}) as response:
                assert (response.status, response.cookies, response.content_type) == (429, {}, "text/html")
                assert int(response.headers["retry-after"]) in range(3500, 3601)
                assert "יותר מדי אורחים חדשים הגיעו מהרשת שלכם" in await response.text()
            async with http.get(f"{url}/state") as response:
                assert (response.status, response.cookies) == (429, {})
                assert (await response.json())["error"]["template"].startswith("There are too many new guests")
        await page.send("Hello", model="gemma")
        assert app.state.metrics.registry.get_sample_value("hybrid_chat_refused_total", {"limit": "new_guests"}) == 2


# Requests of another site's page: hidden frames, images, prefetches, and what browsers without fetch metadata send.
NO_NEW_GUEST = [
    *(
        {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": destination}
        for site in ("cross-site", "same-site", "same-origin")
        for destination in ("iframe", "frame", "embed", "object", "fencedframe")
    ),
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "empty"},
    {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    {"sec-fetch-dest": "iframe", "sec-fetch-mode": "navigate"},
    *(
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", **prefetch}
        for prefetch in (
            {"sec-purpose": "prefetch"},
            {"sec-purpose": "prefetch;prerender"},
            {"purpose": "prefetch"},
        )
    ),
    {"referer": "https://evil.example/"},
    {"referer": "http://evil.example/127.0.0.1"},
    {"referer": "http://["},
]
NEW_GUEST = [
    {},
    {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
]


async def test_frames_of_another_site_make_no_guests(settings):
    limit = len(NEW_GUEST) + 1
    app = await create_app(settings.model_copy(update={"new_guests_per_hour": limit}), with_page=False)
    async with serving(app) as url, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        for headers in NO_NEW_GUEST:
            async with http.get(url, headers={"accept": "text/html", **headers}) as response:
                assert (response.status, dict(response.cookies)) == (403, {}), headers
                assert 'href="/"' in await response.text() or "application/json" in response.content_type
        for headers in (*NEW_GUEST, {"referer": f"{url}/"}):
            async with http.get(url, headers=headers) as response:  # there is no page in this app
                assert (response.status, "chat_user" in response.cookies) == (404, True), headers
        async with http.get(url) as response:
            assert response.status == 429


def test_guests_together_leave_a_part_of_the_shared_limits_to_members(clock):
    totals = DailyTotals(clock=clock)
    shared = Quota(messages_per_minute=10, tokens_per_day=1_000, cost_per_day=0)
    limits = UsageLimits(Quota(), shared, totals, guests=shared.part(0.5))
    for number in range(5):
        limits.admit(f"anonymous-{number}")
    with pytest.raises(LimitReached, match=r"of all guests together is reached.*Sign in, or try again"):
        limits.admit("anonymous-5")
    for _ in range(5):
        limits.admit("oidc-ana")
    with pytest.raises(LimitReached, match="shared limit on messages"):
        limits.admit("oidc-ana")
    clock.now += 61
    limits.count(Usage(prompt_tokens=300, completion_tokens=200), None, "anonymous-1")
    limits.count(Usage(prompt_tokens=100, completion_tokens=100), None, "oidc-ana")
    with pytest.raises(LimitReached, match="daily token limit of all guests") as refusal:
        limits.admit("anonymous-9")
    assert refusal.value.detail == "guest_tokens"
    limits.admit("oidc-ana")
    assert limits.has_shared_quota
