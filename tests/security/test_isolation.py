"""No caller reads or changes the data of another user, on any route and with any credentials.

The tests call every route of the running app, Gradio's too, as the authorization matrix classifies it
(`tests.security.authorization_matrix`): as the owner, who must get a response with data, or the rest would prove
nothing; unauthenticated; as another user who knows all ids of the owner; and with forged or revoked credentials of the
owner. Afterwards the stored data of the owner are identical, byte for byte.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.fakes.openai_server import Reply
from tests.page_client import SAME_ORIGIN, events
from tests.security.authorization_matrix import MATRIX, OPTIONAL_ROUTES, Access, closed_routes, open_routes
from tests.security.http_client import Caller

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]  # thousands of requests

UNCLASSIFIED = """
These routes are not in the authorization matrix: {routes}
Add each to tests/security/authorization_matrix.py: public() for every client, user() for a response about the
authenticated user, read() and write() for an id in the request.
"""
UNAUTHENTICATED = (401, 403)


class TestRoutes:
    async def test_every_route_is_classified(self, chat):
        unclassified = sorted(open_routes(chat.app) - MATRIX.keys())
        assert not unclassified, UNCLASSIFIED.format(routes=unclassified)

    async def test_every_classified_route_exists(self, chat):
        removed = sorted(MATRIX.keys() - OPTIONAL_ROUTES - chat.routes.keys())
        assert not removed, f"The chat has no such routes; remove them from authorization_matrix.py: {removed}"

    async def test_no_gradio_event_has_a_python_handler(self, chat):
        apps = [getattr(route, "_base_app", None) for route in chat.app.routes]
        gradio = next(app for app in apps if hasattr(app, "get_blocks"))
        events = gradio.get_blocks().config["dependencies"]
        assert events, "the page has events, so this list is the wrong one"
        handled = [event for event in events if event["backend_fn"]]
        assert not handled, f"A handler in Python bypasses the API and these tests: {handled}"

    async def test_other_gradio_routes_are_not_found(self, chat):
        # An unauthenticated request gets 401 before the routing; where guests are allowed, it is a new guest's and gets
        # 404. Both bodies are the chat's, not Gradio's.
        bodies = {404: rb"There is nothing at this address\.", 401: rb"You are signed out\.|Identity-Aware Proxy"}
        closed = closed_routes(chat.app)
        failures = []
        for method, path in closed:
            for caller, expected in (
                (chat.identity.authenticated("carla"), {404}),
                (Caller("unauthenticated"), {404, 401}),
            ):
                response = await chat.request(method, re.sub(r"{[^}]*}", "x", path), caller)
                is_ours = method == "HEAD" or re.search(bodies.get(response.status, b"x^"), response.body)
                if response.status not in expected or not is_ours:
                    failures.append(f"{caller.name}, {method} {path}: {response.status}, {response.body[:80]!r}")
        assert not failures, "\n".join(failures)
        assert len(closed) > 60, "Gradio has more routes, so this list is the wrong one"


OWNERS = ("ana", "dana")


@pytest.fixture(scope="module")
def stored_before(chat):
    """What is stored of the owners before the first test."""
    return chat.storage.snapshot([chat.users[owner] for owner in OWNERS])


@pytest.fixture
def check_isolated(chat, stored_before):
    """Check each response for its status and for data of ana and dana; at the end, compare their stored data."""
    count, failures = 0, []

    def check(response, title, expected):
        nonlocal count
        count += 1
        if any(response.contains(chat.data[owner].secret) for owner in OWNERS):
            failures.append(f"{title}: {response.status} with data of the owner")
        # Where other replicas write too, what this one does not know may still arrive: 503 stands for 404.
        if expected is not None and 404 in expected and chat.storage.is_shared:
            expected = (*expected, 503)
        if expected is not None and response.status not in expected:
            failures.append(f"{title}: {response.status} instead of {expected}: {response.body[:100]}")

    assert min(map(len, stored_before)) >= 6, "the owners have too few data"
    yield check
    assert not failures, "\n".join(failures)
    assert count > 20, "too few responses were checked"
    assert chat.storage.snapshot([chat.users[owner] for owner in OWNERS]) == stored_before


def other_user_statuses(rule):
    """Return the statuses of a route for an authenticated user who does not own the data."""
    return (404,) if rule.by_id else rule.statuses


def unauthenticated_statuses(rule, *, guests):
    """Return the statuses of a route without valid credentials.

    With ``guests``, a request without credentials gets a new guest; one with forged credentials may be refused.
    """
    if rule.access is Access.PUBLIC:
        return rule.statuses
    return other_user_statuses(rule) + UNAUTHENTICATED if guests else UNAUTHENTICATED


async def test_another_user_who_knows_every_id_gets_no_data(chat, check_isolated):
    for route, rule in chat.routes.items():
        response = await chat.request_route(route, chat.identity.authenticated("bela"), chat.data["ana"])
        check_isolated(response, f"bela, {route}", other_user_statuses(rule))


async def test_ids_of_another_user_in_a_request_to_an_own_conversation_give_no_access(chat, check_isolated):
    bela, carla = chat.identity.authenticated("bela"), chat.identity.authenticated("carla")
    ana, own = chat.data["ana"].ids, chat.data["carla"].ids
    one, library = f"/conversations/{own['conversation']}", f"/collections/{own['collection_id']}/documents"
    for method, path, body, expected in (
        ("GET", f"{one}/messages?before={ana['answer']}", None, (200,)),
        ("GET", f"{one}/events?after={ana['answer']}", None, (200,)),
        ("GET", f"{one}/images/{ana['image']}", None, (404,)),
        ("GET", f"{one}/documents/{ana['document']}", None, (404,)),
        ("GET", f"{one}/documents/{ana['document']}/file", None, (404,)),
        ("GET", f"{library}/{ana['library_document_id']}/file", None, (404,)),
        ("PATCH", one, {"branch": ana["answer"]}, (404,)),
        ("PATCH", one, {"folder": ana["folder_id"]}, (404,)),
        ("PATCH", one, {"collection": ana["collection_id"]}, (404,)),
        ("PATCH", f"/folders/{own['folder_id']}", {"collection": ana["collection_id"]}, (404,)),
        ("POST", "/folders", {"name": "x", "collection": ana["collection_id"]}, (404,)),
        ("GET", f"{library}/{ana['library_document_id']}", None, (404,)),
        ("DELETE", f"{library}/{ana['library_document_id']}", None, (404,)),
        ("GET", f"/collections/{ana['collection_id']}/documents/{own['library_document_id']}", None, (404,)),
        ("GET", f"/conversations?folder={ana['folder_id']}", None, (200,)),
        ("POST", f"{one}/answers", {"question": ana["question"], "model": "gemma"}, (404,)),
        ("POST", f"{one}/continuations", {"message": ana["answer"], "model": "gemma"}, (404, 409)),
        ("POST", f"{one}/turns", {"text": "Hi", "model": "gemma", "follows": ana["answer"]}, (404,)),
        ("POST", f"{one}/turns", {"text": "Hi", "model": "gemma", "images": [{"id": ana["image"]}]}, (409,)),
        ("POST", f"{one}/turns", {"text": "Hi", "model": "gemma", "documents": [{"id": ana["document"]}]}, (409,)),
        ("PUT", f"{one}/messages/{ana['answer']}/feedback", {"feedback": "up"}, (404,)),
        ("GET", f"/conversations/{ana['conversation']}/images/{own['image']}", None, (404,)),
        ("GET", f"/conversations/{ana['conversation']}/documents/{own['document']}", None, (404,)),
        ("PUT", f"/conversations/{ana['conversation']}/messages/{own['answer']}/feedback", {"feedback": "up"}, (404,)),
        ("GET", f"/conversations?cursor={ana['cursor']}", None, (200,)),
        ("GET", f"/search?q=quince&cursor={ana['cursor']}", None, (200,)),
        ("GET", f"/state?conversation={ana['conversation']}", None, (200,)),
    ):
        for caller in (bela, carla):
            statuses = expected if caller is carla else None  # bela does not own that conversation either
            response = await chat.request(method, path, caller, body)
            check_isolated(response, f"{caller.name}, {method} {path}", statuses)


@pytest.mark.parametrize("temporary", [False, True])
async def test_answer_in_progress_is_private(chat, temporary):
    carla, bela = chat.identity.authenticated("carla"), chat.identity.authenticated("bela")
    secret = chat.data["carla"].secret
    chat.model.script.append(Reply(pieces=[f"Once {secret}"], ending="stall"))
    question = {"text": f"Tell {secret}", "model": "gemma", "temporary": temporary}
    headers = SAME_ORIGIN | dict(carla.headers)
    async with chat.http.post(f"{chat.url}/conversations", json=question, headers=headers) as stream:
        received = events(stream)
        conversation = (await anext(received))["started"]["conversation"]["id"]
        while "Once" not in json.dumps(await anext(received)):
            pass
        for method, path in (
            *(("GET", f"/conversations/{conversation}/{name}") for name in ("events", "messages")),
            *(("POST", f"/export/{conversation}.{suffix}") for suffix in ("json", "md")),
            *(("POST", f"/conversations/{conversation}/{name}") for name in ("stop", "turns", "restore")),
            ("DELETE", f"/conversations/{conversation}"),
        ):
            body = {"text": "Hello", "model": "gemma"} if path.endswith("/turns") else {}
            body = body if method == "POST" else None
            response = await chat.request(method, path, bela, body)
            assert (response.status, response.contains(secret)) == (404, False), (method, path)
        response = await chat.request("GET", f"/state?conversation={conversation}", bela)
        assert (response.status, response.contains(secret)) == (200, False)
        assert (await chat.request("POST", f"/conversations/{conversation}/stop", carla, {})).status == 200
        remaining = [event async for event in received]
    assert remaining[-1] == {"end": True}
    assert "stopped" in json.dumps(remaining)


async def test_share_link_shows_its_copy_to_everyone_who_has_it_and_to_no_one_once_it_ended(chat):
    carla, data = chat.identity.authenticated("carla"), chat.data["carla"]
    made = await chat.request("POST", f"/conversations/{data.ids['conversation']}/shares", carla, {"days": 1})
    new = json.loads(made.body)
    path = f"/{new['path']}"
    unknown = f"/shared/{'x' * 43}"
    is_behind_iap = chat.identity.settings["identity"] == "iap"
    for caller in (carla, chat.identity.authenticated("bela"), Caller("unauthenticated")):
        is_refused = is_behind_iap and caller.name == "unauthenticated"
        for address in (path, f"{path}/images/{data.ids['image']}"):
            response = await chat.request("GET", address, caller)
            assert response.status == (401 if is_refused else 200), (caller, address)
            assert response.contains(data.secret) is not is_refused
        page = await chat.request("GET", path, caller)
        private = ("system prompt", "persona", "name", "instructions", "document", "collection", "folder")
        assert not any(page.contains(f"{word} quince") for word in private)
        assert "set-cookie" not in page.head.lower()
    revoked = f"/shares/{new['share']['id']}"
    assert (await chat.request("DELETE", revoked, chat.identity.authenticated("bela"))).status == 404
    assert (await chat.request("DELETE", revoked, carla)).status == 200
    ended, never = [await chat.request("GET", address, carla) for address in (path, unknown)]
    assert (ended.status, ended.body) == (never.status, never.body)
    assert ended.status == 404
    assert (await chat.request("GET", f"{path}/images/{data.ids['image']}", carla)).status == 404


async def check_all_routes(chat, caller, check_isolated, *, owner="ana", part=slice(None)):
    """Call every route, or a part of them, with invalid credentials and the ids of the owner."""
    for route, rule in list(chat.routes.items())[part]:
        statuses = unauthenticated_statuses(rule, guests=chat.identity.guests)
        response = await chat.request_route(route, caller, chat.data[owner])
        check_isolated(response, f"{caller.name}, {route}", statuses)


async def test_unauthenticated_request_gets_no_data(chat, check_isolated):
    await check_all_routes(chat, Caller("unauthenticated"), check_isolated)


@pytest.mark.parametrize("parts", [6, pytest.param(1, marks=pytest.mark.long)])
async def test_forged_or_revoked_credentials_give_no_access(chat, check_isolated, parts):
    # Of 6 parts of the routes, each caller tries one. There are 15 to 30 callers, so that two to five try each route;
    # `make long` tries every pair.
    for number, caller in enumerate(chat.identity.forged("ana")):
        await check_all_routes(chat, caller, check_isolated, part=slice(number % parts, None, parts))
    for caller in chat.signed_out:
        await check_all_routes(chat, caller, check_isolated, owner="dana")


async def test_cross_site_request_changes_nothing(chat, check_isolated):
    for route, rule in chat.routes.items():
        if rule.access is Access.WRITE:
            for site in ("cross-site", "same-site", "none"):
                headers = dict(chat.identity.authenticated("ana").headers) | {"sec-fetch-site": site}
                response = await chat.request_route(route, Caller("ana", headers), chat.data["ana"])
                check_isolated(response, f"ana from a {site} page, {route}", (403,))


async def test_owner_gets_a_response_with_data_on_every_route(chat):
    # In the end they are deleted: Erik's, whom no other test needs.
    data, failures = chat.data["erik"], []
    for route, rule in chat.routes.items():
        response = await chat.request_route(route, chat.identity.authenticated("erik"), data)
        if response.status not in rule.statuses:
            failures.append(f"{route}: {response.status} instead of {rule.statuses}: {response.body[:200]}")
        if rule.returns_data and not response.contains(data.secret):
            failures.append(f"{route} returns no data of the owner: {response.body[:200]}")
    assert not failures, "\n".join(failures)
