"""The HTTP client of an OpenAI-compatible server: three requests, and every failure as a `Failure`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from yarl import URL

from chatapp.models.openai.error_response import error_of_response, status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.models.openai.errors import ServerErrors

# vLLM (uvicorn) and llama.cpp close an idle connection after 5 s: close it first, so that none is used too late.
_KEEP_ALIVE_SECONDS: Final = 4.0
_MAX_BODY_BYTES: Final = 1 << 20  # of a response that is no stream


class ApiClient:
    """A client with kept-alive connections, the first of which is opened on first use.

    Args:
        url: see `server_address`.
        api_key: sent as a bearer token; no header if empty.
        connect_seconds: timeout for opening a connection, with DNS and TLS.
        errors: makes the errors of this server.
    """

    def __init__(self, url: str, api_key: str, *, connect_seconds: float, errors: ServerErrors) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds)
        self._errors = errors
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._stream_headers: dict[str, str] = {}

    async def list_models(self) -> list[dict[str, Any]]:
        """Return the entries of ``/v1/models``.

        Raises:
            Failure: there was no such response.
        """
        response = await self._request("GET", "/v1/models")
        # llama.cpp announces keep-alive, yet closes the connection after a stream, under the next request on it.
        self._stream_headers = {"Connection": "close"} if response.headers.get("Server") == "llama.cpp" else {}
        body = await self._json(response)
        entries = body.get("data")
        if not isinstance(entries, list):
            raise self._errors.not_compatible("no list of models")
        named = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
        # llama.cpp lists the capabilities in a second list, in Ollama's format.
        capabilities = body.get("models")
        for entry, second in zip(named, capabilities if isinstance(capabilities, list) else [], strict=False):
            if isinstance(second, dict) and second.get("name") == entry["id"]:
                entry.setdefault("capabilities", second.get("capabilities"))
        return named

    async def complete(self, request: Mapping[str, Any]) -> None:
        """Post to ``/v1/chat/completions`` without streaming, and drop the text.

        Raises:
            Failure: no completion came back.
        """
        body = await self._json(await self._request("POST", "/v1/chat/completions", request), request)
        if not body.get("choices"):
            raise self._errors.not_compatible("no choices")

    async def stream(self, request: Mapping[str, Any], *, context_tokens: int | None) -> aiohttp.ClientResponse:
        """Post to ``/v1/chat/completions`` with streaming, and return the response once its headers are there.

        The caller closes it. ``context_tokens`` is for the error of a prompt that does not fit.

        Raises:
            Failure: no stream came back.
        """
        payload = {**request, "stream": True}
        response = await self._request("POST", "/v1/chat/completions", payload, headers=self._stream_headers)
        if response.status != 200 or response.content_type in {"application/json", "text/html"}:
            await self._json(response, request, context_tokens=context_tokens)
            raise self._errors.not_compatible("JSON instead of a stream")
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
            # No redirects: they would send the conversation and the key to an address that is not set.
            return await self._open_session().request(
                method, self._url + path, json=payload, headers=headers, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError) as error:
            raise self._errors.unreachable(error) from None

    async def _json(
        self,
        response: aiohttp.ClientResponse,
        request: Mapping[str, Any] | None = None,
        *,
        context_tokens: int | None = None,
    ) -> dict[str, Any]:
        """Return the JSON object of a successful response, and raise the error of any other."""
        try:
            body = _parsed(await _read(response))
        finally:
            response.close()
        error = _error(body)
        if response.status == 200 and isinstance(body, dict) and error is None:
            return body
        if response.status == 200 and error is None:
            raise self._errors.not_compatible(f"content_type={response.content_type}")
        error = error or {}
        status = status_of(error) if response.status == 200 else response.status
        model = (request or {}).get("model", "")
        raise error_of_response(
            self._errors, status, error, response.headers, model=model, context_tokens=context_tokens
        )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise self._errors.closed()
        if self._session is None:
            # trust_env stays off: a proxy from the environment would see the conversation. No limit on connections:
            # each running answer holds one, and queueing is up to the server.
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
    """Return the address without a trailing slash and ``/v1``, both of which are optional.

    Raises:
        ValueError: it is invalid, or contains a password, which would show up in errors and logs.
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
    """Return the key without surrounding white space, such as the line end of a file.

    Raises:
        ValueError: it cannot be sent in a header.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"Check {setting}: the key holds characters that no key has.")
    return key


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body up to `_MAX_BODY_BYTES`, or its part before the connection was lost."""
    body = b""
    try:
        while len(body) < _MAX_BODY_BYTES and (chunk := await response.content.readany()):
            body += chunk
    except (aiohttp.ClientError, OSError):
        pass  # the status is known, and the body only refines it
    return body


def _error(body: object) -> dict[str, Any] | None:
    """Return the error in any of its formats: an object, a string (vLLM's 401), the body itself (older vLLM)."""
    if not isinstance(body, dict):
        return None
    error = body.get("error") or (body if body.get("object") == "error" else None)
    return error if isinstance(error, dict) or error is None else {"message": str(error)}


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # no JSON, or too deep
        return None
