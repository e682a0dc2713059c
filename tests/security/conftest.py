"""A chat for each identity mode, with the data of several users."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from unittest import mock

import aiohttp
import pytest
import pytest_asyncio

from chatapp.app import create_app
from chatapp.config.settings import Settings
from chatapp.conversations import catch_up
from chatapp.limits import sign_in
from chatapp.models import ModelState
from tests.fakes.openai_server import FakeOpenAIServer
from tests.firestore_emulator import firestore_emulator  # noqa: F401  # a fixture
from tests.security.authorization_matrix import FILE_ROUTES, MATRIX, Rule, open_routes
from tests.security.http_client import Caller, Response, address, request
from tests.security.identities import IDENTITY_MODES, IdentityMode
from tests.security.user_data import FirestoreStorage, SQLiteStorage, UserData, create_user_data
from tests.serving import NO_LIMITS, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

    from chatapp.store import Store


@contextlib.contextmanager
def _many_failing_requests() -> Iterator[None]:
    """Lift the limit of failing sign-ins, and wait shortly for other replicas: both have tests of their own.

    Every route is tried by many callers with ids that do not exist for them. At 2 to 5 s a request, these tests took
    eight minutes on Firestore.
    """
    with (
        mock.patch.object(sign_in, "FAILURES_PER_NETWORK", 10**6),
        mock.patch.object(sign_in, "FAILURES_IN_TOTAL", 10**6),
        mock.patch.object(catch_up, "SEEN_S", 0.2),
        mock.patch.object(catch_up, "EXISTS_S", 0.1),
    ):
        yield


@dataclass
class SharedChat:
    """A running chat with several users.

    Attributes:
        users: ids of the users by name.
        data: their data by name.
        signed_out: callers with the revoked credentials of dana.
        routes: the routes of the app with their rules.
    """

    app: FastAPI
    url: str
    http: aiohttp.ClientSession
    identity: IdentityMode
    model: FakeOpenAIServer
    storage: SQLiteStorage | FirestoreStorage
    users: dict[str, str]
    data: dict[str, UserData]
    signed_out: list[Caller]
    routes: dict[tuple[str, str], Rule]

    async def request_route(self, route: tuple[str, str], caller: Caller, data: UserData) -> Response:
        """Send the request of the authorization matrix, with the ids of a user."""
        return await self.request(route[0], address(*route, data), caller, data.fill(MATRIX[route].body))

    async def request(self, method: str, path: str, caller: Caller, body: object = None) -> Response:
        """Send a request."""
        return await request(self.http, method, self.url + path, caller, body)


NAMES = ("ana", "bela", "carla", "dana", "erik")
"""Ana's and Dana's data stay as they are; Erik's are deleted, by one test."""


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        *(pytest.param((name, SQLiteStorage), id=name) for name in IDENTITY_MODES),
        pytest.param(("anonymous", FirestoreStorage), id="anonymous, Firestore"),
    ],
)
async def chat(request, tmp_path_factory):
    name, kind = request.param
    if kind is FirestoreStorage:
        request.getfixturevalue("firestore_emulator")
    folder = tmp_path_factory.mktemp("data")
    storage = FirestoreStorage() if kind is FirestoreStorage else SQLiteStorage(folder)
    identity = IDENTITY_MODES[name]()
    users = {user: identity.user(user) for user in NAMES}
    data = await _create_data(await storage.open(), users)
    with _many_failing_requests():
        async with FakeOpenAIServer(answer=["Hello", " from", " Gemma", "."]) as model, identity.provider():
            settings = Settings(
                _env_file=None,
                **NO_LIMITS,
                **identity.settings,
                **storage.settings,
                data_dir=folder,
                gemma_url=model.url,
                gemma_images=True,
                embedded_model=False,
                titles="first-words",
                share_links="anyone",
                installable=True,
                shutdown_seconds=0,
            )
            app = await create_app(settings)
            jar = aiohttp.DummyCookieJar()  # each request has the credentials of its caller only
            async with serving(app) as url, aiohttp.ClientSession(cookie_jar=jar) as http:
                existing = open_routes(app)  # below in the order of the matrix: deletion last
                routes = {route: rule for route, rule in MATRIX.items() if route in existing}
                if kind is FirestoreStorage:
                    routes |= {
                        route: replace(MATRIX[route], statuses=(404,), returns_data=False) for route in FILE_ROUTES
                    }
                shared = SharedChat(app, url, http, identity, model, storage, users, data, [], routes)
                shared.signed_out += await identity.signed_out("dana", shared.request)
                while app.state.catalog.statuses()["gemma"].state is not ModelState.READY:
                    await shared.request("GET", "/models", identity.authenticated("ana"))
                yield shared


async def _create_data(store: Store, users: dict[str, str]) -> dict[str, UserData]:
    data = {name: await create_user_data(user, store) for name, user in users.items()}
    await store.aclose()
    return data
