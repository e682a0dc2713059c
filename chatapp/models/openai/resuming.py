"""An answer whose server is lost goes on at another one, at its last letter: in a rollout, or after a preemption."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from chatapp.domain.conversation import Usage
from chatapp.models import TextDelta

if TYPE_CHECKING:
    from chatapp.models import ModelEvent
    from chatapp.models.failure import Failure

MOST_REQUESTS: Final = 3
"""For one answer. A question that ends each server that gets it must not end many of them."""

_LIMITS: Final = ("max_tokens", "max_completion_tokens")


class AnswerSoFar:
    """What has arrived of an answer, and the request for its rest.

    Only text can be continued: a picture or thinking before it would be missing in the request.

    Attributes:
        sent: the current request; None before it is accepted.
        has_begun: something of its response has arrived.
    """

    def __init__(self) -> None:
        self.sent: dict[str, Any] | None = None
        self.has_begun = False
        self._texts: list[str] = []
        self._has_more = False  # than text
        self._tokens = 0  # of all requests so far
        self._resumed_at = 0  # tokens
        self._requests = 1
        self._repeated = ""  # white space at the end of the text, which templates remove, so that it may come again

    def begin_request(self) -> None:
        """Begin a request: the first one, or another one after `resume` or a refusal."""
        self.sent, self.has_begun = None, False

    def add(self, event: ModelEvent) -> ModelEvent | None:
        """Return an event as it belongs to the whole answer; None if it adds nothing."""
        self.has_begun = True
        if isinstance(event, Usage):
            return self._total(event)
        if not isinstance(event, TextDelta):
            self._has_more = True
            return event
        text = self._without_repeated(event.text) if self._repeated else event.text
        self._texts.append(text)
        return TextDelta(text) if text else None

    def count(self, tokens: int) -> None:
        """Count the tokens of a request that ended."""
        self._tokens += tokens

    def can_resume(self, failure: Failure) -> bool:
        """Return whether another request may bring the rest, after one that failed.

        A second request without any progress is the last one.
        """
        has_progress = self._requests == 1 or self._tokens > self._resumed_at
        return failure.is_lost and not self._has_more and has_progress and self._requests < MOST_REQUESTS

    def resume(self) -> None:
        """Let the next request be one for the rest."""
        self._requests += 1
        self._resumed_at = self._tokens
        text = "".join(self._texts)
        self._repeated = text[len(text.rstrip()) :]

    def request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request for the whole answer as one for its rest."""
        text = "".join(self._texts).rstrip()
        if self._requests == 1 or not text:
            return request
        left = {name: max(request[name] - self._tokens, 1) for name in _LIMITS if name in request}
        messages = [*request["messages"], {"role": "assistant", "content": text}]
        return request | left | {"messages": messages, "add_generation_prompt": False, "continue_final_message": True}

    def _without_repeated(self, text: str) -> str:
        while text and self._repeated and text[0] == self._repeated[0]:
            text, self._repeated = text[1:], self._repeated[1:]
        if text:
            self._repeated = ""
        return text

    def _total(self, usage: Usage) -> Usage:
        """Return the usage of all requests: the text so far was counted as a part of the last prompt."""
        if self._resumed_at == 0 or usage.prompt_tokens is None or usage.completion_tokens is None:
            return usage
        return dataclasses.replace(
            usage,
            prompt_tokens=max(usage.prompt_tokens - self._resumed_at, 0),
            completion_tokens=usage.completion_tokens + self._resumed_at,
        )
