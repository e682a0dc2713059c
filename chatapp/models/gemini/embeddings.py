"""Embeddings of Gemini, on Vertex AI or on the Gemini API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from chatapp.domain.conversation import Place
from chatapp.models.embeddings import CONNECT_SECONDS, REQUEST_SECONDS, TRANSIENT, NoEmbeddings, checked, prefix
from chatapp.models.gemini.connection import GeminiConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.auth.credentials import Credentials

DIMENSIONS = 768  # of 3072 that the models have; Google recommends 768, 1536 or 3072
BATCH = 100  # texts in a request to the Gemini API at most; Vertex AI takes one


class GeminiEmbedder:
    """Embeddings of Gemini: on Vertex AI where ``project`` is set, else on the Gemini API with ``api_key``."""

    def __init__(
        self,
        *,
        model: str,
        project: str = "",
        location: str = "",
        api_key: str = "",
        base_url: str | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self.place = Place.VERTEX_AI if project else Place.GEMINI_API
        self.batch = 1 if project else BATCH
        self.model = model
        self._connection = GeminiConnection(
            project=project,
            location=location,
            api_key=api_key,
            base_url=base_url,
            credentials=credentials,
            connect_seconds=CONNECT_SECONDS,
        )

    async def embed(self, texts: Sequence[str], *, are_questions: bool) -> list[list[float]]:
        """Return a vector for each text; see `Embedder`."""
        before = prefix(self.model, are_questions=are_questions)
        # Each text is a content of its own: gemini-embedding-2 makes one vector of a list of strings.
        contents = [{"parts": [{"text": before + text}]} for text in texts]
        config: dict[str, Any] = {"output_dimensionality": DIMENSIONS}
        if not before:
            config["task_type"] = "RETRIEVAL_QUERY" if are_questions else "RETRIEVAL_DOCUMENT"
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                client = await self._connection.client()
                response = await client.aio.models.embed_content(
                    model=self.model, contents=cast("Any", contents), config=cast("Any", config)
                )
        except Exception as error:  # noqa: BLE001  # the SDK's errors, aiohttp's and google-auth's have no common base
            # Without its cause: the SDK's errors quote the request, which must not be logged.
            code, status = getattr(error, "code", 0), getattr(error, "status", "")
            is_transient = code in TRANSIENT or isinstance(error, (TimeoutError, aiohttp.ClientConnectionError))
            detail = f"{self.model}: {type(error).__name__} {code or ''} {status or ''}".strip()
            raise NoEmbeddings(detail, is_transient=is_transient) from None
        return checked([list(one.values or []) for one in response.embeddings or []], len(texts))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connection.aclose()
