"""Failures of an OpenAI-compatible server, told to a person: what happened, and the one thing to do about it.

Servers agree on HTTP statuses and on little else: the type of an error, its parameter and its shape differ between
vLLM, llama.cpp and Ollama, and between their versions. So the status decides, and the body only refines.

What a server says in words is never passed on: validation errors quote the request, which holds the conversation.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import aiohttp

from chatapp.errors import Blocked, ContextTooLong, ModelError, ModelLoading, ModelUnavailable, RateLimited
from chatapp.models import ModelState, ModelStatus
from chatapp.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRYABLE_STATUSES = frozenset({502, 503, 504})  # a proxy found nobody behind it: no token was generated

_CONTEXT_KEYS = {"n_ctx", "n_prompt_tokens"}  # llama.cpp
# vLLM: input_tokens when the prompt is too long; max_tokens when it fills the context to the last token ("max_tokens
# must be at least 1, got 0", though 8 were asked for: seen with 0.32). The adapter never asks for less than 1 token.
_CONTEXT_PARAMETERS = {"input_tokens", "max_tokens"}
_CONTEXT_WORDS = re.compile(r"context (length|size|window)|maximum context", re.IGNORECASE)  # LM Studio, older vLLM
_IDENTIFIER = re.compile(r"[\w.\- ]{1,64}", re.ASCII)
_CONNECTION_LOST = Sentence("the connection was lost")


class ServerProblem(Exception):
    """Why a server did not answer; becomes a `ModelError` for a turn and a `ModelStatus` for the model's state.

    Attributes:
        sentence: all of it, as a turn says it.
        reason: a phrase in lower case without a full stop, such as "nothing answers at http://localhost:8000".
        fix: what would help, the same way.
        retryable: asking again at once is safe and may help.
        unknown_model: the server has no model of this name.
    """

    def __init__(
        self,
        opening: Sentence,
        reason: Sentence,
        fix: Sentence,
        *,
        kind: type[ModelError] = ModelUnavailable,
        detail: str = "",
        retryable: bool = False,
        unknown_model: bool = False,
        prompt_tokens: int | None = None,
        context_tokens: int | None = None,
    ) -> None:
        self.sentence = Sentence("{opening}: {reason}. {fix}.", opening=opening, reason=reason, fix=fix.begun())
        super().__init__(self.sentence)
        self.reason = reason
        self.fix = fix
        self.kind = kind
        self.detail = detail
        self.retryable = retryable
        self.unknown_model = unknown_model
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens

    def as_error(self) -> ModelError:
        """Return what a turn raises."""
        if self.kind is ContextTooLong:
            return ContextTooLong(
                self.sentence,
                prompt_tokens=self.prompt_tokens,
                context_tokens=self.context_tokens,
                detail=self.detail,
            )
        return self.kind(self.sentence, detail=self.detail)

    def as_status(self) -> ModelStatus:
        """Return what the list of models shows."""
        state = ModelState.LOADING if self.kind is ModelLoading else ModelState.UNAVAILABLE
        return ModelStatus(state, self.reason, self.fix)


@dataclass(frozen=True, slots=True)
class Problems:
    """Makes the problems of one server; knows what a person calls it and which settings lead to it.

    Attributes:
        label: what a person calls the model.
        url: the server's address, as far as it may be shown.
        has_key: whether a key is sent.
        url_setting, key_setting, model_setting: where the address, the key and the model's name are set.
    """

    label: str
    url: str
    has_key: bool
    url_setting: str
    key_setting: str
    model_setting: str

    def unreachable(self, error: Exception) -> ServerProblem:
        """Nothing was received: no connection, or one that ended before the first byte of an answer."""
        detail = type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            reason = Sentence("no computer is known by the name in {url}", url=self.url)
            return self._problem(reason, self._check(self.url_setting), detail=detail)
        if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
            reason = Sentence("no secure connection to {url} is possible", url=self.url)
            fix = Sentence("check its certificate and {setting}", setting=self.url_setting)
            return self._problem(reason, fix, detail=detail)
        if isinstance(error, aiohttp.ServerTimeoutError):
            reason = Sentence("{url} does not accept connections in time", url=self.url)
            fix = Sentence("check {setting} and the network", setting=self.url_setting)
            return self._problem(reason, fix, detail=detail)
        if isinstance(error, aiohttp.ClientConnectorError):
            reason = Sentence("nothing answers at {url}", url=self.url)
            fix = Sentence("start the server there, or check {setting}", setting=self.url_setting)
            return self._problem(reason, fix, detail=detail, retryable=True)
        reset = isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError))
        reason = Sentence("{url} closed the connection without an answer", url=self.url)
        fix = Sentence(
            "try again; if it stays so, look at the server's log and check {setting}", setting=self.url_setting
        )
        return self._problem(reason, fix, detail=detail, retryable=reset)

    def closed(self) -> ServerProblem:
        """The chat itself is ending."""
        return self._problem(Sentence("the chat is being shut down"), Sentence("try again when it runs again"))

    def silent(self, seconds: float) -> ServerProblem:
        """Connected, and then nothing for ``seconds``."""
        reason = Sentence("{url} does not answer within {time}", url=self.url, time=in_seconds(seconds))
        return self._problem(reason, self._check(self.url_setting))

    def no_first_token(self, seconds: float) -> ServerProblem:
        """The answer did not start."""
        reason = Sentence("the answer did not start within {time}", time=in_seconds(seconds))
        return self._problem(reason, Sentence("try again later, or choose another model"))

    def no_next_token(self, seconds: float) -> ServerProblem:
        """The answer did not go on."""
        return self.broken_off(Sentence("no more text came for {time}", time=in_seconds(seconds)))

    def stuck(self) -> ServerProblem:
        """The server lists its models in time, but generates nothing."""
        return self._problem(
            Sentence("the server answers, but generates no text in time: it is busy or stuck"),
            Sentence("try again in a moment; if it stays so, restart the server"),
        )

    def broken_off(self, how: Sentence = _CONNECTION_LOST, *, detail: str = "") -> ServerProblem:
        """The answer ended in the middle."""
        opening = Sentence("{model} stopped in the middle of the answer", model=self.label)
        return ServerProblem(opening, how, Sentence("try again"), detail=detail)

    def filtered(self) -> ServerProblem:
        """A safety filter ended the answer."""
        return ServerProblem(
            Sentence("{model} did not finish the answer", model=self.label),
            Sentence("the server's safety filter stopped it"),
            Sentence("ask in another way"),
            kind=Blocked,
        )

    def no_models(self) -> ServerProblem:
        """The list of models is empty."""
        reason = Sentence("the server at {url} has loaded no model", url=self.url)
        return self._problem(reason, Sentence("load one there"))

    def not_compatible(self, detail: str) -> ServerProblem:
        """Something answers, but not the way an OpenAI-compatible server does."""
        reason = Sentence("{url} does not answer like an OpenAI-compatible server", url=self.url)
        return self._problem(reason, self._check(self.url_setting), detail=detail)

    def refused(
        self,
        status: int,
        error: Mapping[str, Any],
        headers: Mapping[str, str],
        *,
        model: str = "",
        context_tokens: int | None = None,
        streaming: bool = False,
    ) -> ServerProblem:
        """Classify an error that the server reported.

        Args:
            status: the HTTP status, or the code of an error inside a stream.
            error: the error object; empty when there was none that can be read.
            headers: of the response.
            model: the name that was asked for.
            context_tokens: the context's size, as far as it is known.
            streaming: the answer had begun.
        """
        words = str(error.get("message", ""))
        detail = _detail(status, error)
        if status in {400, 413, 422} and _is_context_error(error, words):
            return self._context_too_long(error, context_tokens, detail)
        if status == 429:
            fix = Sentence("try again {when}", when=_retry_after(headers.get("Retry-After", "")))
            return self._problem(Sentence("it gets too many requests"), fix, kind=RateLimited, detail=detail)
        if status == 503 and "loading" in words.lower():
            reason = Sentence("the model is still being loaded")
            return self._problem(reason, Sentence("try again in a minute"), kind=ModelLoading, detail=detail)
        if streaming:
            return self.broken_off(Sentence("the server reports a failure"), detail=detail)
        if status >= 500:
            reason = Sentence("the server reports a failure ({status})", status=status)
            fix = Sentence("try again; if it stays so, look at the server's log")
            return self._problem(reason, fix, detail=detail, retryable=status in RETRYABLE_STATUSES)
        return self._request_refused(status, error, words, model, detail)

    def _request_refused(
        self, status: int, error: Mapping[str, Any], words: str, model: str, detail: str
    ) -> ServerProblem:
        if status in {401, 403}:
            reason = (
                Sentence("the server at {url} refuses the key", url=self.url)
                if self.has_key
                else Sentence("the server at {url} wants a key", url=self.url)
            )
            return self._problem(reason, self._check(self.key_setting), detail=detail)
        if status == 404 and (error.get("param") == "model" or "model" in words.lower()):
            reason = Sentence("the server at {url} has no model named {name}", url=self.url, name=repr(model))
            fix = Sentence(
                "check {setting}; empty means the first model that the server lists", setting=self.model_setting
            )
            return self._problem(reason, fix, detail=detail, unknown_model=True)
        if status in {404, 405}:
            return self.not_compatible(detail)
        if 300 <= status < 400:
            reason = Sentence("{url} sends on to another address", url=self.url)
            fix = Sentence("set {setting} to that address", setting=self.url_setting)
            return self._problem(reason, fix, detail=detail)
        parameter = _identifier(error.get("param")).removeprefix("body.")  # vLLM names a malformed one like this
        reason = (
            Sentence("the server does not accept {parameter}", parameter=parameter)
            if parameter
            else Sentence("the server refuses the request ({status})", status=status)
        )
        return self._problem(reason, Sentence("try other parameters, or choose another model"), detail=detail)

    def _context_too_long(self, error: Mapping[str, Any], known: int | None, detail: str) -> ServerProblem:
        prompt_tokens, context_tokens = _whole(error.get("n_prompt_tokens")), _whole(error.get("n_ctx")) or known
        return self._problem(
            _too_long(prompt_tokens, context_tokens),
            Sentence("start a new chat, or shorten the message"),
            kind=ContextTooLong,
            detail=detail,
            prompt_tokens=prompt_tokens,
            context_tokens=context_tokens,
        )

    def _check(self, setting: str) -> Sentence:
        return Sentence("check {setting}", setting=setting)

    def _problem(self, reason: Sentence, fix: Sentence, **kind: Any) -> ServerProblem:  # noqa: ANN401  # as ServerProblem takes them
        return ServerProblem(Sentence("{model} cannot answer", model=self.label), reason, fix, **kind)


def _too_long(prompt_tokens: int | None, context_tokens: int | None) -> Sentence:
    if prompt_tokens and context_tokens:
        return Sentence(
            "the conversation has {tokens} tokens, and the model takes at most {most}",
            tokens=prompt_tokens,
            most=context_tokens,
        )
    if prompt_tokens:
        return Sentence("the conversation has {tokens} tokens, more than the model takes", tokens=prompt_tokens)
    if context_tokens:
        return Sentence("the conversation has too many tokens: the model takes at most {most}", most=context_tokens)
    return Sentence("the conversation has more tokens than the model takes")


def _is_context_error(error: Mapping[str, Any], words: str) -> bool:
    parameter = _identifier(error.get("param"))
    return bool(_CONTEXT_KEYS & error.keys() or parameter in _CONTEXT_PARAMETERS or _CONTEXT_WORDS.search(words))


def _detail(status: int, error: Mapping[str, Any]) -> str:
    named = {name: _identifier(error.get(name)) for name in ("type", "param", "code")}
    return " ".join([f"status={status}", *(f"{name}={value}" for name, value in named.items() if value)])


def _identifier(value: object) -> str:
    return str(value) if isinstance(value, (str, int)) and _IDENTIFIER.fullmatch(str(value)) else ""


def in_seconds(seconds: float) -> Sentence:
    """Say a time, without zeros behind the point."""
    return Sentence("1 second") if seconds == 1 else Sentence("{seconds} seconds", seconds=f"{seconds:g}")


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _retry_after(value: str) -> Sentence:
    """Tell a Retry-After header in words; RFC 9110 allows seconds and a date."""
    try:
        seconds = (
            int(value) if value.isdecimal() else (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        )
    except (ValueError, TypeError):
        return Sentence("in a moment")
    if seconds < 2:
        return Sentence("now")
    if seconds < 120:
        return Sentence("in {seconds} seconds", seconds=round(seconds))
    return Sentence("in {minutes} minutes", minutes=round(seconds / 60))
