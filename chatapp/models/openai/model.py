"""Any server with the OpenAI-compatible chat API: vLLM, llama.cpp, Ollama, LM Studio.

`address` finds the API and `client` sends requests. `request` builds them, and `refusals` reads what a server does not
take in them. `stream` parses the answer. `listing` reads the list of models, `native` what a local server says of its
own, and `readiness` knows whether the model works. `errors`, `choice_errors` and `error_response` classify failures.
aiohttp and not the openai SDK: half the CPU per token, measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
import structlog

from chatapp.domain.conversation import GenerationParameters, Message, Role
from chatapp.domain.errors import ModelError, ModelLoading, ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.models import DEFAULT_TIME_LIMITS, ModelState, ModelStatus
from chatapp.models.failure import Failure
from chatapp.models.openai.address import Address
from chatapp.models.openai.aiohttp_compat import pause_input
from chatapp.models.openai.choice_errors import no_chat_model, no_such_model, not_for_chat
from chatapp.models.openai.client import ApiClient, bearer_key
from chatapp.models.openai.errors import ServerErrors
from chatapp.models.openai.listing import Listing, listing, place_of_url, supports_images_by_name
from chatapp.models.openai.native import NativeApi, NativeState
from chatapp.models.openai.readiness import Readiness, ServerUse
from chatapp.models.openai.refusals import cannot_chat
from chatapp.models.openai.request import Dialect, Negotiation
from chatapp.models.openai.resuming import AnswerSoFar
from chatapp.models.openai.stream import AnswerParser, joined

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from chatapp.domain.conversation import Place
    from chatapp.models import ModelEvent, Price, TimeLimits
    from chatapp.models.kubernetes.pod_watch import PodWatch

    _Sent = tuple[aiohttp.ClientResponse, dict[str, Any]]

STATUS_SECONDS: Final = 5.0
MAX_ANSWER_TOKENS: Final = 32_768
"""Where the server does not say the size of its context: room for a model that thinks."""
RETRIES: Final = 2
RETRY_SECONDS: Final = 0.2
"""The longest first pause before a retry; each further one is twice as long."""

_MOST_CHOICES = 8
_FRESH_SECONDS = 30.0  # for which the context is taken to be as seen, where the server may load the model again
# No status is refused to a named model because there is no list, or none for this key.
_NO_LIST_STATUSES = frozenset({400, 403, 404, 405, 406, 410, 415, 422, 501})
_PROBE_SECONDS = 600.0  # in which large models are loaded from a disk
_PROBE = (Message(id="probe", turn_id="probe", role=Role.USER, content="Hi", created_ms=0),)
# For usage and [DONE], which follow the finish reason: the answer itself is complete. Long enough for a server that
# wrote a reason too early and then pauses.
_AFTER_FINISH_SECONDS = 5.0
_AFTER_DONE_SECONDS = 0.1  # for the end of the response: one that is read to its end keeps its connection
_BATCH_SECONDS = 0.08  # after the first text, in which tokens are read together, as they are shown together
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Question:
    """What an answer is asked for with.

    Attributes:
        first_token: seconds to wait for the first token.
        so_far: what has arrived of the answer.
    """

    messages: Sequence[Message]
    parameters: GenerationParameters
    first_token: float
    so_far: AnswerSoFar


class OpenAICompatibleModel:
    """A `ChatModel` behind an OpenAI-compatible server.

    Args:
        id: short, stable, unique in the catalogue.
        label: its name on the page.
        url: the server's address, see `Address`.
        model: its name on the server; empty: the first one that the server lists and that can chat.
        api_key: sent as a bearer token; nothing is sent when it is empty.
        context_tokens: the context's size, where the server does not say it, or to use less of it.
        images: whether it supports images; None: as the server lists it, else by its name.
        place: where it runs; None: on this computer if the address is, else on another server.
        price: of its tokens.
        ignores: "temperature", "top_p": parameters that it ignores, which are not sent.
        pods: says why it is down, where it runs in the chat's own cluster.
        limits: timeouts.
        use: shared by all models of the same server.
        url_setting: the setting of the address, for error messages.
        key_setting: the setting of the key.
        model_setting: the setting of the model's name; "" where the server itself has told it.

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
        use: ServerUse | None = None,
        url_setting: str = "CHAT_GEMMA_URL",
        key_setting: str = "CHAT_GEMMA_API_KEY",
        model_setting: str = "CHAT_GEMMA_MODEL",
    ) -> None:
        self.id = id
        self.label = label
        address = Address.parse(url, setting=url_setting)
        key = bearer_key(api_key, setting=key_setting)
        self._errors = ServerErrors(label, str(address), bool(key), url_setting, key_setting, model_setting)
        self._server = ApiClient(address, key, connect_seconds=limits.connect, errors=self._errors)
        self._model = model or address.deployment
        self._context_tokens = context_tokens
        self._limits = limits
        self.place = place or place_of_url(address.typed)
        self.price = price
        self._images = images
        self._ignores = tuple(ignores)
        self._dialects: dict[str, Dialect] = {}  # by model
        self._cannot_chat: set[str] = set()  # models that have refused to
        self._pods = pods
        self._listing: Listing | None = None
        self._listed_at = float("-inf")
        self._native = NativeApi(self._server.native)
        self._native_state = NativeState()
        self._use = use or ServerUse()
        self._readiness = Readiness(self._probe)

    writes_titles = True

    @property
    def is_small(self) -> bool:
        """As its server lists it; not before that."""
        return self._listing is not None and self._listing.is_small

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
    def _continues(self) -> bool:
        return self._listing is not None and self._listing.continues

    @property
    def _name(self) -> str:
        return self._listing.model if self._listing else self._model

    @property
    def _dialect(self) -> Dialect:
        return self._dialects.setdefault(self._name, Dialect(self._ignores))

    @property
    def context_tokens(self) -> int | None:
        """The tokens of prompt and answer together: as set, but never more than the server is known to have.

        None before the server was asked, and where it does not say.
        """
        listed = self._listing.context_tokens if self._listing else None
        own = self._native_state.context_tokens.get(self._name)
        if self._context_tokens is None:
            return own or listed
        if own and not self._is_loaded:
            own = None  # the size that it would be loaded with may be set where it does not show
        return min(size for size in (self._context_tokens, own or listed) if size)

    @property
    def max_answer_tokens(self) -> int:
        """As the server said in a refusal, else the size of the context, else `MAX_ANSWER_TOKENS`."""
        longest = self._dialect.max_answer_tokens or self.context_tokens or MAX_ANSWER_TOKENS
        return min(longest, GenerationParameters.MAX_TOKENS_RANGE[1])

    async def read_context(self) -> None:
        """Read the context's size where it is not known, or may have changed since."""
        if self._listing is not None and not self._may_be_reloaded:
            return
        with contextlib.suppress(Failure, TimeoutError):  # the question itself reports them
            async with asyncio.timeout(STATUS_SECONDS):
                await self._list_models()

    def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer the last message; see `ChatModel.stream`.

        Retries at most twice, after a failed connection or HTTP 502, 503 or 504, and after the first byte of an answer
        only where vLLM can continue it (`resuming`). The timeout ``first_token`` includes retries.

        Raises:
            ContextTooLong: the prompt does not fit.
            ModelLoading: llama.cpp is still loading the model.
            RateLimited: HTTP 429.
            Blocked: a safety filter ended the answer.
            ModelUnavailable: unreachable, broken or too slow, or the request was refused.
        """
        return self._stream(messages, parameters, self._limits.first_token)

    async def _stream(
        self, messages: Sequence[Message], parameters: GenerationParameters, first_token: float
    ) -> AsyncGenerator[ModelEvent]:
        self._readiness.running += 1
        so_far = AnswerSoFar()
        question = _Question(messages, parameters, first_token, so_far)
        lost: Failure | None = None
        try:
            while True:
                so_far.begin_request()
                try:
                    async with aclosing(self._answer(question)) as events:
                        async for event in events:
                            if (whole := so_far.add(event)) is not None:
                                yield whole
                except Failure as error:
                    if self._adapts_to(error, so_far):
                        continue
                    if self._continues and so_far.can_resume(error):
                        log.info("answer_resumed", model=self.id, detail=error.detail)
                        so_far.resume()
                        lost = error
                        continue
                    # A server that is away: that the answer was lost says more than why its rest did not come.
                    failure = lost if lost and not so_far.has_begun else error
                    if issubclass(failure.kind, ModelUnavailable):
                        self._readiness.note_failure(failure)
                    raise await self._model_error(failure) from None
                else:
                    return
        finally:
            self._readiness.running -= 1

    async def _answer(self, question: _Question) -> AsyncGenerator[ModelEvent]:
        """Send the question and yield the events of the response."""
        clock = asyncio.get_running_loop().time
        response: aiohttp.ClientResponse | None = None
        parser: AnswerParser | None = None
        try:
            started = clock()
            response, question.so_far.sent = await self._request(question)
            parser = AnswerParser(self._errors, model=self._name, context_tokens=self.context_tokens)
            wait = question.first_token - (clock() - started)
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
                if parser.is_complete:
                    wait = min(wait, _AFTER_FINISH_SECONDS)
            for event in joined(parser.end()):
                yield event
            with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(_AFTER_DONE_SECONDS):
                    await response.content.readany()
        finally:
            if parser is not None:
                question.so_far.count(parser.tokens_seen)
            if response is not None:
                response.close()  # at once, so that the server stops generating

    def _adapts_to(self, error: Failure, so_far: AnswerSoFar) -> bool:
        """Learn from a refusal inside of the stream, as gateways send it; return whether another attempt may succeed.

        Refusals with a status of their own are adapted to before the stream begins.
        """
        if so_far.sent is None or so_far.has_begun:
            return False
        before = self._dialect.form
        return Negotiation(self._dialect).after(error, so_far.sent) is None and self._dialect.form != before

    async def status(self) -> ModelStatus:
        """Return whether the model can answer; bounded by `STATUS_SECONDS`, never raises.

        The list of models is believed until an answer fails: a server that loads models on demand would load one for
        every probe, and evict the one in use. After a failure a probe asks a question like a person's, unless that
        would make the server load the model; it is not aborted when the time of this status is over. A server that
        lists its models and generates nothing in time is `UNAVAILABLE` and not `LOADING`, as waiting may never help.
        """
        listed = False
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                before, current = self._listing, await self._list_models()
                listed = True
                await self._check_failure(before, current)
        except Failure as error:
            if error.away:  # once it runs again, it has another life
                self._native.forget()
                self._readiness.forget()
            return await self._pod_status(error) or error.as_status()
        except TimeoutError:
            timeout = self._errors.stuck() if listed else self._errors.silent(STATUS_SECONDS)
            return await self._pod_status(timeout) or timeout.as_status()
        except Exception:  # a status never raises, whatever a server sends
            log.exception("status_failed", model=self.id)
            return self._errors.not_compatible("").as_status()
        loads_first = self._native_state.loaded is not None and not self._is_loaded
        return ModelStatus(ModelState.READY, Sentence("starts with the first question") if loads_first else "")

    async def _check_failure(self, before: Listing | None, current: Listing) -> None:
        """Raise the last failure if it still stands, and that of a model which the server does not have."""
        readiness = self._readiness
        if current.lacks_model:
            raise no_such_model(self._errors, current.model)
        if readiness.failure is None:
            return
        is_other = before is not None and (before.models, before.model) != (current.models, current.model)
        if is_other or readiness.failure.away:  # another model, or a server that runs again
            readiness.forget()
        elif self._may_probe:
            await readiness.probe()
        else:
            readiness.let_pass()
        if readiness.failure is not None:
            raise readiness.failure

    @property
    def _may_probe(self) -> bool:
        if self._readiness.is_probing:
            return True
        if self._readiness.running:
            return False  # a question is on its way, and will show it
        if self._native_state.loaded is not None:
            return self._is_loaded
        return not self._use.has_other(self._name)

    @property
    def _is_loaded(self) -> bool:
        return self._name in (self._native_state.loaded or ())

    @property
    def _may_be_reloaded(self) -> bool:
        """Whether the server may load the model with another context than it was seen with."""
        if not self._native_state.cuts_prompts:
            return False
        return not self._is_loaded or asyncio.get_running_loop().time() - self._listed_at > _FRESH_SECONDS

    async def start(self) -> None:
        """Do nothing: the server is not managed by the chat."""

    def wake(self) -> None:
        """Do nothing: whether the server runs is up to others."""

    async def aclose(self) -> None:
        """Close the connections; running answers end with an error."""
        await self._readiness.aclose()
        if self._pods:
            await self._pods.aclose()
        await self._server.aclose()

    async def _request(self, question: _Question) -> _Sent:
        try:
            async with asyncio.timeout(question.first_token):
                return await self._request_with_retries(question)
        except TimeoutError:
            raise self._errors.first_token_timeout(question.first_token) from None

    async def _request_with_retries(self, question: _Question) -> _Sent:
        retries = 0
        choices = 0  # of another model, where none is set
        while True:
            try:
                return await self._negotiate(question)
            except Failure as error:
                if self._chooses_again(error) and choices < _MOST_CHOICES:
                    choices += 1
                    continue
                if not error.retryable or retries == RETRIES:
                    raise
            pause = RETRY_SECONDS * 2**retries
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # jitter, not a secret
            retries += 1

    async def _negotiate(self, question: _Question) -> _Sent:
        """Send the question, and again without what the server refuses as long as anything is left to give way."""
        current = self._listing or await self._first_listing()
        negotiation = Negotiation(self._dialect)
        while True:
            request = question.so_far.request(
                negotiation.form.request(current.model, question.messages, question.parameters, self.context_tokens)
            )
            try:
                response = await self._server.stream(request, context_tokens=self.context_tokens)
            except Failure as error:
                failure = negotiation.after(error, request)
                if failure is not None:
                    raise failure from None
            else:
                negotiation.succeed()
                return response, request

    def _chooses_again(self, error: Failure) -> bool:
        """Return whether another model may answer, where none is set: the server has another one, or this cannot chat.

        Raises:
            Failure: a model that is set cannot chat.
        """
        refuses = cannot_chat(error.reported)
        if self._model:
            if refuses:
                models = self._listing.models if self._listing else ()
                raise not_for_chat(self._errors, self._model, models) from None
            return False
        if refuses:
            self._cannot_chat.add(self._name)
        if refuses or error.unknown_model:
            self._listing = None  # it may be another one by now
            return True
        return False

    async def _pod_status(self, error: Failure) -> ModelStatus | None:
        """Return why the server is down; None where it is not, or Kubernetes does not say.

        A load balancer in front of the pods answers while there is none: with 500 or 503, and no reason of the model's.
        """
        status = error.reported.status if error.reported and not error.is_specific else 0
        return await self._pods.status() if self._pods and (error.away or status >= 500) else None

    async def _model_error(self, error: Failure) -> ModelError:
        status = await self._pod_status(error)
        if status is None:
            return error.as_model_error()
        kind = ModelLoading if status.state is ModelState.LOADING else ModelUnavailable
        reason, fix = cast("Sentence", status.reason), cast("Sentence", status.fix)
        return self._errors.cannot_answer(reason, fix, kind=kind, detail=error.detail).as_model_error()

    async def _probe(self) -> None:
        """Ask a question like a person's, up to the first text of its answer.

        It waits longer: a model that takes longer to load than people wait would be loaded again for each of them.
        """
        limit = max(self._limits.first_token, _PROBE_SECONDS)
        with contextlib.suppress(ModelError):
            async with aclosing(self._stream(_PROBE, GenerationParameters(), limit)) as events:
                async for _ in events:
                    self._note_token()
                    return

    async def _read(self, response: aiohttp.ClientResponse, parser: AnswerParser, wait: float) -> bytes:
        """Return the next bytes, none at the end of the stream; errors after a complete answer do not matter."""
        if parser.tokens_seen and not parser.is_complete:
            await pause_input(response, _BATCH_SECONDS)
        try:
            async with asyncio.timeout(max(wait, 0)):
                return await response.content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError) as error:
            # RuntimeError: aiohttp's, for a connection that was lost while its input was paused.
            if parser.is_complete:
                return b""
            if not isinstance(error, TimeoutError):
                raise self._errors.interrupted(detail=type(error).__name__) from None
            if parser.tokens_seen:
                raise self._errors.next_token_timeout(self._limits.between_tokens) from None
            raise self._errors.first_token_timeout(self._limits.first_token) from None

    async def _first_listing(self) -> Listing:
        """Return the list of models, which is needed only where no model is set."""
        try:
            return await self._list_models()
        except Failure as error:
            if not self._model or error.retryable or error.away or error.kind is ModelLoading:
                raise
        return Listing((), self._model)

    async def _list_models(self) -> Listing:
        try:
            entries = await self._server.list_models()
        except Failure as error:
            status = error.reported.status if error.reported else 0
            if not (self._model and (error.wrong_address or status in _NO_LIST_STATUSES)):
                raise
            entries = []
        current = self._listing.model if self._listing else ""
        if current not in {entry["id"] for entry in entries}:
            current = ""
        state = await self._native.state(entries, self._model or current)
        names = [entry["id"] for entry in entries]
        unlisted = [{"id": name} for name in state.entries if name == self._model and name not in names]
        entries = [{**entry, **state.entries.get(entry["id"], {})} for entry in [*entries, *unlisted]]
        listed = listing(
            entries, self._model, loaded=state.loaded or (), current=current, cannot_chat=self._cannot_chat
        )
        if not listed.model:
            raise no_chat_model(self._errors, listed.models) if listed.models else self._errors.no_models()
        self._listing, self._native_state = listed, state
        self._listed_at = asyncio.get_running_loop().time()
        return listed

    def _note_token(self) -> None:
        self._readiness.note_token()
        self._use.note(self._name)
