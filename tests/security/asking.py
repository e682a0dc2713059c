"""Asking at a door over HTTP, as anybody, with what is somebody's."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.security.doors import TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

    from tests.security.owned import Owned

OWN_PAGE = {"sec-fetch-site": "same-origin"}
SECONDS = 60  # every address answers at once; a busy machine may need longer
ANY = {"requested_version": "0", "path": "js/main.js", "size": "192", "ext": "ts"}


@dataclass(frozen=True)
class Caller:
    """Somebody who asks, known by the headers of the request.

    Attributes:
        name: for a person who reads a failure.
    """

    name: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Reply:
    """What came back, as text in which anything can be looked for."""

    status: int
    head: str
    body: bytes

    def holds(self, secret: str) -> bool:
        """Return whether a secret is anywhere in it."""
        return secret.encode() in self.body or secret in self.head


def address(method: str, path: str, owned: Owned) -> str:
    """Return the address of a door, with what somebody owns in it."""
    filled = re.sub(r"{(\w+)(?::\w+)?}", lambda found: _named(found[1], owned), path)
    query = owned.filled(TABLE[method, path].query)
    return f"{filled}?{query}" if query else filled


def _named(name: str, owned: Owned) -> str:
    return quote(owned.ids.get(name) or ANY.get(name) or "x", safe="/")


async def ask(http: aiohttp.ClientSession, url: str, door: tuple[str, str], caller: Caller, owned: Owned) -> Reply:
    """Ask at a door with what somebody owns, and read the whole answer."""
    body = owned.filled(TABLE[door].body)
    return await request(http, door[0], url + address(*door, owned), caller, body)


async def request(http: aiohttp.ClientSession, method: str, address: str, caller: Caller, body: object = None) -> Reply:
    """Send a request as somebody, and read the whole answer."""
    headers = OWN_PAGE | dict(caller.headers)
    asked = http.request(
        method, address, headers=headers, allow_redirects=False, **({} if body is None else {"json": body})
    )
    async with asyncio.timeout(SECONDS), asked as response:
        return Reply(response.status, str(response.raw_headers), await response.read())
