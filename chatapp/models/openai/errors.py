"""Errors of an OpenAI-compatible server, in words for a person: what happened, and what to do about it.

This module has the errors of connections and streams; `error_response` classifies those that the server reports.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp

from chatapp.domain.errors import Blocked, ModelError
from chatapp.domain.sentences import Duration, Sentence
from chatapp.models.failure import Failure

_CONNECTION_LOST = Sentence("the connection was lost")


@dataclass(frozen=True, slots=True)
class ServerErrors:
    """Makes the errors of one server, with the names and settings that a person knows.

    Attributes:
        label: the model's name on the page.
        url: the server's address.
        has_key: whether a key is sent.
        url_setting, key_setting: the settings of the address and the key.
        model_setting: that of the model's name; "" where the name is from the server's own list.
    """

    label: str
    url: str
    has_key: bool
    url_setting: str
    key_setting: str
    model_setting: str

    def unreachable(self, error: Exception) -> Failure:
        """Return the error of a request without a response: no connection, or one that was lost."""
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

    def closed(self) -> Failure:
        """Return the error of a request while the chat shuts down."""
        return self.cannot_answer(Sentence("the chat is shutting down"), Sentence("try again when it is running"))

    def silent(self, seconds: float) -> Failure:
        """Return the error of a connection without a response."""
        reason = Sentence("{url} does not answer within {time}", url=self.url, time=Duration(seconds))
        return self.cannot_answer(reason, self.check(self.url_setting), away=True)

    def first_token_timeout(self, seconds: float) -> Failure:
        """Return the error of an answer that did not start in time."""
        reason = Sentence("the answer did not start within {time}", time=Duration(seconds))
        return self.cannot_answer(reason, Sentence("try again later, or choose another model"))

    def next_token_timeout(self, seconds: float) -> Failure:
        """Return the error of an answer without new text for too long."""
        return self.interrupted(Sentence("no more text arrived for {time}", time=Duration(seconds)), is_lost=False)

    def stuck(self) -> Failure:
        """Return the error of a server that lists its models in time, but generates nothing."""
        return self.cannot_answer(
            Sentence("the server answers, but generates no text in time: it is busy or stuck"),
            Sentence("try again in a moment; if that does not help, restart the server"),
        )

    def interrupted(self, how: Sentence = _CONNECTION_LOST, *, is_lost: bool = True, detail: str = "") -> Failure:
        """Return the error of an answer that ended early."""
        opening = Sentence("{model} stopped in the middle of the answer", model=self.label)
        return Failure(how, Sentence("try again"), opening=opening, is_lost=is_lost, detail=detail)

    def event_too_long(self) -> Failure:
        """Return the error of a stream without line ends, or with a part that would fill the memory."""
        return self.interrupted(Sentence("a part of the answer is too large"), is_lost=False)

    def filtered(self) -> Failure:
        """Return the error of an answer that a safety filter ended."""
        opening = Sentence("{model} did not finish the answer", model=self.label)
        reason = Sentence("the server's safety filter stopped it")
        return Failure(reason, Sentence("rephrase the question"), Blocked, opening=opening)

    def called_tool(self) -> Failure:
        """Return the error of an answer that ends with the call of a function, which the chat never offers."""
        opening = Sentence("{model} did not finish the answer", model=self.label)
        reason = Sentence("it tried to use a tool, and this chat has none")
        fix = Sentence("ask for an answer without tools, or choose another model")
        return Failure(reason, fix, ModelError, opening=opening)

    def no_models(self) -> Failure:
        """Return the error of an empty list of models."""
        reason = Sentence("the server at {url} has loaded no model", url=self.url)
        return self.cannot_answer(reason, Sentence("load a model there"))

    def not_compatible(self, detail: str) -> Failure:
        """Return the error of a response that is not one of an OpenAI-compatible server."""
        reason = Sentence("{url} does not answer like an OpenAI-compatible server", url=self.url)
        return self.cannot_answer(reason, self.check(self.url_setting), detail=detail, wrong_address=True)

    def check(self, setting: str) -> Sentence:
        """Return the fix that names a setting."""
        return Sentence("check {setting}", setting=setting)

    def check_model(self) -> Sentence:
        """Return the fix of a model that the server does not have."""
        if not self.model_setting:
            return Sentence("choose another model")
        return Sentence(
            "check {setting}; empty means the first model that the server lists", setting=self.model_setting
        )

    def cannot_answer(self, reason: Sentence, fix: Sentence, **kind: Any) -> Failure:  # noqa: ANN401  # as Failure takes them
        """Return an error from before the answer began."""
        return Failure(reason, fix, opening=Sentence("{model} cannot answer", model=self.label), **kind)
