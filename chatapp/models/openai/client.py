"""The HTTP client of an OpenAI-compatible server: its requests, and every failure as a `Failure`."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from chatapp.models.failure import Failure
from chatapp.models.openai.error_facts import error_facts
from chatapp.models.openai.error_response import error_of_response
from chatapp.models.openai.native import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.models.openai.address import Address
    from chatapp.models.openai.errors import ServerErrors

# vLLM (uvicorn) and llama.cpp close an idle connection after 5 s: close it first, so that none is used too late.
_KEEP_ALIVE_SECONDS: Final = 4.0
_MAX_BODY_BYTES: Final = 1 << 20  # of a response that is no stream
# "Unexpected endpoint or method. (GET /models)" (LM Studio, with status 200), "Invalid URL (POST /chat/completions)"
# (OpenAI), and the usual words of others.
_NO_ROUTE = re.compile(
    r"unexpected endpoint|invalid url|cannot (?:get|post) /"
    r"|\b(?:no|unknown|unrecognized) (?:such )?(?:route|endpoint|path)"
    r"|\b(?:route|path|url|endpoint)\b.{0,100}not found",
    re.IGNORECASE,
)


class ApiClient:
    """A client with connections that are kept where the server is not vLLM; the first one is opened on first use.

    Args:
        address: of the server.
        api_key: sent as a bearer token; no header if empty.
        connect_seconds: timeout for opening a connection, with DNS and TLS.
        errors: makes the errors of this server.
    """

    def __init__(self, address: Address, api_key: str, *, connect_seconds: float, errors: ServerErrors) -> None:
        self._address = address
        self._confirmed: dict[str, str] = {}  # bases by path, where the API has answered
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        if api_key and address.is_azure:  # its own SDK sends both: some of its services read the one, some the other
            self._headers["api-key"] = api_key
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds)
        self._errors = errors
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._connection: dict[str, str] = {}

    async def list_models(self) -> list[dict[str, Any]]:
        """Return the entries of the list of models, each with an ``id``.

        Raises:
            Failure: there was no such response.
        """
        failures: list[Failure] = []
        for base in self._bases_for("/models"):
            try:
                entries = await self._list(base)
            except Failure as error:
                # A list knows no model: what is unknown is its path, such as "/models".
                if not (error.wrong_address or error.unknown_model):
                    raise
                failures.append(error)
            else:
                self._confirmed["/models"] = base
                return entries
        raise failures[0]

    async def stream(self, request: Mapping[str, Any], *, context_tokens: int | None) -> aiohttp.ClientResponse:
        """Post to ``/chat/completions`` with streaming, and return the response once its headers are there.

        The caller closes it. Its body may also be one JSON object: some servers do not stream. ``context_tokens`` is
        for the error of a prompt that does not fit.

        Raises:
            Failure: no stream came back.
        """
        failures: list[Failure] = []
        for base in self._bases_for("/chat/completions", model=str(request.get("model") or "")):
            try:
                response = await self._stream(base, request, context_tokens=context_tokens)
            except Failure as error:
                if not error.wrong_address:
                    raise
                failures.append(error)
            else:
                self._confirmed["/chat/completions"] = base
                return response
        raise failures[0]

    async def native(self, path: str, *, post: Mapping[str, Any] | None = None) -> object:
        """Return the JSON of a path of the server's own API; None if there is none. Never raises."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                response = await self._request("GET" if post is None else "POST", f"{self._address.root}{path}", post)
                try:
                    return _parsed(await _read(response)) if response.status == 200 else None
                finally:
                    response.close()
        except (Failure, TimeoutError):
            return None

    async def aclose(self) -> None:
        """Close the connections."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _bases_for(self, path: str, *, model: str = "") -> list[str]:
        """Return where a path may be: where it was before, where the rest of the API is, then the usual places."""
        usual = self._address.bases_of(model)
        if usual != self._address.bases:
            return list(usual)  # the deployment of this very model
        before = [self._confirmed.get(path), *self._confirmed.values()]
        return [base for base in dict.fromkeys([*before, *usual]) if base]

    async def _list(self, base: str) -> list[dict[str, Any]]:
        response = await self._request("GET", f"{base}/models")
        server = response.headers.get("Server")
        body = await self._json(response)
        entries = body.get("data")
        if not isinstance(entries, list):
            raise self._errors.not_compatible("no list of models")
        named = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
        # llama.cpp announces keep-alive, yet closes the connection after a stream, under the next request on it.
        # vLLM is most often behind a Service of Kubernetes, which chooses a server for each connection: on a kept one,
        # questions still go to a server that ends (a rollout, fewer servers), which answers 500, and none to a new one.
        is_vllm = any(entry.get("owned_by") == "vllm" for entry in named)
        self._connection = {"Connection": "close"} if is_vllm or server == "llama.cpp" else {}
        # llama.cpp lists the capabilities in a second list, in Ollama's format.
        capabilities = body.get("models")
        for entry, second in zip(named, capabilities if isinstance(capabilities, list) else [], strict=False):
            if isinstance(second, dict) and second.get("name") == entry["id"]:
                entry.setdefault("capabilities", second.get("capabilities"))
        return named

    async def _stream(
        self, base: str, request: Mapping[str, Any], *, context_tokens: int | None
    ) -> aiohttp.ClientResponse:
        payload = {**request, "stream": True}
        response = await self._request("POST", f"{base}/chat/completions", payload)
        if response.status != 200 or response.content_type == "text/html":
            await self._json(response, request, context_tokens=context_tokens)
        return response

    async def _request(
        self,
        method: str,
        url: str,
        payload: Mapping[str, Any] | None = None,
    ) -> aiohttp.ClientResponse:
        try:
            # No redirects: they would send the conversation and the key to an address that is not set.
            return await self._open_session().request(
                method, self._address.url(url), json=payload, headers=self._connection, allow_redirects=False
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
            text = await _read(response)
        finally:
            response.close()
        body = _parsed(text)
        if response.status == 200:
            if isinstance(body, list):
                body = {"data": body}  # Together's list of models
            if not isinstance(body, dict):
                raise self._errors.not_compatible(f"content_type={response.content_type}")
            if not body.get("error") and body.get("object") != "error":  # the second is older vLLM's
                return body
        # The body of a proxy's error is HTML; a server without JSON may still say what is wrong.
        error = body if body is not None else "" if b"<" in text[:100] else text[:2000].decode("utf-8", "replace")
        if response.status in {200, 400, 404, 405} and _NO_ROUTE.search(error_facts(error).words):
            raise self._errors.not_compatible(f"status={response.status}")
        raise error_of_response(
            self._errors,
            response.status,
            error,
            response.headers,
            model=(request or {}).get("model", ""),
            context_tokens=context_tokens,
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


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # no JSON, or too deep
        return None
