"""Gemini through google-genai: on Vertex AI with Google Cloud credentials, or on the Gemini API with a key.

`connection` makes the client, `response` parses the answer, `errors` classifies failures, `genai_compat` has the
workarounds.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final, cast

from chatapp.domain.conversation import GenerationParameters, Place, Role
from chatapp.domain.errors import ModelError, ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.models import DEFAULT_TIME_LIMITS, ModelState, ModelStatus, Price
from chatapp.models.gemini.connection import GeminiConnection, import_sdk
from chatapp.models.gemini.errors import NOT_SET_UP, Account, failure_of
from chatapp.models.gemini.genai_compat import closing_response
from chatapp.models.gemini.response import StreamedResponse
from chatapp.models.prompt import alternating_turns, clean_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from google.auth.credentials import Credentials
    from google.genai import types

    from chatapp.domain.conversation import Message
    from chatapp.models import ModelEvent, TimeLimits
    from chatapp.models.failure import Failure
    from chatapp.models.prompt import ChatTurn

DEFAULT_CONTEXT_TOKENS: Final = 1_048_576
"""Context window of every Gemini since 2.5
(https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/guides/gemini-3-5-flash)."""

THINKING_HEADROOM: Final = 4096
"""Tokens added to ``max_output_tokens`` for a model whose thinking cannot be limited. With the largest Max tokens
(4096) the sum stays within the 8192 that older models allow."""

LIST_PRICES: Final = {"gemini-3.5-flash-lite": Price(0.30, 2.50)}
"""As listed by Google in November 2026; the prices of other models are a setting."""

STATUS_SECONDS: Final = 5.0
RETRY_SECONDS: Final = (0.5, 1.5)
"""Pauses before the second and the third attempt; there is no fourth."""

_AFTER_FINISH_SECONDS = 0.5  # for the end of the response: one that is read to its end keeps its connection


class GeminiModel:
    """Gemini as a `ChatModel`: on Vertex AI where ``project`` is set, else on the Gemini API with ``api_key``.

    Args:
        id: short, stable, unique in the catalogue.
        label: its name on the page.
        model: Gemini's model id.
        project: Google Cloud project; uses Application Default Credentials unless ``credentials`` are given.
        location: Vertex AI location.
        api_key: key of the Gemini API, not used with ``project``.
        base_url: another address of the API, such as a proxy's.
        limits: timeouts.
        thinking_tokens: tokens the model may think before it answers, on top of Max tokens.
        price: of its tokens; by default the list price, if known.
        credentials: instead of Application Default Credentials.
        is_bound: whether data residency forbids some locations, so that no message suggests them.
    """

    def __init__(
        self,
        id: str,  # noqa: A002  # the protocol's name
        label: str,
        *,
        model: str = "gemini-3.5-flash-lite",
        project: str = "",
        location: str = "global",
        api_key: str = "",
        base_url: str | None = None,
        limits: TimeLimits = DEFAULT_TIME_LIMITS,
        thinking_tokens: int = 0,
        price: Price | None = None,
        credentials: Credentials | None = None,
        is_bound: bool = False,
    ) -> None:
        self.id = id
        self.label = label
        self._account = Account(model, project, location or "global", api_key, is_bound)
        self._limits = limits
        self._thinking_tokens = thinking_tokens
        self.price = price or LIST_PRICES.get(model)
        self._ignores_sampling = ignores_sampling(model)
        self._refuses_budget = False  # learned from a refusal
        self._needs_headroom = False  # learned from an answer of thoughts alone
        self._context_tokens: int | None = None
        self._output_tokens = output_tokens(model)
        self._connection = GeminiConnection(
            project=project,
            location=self._account.location,
            api_key=api_key,
            base_url=base_url,
            credentials=credentials,
            connect_seconds=limits.connect,
        )

    supports_images = True
    tokens_per_image = 1120
    """At the resolution that Gemini 3 takes by default (https://ai.google.dev/gemini-api/docs/media-resolution)."""
    writes_titles = True
    is_small = False

    @property
    def place(self) -> Place:
        """Vertex AI or the Gemini API, if it is set up."""
        if not self._account.is_set_up:
            return Place.UNKNOWN
        return Place.VERTEX_AI if self._account.project else Place.GEMINI_API

    @property
    def unsupported(self) -> dict[str, Sentence]:
        """Temperature and top-p, where `ignores_sampling` says so."""
        fixed = ("temperature", "top_p") if self._ignores_sampling else ()
        return dict.fromkeys(fixed, Sentence("{model} uses a fixed value.", model=self.label))

    @property
    def context_tokens(self) -> int | None:
        """The tokens of a prompt: as the Gemini API listed them at a `status`, else the limit of the Flash models."""
        return self._context_tokens or DEFAULT_CONTEXT_TOKENS

    async def read_context(self) -> None:
        """Do nothing: the context is that of the model."""

    async def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer the last message; see `ChatModel.stream`.

        Retries at most twice, after a failed connection or HTTP 500, 502, 503 or 504, and never after the first chunk.
        The timeout ``first_token`` includes credentials and retries.

        Raises:
            RateLimited: a quota is used up (HTTP 429).
            ContextTooLong: the prompt has more tokens than the model accepts.
            Blocked: the prompt or the answer was blocked; the sentence says why.
            ModelUnavailable: not set up, unreachable, broken or too slow, or the request was refused.
            ModelError: the answer ended without any text.
        """
        if not self._account.is_set_up:
            raise ModelUnavailable(
                Sentence("{model} is not set up. To use it, {fix}.", model="Gemini", fix=NOT_SET_UP.fix)
            )
        answer = StreamedResponse()
        async with aclosing(self._timed(self._chunks(contents(messages), parameters), answer)) as chunks:
            async for chunk in chunks:
                for added in answer.add(chunk):
                    yield added
                if self._headroom and not answer.finish and answer.tokens >= parameters.max_tokens:
                    answer.finish = (
                        "MAX_TOKENS"  # of the person; the server's limit is higher, to have room for thinking
                    )
                    break
        if answer.is_all_thinking and self._headroom < THINKING_HEADROOM:
            self._needs_headroom = True  # the budget was accepted and not kept: retry, as no text was shown
            async with aclosing(self.stream(messages, parameters)) as events:
                async for event in events:
                    yield event
            return
        for last in answer.end(int(parameters.max_tokens), self.max_answer_tokens):
            yield last

    async def status(self) -> ModelStatus:
        """Return whether Gemini can answer, in about 5 s at most and free of charge; never raises.

        Counts the tokens of one word, which proves credentials, permission and model and is not billed
        (https://ai.google.dev/gemini-api/docs/tokens).
        """
        if not self._account.is_set_up:
            return NOT_SET_UP
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                client = await self._connection.client()
                await client.aio.models.count_tokens(model=self._account.model, contents="Hello")
        except Exception as error:  # noqa: BLE001  # a status never raises, whatever the SDK does
            return self._failure(error).as_status()
        if not self._account.project and self._context_tokens is None:
            with suppress(Exception):  # optional: Vertex AI does not list it
                async with asyncio.timeout(1):
                    listed = await client.aio.models.get(model=self._account.model)
                    self._context_tokens = listed.input_token_limit
                    self._output_tokens = listed.output_token_limit or self._output_tokens
        return ModelStatus(ModelState.READY)

    def import_sdk(self) -> None:
        """Import the SDK, if the model is set up."""
        if self._account.is_set_up:
            import_sdk()

    async def start(self) -> None:
        """Make the client, so that the first question does not wait for them."""
        if self._account.is_set_up:
            await self._connection.client()

    def wake(self) -> None:
        """Do nothing: it does not sleep."""

    async def aclose(self) -> None:
        """Close this loop's client; running answers end with an error."""
        await self._connection.aclose()

    @property
    def max_answer_tokens(self) -> int:
        """What the model can write, without the tokens that are reserved for its thinking."""
        return min(self._output_tokens - self._headroom, GenerationParameters.MAX_TOKENS_RANGE[1])

    @property
    def _headroom(self) -> int:
        unlimited = self._refuses_budget or self._needs_headroom
        return max(self._thinking_tokens, THINKING_HEADROOM if unlimited else 0)

    def _config(self, parameters: GenerationParameters) -> types.GenerateContentConfigDict:
        config: types.GenerateContentConfigDict = {
            # Thinking counts as output: without room of its own it can use up a small limit and leave no answer.
            "max_output_tokens": min(int(parameters.max_tokens) + self._headroom, self._output_tokens),
            "automatic_function_calling": {"disable": True},
            "automatic_continuation": False,  # else the SDK sends further requests by itself, after what it calls a hop
        }
        if not self._ignores_sampling:
            config |= {"temperature": parameters.temperature, "top_p": parameters.top_p}
        if not self._refuses_budget:
            thinking: types.ThinkingConfigDict = {"thinking_budget": self._thinking_tokens}
            config["thinking_config"] = thinking | ({"include_thoughts": True} if self._thinking_tokens else {})
        if parameters.system_prompt.strip():
            config["system_instruction"] = clean_text(parameters.system_prompt)
        return config

    async def _timed(
        self, chunks: AsyncGenerator[types.GenerateContentResponse], answer: StreamedResponse
    ) -> AsyncGenerator[types.GenerateContentResponse]:
        """Yield the chunks within the timeouts; the response so far decides which timeout counts."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._limits.first_token
        async with aclosing(chunks):
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        chunk = await anext(chunks, None)
                except (TimeoutError, ModelError) as error:
                    if answer.is_complete:
                        return
                    raise error if isinstance(error, ModelError) else answer.timeout(self._limits) from None
                if chunk is None:
                    return
                yield chunk
                if answer.is_complete:
                    deadline = clock() + _AFTER_FINISH_SECONDS
                elif answer.has_text or answer.has_pictures:
                    deadline = clock() + self._limits.between_tokens

    async def _chunks(
        self, turns: list[types.ContentDict], parameters: GenerationParameters
    ) -> AsyncGenerator[types.GenerateContentResponse]:
        """Send the request, retry where that is safe, and raise all errors of the SDK as `ModelError`."""
        pauses = iter(RETRY_SECONDS)
        while True:
            started = False
            config = self._config(parameters)
            try:
                with closing_response():
                    client = await self._connection.client()
                    # The dictionaries are the SDK's own TypedDicts; its signature asks for a list of their union.
                    async for chunk in await client.aio.models.generate_content_stream(
                        model=self._account.model, contents=cast("Any", turns), config=config
                    ):
                        started = True
                        yield chunk
            except Exception as error:  # noqa: BLE001  # the SDK raises its own, aiohttp's, google-auth's, pydantic's ...
                failure = self._failure(error)
                if not started and failure.refused_parameter == "thinking" and "thinking_config" in config:
                    self._refuses_budget = True
                    continue
                if not started and failure.retryable and (pause := next(pauses, None)) is not None:
                    await asyncio.sleep(pause)
                    continue
                # Without its cause: the SDK's errors quote the request and the response, which must not be logged.
                raise failure.as_model_error() from None
            return

    def _failure(self, error: Exception) -> Failure:
        return failure_of(error, self._account, connect_seconds=self._limits.connect, status_seconds=STATUS_SECONDS)


def output_tokens(model: str) -> int:
    """Return how many tokens a model can write, thinking included: 65,536 since Gemini 2.5, 8,192 before.

    Source: https://ai.google.dev/gemini-api/docs/models.
    """
    version = re.match(r"(?:.*/)?gemini-(\d+)(?:\.(\d+))?-", model)
    return 8192 if version and (int(version[1]), int(version[2] or 0)) < (2, 5) else 65_536


def ignores_sampling(model: str) -> bool:
    """Return whether a model ignores temperature and top-p: Gemini 3.5 Flash-Lite and all from 3.6 on.

    Google asks to omit them, since later models refuse them (https://ai.google.dev/gemini-api/docs/latest-model).
    """
    version = re.match(r"(?:.*/)?gemini-(\d+)(?:\.(\d+))?-(.*)", model)
    if version is None:
        return False
    number = int(version[1]), int(version[2] or 0)
    return number >= (3, 6) or (number == (3, 5) and version[3].startswith("flash-lite"))


def contents(messages: Sequence[Message]) -> list[types.ContentDict]:
    """Return the conversation in Gemini's format: roles ``user`` and ``model`` in turn, the first and last ``user``."""
    turns = alternating_turns(messages)
    while turns and turns[-1].role is Role.ASSISTANT:
        turns.pop()
    return [{"role": "user" if turn.role is Role.USER else "model", "parts": _parts(turn)} for turn in turns]


def _parts(turn: ChatTurn) -> list[types.PartDict]:
    images: list[types.PartDict] = [
        {"inline_data": {"mime_type": image.media_type, "data": image.data}} for image in turn.images
    ]
    return [*images, {"text": clean_text(turn.text)}] if turn.text.strip() else images
