"""Gemini through google-genai: on Vertex AI with Google Cloud credentials, or on the Gemini API with a key.

Read top to bottom: the model, what it makes of an answer, and what it makes of a failure (a table of rules).
google.genai is imported on first use and in a thread: it costs 0.5 s and 20 MB, which a chat without Gemini never pays.
"""

from __future__ import annotations

import asyncio
import math
import re
from contextlib import aclosing, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp

from chatapp.conversation import FinishReason, Role, Usage
from chatapp.errors import Blocked, ContextTooLong, ModelError, ModelUnavailable, RateLimited
from chatapp.models import Finish, ModelState, ModelStatus, TextDelta, TimeLimits
from chatapp.models.prompt import alternating_turns, clean_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from aiohttp.connector import Connection
    from google import genai
    from google.auth.credentials import Credentials
    from google.genai import errors, types

    from chatapp.conversation import GenerationParameters, Message
    from chatapp.models import ModelEvent

DEFAULT_CONTEXT_TOKENS: Final = 1_048_576
"""Context window of every Gemini since 2.5
(https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/guides/gemini-3-5-flash)."""

THINKING_HEADROOM: Final = 4096
"""Tokens added to ``max_output_tokens`` for a model whose thinking cannot be limited; with the largest Max tokens
(4096) it stays within the 8192 that older models allow."""

STATUS_SECONDS: Final = 5.0
RETRY_SECONDS: Final = (0.5, 1.5)
"""Pauses before the second and the third attempt; there is no fourth."""

_BYTES_PER_TOKEN = 5  # of UTF-8, rather too many: only ends an answer that Vertex AI does not count while it streams
_STRAGGLER_SECONDS = 0.5  # for what follows the finish reason; a stream that is read to its end keeps its connection
_DEFAULT_LIMITS = TimeLimits()


