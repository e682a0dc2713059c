"""Failures of an OpenAI-compatible server, told to a person: what happened, and the one thing to do about it.

Here is what the connection tells; `openai_refusals` has what the server itself says.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp

from chatapp.domain.errors import (
    Blocked,
    ContextTooLong,
    ModelError,
    ModelLoading,
    ModelUnavailable,
)
from chatapp.domain.sentences import Sentence
from chatapp.models import ModelState, ModelStatus
from chatapp.models.times import in_seconds

_CONNECTION_LOST = Sentence("the connection was lost")


class ServerProblem(Exception):
    """Why a server did not answer; becomes a `ModelError` for a turn and a `ModelStatus` for the model's state.

    Attributes:
        sentence: all of it, as a turn says it.
        reason: a phrase in lower case without a full stop, such as "nothing answers at http://localhost:8000".
        fix: what would help, the same way.
        retryable: asking again at once is safe and may help.
        away: nobody took the question: there may be no server at all.
        unknown_model: the server has no model of this name.
        refused_parameter: what the model takes in no case, or not with this value; "" for nothing that it names.
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
        away: bool = False,
        unknown_model: bool = False,
        refused_parameter: str = "",
        error: ModelError | None = None,
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
        self.away = away
        self.unknown_model = unknown_model
        self.refused_parameter = refused_parameter
        self._error = error
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens

    def as_error(self) -> ModelError:
        """Return what a turn raises."""
        if self._error is not None:
            return self._error
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
            reason = Sentence("the host name in {url} cannot be resolved", url=self.url)
            return self.cannot_answer(reason, self.check(self.url_setting), detail=detail, away=True)
        if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
            reason = Sentence("no secure connection to {url} is possible", url=self.url)
            fix = Sentence("check its certificate and {setting}", setting=self.url_setting)
            return self.cannot_answer(reason, fix, detail=detail)
        if isinstance(error, aiohttp.ServerTimeoutError):
            reason = Sentence("{url} does not accept connections in time", url=self.url)
            fix = Sentence("check {setting} and the network", setting=self.url_setting)
            return self.cannot_answer(reason, fix, detail=detail, away=True)
        if isinstance(error, aiohttp.ClientConnectorError):
            reason = Sentence("there is no response from {url}", url=self.url)
            fix = Sentence("start the server there, or check {setting}", setting=self.url_setting)
            return self.cannot_answer(reason, fix, detail=detail, retryable=True, away=True)
        reset = isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError))
        reason = Sentence("{url} closed the connection without an answer", url=self.url)
        fix = Sentence(
            "try again; if that does not help, check the server's log and {setting}", setting=self.url_setting
        )
        return self.cannot_answer(reason, fix, detail=detail, retryable=reset, away=True)

    def closed(self) -> ServerProblem:
        """The chat itself is ending."""
        return self.cannot_answer(Sentence("the chat is shutting down"), Sentence("try again when it is running"))

    def silent(self, seconds: float) -> ServerProblem:
        """Connected, and then nothing for ``seconds``."""
        reason = Sentence("{url} does not answer within {time}", url=self.url, time=in_seconds(seconds))
        return self.cannot_answer(reason, self.check(self.url_setting), away=True)

    def no_first_token(self, seconds: float) -> ServerProblem:
        """The answer did not start."""
        reason = Sentence("the answer did not start within {time}", time=in_seconds(seconds))
        return self.cannot_answer(reason, Sentence("try again later, or choose another model"))

    def no_next_token(self, seconds: float) -> ServerProblem:
        """The answer did not go on."""
        return self.broken_off(Sentence("no more text arrived for {time}", time=in_seconds(seconds)))

    def stuck(self) -> ServerProblem:
        """The server lists its models in time, but generates nothing."""
        return self.cannot_answer(
            Sentence("the server answers, but generates no text in time: it is busy or stuck"),
            Sentence("try again in a moment; if that does not help, restart the server"),
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
            Sentence("rephrase the question"),
            kind=Blocked,
        )

    def no_models(self) -> ServerProblem:
        """The list of models is empty."""
        reason = Sentence("the server at {url} has loaded no model", url=self.url)
        return self.cannot_answer(reason, Sentence("load a model there"))

    def not_compatible(self, detail: str) -> ServerProblem:
        """Something answers, but not the way an OpenAI-compatible server does."""
        reason = Sentence("{url} does not answer like an OpenAI-compatible server", url=self.url)
        return self.cannot_answer(reason, self.check(self.url_setting), detail=detail)

    def check(self, setting: str) -> Sentence:
        """Say what to look at."""
        return Sentence("check {setting}", setting=setting)

    def cannot_answer(self, reason: Sentence, fix: Sentence, **kind: Any) -> ServerProblem:  # noqa: ANN401  # as ServerProblem takes them
        """What goes wrong before the answer begins."""
        return ServerProblem(Sentence("{model} cannot answer", model=self.label), reason, fix, **kind)
