"""A load balancer: each request goes to any of the replicas that serve, or a browser's all to one of them."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp import web

from tests.serving import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.fault_parts.processes import Chat

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
MARK = {"x-from": "balancer"}  # its own responses
LARGEST_BODY = 1 << 25


class Balancer:
    """Forwards requests and streams their responses; an async context manager.

    Args:
        replicas: may change meanwhile.
        seed: of the choices.
        has_affinity: a browser stays at one replica as long as that serves, as in the stack.
    """

    def __init__(self, replicas: Sequence[Chat], seed: int, *, has_affinity: bool = False) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._replicas = replicas
        self._chance = random.Random(seed)
        self._has_affinity = has_affinity
        self._kept: dict[str, Chat] = {}  # by cookie

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._http.close()

    def _chosen(self, request: web.Request, serving: Sequence[Chat]) -> Chat:
        browser = request.headers.get("Cookie", "")
        if not self._has_affinity or self._kept.get(browser) not in serving:
            self._kept[browser] = self._chance.choice(serving)
        return self._kept[browser]

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        serving = [one for one in self._replicas if one.serving.is_set()]
        if not serving:
            return web.Response(status=503, text="no replica", headers=MARK)
        url = f"{self._chosen(request, serving).url}{request.path_qs}"
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        body = await request.read()
        response: web.StreamResponse | None = None
        try:
            async with self._http.request(
                request.method, url, headers=headers, data=body, allow_redirects=False
            ) as upstream:
                response = web.StreamResponse(status=upstream.status)
                for name, value in upstream.headers.items():
                    if name.lower() not in HOP_BY_HOP:
                        response.headers.add(name, value)
                await response.prepare(request)
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            if response is None:
                return web.Response(status=502, text="the replica is gone", headers=MARK)
            with suppress(AttributeError):
                request.transport.close()  # type: ignore[union-attr]  # a stream that breaks off
            return response