class GeminiModel:
    """Gemini as a `ChatModel`: on Vertex AI where ``project`` is set, else on the Gemini API with ``api_key``.

    Args:
        id: short, stable, unique in the catalogue.
        label: what a person calls it.
        model: Gemini's model id.
        project: Google Cloud project; asks for Application Default Credentials unless ``credentials`` are given.
        location: Vertex AI location.
        api_key: key of the Gemini API, not used with ``project``.
        base_url: another address of the API, such as a proxy's.
        limits: how long to wait, in seconds.
        thinking_tokens: tokens the model may think before it answers, on top of Max tokens.
        credentials: instead of Application Default Credentials.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the protocol's name for it
        label: str,
        *,
        model: str = "gemini-3.5-flash-lite",
        project: str = "",
        location: str = "global",
        api_key: str = "",
        base_url: str | None = None,
        limits: TimeLimits = _DEFAULT_LIMITS,
        thinking_tokens: int = 0,
        credentials: Credentials | None = None,
    ) -> None:
        self.id = id
        self.label = label
        self._account = _Account(model, project, location or "global", api_key)
        self._base_url = base_url or None
        self._limits = limits
        self._thinking_tokens = thinking_tokens
        self._refuses_budget = False  # learned from a refusal
        self._needs_head_room = False  # learned from an answer that was all thinking
        self._credentials = credentials
        self._context_tokens: int | None = None
        self._connections: dict[asyncio.AbstractEventLoop, asyncio.Task[_Connection]] = {}

    @property
    def context_tokens(self) -> int | None:
        """The tokens a prompt may have: what the Gemini API said at the last `status`, else the Flash models' limit."""
        return self._context_tokens or DEFAULT_CONTEXT_TOKENS

    async def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer the last message; see `ChatModel.stream`.

        Asks again at most twice, and only while nothing has come back: after a failed connection or HTTP 500, 502, 503
        or 504. ``first_token`` covers all of it, from the credentials to the first text.

        Raises:
            RateLimited: a quota is used up (HTTP 429).
            ContextTooLong: the prompt has more tokens than the model takes.
            Blocked: the prompt or the answer was refused; the sentence says why.
            ModelUnavailable: not set up, refused, not reachable, broken or too slow.
            ModelError: the answer ended without any text.
        """
        if not self._account.is_set_up:
            raise ModelUnavailable(f"Gemini is not set up. To use it, {_NOT_SET_UP.fix}.")
        answer = _Answer()
        async with aclosing(self._timed(self._chunks(contents(messages), parameters), answer)) as chunks:
            async for chunk in chunks:
                if text := answer.add(chunk):
                    yield TextDelta(text)
                if self._head_room and not answer.finish and answer.tokens >= parameters.max_tokens:
                    answer.finish = "MAX_TOKENS"  # ours: the server was allowed more, to have room for thinking
                    break
        if answer.thought_it_all_away and self._head_room < THINKING_HEADROOM:
            self._needs_head_room = True  # the budget was accepted and not kept: nothing was shown yet, so ask again
            async with aclosing(self.stream(messages, parameters)) as events:
                async for event in events:
                    yield event
            return
        for event in answer.end(int(parameters.max_tokens)):
            yield event

    async def status(self) -> ModelStatus:
        """Say whether Gemini can answer, in about 5 s at most and free of charge; never raises.

        Counts the tokens of one word, which proves credentials, permission and model and is not billed
        (https://ai.google.dev/gemini-api/docs/tokens).
        """
        if not self._account.is_set_up:
            return ModelStatus(ModelState.NOT_SET_UP, "not set up", _NOT_SET_UP.fix)
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                client = await self._client()
                await client.aio.models.count_tokens(model=self._account.model, contents="Hello")
        except Exception as error:  # noqa: BLE001 - a status never raises, whatever the SDK does
            problem = self._problem(error)
            return ModelStatus(ModelState.UNAVAILABLE, problem.reason, problem.fix)
        if not self._account.project and self._context_tokens is None:
            with suppress(Exception):  # good to know, no more: Vertex AI does not tell at all
                async with asyncio.timeout(1):
                    self._context_tokens = (await client.aio.models.get(model=self._account.model)).input_token_limit
        return ModelStatus(ModelState.READY)

    async def start(self) -> None:
        """Import the SDK and make the client, so that the first question does not wait for them."""
        if self._account.is_set_up:
            await self._client()

    async def aclose(self) -> None:
        """Close this loop's client; running answers end with an error."""
        if opening := self._connections.pop(asyncio.get_running_loop(), None):
            with suppress(Exception):  # a client that could not be made has nothing to close
                await (await opening).aclose()

    @property
    def _head_room(self) -> int:
        unlimited = self._refuses_budget or self._needs_head_room
        return max(self._thinking_tokens, THINKING_HEADROOM if unlimited else 0)

    def _config(self, parameters: GenerationParameters) -> types.GenerateContentConfigDict:
        config: types.GenerateContentConfigDict = {
            "temperature": parameters.temperature,
            "top_p": parameters.top_p,
            # Thinking counts as output: without room of its own it can eat a small limit and leave no answer.
            "max_output_tokens": int(parameters.max_tokens) + self._head_room,
            "automatic_function_calling": {"disable": True},
            "automatic_continuation": False,  # else the SDK asks again by itself, after what it calls a hop
        }
        if not self._refuses_budget:
            config["thinking_config"] = {"thinking_budget": self._thinking_tokens}
        if parameters.system_prompt.strip():
            config["system_instruction"] = clean_text(parameters.system_prompt)
        return config

    async def _timed(
        self, chunks: AsyncGenerator[types.GenerateContentResponse], answer: _Answer
    ) -> AsyncGenerator[types.GenerateContentResponse]:
        """Hand the chunks on within the time limits; what the answer holds so far says which limit counts."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._limits.first_token
        async with aclosing(chunks):
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        chunk = await anext(chunks, None)
                except (TimeoutError, ModelError) as error:
                    if answer.finish:
                        return  # the answer is whole: only what would have followed is missing
                    raise error if isinstance(error, ModelError) else self._too_slow(answer) from None
                if chunk is None:
                    return
                yield chunk
                if answer.finish:
                    deadline = clock() + _STRAGGLER_SECONDS
                elif answer.has_text:
                    deadline = clock() + self._limits.between_tokens

    async def _chunks(
        self, turns: list[types.ContentDict], parameters: GenerationParameters
    ) -> AsyncGenerator[types.GenerateContentResponse]:
        """Ask, ask again where that is safe, and turn whatever the SDK raises into a `ModelError`."""
        pauses = iter(RETRY_SECONDS)
        while True:
            started = False
            config = self._config(parameters)
            responses: list[aiohttp.ClientResponse] = []
            _responses.set(responses)
            try:
                client = await self._client()
                # The dictionaries are the SDK's own TypedDicts; its signature asks for a list of their union.
                async for chunk in await client.aio.models.generate_content_stream(
                    model=self._account.model, contents=cast("Any", turns), config=config
                ):
                    started = True
                    yield chunk
            except Exception as error:  # noqa: BLE001 - the SDK raises its own, aiohttp's, google-auth's, pydantic's ...
                problem = self._problem(error)
                if not started and problem.refuses_thinking and "thinking_config" in config:
                    self._refuses_budget = True
                    continue
                if not started and problem.again and (pause := next(pauses, None)) is not None:
                    await asyncio.sleep(pause)
                    continue
                # Without its cause: the SDK's errors quote what was sent and received, which no log may hold.
                raise problem.error() from None
            finally:
                for response in responses:
                    response.close()  # leaves the connection open if the response was read to its end
            return

    async def _client(self) -> genai.Client:
        loop = asyncio.get_running_loop()
        opening = self._connections.get(loop)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception())):
            opening = self._connections[loop] = loop.create_task(self._open())
        return (await asyncio.shield(opening)).client

    async def _open(self) -> _Connection:
        session = aiohttp.ClientSession(
            connector=_Connector(self._limits.connect), middlewares=(_remember_response,), trust_env=True
        )
        try:
            return _Connection(await asyncio.to_thread(self._make_client, session), session)
        except BaseException:
            await session.close()
            raise

    def _make_client(self, session: aiohttp.ClientSession) -> genai.Client:
        from google import genai  # noqa: PLC0415 - 0.5 s and 20 MB, see the top
        from google.genai import types  # noqa: PLC0415

        options = types.HttpOptions(
            base_url=self._base_url,
            # A session of our own, because the SDK cannot limit connecting alone.
            aiohttp_client=session,
            # One attempt, said out loud: with no options at all the SDK waits 1 to 10 s after a failed connection and
            # asks once more (google-genai 3.4, _api_client.py, implicit_retry).
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        if not self._account.project:
            return genai.Client(vertexai=False, api_key=self._account.api_key, http_options=options)
        return genai.Client(
            vertexai=True,
            project=self._account.project,
            location=self._account.location,
            credentials=self._credentials,
            http_options=options,
        )

    def _problem(self, error: Exception) -> _Problem:
        return _diagnosed(error, self._account, self._limits)

    def _too_slow(self, answer: _Answer) -> ModelError:
        if answer.has_text:
            return ModelUnavailable(
                "Gemini stopped in the middle of the answer: nothing came for "
                f"{self._limits.between_tokens:g} seconds. Send the question again."
            )
        return ModelUnavailable(
            f"Gemini did not begin to answer within {self._limits.first_token:g} seconds. Send the question again, "
            "or make it shorter."
        )


def contents(messages: Sequence[Message]) -> list[types.ContentDict]:
    """Return the conversation as Gemini wants it: roles ``user`` and ``model`` in turn, the first and last a user's."""
    turns = alternating_turns(messages)
    while turns and turns[-1][0] is Role.ASSISTANT:
        turns.pop()
    return [
        {"role": "user" if role is Role.USER else "model", "parts": [{"text": clean_text(text)}]}
        for role, text in turns
    ]


@dataclass(frozen=True, slots=True)
class _Account:
    """What is asked and on whose behalf."""

    model: str
    project: str
    location: str
    api_key: str

    @property
    def is_set_up(self) -> bool:
        return bool(self.project or self.api_key)


@dataclass(frozen=True, slots=True)
class _Connection:
    client: genai.Client
    session: aiohttp.ClientSession

    async def aclose(self) -> None:
        await self.client.aio.aclose()
        self.client.close()
        await self.session.close()


class _Connector(aiohttp.TCPConnector):
    """Limits connecting (name, TCP and TLS), which google-genai cannot: it hands aiohttp one total time or none."""

    def __init__(self, seconds: float) -> None:
        super().__init__(limit=0)
        self._seconds = seconds

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:  # noqa: ANN401 - aiohttp's, handed on as they are
        async with asyncio.timeout(self._seconds):  # aiohttp makes a ConnectionTimeoutError of it
            return await super().connect(*args, **kwargs)


_responses: ContextVar[list[aiohttp.ClientResponse]] = ContextVar("responses")


async def _remember_response(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Let `GeminiModel._chunks` close the response of the stream it opened, which the SDK gives no way to.

    Closing the SDK's generator does not close the request: its HttpResponse and the generator over it refer to each
    other, so that they wait for the garbage collector while Gemini writes on (google-genai 3.4, _api_client.py).
    """
    response = await handler(request)
    responses = _responses.get([])
    if not responses:  # else it belongs to a request that came after, in the same task
        responses.append(response)
    return response


@dataclass(slots=True)
class _Answer:
    """What the chunks of one stream add up to."""

    has_text: bool = False
    finish: str = ""
    blocked_prompt: str = ""
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    thinking_tokens: int | None = None
    _text_bytes: int = 0

    def add(self, chunk: types.GenerateContentResponse) -> str:
        """Take in one chunk and return the text to show, which may be empty."""
        if counts := chunk.usage_metadata:  # running totals; Vertex AI sends some of them without any number
            self.prompt_tokens = _latest(counts.prompt_token_count, self.prompt_tokens)
            self.answer_tokens = _latest(counts.candidates_token_count, self.answer_tokens)
            self.thinking_tokens = _latest(counts.thoughts_token_count, self.thinking_tokens)
        if chunk.prompt_feedback and chunk.prompt_feedback.block_reason:
            self.blocked_prompt = str(chunk.prompt_feedback.block_reason.value)
        if not chunk.candidates:
            return ""
        candidate = chunk.candidates[0]
        if candidate.finish_reason and candidate.finish_reason.value != "FINISH_REASON_UNSPECIFIED":
            self.finish = str(candidate.finish_reason.value)
        parts = (candidate.content and candidate.content.parts) or []
        text = clean_text("".join(part.text for part in parts if part.text and not part.thought))
        self.has_text = self.has_text or bool(text.strip())
        self._text_bytes += len(text.encode())
        return text

    @property
    def thought_it_all_away(self) -> bool:
        """Whether thinking used up the whole limit, so that no text was left."""
        return not self.has_text and bool(self.thinking_tokens) and _ENDS.get(self.finish) is FinishReason.LENGTH

    @property
    def tokens(self) -> int:
        """Tokens of the answer so far: the server's count, else an estimate that is rather too low."""
        return self._text_bytes // _BYTES_PER_TOKEN if self.answer_tokens is None else self.answer_tokens

    def end(self, max_tokens: int) -> Iterator[ModelEvent]:
        """Yield the usage and how the answer finished, or raise the `ModelError` that says why there is none."""
        if self.prompt_tokens is not None or self.answer_tokens is not None:
            yield Usage(prompt_tokens=self.prompt_tokens, completion_tokens=self.answer_tokens)
        if self.blocked_prompt:
            raise Blocked(
                _PROMPT_BLOCKED.get(self.blocked_prompt)
                or f"Google refused the question and gave the reason {self.blocked_prompt}. Ask in another way.",
                detail=f"block_reason {self.blocked_prompt}",
            )
        if not self.finish:
            raise ModelUnavailable(
                "The answer of Gemini broke off before its end. Send the question again.",
                detail="the stream ended without a finish reason",
            )
        if self.finish not in _ENDS:
            raise Blocked(
                _ANSWER_STOPPED.get(self.finish)
                or f"Gemini ended the answer early and gave the reason {self.finish}. Ask in another way.",
                detail=f"finish_reason {self.finish}",
            )
        if not self.has_text:
            raise ModelError(self._why_empty(max_tokens), detail=f"no text, finish_reason {self.finish}")
        yield Finish(_ENDS[self.finish])

    def _why_empty(self, max_tokens: int) -> str:
        if _ENDS[self.finish] is FinishReason.STOP:
            return "Gemini ended its answer without a word. Send the question again, or ask in another way."
        if self.thought_it_all_away:
            return (
                f"Gemini spent all its tokens on thinking ({self.thinking_tokens}) and none was left for the answer. "
                f"Raise Max tokens (now {max_tokens})."
            )
        return f"Max tokens (now {max_tokens}) was used up before there was any text. Raise Max tokens."


def _latest(new: int | None, old: int | None) -> int | None:
    return old if new is None else new


_ENDS: Final = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.LENGTH,  # "reached the per-request token limit" (google-genai 3.4, types.py)
}

_MALFORMED = "Gemini produced an answer that is no plain text and cannot be shown. Send the question again."
_ABOUT_PICTURES = "Gemini tried to answer with a picture and stopped. Ask for an answer in words."
_ANSWER_STOPPED: Final = {
    "SAFETY": "Gemini stopped: Google's safety filter holds the answer to be unsafe. Ask in another way.",
    "RECITATION": "Gemini stopped: the answer came too close to a published text. Ask for it in other words.",
    "BLOCKLIST": "Gemini stopped: the answer held a word from a list of forbidden words. Ask in another way.",
    "PROHIBITED_CONTENT": "Gemini stopped: Google prohibits content like this answer. Ask about something else.",
    "SPII": "Gemini stopped: the answer may hold sensitive personal data. Ask without it.",
    "LANGUAGE": "Gemini stopped: it does not support this language. Ask in another language.",
    "MODEL_ARMOR": "Gemini stopped: Model Armor, the content filter of this project, blocked the answer. "
    "Ask in another way, or ask who runs this chat.",
    "ESCALATION": "Gemini stopped: a rule of Google's filtered the question out. Ask in another way.",
    "PUP_LIMITED_DISABLED": "Google has limited or closed this account for breaking its use policy. "
    "Ask who runs this chat.",
    "OTHER": "Gemini stopped and gave no reason. Send the question again, or ask in another way.",
    "MALFORMED_RESPONSE": _MALFORMED,
    "MALFORMED_FUNCTION_CALL": _MALFORMED,
    "UNEXPECTED_TOOL_CALL": _MALFORMED,
    "TOO_MANY_TOOL_CALLS": _MALFORMED,
    "MISSING_THOUGHT_SIGNATURE": _MALFORMED,
    "IMAGE_SAFETY": _ABOUT_PICTURES,
    "IMAGE_PROHIBITED_CONTENT": _ABOUT_PICTURES,
    "IMAGE_RECITATION": _ABOUT_PICTURES,
    "IMAGE_OTHER": _ABOUT_PICTURES,
    "NO_IMAGE": _ABOUT_PICTURES,
}
_PROMPT_BLOCKED: Final = {
    "SAFETY": "Google's safety filter holds the question to be unsafe. Ask in another way.",
    "BLOCKLIST": "The question holds a word from a list of forbidden words. Ask in another way.",
    "PROHIBITED_CONTENT": "Google prohibits content like this question. Ask about something else.",
    "MODEL_ARMOR": "Model Armor, the content filter of this project, blocked the question. "
    "Ask in another way, or ask who runs this chat.",
    "JAILBREAK": "Google took the question for an attempt to get around its rules. Ask in another way.",
    "IMAGE_SAFETY": "Google holds the question to be unsafe for making pictures. Ask in another way.",
    "OTHER": "Google refused the question and gave no reason. Ask in another way, or in another language.",
}


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why there is no answer and what would help, in words that fit into "<reason>. To use it, <fix>."."""

    reason: str
    fix: str
    kind: type[ModelError] = ModelUnavailable
    again: bool = False  # asking once more is safe and may help
    refuses_thinking: bool = False
    detail: str = ""
    prompt_tokens: int | None = None
    context_tokens: int | None = None

    def error(self) -> ModelError:
        sentence = " ".join(f"{part[0].upper()}{part[1:]}." for part in (self.reason, self.fix))
        if self.kind is ContextTooLong:
            return ContextTooLong(
                sentence, prompt_tokens=self.prompt_tokens, context_tokens=self.context_tokens, detail=self.detail
            )
        return self.kind(sentence, detail=self.detail)


_NOT_SET_UP: Final = _Problem(
    "Gemini is not set up",
    "set GOOGLE_CLOUD_PROJECT for Gemini on Vertex AI, or GEMINI_API_KEY for the Gemini API, and start again",
)
_LOGIN: Final = "run `gcloud auth application-default login`, or on a server check its service account"
_NETWORK: Final = "check this computer's network, and its proxy if it has one"
_SEND_AGAIN: Final = "send the question again"


def _diagnosed(error: Exception, account: _Account, limits: TimeLimits) -> _Problem:
    from google.auth import exceptions as auth  # noqa: PLC0415 - whoever raised the error has imported it already
    from google.genai import errors  # noqa: PLC0415

    if isinstance(error, errors.APIError):
        return _refusal(error, account)
    unreachable = _Problem("Gemini cannot be reached", _NETWORK, again=True)
    unconnected = f"Gemini cannot be reached: there was no connection within {limits.connect:g} seconds"
    untrusted = "the connection to Gemini is not trusted, because its certificate cannot be verified"
    # The first that fits counts: a class stands before its base.
    known: tuple[tuple[type[Exception], _Problem], ...] = (
        (auth.DefaultCredentialsError, _Problem("this computer has no Google Cloud credentials", _LOGIN)),
        (auth.RefreshError, _Problem("the Google Cloud credentials have expired or were withdrawn", _LOGIN)),
        (auth.TransportError, unreachable),
        (auth.GoogleAuthError, _Problem("the Google Cloud credentials cannot be used", _LOGIN)),
        (aiohttp.ConnectionTimeoutError, _Problem(unconnected, _NETWORK)),
        (
            aiohttp.ClientSSLError,
            _Problem(untrusted, "if a proxy opens encrypted traffic here, set SSL_CERT_FILE to its certificates"),
        ),
        (aiohttp.ClientConnectorError, unreachable),
        (aiohttp.ClientError, _Problem("the connection to Gemini broke off", _SEND_AGAIN, again=True)),
        # Only a status is cut off by this; an answer's limits are kept in `_timed`.
        (TimeoutError, _Problem(f"Gemini did not answer within {STATUS_SECONDS:g} seconds", "try again in a minute")),
        (OSError, _Problem("the connection to Gemini broke off", _SEND_AGAIN, again=True)),
        # aiohttp's, for a session that was closed meanwhile: the app is about to end.
        (RuntimeError, _Problem("the connection to Gemini broke off", _SEND_AGAIN)),
        (Exception, _Problem("Gemini sent something that cannot be read", _SEND_AGAIN)),
    )
    problem = next(problem for kind, problem in known if isinstance(error, kind))
    # Only the transport's words: those of pydantic and json quote the answer.
    harmless = (aiohttp.ClientError, OSError, RuntimeError, auth.GoogleAuthError)
    words = f": {error}" if isinstance(error, harmless) and str(error) else ""
    return replace(problem, detail=_scrubbed(f"{type(error).__name__}{words}", account))


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An error of Google's API: HTTP status, its name, the words, and the reasons in google.rpc.ErrorInfo."""

    code: int
    status: str
    message: str
    reasons: frozenset[str]
    vertex: bool

    def says(self, *words: str) -> bool:
        return any(word in self.message.lower() for word in words)


def _refusal(error: errors.APIError, account: _Account) -> _Problem:
    details = _error_details(error.details)
    refusal = _Refusal(
        code=error.code,
        status=str(error.status or ""),
        message=str(error.message or ""),
        reasons=frozenset(str(detail["reason"]) for detail in details if detail.get("reason")),
        vertex=bool(account.project),
    )
    rule = next(problem for fits, problem in _RULES if fits(refusal))
    facts = _facts(account, details)
    # Both APIs name two numbers, what was sent and what fits: "... token count (1200293) exceeds ... (1048576)."
    counts = re.search(r"token count\D*(\d+)\D+(\d+)", refusal.message) if rule.kind is ContextTooLong else None
    facts["size"] = f" ({int(counts[1]):,} tokens, and {int(counts[2]):,} fit)" if counts else ""
    reasons = ",".join(sorted(refusal.reasons))
    return replace(
        rule,
        reason=rule.reason.format_map(facts),
        fix=rule.fix.format_map(facts),
        refuses_thinking=refusal.code == 400 and refusal.says("thinking"),
        prompt_tokens=int(counts[1]) if counts else None,
        context_tokens=int(counts[2]) if counts else None,
        detail=_scrubbed(f"HTTP {refusal.code} {refusal.status} {reasons}: {refusal.message}", account),
    )


def _error_details(body: object) -> list[dict[str, Any]]:
    """Return the google.rpc details of an error body; a proxy on the way may have sent anything else."""
    body = body.get("error", body) if isinstance(body, dict) else None
    details = body.get("details") if isinstance(body, dict) else None
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


def _facts(account: _Account, details: list[dict[str, Any]]) -> dict[str, str]:
    """Return what the sentences of `_RULES` name."""
    service = "aiplatform.googleapis.com" if account.project else "generativelanguage.googleapis.com"
    consumer = ""
    wait = "in a minute"
    for detail in details:
        metadata = detail.get("metadata") or {}
        if re.fullmatch(r"[a-z]+\.googleapis\.com", str(metadata.get("service"))):
            service = metadata["service"]
        if named := re.fullmatch(r"projects/([\w:.-]+)", str(metadata.get("consumer"))):
            consumer = named[1]
        if delay := re.fullmatch(r"(\d+(?:\.\d+)?)s", str(detail.get("retryDelay"))):
            wait = f"in {max(1, math.ceil(float(delay[1])))} s"
    project = account.project or consumer
    return {
        "model": account.model,
        "project": project,
        "flag": f" --project={project}" if project else "",
        "who": f"project {account.project}" if account.project else "this API key",
        "location": account.location,
        "where": f" in location {account.location}" if account.project else "",
        "service": service,
        "wait": wait,
    }


def _scrubbed(words: str, account: _Account) -> str:
    """Return words for the log: without a key, without what the server quotes of the request, and not too long."""
    words = re.sub(r'".*"', '"..."', words, flags=re.DOTALL)
    words = re.sub(r"AIza[\w-]{20,}", "(key)", words.replace(account.api_key or "\0", "(key)"))
    return words[:300]


_NEW_KEY: Final = "make a new one at https://aistudio.google.com/apikey and set GEMINI_API_KEY"
_BILLING: Final = _Problem(
    "billing is off for {who}", "link the project to a billing account in the Google Cloud console"
)

_TOO_LONG: Final = ("maximum number of tokens", "only supports up to", "payload size exceeds")

# The first rule that fits counts. The words are Google's own, as issue trackers quote them; reasons are those of
# google.rpc.ErrorInfo (https://cloud.google.com/apis/design/errors).
_RULES: Final[tuple[tuple[Callable[[_Refusal], bool], _Problem], ...]] = (
    (
        lambda it: it.code == 429,
        _Problem(
            "Gemini takes no more requests now, because the quota of {who} is used up",
            "try again {wait}; if it happens often, ask Google for a higher quota",
            RateLimited,
        ),
    ),
    (
        lambda it: it.code == 413 or (it.code == 400 and it.says(*_TOO_LONG)),
        _Problem("the conversation is too long for {model}{size}", "start a new chat, or send less", ContextTooLong),
    ),
    (
        lambda it: it.says("reported as leaked"),
        _Problem("Google has blocked the API key because it was found in public", _NEW_KEY),
    ),
    (lambda it: it.says("api key expired"), _Problem("the API key has expired", _NEW_KEY)),
    (
        lambda it: "API_KEY_INVALID" in it.reasons or (it.code == 401 and not it.vertex),
        _Problem("Google does not accept the API key", _NEW_KEY),
    ),
    (
        lambda it: any(reason.startswith("API_KEY_") for reason in it.reasons),
        _Problem(
            "the API key is restricted and may not be used for this",
            "allow {service} and this computer's address in the key's restrictions, or set another GEMINI_API_KEY",
        ),
    ),
    (lambda it: it.code == 401, _Problem("Google does not accept the credentials of this computer", _LOGIN)),
    (
        lambda it: "SERVICE_DISABLED" in it.reasons or (it.code == 403 and it.says("has not been used in project")),
        _Problem(
            "the API {service} is not enabled", "run `gcloud services enable {service}{flag}` and wait a few minutes"
        ),
    ),
    (lambda it: "BILLING_DISABLED" in it.reasons or (it.code in {400, 403} and it.says("billing")), _BILLING),
    (
        lambda it: it.says("user location"),
        _Problem(
            "Google does not offer the Gemini API where this computer is",
            "use Gemini on Vertex AI instead: set GOOGLE_CLOUD_PROJECT",
        ),
    ),
    (
        lambda it: it.vertex and it.code == 400 and it.says("location", "region"),
        _Problem(
            "Vertex AI does not offer {model} in location {location}",
            "set GOOGLE_CLOUD_LOCATION to global, or to a location that has it",
        ),
    ),
    (
        lambda it: bool(it.reasons & {"CONSUMER_INVALID", "CONSUMER_SUSPENDED"}),
        _Problem("Google knows no active project {project}", "set GOOGLE_CLOUD_PROJECT to the id of your own project"),
    ),
    (lambda it: it.status == "FAILED_PRECONDITION", _BILLING),
    (
        lambda it: it.code == 404,
        _Problem(
            "the model {model} does not exist{where} or is closed to {who}",
            "set CHAT_GEMINI_MODEL to one that is open, such as gemini-3.5-flash-lite; gemini-2.5-flash is closed to "
            "new projects",
        ),
    ),
    (
        lambda it: it.code == 403 and it.vertex,
        _Problem(
            "the chat's Google account may not use Gemini in project {project}",
            "grant it roles/aiplatform.user on the project",
        ),
    ),
    (
        lambda it: it.code == 403,
        _Problem("this API key may not use {model}", "set another GEMINI_API_KEY or CHAT_GEMINI_MODEL"),
    ),
    (lambda it: it.code == 503, _Problem("Gemini is overloaded", "try again in a minute", again=True)),
    (
        lambda it: it.code == 504,
        _Problem("Gemini ran out of time at Google", "send the question again, or make it shorter", again=True),
    ),
    (
        lambda it: it.code in {500, 502},
        _Problem("Gemini failed because of an error at Google", "try again in a minute", again=True),
    ),
    (lambda it: it.code >= 500, _Problem("Gemini failed because of an error at Google", "try again in a minute")),
    (
        lambda _: True,
        _Problem(
            "Google did not understand the request", "check CHAT_GEMINI_MODEL and the parameters; the log says more"
        ),
    ),
)
