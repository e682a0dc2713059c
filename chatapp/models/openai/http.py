"""HTTP to an OpenAI-compatible server: three requests, and every failure as a `ServerProblem`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from yarl import URL

from chatapp.models.openai.refusals import refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.models.openai.errors import Problems

# vLLM (uvicorn) and llama.cpp close an idle connection after 5 s; one that is given up earlier is never used too late.
_KEEP_ALIVE_SECONDS: Final = 4.0
_MAX_BODY_BYTES: Final = 1 << 20  # of an answer that is no stream


class ChatServer:
    """The connections to one server, opened on first use and kept alive.

    Args:
        url: see `server_address`.
        api_key: sent as a bearer token; no header at all when it is empty.
        connect_seconds: limit for opening a connection, name lookup and TLS included.
        problems: makes the sentences.
    """

    def __init__(self, url: str, api_key: str, *, connect_seconds: float, problems: Problems) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds)
        self._problems = problems
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._stream_headers: dict[str, str] = {}

    async def list_models(self) -> list[dict[str, Any]]:
        """Return the entries of ``/v1/models``, as the server wrote them.

        Raises:
            ServerProblem: there was no such answer.
        """
        response = await self._request("GET", "/v1/models")
        # llama.cpp announces keep-alive and yet closes the connection after a stream, under whoever asks next on it.
        self._stream_headers = {"Connection": "close"} if response.headers.get("Server") == "llama.cpp" else {}
        body = await self._json(response)
        entries = body.get("data")
        if not isinstance(entries, list):
            raise self._problems.not_compatible("no list of models")
        named = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
        # llama.cpp says in a second list, in Ollama's shape, what a model can do.
        more = body.get("models")
        for entry, known in zip(named, more if isinstance(more, list) else [], strict=False):
            if isinstance(known, dict) and known.get("name") == entry["id"]:
                entry.setdefault("capabilities", known.get("capabilities"))
        return named

    async def complete(self, question: Mapping[str, Any]) -> None:
        """Ask ``/v1/chat/completions`` without streaming; what it says does not matter here.

        Raises:
            ServerProblem: no completion came back.
        """
        body = await self._json(await self._request("POST", "/v1/chat/completions", question), question)
        if not body.get("choices"):
            raise self._problems.not_compatible("no choices")

    async def stream(self, question: Mapping[str, Any], *, context_tokens: int | None) -> aiohttp.ClientResponse:
        """Ask ``/v1/chat/completions`` for a stream, and return the response at its first byte.

        The caller closes it. ``context_tokens`` is for the sentence when the prompt does not fit.

        Raises:
            ServerProblem: no stream came back.
        """
        payload = {**question, "stream": True}
        response = await self._request("POST", "/v1/chat/completions", payload, headers=self._stream_headers)
        if response.status != 200 or response.content_type in {"application/json", "text/html"}:
            await self._json(response, question, context_tokens=context_tokens)
            raise self._problems.not_compatible("JSON instead of a stream")
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _request(
        self,
        method: str,
        path: str,
        payload: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        try:
            # A redirect is not followed: the conversation and the key would go where nobody has sent them.
            return await self._open_session().request(
                method, self._url + path, json=payload, headers=headers, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError) as error:
            raise self._problems.unreachable(error) from None

    async def _json(
        self,
        response: aiohttp.ClientResponse,
        question: Mapping[str, Any] | None = None,
        *,
        context_tokens: int | None = None,
    ) -> dict[str, Any]:
        """Return the JSON object of a successful answer, and turn every other answer into its problem."""
        try:
            body = _parsed(await _read(response))
        finally:
            response.close()
        error = _error(body)
        if response.status == 200 and isinstance(body, dict) and error is None:
            return body
        if response.status == 200 and error is None:
            raise self._problems.not_compatible(f"content_type={response.content_type}")
        status, known = response.status, error or {}
        if status == 200:  # an error all the same: its code is the status it should have had
            code = known.get("code")
            status = code if isinstance(code, int) and 400 <= code < 600 else 500
        model = (question or {}).get("model", "")
        raise refused(self._problems, status, known, response.headers, model=model, context_tokens=context_tokens)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise self._problems.closed()
        if self._session is None:
            # trust_env stays off: a proxy from the environment would see the conversation. No limit on connections: an
            # answer holds one for as long as it lasts, and it is the server that should queue.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=self._headers,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


def server_address(url: str, *, setting: str) -> str:
    """Return the address without a trailing slash and ``/v1``, both of which people write or leave out.

    Raises:
        ValueError: it is no address of a server, or holds a password, which would end up in sentences and logs.
    """
    address = url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    try:
        parsed = URL(address)
    except ValueError:
        parsed = URL()
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query_string or parsed.fragment:
        raise ValueError(f"Check {setting}: it must be an address like http://localhost:8000/v1.")
    if parsed.user or parsed.password:
        raise ValueError(f"Check {setting}: it must not hold a user or a password; there is a setting for the key.")
    return address


def bearer_key(key: str, *, setting: str) -> str:
    """Return the key without the white space around it that files of secrets end with.

    Raises:
        ValueError: it cannot be sent in a header.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"Check {setting}: the key holds characters that no key has.")
    return key


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body up to `_MAX_BODY_BYTES`, or what came before the connection was lost."""
    body = b""
    try:
        while len(body) < _MAX_BODY_BYTES and (chunk := await response.content.readany()):
            body += chunk
    except (aiohttp.ClientError, OSError):
        pass  # the status is known, and the body only refines it
    return body


def _error(body: object) -> dict[str, Any] | None:
    """Return the error in any of its shapes: an object, only a string (vLLM's 401), the body itself (older vLLM)."""
    if not isinstance(body, dict):
        return None
    error = body.get("error") or (body if body.get("object") == "error" else None)
    return error if isinstance(error, dict) or error is None else {"message": str(error)}


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # not JSON, or made to break parsers
        return None
