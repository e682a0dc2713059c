"""Keeps a conversation going that has grown longer than the model's context.

The oldest turns are left out of what is sent, never of what is stored. Only the server knows how long a text is in
tokens, so the length is estimated from the bytes, the estimate learns from what the server reports, and when the server
still finds the prompt too long, more is left out and the request is made again.
"""

from __future__ import annotations

import dataclasses
import math
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.conversation import Role, Usage
from chatapp.errors import ContextTooLong

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from chatapp.conversation import GenerationParameters, Message
    from chatapp.models import ChatModel, ModelEvent

# English has about 4 bytes per token in the tokenizers of Gemma and SmolLM2, Hebrew 1 to 4: start on the safe side.
FIRST_BYTES_PER_TOKEN = 3.0
TOKENS_PER_MESSAGE = 8  # role markers and turn ends of the chat templates
SMALLEST_ANSWER = 64  # tokens that are kept free for the answer, whatever the question
ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Omitted:
    """How many of the oldest messages were not sent."""

    messages: int


@dataclass(frozen=True, slots=True)
class Fit:
    """What to send: the newest messages that fit, how many were left out, and the room for the answer in tokens."""

    messages: Sequence[Message]
    omitted: int
    max_tokens: int


def fit(
    messages: Sequence[Message], parameters: GenerationParameters, *, context_tokens: int, bytes_per_token: float
) -> Fit:
    """Choose the newest messages that fit beside the system prompt and an answer of up to half the context.

    The last message is always among them, and the first of them is always the user's.
    """
    costs = [len(message.content.encode()) / bytes_per_token + TOKENS_PER_MESSAGE for message in messages]
    fixed = len(parameters.system_prompt.encode()) / bytes_per_token + TOKENS_PER_MESSAGE
    answer = min(parameters.max_tokens, context_tokens // 2)
    room = context_tokens - answer - fixed
    first = len(messages) - 1
    used = costs[first]
    while first > 0 and used + costs[first - 1] <= room:
        first -= 1
        used += costs[first]
    while messages[first].role is not Role.USER and first < len(messages) - 1:
        used -= costs[first]
        first += 1
    # What the prompt leaves free also goes to the answer; a third more than estimated, since an estimate errs.
    free = context_tokens - math.ceil((used + fixed) * 4 / 3)
    longest = max(free, answer) if used <= room else free
    return Fit(messages[first:], first, min(parameters.max_tokens, max(longest, min(SMALLEST_ANSWER, answer))))


class ContextWindow:
    """Streams answers of one model within its context, and learns how many bytes its tokens have."""

    def __init__(self, model: ChatModel) -> None:
        self.model = model
        self._bytes_per_token = FIRST_BYTES_PER_TOKEN
        self._told_context_tokens: int | None = None  # by a refusal, where the server does not list it
        self._guessed_context_tokens: int | None = None  # where it does not tell at all

    async def stream(
        self, messages: Sequence[Message], parameters: GenerationParameters
    ) -> AsyncGenerator[ModelEvent | Omitted]:
        """Answer the last message like `ChatModel.stream`; an `Omitted` comes first when something was left out.

        Raises:
            ContextTooLong: the last message alone is too long.
            ModelError: as the model does.
        """
        bytes_per_token = self._bytes_per_token
        for attempt in range(ATTEMPTS):
            sent = self._fit(messages, parameters, bytes_per_token)
            asked = dataclasses.replace(parameters, max_tokens=sent.max_tokens)
            try:
                async with aclosing(self.model.stream(sent.messages, asked)) as events:
                    first = True
                    async for event in events:
                        if first and sent.omitted:
                            yield Omitted(sent.omitted)
                        first = False
                        if isinstance(event, Usage):
                            self._learn(sent, asked, event)
                        yield event
            except ContextTooLong as refusal:
                tightest = len(sent.messages) == 1 and sent.max_tokens <= SMALLEST_ANSWER
                if attempt == ATTEMPTS - 1 or tightest:
                    raise
                bytes_per_token = self._after_refusal(refusal, sent, asked, bytes_per_token)
            else:
                return

    def _fit(self, messages: Sequence[Message], parameters: GenerationParameters, bytes_per_token: float) -> Fit:
        context_tokens = self.model.context_tokens or self._told_context_tokens or self._guessed_context_tokens
        if context_tokens is None:
            return Fit(messages, 0, parameters.max_tokens)
        return fit(messages, parameters, context_tokens=context_tokens, bytes_per_token=bytes_per_token)

    def _learn(self, sent: Fit, parameters: GenerationParameters, usage: Usage) -> None:
        tokens = (usage.prompt_tokens or 0) - TOKENS_PER_MESSAGE * len(sent.messages)
        size = _size(sent, parameters)
        if tokens > 0 and size > 200:  # in a short prompt the template's own tokens weigh too much
            measured = max(size / tokens, 0.2)
            # Down at once, since a refusal costs a request; up slowly, since the next text may be another language.
            self._bytes_per_token = min(measured, (self._bytes_per_token + measured) / 2)

    def _after_refusal(
        self, refusal: ContextTooLong, sent: Fit, parameters: GenerationParameters, bytes_per_token: float
    ) -> float:
        self._told_context_tokens = refusal.context_tokens or self._told_context_tokens
        size = _size(sent, parameters)
        if not (self.model.context_tokens or self._told_context_tokens):
            # Nobody says how large the context is: all that is known is that it is smaller than this.
            self._guessed_context_tokens = max(int(0.7 * size / bytes_per_token), 2 * SMALLEST_ANSWER)
            return bytes_per_token
        shrunk = bytes_per_token * 0.7
        if refusal.prompt_tokens:
            shrunk = min(shrunk, size / refusal.prompt_tokens)
        return max(shrunk, 0.2)


def _size(sent: Fit, parameters: GenerationParameters) -> int:
    return len(parameters.system_prompt.encode()) + sum(len(message.content.encode()) for message in sent.messages)
