"""Any server with the OpenAI-compatible chat API: vLLM, llama.cpp, Ollama, LM Studio.

This is the adapter; `openai_question` asks, `openai_http` sends, `openai_stream` reads what comes back, and
`openai_errors` tells what failed.
aiohttp and not the openai SDK: half the CPU per token, measured.
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
from chatapp.models import ModelState, ModelStatus, TimeLimits
from chatapp.models.openai.aiohttp_compat import pause_input
from chatapp.models.openai.errors import Problems, ServerProblem
from chatapp.models.openai.facts import Listing, listing, place_of, sees_by_name
from chatapp.models.openai.http import ChatServer, bearer_key, server_address
from chatapp.models.openai.request import Dialect
from chatapp.models.openai.stream import AnswerParser, joined

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from chatapp.domain.conversation import GenerationParameters, Message, Place
    from chatapp.models import ModelEvent, Price
    from chatapp.models.kubernetes_status import PodWatch

STATUS_SECONDS: Final = 5.0
RETRIES: Final = 2
RETRY_SECONDS: Final = 0.2
"""The longest first pause before asking again; each further one is twice as long."""

_STRAGGLER_SECONDS = 1.0  # for usage and [DONE], which follow the finish reason: the answer itself is whole
_TAIL_SECONDS = 0.1  # for the end of the response after [DONE]: one that is read to its end keeps its connection
_BATCH_SECONDS = 0.08  # after the first text, in which tokens are read together, as they are shown together
_DEFAULT_LIMITS = TimeLimits()
log = structlog.get_logger(__name__)


class OpenAICompatibleModel:
    """A `ChatModel` behind an OpenAI-compatible server.

    Args:
        id: short, stable, unique in the catalogue.
        label: what a person calls it.
        url: the server's address, with or without ``/v1``.
        model: its name there; empty means the first one that the server lists.
        api_key: sent as a bearer token; nothing is sent when it is empty.
        context_tokens: the context's size where the server does not list it (Ollama, LM Studio).
        images: whether it sees pictures; None: as the server lists it, else as its name tells.
        place: where it runs; None: on this computer, if the address is its own.
        price: of its tokens.
        ignores: "temperature", "top_p": what it does not heed, which is not sent.
        pods: says why it is not there, where it runs in the chat's own cluster.
        limits: how long to wait, in seconds.
        proof_seconds: how long a success proves that the model generates, see `status`.
        url_setting: where the address is set, for sentences that say what to change.
        key_setting: where the key is set.
        model_setting: where the model's name is set.

    Raises:
        ValueError: the address or the key can never work; the sentence names the setting.
    """

    def __init__(
        self,
        id: str,  # noqa: A002  # the protocol's name for it
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
        limits: TimeLimits = _DEFAULT_LIMITS,
        proof_seconds: float = 300,
        url_setting: str = "CHAT_GEMMA_URL",
        key_setting: str = "CHAT_GEMMA_API_KEY",
        model_setting: str = "CHAT_GEMMA_MODEL",
    ) -> None:
        self.id = id
        self.label = label
        url = server_address(url, setting=url_setting)
        key = bearer_key(api_key, setting=key_setting)
        self._problems = Problems(label, url, bool(key), url_setting, key_setting, model_setting)
        self._server = ChatServer(url, key, connect_seconds=limits.connect, problems=self._problems)
        self._model = model
        self._context_tokens = context_tokens
        self._limits = limits
        self._proof_seconds = proof_seconds
        self.place = place or place_of(url)
        self.price = price
        self._images = images
        self._dialect = Dialect(ignores)
        self._pods = pods
        self._listing: Listing | None = None
        self._proof: _Proof | None = None
        self._proving = asyncio.Lock()

    writes_titles = True

    @property
    def sees_images(self) -> bool:
        """As set; else as the server lists it; else as the model's name tells. A refusal counts more than all."""
        if self._dialect.is_blind or self._images is not None:
            return bool(self._images) and not self._dialect.is_blind
        if self._listing and self._listing.sees_images is not None:
            return self._listing.sees_images
        return sees_by_name(self._name)

    @property
    def tokens_per_image(self) -> int:
        """What Gemma takes (256 and its marks); others take more for larger pictures."""
        return 280 if "gemma" in self._name.lower() else 1024

    @property
    def unsupported(self) -> dict[str, Sentence]:
        """What it does not heed, as set or as it was refused."""
        why = Sentence("{model} uses a fixed value.", model=self.label)
        return dict.fromkeys(sorted(self._dialect.ignored), why)

    @property
    def _name(self) -> str:
        return self._listing.model if self._listing else self._model

    @property
    def context_tokens(self) -> int | None:
        """The tokens of prompt and answer together; known after the first question or `status`, or never."""
        return self._context_tokens or (self._listing.context_tokens if self._listing else None)

    async def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer the last message; see `ChatModel.stream`.

        Asks again at most twice, and only while nothing has come back: after a failed connection or HTTP 502, 503 or
        504. ``first_token`` covers all of it.

        Raises:
            ContextTooLong: the prompt does not fit.
            ModelLoading: llama.cpp is still reading the model.
            RateLimited: HTTP 429.
            Blocked: a safety filter ended the answer.
            ModelUnavailable: not reachable, refused, broken or too slow.
        """
        clock = asyncio.get_running_loop().time
        response: aiohttp.ClientResponse | None = None
        try:
            started = clock()
            response = await self._ask(messages, parameters)
            parser = AnswerParser(self._problems, context_tokens=self.context_tokens)
            wait = self._limits.first_token - (clock() - started)
            while not parser.done:
                started = clock()
                chunk = await self._read(response, parser, wait)
                wait -= clock() - started  # tokens renew it, llama.cpp's pings do not; a slow reader does not use it up
                if not chunk:
                    break
                tokens = parser.tokens_seen
                for event in joined(parser.feed(chunk)):
                    yield event
                if parser.tokens_seen > tokens:
                    wait = self._limits.between_tokens
                    self._succeeded()
                if parser.finished:
                    wait = min(wait, _STRAGGLER_SECONDS)
            for event in parser.end():
                yield event
            with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(_TAIL_SECONDS):
                    await response.content.readany()
        except ServerProblem as problem:
            if issubclass(problem.kind, ModelUnavailable):
                self._proof = None
            raise await self._explained(problem) from None
        finally:
            if response is not None:
                response.close()  # at once, so that the server stops generating

    async def status(self) -> ModelStatus:
        """Say whether the model can answer; bounded by `STATUS_SECONDS`, never raises.

        The list of models shows that the server is reachable, but an HTTP server goes on answering 200 (/health, too)
        in front of an engine that is broken or stuck. So one token is really generated: at first, after a failed
        answer, when the list has changed, and when the last token is older than ``proof_seconds``. The tokens of
        answers count, so a server that is busy with this chat is not asked for more. One that lists its models and
        generates nothing in time is `UNAVAILABLE` and not `LOADING`, because waiting may never help.
        """
        listed = False
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                offered = await self._list_models()
                listed = True
                async with self._proving:
                    if not self._is_proven(offered):
                        self._proof = None
                        await self._generate_one_token(offered.model)
                        self._succeeded()
        except ServerProblem as problem:
            return await self._why(problem) or problem.as_status()
        except TimeoutError:
            late = self._problems.stuck() if listed else self._problems.silent(STATUS_SECONDS)
            return await self._why(late) or late.as_status()
        except Exception:  # a status never raises, whatever a server sends
            log.exception("status_failed", model=self.id)
            return self._problems.not_compatible("").as_status()
        return ModelStatus(ModelState.READY)

    async def start(self) -> None:
        """Do nothing: the server is somebody else's."""

    async def aclose(self) -> None:
        """Close the connections; answers that are still being written end with an error."""
        await self._server.aclose()

    async def _ask(self, messages: Sequence[Message], parameters: GenerationParameters) -> aiohttp.ClientResponse:
        limit = self._limits.first_token
        try:
            async with asyncio.timeout(limit):
                return await self._ask_again(messages, parameters)
        except TimeoutError:
            raise self._problems.no_first_token(limit) from None

    async def _ask_again(self, messages: Sequence[Message], parameters: GenerationParameters) -> aiohttp.ClientResponse:
        retries = 0
        relisted = False
        while True:
            try:
                offered = self._listing or await self._list_models()
                question = self._dialect.question(offered.model, messages, parameters, self.context_tokens)
                return await self._server.stream(question, context_tokens=self.context_tokens)
            except ServerProblem as problem:
                if problem.unknown_model and not self._model and not relisted:
                    self._listing = None  # the server was started again with another model
                    relisted = True
                    continue
                if self._dialect.gives_way(problem):
                    continue
                if not problem.retryable or retries == RETRIES:
                    raise
            pause = RETRY_SECONDS * 2**retries
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # spreads retries, guards no secret
            retries += 1

    async def _why(self, problem: ServerProblem) -> ModelStatus | None:
        """Ask why there is no server; None where nobody knows."""
        return await self._pods.status() if self._pods and problem.away else None

    async def _explained(self, problem: ServerProblem) -> ModelError:
        status = await self._why(problem)
        if status is None:
            return problem.as_error()
        kind = ModelLoading if status.state is ModelState.LOADING else ModelUnavailable
        reason, fix = cast("Sentence", status.reason), cast("Sentence", status.fix)
        return self._problems.cannot_answer(reason, fix, kind=kind, detail=problem.detail).as_error()

    async def _generate_one_token(self, model: str) -> None:
        while True:
            try:
                return await self._server.complete(self._dialect.one_token(model))
            except ServerProblem as problem:
                if not self._dialect.gives_way(problem):
                    raise

    async def _read(self, response: aiohttp.ClientResponse, parser: AnswerParser, wait: float) -> bytes:
        """Return the next bytes, none at the end of the stream; how a whole answer ends does not matter."""
        if parser.tokens_seen and not parser.finished:
            await pause_input(response, _BATCH_SECONDS)
        try:
            async with asyncio.timeout(max(wait, 0)):
                return await response.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError) as error:
            # RuntimeError: aiohttp's word for a connection that was lost while nobody read from it.
            if parser.finished:
                return b""
            if not isinstance(error, TimeoutError):
                raise self._problems.broken_off(detail=type(error).__name__) from None
            if parser.tokens_seen:
                raise self._problems.no_next_token(self._limits.between_tokens) from None
            raise self._problems.no_first_token(self._limits.first_token) from None

    async def _list_models(self) -> Listing:
        listed = listing(await self._server.list_models(), self._model)
        if listed is None:
            raise self._problems.no_models()
        self._listing = listed
        return listed

    def _succeeded(self) -> None:
        self._proof = _Proof(asyncio.get_running_loop().time(), self._listing)

    def _is_proven(self, listed: Listing) -> bool:
        now = asyncio.get_running_loop().time()
        return self._proof is not None and self._proof.listing == listed and now - self._proof.at < self._proof_seconds


@dataclass(frozen=True, slots=True)
class _Proof:
    """A token was generated at this time of the loop's clock, while the server offered this."""

    at: float
    listing: Listing | None
