"""Nobody reads or changes what is somebody else's, whichever address they ask and whoever they say they are.

Every address of the running app, Gradio's too, is in the table of `tests.security.doors`, and each is asked here: by
its owner, who is answered (or the rest would show nothing), by nobody, by another person who knows all of the owner's
ids, and by those who pretend to be the owner. Afterwards all that the owner has is as it was, byte for byte.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.fakes.openai_server import Reply
from tests.page_client import events
from tests.security.asking import OWN_PAGE, Caller
from tests.security.doors import OWN, TABLE, Kind, closed_doors, doors

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]  # thousands of requests

WHAT_TO_DO = """
These addresses are not classified: {missing}
Each belongs in a table of tests/security/doors.py, as what it is: public() answers anybody, person() a person about
that person, reads() and changes() take an id, with what to ask.
"""


class TestEveryAddress:
    async def test_is_classified(self, chat):
        missing = sorted(doors(chat.app) - TABLE.keys())
        assert not missing, WHAT_TO_DO.format(missing=missing)

    async def test_that_is_classified_is_there(self, chat):
        gone = sorted(OWN.keys() - chat.doors.keys())
        assert not gone, f"These are not addresses of the chat any more, so take them out of doors.py: {gone}"

    async def test_of_gradios_events_has_no_handler_in_python(self, chat):
        apps = [getattr(route, "_base_app", None) for route in chat.app.routes]
        gradio = next(app for app in apps if hasattr(app, "get_blocks"))
        events = gradio.get_blocks().config["dependencies"]
        assert events, "the page has events, so they are looked for in the wrong place"
        handled = [event for event in events if event["backend_fn"]]
        assert not handled, f"A handler in Python runs outside of the API, and nothing here asks it: {handled}"

    async def test_of_gradio_that_the_page_does_not_need_is_not_found(self, chat):
        # Without a session the authentication rejects a request before routes are looked up, with 401 and a sentence of
        # its own; where guests are allowed, the request is a new guest's and gets the 404 too. Gradio answers neither.
        bodies = {404: rb"There is nothing at this address\.", 401: rb"You are signed out\.|Identity-Aware Proxy"}
        closed = closed_doors(chat.app)
        wrong = []
        for method, path in closed:
            for caller, expected in ((chat.people.caller("carla"), {404}), (Caller("no session"), {404, 401})):
                reply = await chat.request(method, re.sub(r"{[^}]*}", "x", path), caller)
                is_ours = method == "HEAD" or re.search(bodies.get(reply.status, b"x^"), reply.body)
                if reply.status not in expected or not is_ours:
                    wrong.append(f"{caller.name} at {method} {path}: {reply.status}, {reply.body[:80]!r}")
        assert not wrong, "\n".join(wrong)
        assert len(closed) > 60, "Gradio has more routes, so they are looked for in the wrong place"


@pytest.fixture
def unchanged(chat):
    """What is ana's and dana's is looked at before and after the test, and is in no reply that the test notes."""
    owners = ("ana", "dana")
    before = [chat.place.kept(chat.users[owner]) for owner in owners]
    replies, wrong = [], []

    def note(reply, what, expected):
        replies.append(reply)
        if any(reply.holds(chat.owned[owner].secret) for owner in owners):
            wrong.append(f"{what}: {reply.status}, and it shows what is the owner's own")
        if expected is not None and reply.status not in expected:
            wrong.append(f"{what}: {reply.status} instead of {expected}: {reply.body[:100]}")

    assert min(map(len, before)) >= 6, "they have too little to lose"
    yield note
    assert not wrong, "\n".join(wrong)
    assert len(replies) > 20, "hardly anything was asked"
    assert [chat.place.kept(chat.users[owner]) for owner in owners] == before


NOBODY = (401, 403)


def expected_of_a_stranger(door):
    """Return the statuses with which a door answers a person who does not own what is asked for."""
    return (404,) if door.by_id else door.owner


def expected_of_nobody(door, *, guests):
    """Return the statuses with which a door answers whom the chat does not know.

    With ``guests``, whoever shows nothing is a guest; who shows what is not true may still be nobody.
    """
    if door.kind is Kind.PUBLIC:
        return door.owner
    return expected_of_a_stranger(door) + NOBODY if guests else NOBODY


async def test_another_person_who_knows_every_id_gets_nothing(chat, unchanged):
    for door, classified in chat.doors.items():
        reply = await chat.ask(door, chat.people.caller("bela"), chat.owned["ana"])
        unchanged(reply, f"bela at {door}", expected_of_a_stranger(classified))


async def test_ids_of_another_person_within_an_own_conversation_lead_nowhere(chat, unchanged):
    bela, carla = chat.people.caller("bela"), chat.people.caller("carla")
    ana, own = chat.owned["ana"].ids, chat.owned["carla"].ids
    one = f"/conversations/{own['conversation']}"
    for method, path, body, expected in (
        ("GET", f"{one}/messages?before={ana['answer']}", None, (200,)),
        ("GET", f"{one}/events?after={ana['answer']}", None, (200,)),
        ("GET", f"{one}/images/{ana['image']}", None, (404,)),
        ("PATCH", one, {"branch": ana["answer"]}, (404,)),
        ("POST", f"{one}/answers", {"question": ana["question"], "model": "gemma"}, (404,)),
        ("POST", f"{one}/continuations", {"message": ana["answer"], "model": "gemma"}, (404, 409)),
        ("POST", f"{one}/turns", {"text": "Hi", "model": "gemma", "follows": ana["answer"]}, (404,)),
        ("PUT", f"{one}/messages/{ana['answer']}/feedback", {"feedback": "up"}, (404,)),
        ("GET", f"/conversations/{ana['conversation']}/images/{own['image']}", None, (404,)),
        ("PUT", f"/conversations/{ana['conversation']}/messages/{own['answer']}/feedback", {"feedback": "up"}, (404,)),
        ("GET", f"/conversations?cursor={ana['cursor']}", None, (200,)),
        ("GET", f"/search?q=quince&cursor={ana['cursor']}", None, (200,)),
        ("GET", f"/state?conversation={ana['conversation']}", None, (200,)),
    ):
        for caller in (bela, carla):
            strict = expected if caller is carla else None  # bela does not own that conversation either
            unchanged(await chat.request(method, path, caller, body), f"{caller.name} at {method} {path}", strict)


@pytest.mark.parametrize("temporary", [False, True])
async def test_an_answer_that_is_being_written_is_its_owners_alone(chat, temporary):
    carla, bela, secret = chat.people.caller("carla"), chat.people.caller("bela"), chat.owned["carla"].secret
    chat.model.script.append(Reply(pieces=[f"Once {secret}"], ending="stall"))
    question = {"text": f"Tell {secret}", "model": "gemma", "temporary": temporary}
    headers = OWN_PAGE | dict(carla.headers)
    async with chat.http.post(f"{chat.url}/conversations", json=question, headers=headers) as stream:
        found = events(stream)
        one = (await anext(found))["started"]["conversation"]["id"]
        while "Once" not in json.dumps(await anext(found)):
            pass
        for method, path in (
            *(("GET", f"/conversations/{one}/{what}") for what in ("events", "messages")),
            *(("GET", f"/export/{one}.{kind}") for kind in ("json", "md")),
            *(("POST", f"/conversations/{one}/{what}") for what in ("stop", "turns", "restore")),
            ("DELETE", f"/conversations/{one}"),
        ):
            body = None if method == "GET" else {"text": "Hello", "model": "gemma"}
            reply = await chat.request(method, path, bela, body)
            assert (reply.status, reply.holds(secret)) == (404, False), (method, path)
        shown = await chat.request("GET", f"/state?conversation={one}", bela)
        assert (shown.status, shown.holds(secret)) == (200, False)
        assert (await chat.request("POST", f"/conversations/{one}/stop", carla, {})).status == 200
        last = [event async for event in found]
    assert last[-1] == {"end": True}
    assert "stopped" in json.dumps(last)


async def asks_everywhere(chat, caller, note, *, owner="ana"):
    for door, classified in chat.doors.items():
        expected = expected_of_nobody(classified, guests=chat.people.guests)
        note(await chat.ask(door, caller, chat.owned[owner]), f"{caller.name} at {door}", expected)


async def test_nobody_gets_nothing(chat, unchanged):
    await asks_everywhere(chat, Caller("nobody"), unchanged)


async def test_whoever_only_pretends_gets_nothing(chat, unchanged):
    for caller in chat.people.pretending("ana"):
        await asks_everywhere(chat, caller, unchanged)
    for caller in chat.gone:
        await asks_everywhere(chat, caller, unchanged, owner="dana")


async def test_a_page_of_another_site_changes_nothing_in_its_visitors_name(chat, unchanged):
    for door, classified in chat.doors.items():
        if classified.kind is Kind.CHANGES:
            for said in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "none"}):
                visitor = Caller("ana on another page", dict(chat.people.caller("ana").headers) | said)
                unchanged(await chat.ask(door, visitor, chat.owned["ana"]), f"{visitor.name} at {door}", (403,))


async def test_the_owner_is_answered_everywhere_or_the_others_would_show_nothing(chat):
    owned, wrong = chat.owned["carla"], []
    for door, classified in chat.doors.items():
        reply = await chat.ask(door, chat.people.caller("carla"), owned)
        if reply.status not in classified.owner:
            wrong.append(f"{door}: {reply.status} instead of {classified.owner}: {reply.body[:200]}")
        if classified.shows and not reply.holds(owned.secret):
            wrong.append(f"{door} does not show what is the owner's own: {reply.body[:200]}")
    assert not wrong, "\n".join(wrong)
