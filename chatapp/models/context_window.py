"""The context window: conversations may grow longer than the context of their model.

The oldest messages are left out of the prompt, never of the store. Only the server knows how many tokens a text has, so
that is estimated from the bytes. The estimate learns from the usage that the server reports, and a request that the
server still refuses as too long is repeated with fewer messages. The same goes for images. A server that cuts a prompt
without a word is recognized by the tokens that it counts (`quiet_cuts`).
"""

from __future__ import annotations

import dataclasses
import math
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Role, Usage
from chatapp.domain.errors import ContextTooLong, TooManyImages
from chatapp.models import Omitted, Waiting
from chatapp.models.images import MAX_IMAGES, check_images, newest_images
from chatapp.models.quiet_cuts import CountedPrompt, least_tokens, was_cut
from chatapp.models.wrapper import ModelWrapper

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from chatapp.domain.conversation import GenerationParameters, Message
    from chatapp.models import ChatModel, ModelEvent

# English has about 4 bytes per token in the tokenizers of Gemma and SmolLM2, Hebrew 1 to 4: start on the safe side.
FIRST_BYTES_PER_TOKEN = 3.0
TOKENS_PER_MESSAGE = 8  # role markers and turn ends of the chat templates
MIN_ANSWER_TOKENS = 64  # reserved for the answer, however long the question is
ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Fit:
    """What is sent: the newest messages that fit, how many were left out, and the tokens left for the answer."""

    messages: Sequence[Message]
    omitted: int
    max_tokens: int


def fit(
    messages: Sequence[Message],
    parameters: GenerationParameters,
    *,
    context_tokens: int,
    bytes_per_token: float,
    tokens_per_image: float = 0,
) -> Fit:
    """Choose the newest messages that fit with the system prompt and an answer of up to half the context.

    The last message is always among them, and the first of them is always a question.
    """
    costs = [
        len(message.content.encode()) / bytes_per_token + TOKENS_PER_MESSAGE + len(message.images) * tokens_per_image
        for message in messages
    ]
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
    return Fit(messages[first:], first, min(parameters.max_tokens, max(longest, min(MIN_ANSWER_TOKENS, answer))))


@dataclass(slots=True)
class ContextEstimate:
    """What was learned about a model from its usage and its refusals.

    Attributes:
        tokens_per_image: as counted by the server; None before the first image.
        max_images: in one request.
        reported_context_tokens: of a refusal, where the server does not list its context.
        guessed_context_tokens: where a refusal does not say it either.
        cut_at_tokens: the most that a server which cuts prompts has read; None while none was seen to be cut.
        last_prompt: of the last answer.
        most_read_tokens: of all prompts.
    """

    bytes_per_token: float = FIRST_BYTES_PER_TOKEN
    tokens_per_image: float | None = None
    max_images: int = MAX_IMAGES
    reported_context_tokens: int | None = None
    guessed_context_tokens: int | None = None
    cut_at_tokens: int | None = None
    last_prompt: CountedPrompt | None = None
    most_read_tokens: int = 0


