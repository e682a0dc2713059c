"""What a chat looks for on this computer: Ollama, and vLLM as `make gemma` starts it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp
from yarl import URL

from chatapp.domain.conversation import Place
from chatapp.models import DEFAULT_TIME_LIMITS
from chatapp.models.openai.listing import can_chat, place_of_url, supports_images_by_name
from chatapp.models.openai.model import OpenAICompatibleModel
from chatapp.models.openai.readiness import ServerUse
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.models import ChatModel, TimeLimits

OLLAMA_URL: Final = "http://127.0.0.1:11434"
VLLM_URL: Final = "http://127.0.0.1:8000"
OLLAMA_PREFIX: Final = "ollama/"
VLLM_PREFIX: Final = "vllm/"
FOUND_PREFIXES: Final = (OLLAMA_PREFIX, VLLM_PREFIX)
"""Of the ids of the models that are found."""

GEMMA_ID: Final = "gemma"
"""Of the model that `make gemma` serves, also on its server."""

CONNECT_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 2.0
OTHER_SERVER_SECONDS: Final = 300.0
"""Before a port is looked at again where another program answers, which may log each request."""

_MOST_BYTES: Final = 4 << 20  # of a list: Ollama's has about 500 bytes for a model
_MOST_MODELS: Final = 100
_MOST_LABEL_CHARS: Final = 80
_AT_ONCE: Final = 4  # requests: Ollama reads the head of a model's file for each


class ServerAway(Exception):
    """No such server answers."""


@dataclass(frozen=True, slots=True)
class Found:
    """The models of a server that can chat, in the order in which to offer them.

    Attributes:
        models: that run there.
        passed_on: those whose conversations the server sends on to a cloud, so that none is preselected.
    """

    models: list[ChatModel]
    passed_on: list[ChatModel] = field(default_factory=list)


class LocalServer(Protocol):
    """A kind of server."""

    async def models(self, before: Mapping[str, ChatModel]) -> Found:
        """Return its models that can chat.

        Args:
            before: those that were returned the last time, by id: a model that is still there is the same object.

        Raises:
            ServerAway: it does not answer, or the port is another program's.
        """


class Ollama:
    """Ollama, with all of its models that can chat; those of Ollama's cloud say that they run on another server.

    Args:
        url: its address, as `ollama_url` makes it.
        limits: timeouts of its models.
    """

    def __init__(self, url: str = OLLAMA_URL, *, limits: TimeLimits = DEFAULT_TIME_LIMITS) -> None:
        self._url = url
        self._limits = limits
        self._use = ServerUse()
        self._chats: dict[tuple[str, str], bool] = {}  # by name and digest

    async def models(self, before: Mapping[str, ChatModel]) -> Found:
        """See `LocalServer.models`; the formats are those of https://docs.ollama.com/api."""
        async with _session() as session:
            body = await _json(session, "GET", f"{self._url}/api/tags")
            listed = body.get("models") if isinstance(body, dict) else None
            if not isinstance(listed, list):
                raise ServerAway(f"no list of models at {self._url}")
            items = [item for item in listed if isinstance(item, dict) and isinstance(item.get("name"), str)]
            items = items[:_MOST_MODELS]
            able = await asyncio.gather(*(self._can_chat(session, item) for item in items))
        found = Found([])
        for item in (item for item, chats in zip(items, able, strict=True) if chats):
            model = before.get(ollama_id(item["name"])) or self._model(item)
            (found.passed_on if item.get("remote_host") else found.models).append(model)
        return found

    def _model(self, item: Mapping[str, Any]) -> ChatModel:
        return OpenAICompatibleModel(
            ollama_id(item["name"]),
            _label(item["name"]),
            self._url,
            model=item["name"],
            use=self._use,
            place=Place.OTHER_SERVER if item.get("remote_host") else None,
            limits=self._limits,
            url_setting="OLLAMA_HOST",
            model_setting="",
        )

    async def _can_chat(self, session: aiohttp.ClientSession, item: Mapping[str, Any]) -> bool:
        """Return whether a model can chat: as its capabilities say, and by its name where an old Ollama has none."""
        key = (item["name"], str(item.get("digest")))
        if key not in self._chats:
            capabilities = item.get("capabilities")
            if not isinstance(capabilities, list):
                try:
                    shown = await _json(session, "POST", f"{self._url}/api/show", {"model": item["name"]})
                except ServerAway:  # removed in between, or slow: asked again the next time
                    return can_chat({"id": item["name"]})
                capabilities = shown.get("capabilities") if isinstance(shown, dict) else None
            self._chats[key] = can_chat({"id": item["name"], "capabilities": capabilities or []})
        return self._chats[key]


