"""Embeddings of texts, which find passages by meaning, in any language; those of an OpenAI-compatible server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp

from chatapp.models.openai.address import Address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.domain.conversation import Place

MAX_DIMENSIONS = 4096
CONNECT_SECONDS, REQUEST_SECONDS = 5.0, 30.0
MAX_BODY_BYTES = 16_000_000
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})  # statuses after which the same request may succeed

# What models want before a text, by a part of their name: for a question, for a passage.
_PREFIXES = {
    "e5": ("query: ", "passage: "),
    "nomic": ("search_query: ", "search_document: "),
    # https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/embeddings/batch-prediction-genai-embeddings:
    # it "expects the task type and title to be inlined directly within the prompt".
    "gemini-embedding-2": ("task: search result | query: ", "title: none | text: "),
    "embeddinggemma": ("task: search result | query: ", "title: none | text: "),
}


class NoEmbeddings(Exception):
    """Embeddings cannot be had now; the search goes on without. No person sees it.

    Attributes:
        is_transient: the same request may succeed in a while.
    """

    def __init__(self, detail: str, *, is_transient: bool = False) -> None:
        super().__init__(detail)
        self.is_transient = is_transient


class Embedder(Protocol):
    """Turns texts into vectors.

    Attributes:
        model: its name; "" where the server's only one is asked.
        place: where the texts go.
        batch: how many texts a request takes.
    """

    model: str
    place: Place
    batch: int

    async def embed(self, texts: Sequence[str], *, are_questions: bool) -> list[list[float]]:
        """Return a vector for each of at most ``batch`` texts, all of one length.

        Raises:
            NoEmbeddings: there is no such response.
        """

    async def aclose(self) -> None:
        """Close all connections."""


class ServerEmbedder:
    """Embeddings of a server with ``/v1/embeddings``: llama.cpp, vLLM, Ollama, LM Studio, OpenAI and others.

    Args:
        url: of the server, as for a model.
        model: its name; "" where the server needs none.
        api_key: sent as a bearer token.
        place: where the server is.

    Raises:
        ValueError: the URL is invalid.
    """

    batch = 32

    def __init__(self, url: str, *, model: str = "", api_key: str = "", place: Place) -> None:
        self.place = place
        self._address = Address.parse(url, setting="CHAT_EMBEDDINGS_URL")
        self.model = model
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._base = ""  # where the API has answered
        self._session: aiohttp.ClientSession | None = None

    async def embed(self, texts: Sequence[str], *, are_questions: bool) -> list[list[float]]:
        """Return a vector for each text; see `Embedder`."""
        body: dict[str, Any] = {"input": [prefix(self.model, are_questions=are_questions) + text for text in texts]}
        if self.model:
            body["model"] = self.model
        bases = (self._base,) if self._base else self._address.bases_of(self.model)
        refusal = NoEmbeddings("no address")
        for base in bases:
            try:
                vectors = await self._posted(base, body, len(texts))
            except NoEmbeddings as error:
                refusal = error
            else:
                self._base = base
                return vectors
        raise refusal

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _posted(self, base: str, body: dict[str, Any], number: int) -> list[list[float]]:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, connect=CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers, trust_env=True)
        try:
            url = self._address.url(f"{base}/embeddings")
            async with self._session.post(url, json=body, allow_redirects=False) as response:
                if response.status != 200:
                    raise NoEmbeddings(f"status {response.status}", is_transient=response.status in TRANSIENT)
                data = await response.content.read(MAX_BODY_BYTES + 1)
                while len(data) <= MAX_BODY_BYTES and (more := await response.content.read(MAX_BODY_BYTES + 1)):
                    data += more
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NoEmbeddings(type(error).__name__, is_transient=not isinstance(error, ValueError)) from None
        if len(data) > MAX_BODY_BYTES:
            raise NoEmbeddings("the response is too large")
        return vectors_of(data, number)


def prefix(model: str, *, are_questions: bool) -> str:
    """Return what a model wants before a text; "" for most."""
    name = model.lower()
    return next((pair[not are_questions] for part, pair in _PREFIXES.items() if part in name), "")


def vectors_of(data: bytes, number: int) -> list[list[float]]:
    """Return the vectors of a response of ``/v1/embeddings``, in the order of their texts.

    Raises:
        NoEmbeddings: it is no such response, or has another number of vectors.
    """
    try:
        entries = json.loads(data)["data"]
        ordered = sorted(enumerate(entries), key=lambda one: one[1].get("index", one[0]))
        vectors = [entry["embedding"] for _, entry in ordered]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NoEmbeddings(f"the response is none of /v1/embeddings: {type(error).__name__}") from None
    return checked(vectors, number)


def checked(vectors: list[Any], number: int) -> list[list[float]]:
    """Return vectors, all of the same length.

    Raises:
        NoEmbeddings: they are not as many as the texts, or are no vectors.
    """
    lengths = {len(one) if isinstance(one, list) else 0 for one in vectors}
    if len(vectors) != number or len(lengths) != 1 or not 0 < min(lengths) <= MAX_DIMENSIONS:
        raise NoEmbeddings("the response has other vectors")
    if not all(isinstance(value, (int, float)) for vector in vectors for value in vector):
        raise NoEmbeddings("the response has vectors of something else than numbers")
    return vectors
