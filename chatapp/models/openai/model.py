"""Any server with the OpenAI-compatible chat API: vLLM, llama.cpp, Ollama, LM Studio.

`request` builds requests, `client` sends them, `stream` parses the answer, `listing` the list of models, and `errors`
and `error_response` classify failures. aiohttp and not the openai SDK: half the CPU per token, measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import aiohttp
import structlog

from chatapp.domain.errors import ModelError, ModelLoading, ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.models import DEFAULT_TIME_LIMITS, ModelState, ModelStatus
from chatapp.models.failure import Failure
from chatapp.models.openai.aiohttp_compat import pause_input
from chatapp.models.openai.client import ApiClient, bearer_key, server_address
from chatapp.models.openai.errors import ServerErrors
from chatapp.models.openai.listing import Listing, listing, place_of_url, supports_images_by_name
from chatapp.models.openai.request import Dialect
from chatapp.models.openai.stream import AnswerParser, joined

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from chatapp.domain.conversation import GenerationParameters, Message, Place
    from chatapp.models import ModelEvent, Price, TimeLimits
    from chatapp.models.kubernetes_status import PodWatch

STATUS_SECONDS: Final = 5.0
RETRIES: Final = 2
RETRY_SECONDS: Final = 0.2
"""The longest first pause before a retry; each further one is twice as long."""

_AFTER_FINISH_SECONDS = 1.0  # for usage and [DONE], which follow the finish reason: the answer itself is complete
_AFTER_DONE_SECONDS = 0.1  # for the end of the response: one that is read to its end keeps its connection
_BATCH_SECONDS = 0.08  # after the first text, in which tokens are read together, as they are shown together
log = structlog.get_logger(__name__)


class OpenAICompatibleModel:
    """A `ChatModel` behind an OpenAI-compatible server.

    Args:
        id: short, stable, unique in the catalogue.
        label: its name on the page.
        url: the server's address, with or without ``/v1``.
        model: its name on the server; empty: the first one that the server lists.
        api_key: sent as a bearer token; nothing is sent when it is empty.
        context_tokens: the context's size where the server does not list it (Ollama, LM Studio).
        images: whether it supports images; None: as the server lists it, else by its name.
        place: where it runs; None: on this computer if the address is, else on another server.
        price: of its tokens.
        ignores: "temperature", "top_p": parameters that it ignores, which are not sent.
        pods: says why it is down, where it runs in the chat's own cluster.
        limits: timeouts.
        probe_seconds: how long a generated token proves that the model works, see `status`.
        url_setting: the setting of the address, for error messages.
        key_setting: the setting of the key.
        model_setting: the setting of the model's name.

    Raises:
        ValueError: the address or the key is invalid; the message names the setting.
    """

    def __init__(
        self,
        id: str,  # noqa: A002  # the protocol's name
        label: str,
        url: str,
        *,
        model: str = "",
        api_key: str = "",
        context_tokens: int | None = None,
        images: bool | None = None,
        place: Place | None = None,
        price: Price | None = None,
        ignores: Iterable[str] = (),
        pods: PodWatch | None = None,
        limits: TimeLimits = DEFAULT_TIME_LIMITS,
        probe_seconds: float = 300,
        url_setting: str = "CHAT_GEMMA_URL",
        key_setting: str = "CHAT_GEMMA_API_KEY",
        model_setting: str = "CHAT_GEMMA_MODEL",
    ) -> None:
        self.id = id
        self.label = label
        url = server_address(url, setting=url_setting)
        key = bearer_key(api_key, setting=key_setting)
        self._errors = ServerErrors(label, url, bool(key), url_setting, key_setting, model_setting)
        self._server = ApiClient(url, key, connect_seconds=limits.connect, errors=self._errors)
        self._model = model
        self._context_tokens = context_tokens
        self._limits = limits
        self._probe_seconds = probe_seconds
        self.place = place or place_of_url(url)
        self.price = price
        self._images = images
        self._dialect = Dialect(ignores)
        self._pods = pods
        self._listing: Listing | None = None
        self._proof: _Proof | None = None
        self._probing = asyncio.Lock()

    writes_titles = True

    @property
    def supports_images(self) -> bool:
        """As set, else as the server lists it, else by the model's name; never after the server has refused images."""
        if self._dialect.refuses_images or self._images is not None:
            return bool(self._images) and not self._dialect.refuses_images
        if self._listing and self._listing.supports_images is not None:
            return self._listing.supports_images
        return supports_images_by_name(self._name)

    @property
    def tokens_per_image(self) -> int:
        """Gemma's 256 and its markers; other models take more for larger images."""
        return 280 if "gemma" in self._name.lower() else 1024

    @property
    def unsupported(self) -> dict[str, Sentence]:
        """Parameters that are set as ignored, or that the server has refused."""
        reason = Sentence("{model} uses a fixed value.", model=self.label)
        return dict.fromkeys(sorted(self._dialect.ignored), reason)

    @property
    def _name(self) -> str:
        return self._listing.model if self._listing else self._model

    @property
    def context_tokens(self) -> int | None:
        """The tokens of prompt and answer together; None before the list of models is read, or without it there."""
        return self._context_tokens or (self._listing.context_tokens if self._listing else None)

    async def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer the last message; see `ChatModel.stream`.

        Retries at most twice, after a failed connection or HTTP 502, 503 or 504, and never after the first byte of an
        answer. The timeout ``first_token`` includes retries.

        Raises:
            ContextTooLong: the prompt does not fit.
            ModelLoading: llama.cpp is still loading the model.
            RateLimited: HTTP 429.
            Blocked: a safety filter ended the answer.
            ModelUnavailable: unreachable, broken or too slow, or the request was refused.
        """
        clock = asyncio.get_running_loop().time
        response: aiohttp.ClientResponse | None = None
        try:
            started = clock()
            response = await self._request(messages, parameters)
            parser = AnswerParser(self._errors, context_tokens=self.context_tokens)
            wait = self._limits.first_token - (clock() - started)
            while not parser.done:
                started = clock()
                chunk = await self._read(response, parser, wait)
                wait -= clock() - started  # renewed by tokens, not by llama.cpp's pings; not used up by a slow reader
                if not chunk:
                    break
                tokens = parser.tokens_seen
                for event in joined(parser.feed(chunk)):
                    yield event
                if parser.tokens_seen > tokens:
                    wait = self._limits.between_tokens
                    self._note_token()
                if parser.finished:
                    wait = min(wait, _AFTER_FINISH_SECONDS)
            for event in parser.end():
                yield event
            with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(_AFTER_DONE_SECONDS):
                    await response.content.readany()
        except Failure as error:
            if issubclass(error.kind, ModelUnavailable):
                self._proof = None
            raise await self._model_error(error) from None
        finally:
            if response is not None:
                response.close()  # at once, so that the server stops generating

    async def status(self) -> ModelStatus:
        """Return whether the model can answer; bounded by `STATUS_SECONDS`, never raises.

        The list of models shows that the server is reachable, but an HTTP server still answers 200 (/health, too) in
        front of an engine that is broken or stuck. So a probe generates one token: at first, after a failed answer,
        when the list has changed, and when the last token is older than ``probe_seconds``. Tokens of answers count, so
        that a server that is busy with this chat gets no probes. A server that lists its models and generates nothing
        in time is `UNAVAILABLE` and not `LOADING`, because waiting may never help.
        """
        listed = False
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                current = await self._list_models()
                listed = True
                async with self._probing:
                    if not self._is_proven(current):
                        self._proof = None
                        await self._probe(current.model)
                        self._note_token()
        except Failure as error:
            return await self._pod_status(error) or error.as_status()
        except TimeoutError:
            timeout = self._errors.stuck() if listed else self._errors.silent(STATUS_SECONDS)
            return await self._pod_status(timeout) or timeout.as_status()
        except Exception:  # a status never raises, whatever a server sends
            log.exception("status_failed", model=self.id)
            return self._errors.not_compatible("").as_status()
        return ModelStatus(ModelState.READY)

    async def start(self) -> None:
        """Do nothing: the server is not managed by the chat."""

    async def aclose(self) -> None:
        """Close the connections; running answers end with an error."""
        await self._server.aclose()

    async def _request(self, messages: Sequence[Message], parameters: GenerationParameters) -> aiohttp.ClientResponse:
        limit = self._limits.first_token
        try:
            async with asyncio.timeout(limit):
                return await self._request_with_retries(messages, parameters)
        except TimeoutError:
            raise self._errors.first_token_timeout(limit) from None

    async def _request_with_retries(
        self, messages: Sequence[Message], parameters: GenerationParameters
    ) -> aiohttp.ClientResponse:
        retries = 0
        listed_again = False
        while True:
            try:
                current = self._listing or await self._list_models()
                body = self._dialect.chat_request(current.model, messages, parameters, self.context_tokens)
                return await self._server.stream(body, context_tokens=self.context_tokens)
            except Failure as error:
                if error.unknown_model and not self._model and not listed_again:
                    self._listing = None  # the server was started again with another model
                    listed_again = True
                    continue
                if self._dialect.adapts_to(error):
                    continue
                if not error.retryable or retries == RETRIES:
                    raise
            pause = RETRY_SECONDS * 2**retries
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # jitter, not a secret
            retries += 1

    async def _pod_status(self, error: Failure) -> ModelStatus | None:
        """Return why the server is down; None where it is not, or Kubernetes does not say."""
        return await self._pods.status() if self._pods and error.away else None

    async def _model_error(self, error: Failure) -> ModelError:
        status = await self._pod_status(error)
        if status is None:
            return error.as_model_error()
        kind = ModelLoading if status.state is ModelState.LOADING else ModelUnavailable
        reason, fix = cast("Sentence", status.reason), cast("Sentence", status.fix)
        return self._errors.cannot_answer(reason, fix, kind=kind, detail=error.detail).as_model_error()

    async def _probe(self, model: str) -> None:
        while True:
            try:
                return await self._server.complete(self._dialect.probe_request(model))
            except Failure as error:
                if not self._dialect.adapts_to(error):
                    raise

    async def _read(self, response: aiohttp.ClientResponse, parser: AnswerParser, wait: float) -> bytes:
        """Return the next bytes, none at the end of the stream; errors after the finish reason do not matter."""
        if parser.tokens_seen and not parser.finished:
            await pause_input(response, _BATCH_SECONDS)
        try:
            async with asyncio.timeout(max(wait, 0)):
                return await response.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError) as error:
            # RuntimeError: aiohttp's, for a connection that was lost while its input was paused.
            if parser.finished:
                return b""
            if not isinstance(error, TimeoutError):
                raise self._errors.interrupted(detail=type(error).__name__) from None
            if parser.tokens_seen:
                raise self._errors.next_token_timeout(self._limits.between_tokens) from None
            raise self._errors.first_token_timeout(self._limits.first_token) from None

    async def _list_models(self) -> Listing:
        listed = listing(await self._server.list_models(), self._model)
        if listed is None:
            raise self._errors.no_models()
        self._listing = listed
        return listed

    def _note_token(self) -> None:
        self._proof = _Proof(asyncio.get_running_loop().time(), self._listing)

    def _is_proven(self, listed: Listing) -> bool:
        now = asyncio.get_running_loop().time()
        return self._proof is not None and self._proof.listing == listed and now - self._proof.at < self._probe_seconds


@dataclass(frozen=True, slots=True)
class _Proof:
    """A token was generated at this time of the loop's clock, while the server listed this."""

    at: float
    listing: Listing | None