class ContextWindow(ModelWrapper):
    """A model that answers conversations of any length: it is sent the newest messages that fit.

    Args:
        estimate: shared by all that wrap the same model, so that each learns from all.

    Attributes:
        sent_max_tokens: the limit of the last request, which is lower than the requested one where the prompt leaves
            no room for that; None before the first.
    """

    def __init__(self, wrapped: ChatModel, estimate: ContextEstimate | None = None) -> None:
        super().__init__(wrapped)
        self._estimate = estimate or ContextEstimate()
        self.sent_max_tokens: int | None = None

    async def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer the last message; an `Omitted` comes first when something was left out.

        It comes last when the server is seen to have left out something by itself.

        Raises:
            CannotSee: the last message has images, and the model does not support them; nothing was sent.
            TooManyImages: the last message has more of them than the model takes.
            ContextTooLong: the last message alone is too long.
            ModelError: as the wrapped model.
        """
        await self.wrapped.read_context()
        scale = _Scale(self._estimate.bytes_per_token, self._tokens_per_image)
        for attempt in range(ATTEMPTS):
            check_images(self.wrapped, len(messages[-1].images), limit=self._estimate.max_images)
            sent = self._fit(messages, parameters, scale)
            sent_parameters = dataclasses.replace(parameters, max_tokens=sent.max_tokens)
            self.sent_max_tokens = sent.max_tokens
            first = True
            try:
                async with aclosing(self.wrapped.stream(sent.messages, sent_parameters)) as events:
                    async for event in events:
                        waits = isinstance(event, Waiting)  # nothing is sent yet, so it may still be refused
                        if first and sent.omitted and not waits:
                            yield Omitted(sent.omitted)
                        first = first and waits
                        yield event
                        if isinstance(event, Usage) and (unread := self._learn(sent, parameters, event)):
                            yield Omitted(sent.omitted + unread)
            except TooManyImages as refusal:
                if not first or attempt == ATTEMPTS - 1 or self._estimate.max_images <= len(messages[-1].images):
                    raise
                limit = self._estimate.max_images
                self._estimate.max_images = min(refusal.most or limit // 2, limit - 1)
            except ContextTooLong as refusal:
                smallest = len(sent.messages) == 1 and sent.max_tokens <= MIN_ANSWER_TOKENS
                if not first or attempt == ATTEMPTS - 1 or smallest:  # what was yielded must not be yielded again
                    raise
                scale = self._after_refusal(refusal, sent, parameters, scale)
            else:
                return

    @property
    def known_context_tokens(self) -> int | None:
        """The tokens of prompt and answer together, as the model or its server told, or was seen to read."""
        return self._known_context_tokens or self._estimate.guessed_context_tokens

    def bytes_of(self, tokens: float) -> float:
        """Return how many bytes of text about so many tokens have."""
        return tokens * self._estimate.bytes_per_token

    def fits(self, messages: Sequence[Message], parameters: GenerationParameters) -> bool:
        """Return whether all of the messages would be sent."""
        scale = _Scale(self._estimate.bytes_per_token, self._tokens_per_image)
        return self._fit(messages, parameters, scale).omitted == 0

    def estimated_usage(
        self, usage: Usage | None, messages: Sequence[Message], parameters: GenerationParameters, written: str
    ) -> Usage:
        """Return the usage of an answer, estimated where the server did not count.

        Args:
            usage: as the server counted it.
            messages: that were sent.
            parameters: that were sent.
            written: the answer.
        """
        sent = Fit(newest_images(messages, limit=self._max_images), 0, 0)
        prompt = _size(sent, parameters) / self._estimate.bytes_per_token + TOKENS_PER_MESSAGE * len(sent.messages)
        prompt += _images(sent) * self._tokens_per_image
        completion = len(written.encode()) / self._estimate.bytes_per_token
        counted = usage or Usage()
        return Usage(
            prompt_tokens=math.ceil(prompt) if counted.prompt_tokens is None else counted.prompt_tokens,
            completion_tokens=math.ceil(completion) if counted.completion_tokens is None else counted.completion_tokens,
        )

    @property
    def _tokens_per_image(self) -> float:
        return self._estimate.tokens_per_image or self.wrapped.tokens_per_image

    @property
    def _max_images(self) -> int:
        return self._estimate.max_images if self.wrapped.supports_images else 0

    @property
    def _known_context_tokens(self) -> int | None:
        known = self.wrapped.context_tokens or self._estimate.reported_context_tokens
        cut_at = self._estimate.cut_at_tokens
        return min(known, cut_at) if known and cut_at else known or cut_at

    def _fit(self, messages: Sequence[Message], parameters: GenerationParameters, scale: _Scale) -> Fit:
        messages = newest_images(messages, limit=self._max_images)
        context_tokens = self._known_context_tokens or self._estimate.guessed_context_tokens
        if context_tokens is None:
            return Fit(messages, 0, parameters.max_tokens)
        return fit(
            messages,
            parameters,
            context_tokens=context_tokens,
            bytes_per_token=scale.bytes_per_token,
            tokens_per_image=scale.tokens_per_image,
        )

    def _learn(self, sent: Fit, parameters: GenerationParameters, usage: Usage) -> int:
        """Learn from the usage of an answer; return how many of the sent messages the server has not read, or in part.

        A count of a prompt that was cut says nothing about the size of its tokens.
        """
        estimate = self._estimate
        if unread := self._unread(sent, parameters, usage.prompt_tokens or 0):
            return unread
        tokens = (usage.prompt_tokens or 0) - TOKENS_PER_MESSAGE * len(sent.messages)
        size = _size(sent, parameters)
        if images := _images(sent):
            # One number can teach only one thing; images differ more than texts, so a larger one counts at once.
            measured = max((tokens - size / estimate.bytes_per_token) / images, 1)
            estimate.tokens_per_image = max(measured, ((estimate.tokens_per_image or measured) + measured) / 2)
        elif tokens > 0 and size > 200:  # in a short prompt the template's own tokens weigh too much
            measured = max(size / tokens, 0.2)
            # Down at once, since a refusal costs a request; up slowly, since the next text may be another language.
            estimate.bytes_per_token = min(measured, (estimate.bytes_per_token + measured) / 2)
        return 0

    def _unread(self, sent: Fit, parameters: GenerationParameters, tokens: int) -> int:
        estimate = self._estimate
        texts = [parameters.system_prompt, *(message.content for message in sent.messages)]
        prompt, before = CountedPrompt(sent.messages[0].id, least_tokens(texts), tokens), estimate.last_prompt
        estimate.last_prompt = prompt
        estimate.most_read_tokens = max(estimate.most_read_tokens, tokens)
        if estimate.cut_at_tokens is not None:  # it has read more than was thought to fit
            estimate.cut_at_tokens = max(estimate.cut_at_tokens, tokens)
        if not was_cut(prompt, before):
            return 0
        estimate.cut_at_tokens = estimate.most_read_tokens
        left = float(tokens)
        for number, message in enumerate(reversed(sent.messages)):
            left -= len(message.content.encode()) / estimate.bytes_per_token
            if left < 0:
                return len(sent.messages) - number
        return 1

    def _after_refusal(
        self, refusal: ContextTooLong, sent: Fit, parameters: GenerationParameters, scale: _Scale
    ) -> _Scale:
        estimate = self._estimate
        estimate.reported_context_tokens = refusal.context_tokens or estimate.reported_context_tokens
        size = _size(sent, parameters) / scale.bytes_per_token + _images(sent) * scale.tokens_per_image
        if not self._known_context_tokens:
            # All that is known of the context is that it is smaller than this prompt.
            estimate.guessed_context_tokens = max(int(0.7 * size), 2 * MIN_ANSWER_TOKENS)
            return scale
        larger = max(1 / 0.7, refusal.prompt_tokens / size if refusal.prompt_tokens and size else 0)
        return _Scale(max(scale.bytes_per_token / larger, 0.2), scale.tokens_per_image * larger)


@dataclass(frozen=True, slots=True)
class _Scale:
    """The size of tokens as estimated for one answer; a refusal makes texts count more."""

    bytes_per_token: float
    tokens_per_image: float


def _size(sent: Fit, parameters: GenerationParameters) -> int:
    return len(parameters.system_prompt.encode()) + sum(len(message.content.encode()) for message in sent.messages)


def _images(sent: Fit) -> int:
    return sum(len(message.images) for message in sent.messages)