class Vllm:
    """vLLM on its usual port, as `make gemma` starts it.

    Args:
        url: its address.
        gemma_id: of the model that it serves as ``gemma``.
        limits: timeouts of its models.
    """

    def __init__(
        self, url: str = VLLM_URL, *, gemma_id: str = GEMMA_ID, limits: TimeLimits = DEFAULT_TIME_LIMITS
    ) -> None:
        self._url = url
        self._gemma_id = gemma_id
        self._limits = limits
        self._use = ServerUse()
        self._again_at = float("-inf")

    async def models(self, before: Mapping[str, ChatModel]) -> Found:
        """See `LocalServer.models`. A server of another kind is not asked again for `OTHER_SERVER_SECONDS`."""
        if time.monotonic() < self._again_at:
            raise ServerAway(f"another program answers at {self._url}")
        async with _session() as session:
            try:
                body = await _json(session, "GET", f"{self._url}/v1/models")
            except _OtherAnswer:
                body = None
        entries = body.get("data") if isinstance(body, dict) else None
        served = [
            entry
            for entry in (entries if isinstance(entries, list) else [])
            if isinstance(entry, dict) and entry.get("owned_by") == "vllm" and isinstance(entry.get("id"), str)
        ]
        if not served:
            self._again_at = time.monotonic() + OTHER_SERVER_SECONDS
            raise ServerAway(f"another program answers at {self._url}")
        served = [entry for entry in served if can_chat({"id": self._weights(entry)})]
        found = [(before.get(self._id(entry)), entry) for entry in served[:_MOST_MODELS]]
        # The server may have been started again with other weights under the same name.
        return Found([old if old and old.label == self._label(entry) else self._model(entry) for old, entry in found])

    def _id(self, entry: Mapping[str, Any]) -> str:
        return self._gemma_id if entry["id"] == GEMMA_ID else VLLM_PREFIX + str(entry["id"])

    def _label(self, entry: Mapping[str, Any]) -> str:
        return _label(self._weights(entry) if entry["id"] == GEMMA_ID else entry["id"])

    def _weights(self, entry: Mapping[str, Any]) -> str:
        """Return the name of the weights, which vLLM lists as ``root``: a repository or a folder."""
        root = entry.get("root")
        return (root.rstrip("/").rpartition("/")[2] if isinstance(root, str) else "") or str(entry["id"])

    def _model(self, entry: Mapping[str, Any]) -> ChatModel:
        return OpenAICompatibleModel(
            self._id(entry),
            self._label(entry),
            self._url,
            model=entry["id"],
            use=self._use,
            images=supports_images_by_name(self._weights(entry)),
            limits=self._limits,
        )


def ollama_url(host: str) -> str:
    """Return the address for a value of ``OLLAMA_HOST``, read as Ollama reads it.

    A server that listens on all addresses is asked on loopback. Ollama's own rules:
    https://github.com/ollama/ollama/blob/main/envconfig/config.go
    """
    scheme, separator, rest = host.strip().strip("\"'").rpartition("://")
    usual = {"http": "80", "https": "443"}.get(scheme, "11434") if separator else "11434"
    authority, _, path = rest.partition("/")
    match = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::(\d*))?", authority)
    name, port = (match[1].strip("[]"), match[2] or usual) if match else (authority.strip("[]"), usual)
    if int(port) > 65535:
        port = usual
    if name in {"", "0.0.0.0", "::"}:  # noqa: S104  # what a server listens on, not this chat
        name = "127.0.0.1"
    address = f"{scheme or 'http'}://{f'[{name}]' if ':' in name else name}:{port}"
    return f"{address}/{path}".rstrip("/")


def ollama_id(name: str) -> str:
    """Return the id of one of Ollama's models."""
    return OLLAMA_PREFIX + name.removesuffix(":latest")


class _OtherAnswer(ServerAway):
    """Something answers, and not as expected."""


def _session() -> aiohttp.ClientSession:
    # As in `chatapp.models.openai.client`: no proxy of the environment, which has no way to this computer.
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_AT_ONCE),
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


async def _json(session: aiohttp.ClientSession, method: str, url: str, body: object = None) -> object:
    try:
        async with session.request(method, url, json=body, allow_redirects=False) as response:
            if response.status != 200:
                raise _OtherAnswer(f"{url} answers with status {response.status}")
            text = b""
            while chunk := await response.content.readany():
                text += chunk
                if len(text) > _MOST_BYTES:
                    raise _OtherAnswer(f"{url} answers with more than {_MOST_BYTES} bytes")
            return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _OtherAnswer(f"{url} does not answer with JSON") from error
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise ServerAway(f"{url}: {type(error).__name__}") from error


def _label(name: str) -> str:
    """Return the name of a model as the page shows it: another program's words."""
    return clean_text(name).removesuffix(":latest")[:_MOST_LABEL_CHARS]


def is_same_server(one: str, other: str) -> bool:
    """Return whether two addresses have the same server, as far as they show it: loopback has several names."""
    return _server(one) == _server(other)


def _server(url: str) -> tuple[str, int | None]:
    address = URL(url)
    host = address.host or ""
    return ("loopback" if place_of_url(url) is Place.THIS_COMPUTER else host), address.port
