"""A chat for each way of knowing people, with what three of them have in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import pytest
import pytest_asyncio

from chatapp.app import create_app
from chatapp.config.settings import Settings
from tests.fakes.openai_server import FakeOpenAIServer
from tests.firestore_emulator import firestore_emulator  # noqa: F401  # a fixture
from tests.security.asking import Caller, Reply, ask, request
from tests.security.doors import TABLE, Door, doors
from tests.security.owned import FirestorePlace, Owned, SQLitePlace, owned_by
from tests.security.people import PEOPLE, People
from tests.serving import NO_LIMITS, serving

if TYPE_CHECKING:
    from fastapi import FastAPI

    from chatapp.store import Store


@dataclass
class SharedChat:
    """A running chat that several people use; ana and others have conversations there."""

    app: FastAPI
    url: str
    http: aiohttp.ClientSession
    people: People
    model: FakeOpenAIServer
    place: SQLitePlace | FirestorePlace
    users: dict[str, str]
    owned: dict[str, Owned]
    gone: list[Caller]  # with what dana had before she signed out
    doors: dict[tuple[str, str], Door]

    async def ask(self, door: tuple[str, str], caller: Caller, owned: Owned) -> Reply:
        """Ask at a door with what somebody owns."""
        return await ask(self.http, self.url, door, caller, owned)

    async def request(self, method: str, path: str, caller: Caller, body: object = None) -> Reply:
        """Send any request."""
        return await request(self.http, method, self.url + path, caller, body)


NAMES = ("ana", "bela", "carla", "dana")


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        *(pytest.param((name, SQLitePlace), id=name) for name in PEOPLE),
        pytest.param(("anonymous", FirestorePlace), id="anonymous, Firestore"),
    ],
)
async def chat(request, tmp_path_factory):
    name, kind = request.param
    if kind is FirestorePlace:
        request.getfixturevalue("firestore_emulator")
    folder = tmp_path_factory.mktemp("data")
    place = FirestorePlace() if kind is FirestorePlace else SQLitePlace(folder)
    people = PEOPLE[name]()
    users = {one: people.user(one) for one in NAMES}
    owned = await _filled(await place.open(), users)
    async with FakeOpenAIServer(answer=["Hello", " from", " Gemma", "."]) as model, people.known():
        settings = Settings(
            _env_file=None,
            **NO_LIMITS,
            **people.settings,
            **place.settings,
            data_dir=folder,
            gemma_url=model.url,
            gemma_images=True,
            embedded_model=False,
            titles="first-words",
            shutdown_seconds=0,
        )
        app = await create_app(settings)
        jar = aiohttp.DummyCookieJar()  # who asks is said by each request alone
        async with serving(app) as url, aiohttp.ClientSession(cookie_jar=jar) as http:
            open_doors = doors(app)
            known = {door: classified for door, classified in TABLE.items() if door in open_doors}
            shared = SharedChat(app, url, http, people, model, place, users, owned, [], known)
            shared.gone += await people.gone("dana", shared.request)
            while not model.requests:  # the chat's own, which proves that the model answers
                await shared.request("GET", "/models", people.caller("ana"))
            yield shared


async def _filled(store: Store, users: dict[str, str]) -> dict[str, Owned]:
    owned = {name: await owned_by(user, store) for name, user in users.items()}
    await store.aclose()
    return owned
