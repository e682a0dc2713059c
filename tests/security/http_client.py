"""HTTP requests to a route as any caller, with the ids of any user."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.page_client import SAME_ORIGIN
from tests.security.authorization_matrix import MATRIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

    from tests.security.user_data import UserData

TIMEOUT_SECONDS = 60  # every route responds at once; a busy machine may need longer
PATH_PARAMETERS = {"requested_version": "0", "path": "js/main.js", "size": "192", "ext": "ts"}


@dataclass(frozen=True)
class Caller:
    """A client, identified by its request headers.

    Attributes:
        name: for the failure message.
    """

    name: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Response:
    """A response that was read to its end."""

    status: int
    head: str
    body: bytes

    def contains(self, secret: str) -> bool:
        """Return whether a text is in the headers or the body."""
        return secret.encode() in self.body or secret in self.head


def address(method: str, path: str, data: UserData) -> str:
    """Return the path and query of a route, filled with the ids of a user."""
    filled = re.sub(r"{(\w+)(?::\w+)?}", lambda match: _path_parameter(match[1], data), path)
    query = data.fill(MATRIX[method, path].query)
    return f"{filled}?{query}" if query else filled


def _path_parameter(name: str, data: UserData) -> str:
    return quote(data.ids.get(name) or PATH_PARAMETERS.get(name) or "x", safe="/")


async def request(
    http: aiohttp.ClientSession, method: str, address: str, caller: Caller, body: object = None
) -> Response:
    """Send a request and read the whole response."""
    headers = SAME_ORIGIN | dict(caller.headers)
    if isinstance(body, bytes):
        headers["content-type"] = "image/png" if address.endswith("/images") else "application/octet-stream"
    content = {} if body is None else {"data" if isinstance(body, bytes) else "json": body}
    sending = http.request(method, address, headers=headers, allow_redirects=False, **content)
    async with asyncio.timeout(TIMEOUT_SECONDS), sending as response:
        return Response(response.status, str(response.raw_headers), await response.read())
