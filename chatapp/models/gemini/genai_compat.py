"""What google-genai does not do with the aiohttp session that it is given (written for google-genai 3.4.0).

Two workarounds, each with its condition for removal; ``tests/chatapp/models/test_compat.py`` fails when google-genai
changes in a way that matters to them.

`new_session`
    Limits the time to connect (name, TCP and TLS). google-genai passes aiohttp one total time or none, which must not
    limit an answer. Upstream: https://github.com/googleapis/python-genai/issues/1899. Remove when ``HttpOptions`` takes
    a connect timeout of its own.
`closing_response`
    Closes the request of a stream that is not read to its end, so that Gemini stops generating. Closing the SDK's
    generator does not: its HttpResponse and the generator over it refer to each other, and wait for the garbage
    collector (google-genai's ``_api_client.py``). Upstream: https://github.com/googleapis/python-genai/issues/2425.
    Remove when closing the generator closes the response.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp.connector import Connection

_responses: ContextVar[list[aiohttp.ClientResponse]] = ContextVar("responses")


def new_session(connect_seconds: float) -> aiohttp.ClientSession:
    """Return a session for ``HttpOptions.aiohttp_client``; the caller closes it."""
    return aiohttp.ClientSession(
        connector=_Connector(connect_seconds), middlewares=(_remember_first_response,), trust_env=True
    )


@contextmanager
def closing_response() -> Iterator[None]:
    """Close the response to the first request in this context; one that was read to its end keeps its connection."""
    responses: list[aiohttp.ClientResponse] = []
    _responses.set(responses)
    try:
        yield
    finally:
        for response in responses:
            response.close()


class _Connector(aiohttp.TCPConnector):
    def __init__(self, seconds: float) -> None:
        super().__init__(limit=0)
        self._seconds = seconds

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:  # noqa: ANN401  # aiohttp's, passed on unchanged
        async with asyncio.timeout(self._seconds):  # aiohttp turns it into a ConnectionTimeoutError
            return await super().connect(*args, **kwargs)


async def _remember_first_response(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    response = await handler(request)
    responses = _responses.get([])
    if not responses:  # a later request of the same task is not the stream's
        responses.append(response)
    return response
