"""Clients of google-genai: on Vertex AI with Google Cloud credentials, or on the Gemini API with a key.

google.genai is imported only for a chat with Gemini: with a client it costs about 0.9 s and 37 MB (0.5 s and 20 MB for
the import alone; measured on loaded shared cores). Such a chat imports it before it serves (`import_sdk`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.models.gemini.genai_compat import new_session

if TYPE_CHECKING:
    import aiohttp
    from google import genai
    from google.auth.credentials import Credentials


def import_sdk() -> None:
    """Import google.genai, which holds up every turn of a chat that serves already, even from another thread."""
    from google.genai import errors, types  # noqa: F401, PLC0415  # slow and large, see the top


class GeminiConnection:
    """The client of each event loop, made on first use.

    Args:
        project: Google Cloud project; uses Application Default Credentials unless ``credentials`` are given. "": the
            Gemini API.
        location: Vertex AI location.
        api_key: key of the Gemini API, not used with ``project``.
        base_url: another address of the API, such as a proxy's.
        credentials: instead of Application Default Credentials.
        connect_seconds: timeout of a connection.
    """

    def __init__(
        self,
        *,
        project: str,
        location: str,
        api_key: str,
        base_url: str | None,
        credentials: Credentials | None,
        connect_seconds: float,
    ) -> None:
        self._project, self._location, self._api_key = project, location, api_key
        self._base_url = base_url or None
        self._credentials = credentials
        self._connect_seconds = connect_seconds
        self._opened: dict[asyncio.AbstractEventLoop, asyncio.Task[_Opened]] = {}

    async def client(self) -> genai.Client:
        """Return this loop's client; one that could not be made is tried again."""
        loop = asyncio.get_running_loop()
        opening = self._opened.get(loop)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception())):
            opening = self._opened[loop] = loop.create_task(self._open())
        return (await asyncio.shield(opening)).client

    async def aclose(self) -> None:
        """Close this loop's client; running requests end with an error."""
        if opening := self._opened.pop(asyncio.get_running_loop(), None):
            with suppress(Exception):  # a client that could not be made has nothing to close
                await (await opening).aclose()

    async def _open(self) -> _Opened:
        session = new_session(self._connect_seconds)
        try:
            return _Opened(await asyncio.to_thread(self._make_client, session), session)
        except BaseException:
            await session.close()
            raise

    def _make_client(self, session: aiohttp.ClientSession) -> genai.Client:
        from google import genai  # noqa: PLC0415  # slow and large, see the top
        from google.genai import types  # noqa: PLC0415  # as above

        options = types.HttpOptions(
            base_url=self._base_url,
            aiohttp_client=session,
            # One attempt, explicitly: without options the SDK retries once, 1 to 10 s after a failed connection
            # (google-genai 3.4, _api_client.py, implicit_retry).
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        if not self._project:
            return genai.Client(vertexai=False, api_key=self._api_key, http_options=options)
        return genai.Client(
            vertexai=True,
            project=self._project,
            location=self._location,
            credentials=self._credentials,
            http_options=options,
        )


@dataclass(frozen=True, slots=True)
class _Opened:
    client: genai.Client
    session: aiohttp.ClientSession

    async def aclose(self) -> None:
        await self.client.aio.aclose()
        self.client.close()
        await self.session.close()
