"""Serves the authentication of a chat, without the rest; a provider that can lie; and browsers."""

import asyncio
import contextlib
from urllib.parse import quote

import aiohttp
import pytest
from fastapi import FastAPI, Request
from pydantic import SecretStr

from chatapp.app import _add_middleware
from chatapp.auth import current_user_id
from chatapp.config.settings import Settings
from chatapp.http.auth_setup import AuthSetup
from chatapp.store.sqlite.store import SQLiteStore
from tests.fakes.oidc_provider import CLIENT, SECRET, FakeProvider
from tests.page_client import SAME_ORIGIN
from tests.serving import serving

SESSION_SECRET = "0123456789abcdef"
COOKIE = "chat_session"


@pytest.fixture
async def provider():
    async with FakeProvider() as provider:
        yield provider


@pytest.fixture
def google(provider):
    """What makes a chat one at which people sign in."""
    return {
        "identity": "google",
        "oidc_issuer": provider.url,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SecretStr(SECRET),
        "allowed_people": ("ana@example.org",),
        "session_secret": SecretStr(SESSION_SECRET),
    }


@pytest.fixture
def serve_auth(tmp_path, google):
    """Return a context manager that serves the entrance, with a page behind it that says who came in."""

    @contextlib.asynccontextmanager
    async def served(**changes):
        settings = Settings(_env_file=None, **{"data_dir": tmp_path, **google, **changes})
        store = await SQLiteStore.open(tmp_path / "chat.db")
        auth = AuthSetup(settings, store, store)
        app = FastAPI()
        app.state.closing = asyncio.Event()
        auth.add_routes(app, Turns())

        @app.get("/")
        @app.get("/c/{conversation}")
        @app.get("/state")
        async def state(request: Request) -> str:
            return current_user_id(request)

        _add_middleware(app, settings, auth, on_refused=lambda _limit: None)
        try:
            async with serving(app) as url:
                yield url
        finally:
            await auth.aclose()
            await store.aclose()

    return served


@pytest.fixture
async def chat(serve_auth):
    async with serve_auth() as url:
        yield url


class Turns:
    """Nothing is ever being written."""

    def is_busy(self, user, conversation_id):
        return False


class Browser:
    """A browser, which follows no redirect by itself."""

    def __init__(self, http, url):
        self.http = http
        self.url = url

    async def get(self, path, **options):
        """Return what an address shows."""
        url = path if path.startswith("http") else self.url + path
        async with self.http.get(url, allow_redirects=False, **options) as response:
            return Shown(response, await response.text())

    async def open(self, path, headers=None):
        """Return what somebody sees who opens an address, where `get` is what a script is told."""
        return await self.get(path, headers={"accept": "text/html"} | (headers or {}))

    async def post(self, path, **options):
        async with self.http.post(self.url + path, **{"json": {}, **options}) as response:
            return Shown(response, await response.text())

    async def sign_in(self, provider, to="/"):
        """Sign in and return what the callback showed."""
        start = await self.get(f"/sign-in/start?next={quote(to)}")
        return await self.get(provider.agree(start.location))

    async def is_in(self):
        """Return whether the chat knows this browser."""
        shown = await self.get("/state")
        assert shown.status in {200, 401}
        return shown.status == 200

    def cookie(self, name=COOKIE):
        return next((one.value for one in self.http.cookie_jar if one.key == name), None)

    @contextlib.asynccontextmanager
    async def thief(self, name=COOKIE):
        """Another browser, with a copy of this one's cookie."""
        async with browser(self.url, cookies={name: self.cookie(name)}) as other:
            yield other


class Shown:
    def __init__(self, response, text):
        self.status = response.status
        self.text = text
        self.headers = response.headers
        self.location = response.headers.get("location", "")


@contextlib.asynccontextmanager
async def browser(url, **options):
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers=SAME_ORIGIN, **options) as http:
        yield Browser(http, url)
