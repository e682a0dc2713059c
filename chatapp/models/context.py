"""Keeps a conversation going that has grown longer than the model's context.

The oldest turns are left out of what is sent, never of what is stored. Only the server knows how long a text is in
tokens, so the length is estimated from the bytes, the estimate learns from what the server reports, and when the server
still finds the prompt too long, more is left out and the request is made again. The same goes for pictures, which are
loaded only when they are sent.
"""

from __future__ import annotations

import dataclasses
import math
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Role, Usage
from chatapp.domain.errors import ContextTooLong, TooManyImages
from chatapp.models.sent_images import MOST_IMAGES, newest_images, refuse_unseen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from chatapp.domain.conversation import GenerationParameters, Message
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
    messages: Sequence[Message],
    parameters: GenerationParameters,
    *,
    context_tokens: int,
    bytes_per_token: float,
    tokens_per_image: float = 0,
) -> Fit:
    """Choose the newest messages that fit beside the system prompt and an answer of up to half the context.

    The last message is always among them, and the first of them is always the user's.
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
    return Fit(messages[first:], first, min(parameters.max_tokens, max(longest, min(SMALLEST_ANSWER, answer))))


class ContextWindow:
    """Streams answers of one model within its context, and learns how many bytes its tokens have."""

    def __init__(self, model: ChatModel) -> None:
        self.model = model
        self._bytes_per_token = FIRST_BYTES_PER_TOKEN
        self._tokens_per_image: float | None = None  # as counted by the server
        self._most_images = MOST_IMAGES
        self._told_context_tokens: int | None = None  # by a refusal, where the server does not list it
        self._guessed_context_tokens: int | None = None  # where it does not tell at all

    async def stream(
        self,
        messages: Sequence[Message],
        parameters: GenerationParameters,
        images: Callable[[Message], Awaitable[Message]] | None = None,
    ) -> AsyncGenerator[ModelEvent | Omitted]:
        """Answer the last message like `ChatModel.stream`; an `Omitted` comes first when something was left out.

        Args:
            messages: the conversation; its images may have their data or not.
            parameters: what the person asked for.
            images: returns a message with the data of its images. It is asked, once each, only for messages that are
                sent and have images without data; without it, all images must have theirs. What it raises ends the
                answer. An image that is gone may be missing from the message that it returns.

        Raises:
            CannotSee: the last message has images, and the model sees none; nothing was sent.
            TooManyImages: the last message has more of them than the model takes.
            ContextTooLong: the last message alone is too long.
            ModelError: as the model does.
        """
        estimate = _Estimate(self._bytes_per_token, self._tokens_per_image or self.model.tokens_per_image)
        loaded: dict[str, Message] = {}
        for attempt in range(ATTEMPTS):
            refuse_unseen(self.model, messages[-1], most=self._most_images)
            sent = self._fit(messages, parameters, estimate)
            asked = dataclasses.replace(parameters, max_tokens=sent.max_tokens)
            try:
                whole = [await _with_data(message, images, loaded) for message in sent.messages]
                async with aclosing(self.model.stream(whole, asked)) as events:
                    first = True
                    async for event in events:
                        if first and sent.omitted:
                            yield Omitted(sent.omitted)
                        first = False
                        if isinstance(event, Usage):
                            self._learn(sent, asked, event)
                        yield event
            except TooManyImages as refusal:
                if attempt == ATTEMPTS - 1 or self._most_images <= len(messages[-1].images):
                    raise
                self._most_images = min(refusal.most or self._most_images // 2, self._most_images - 1)
            except ContextTooLong as refusal:
                tightest = len(sent.messages) == 1 and sent.max_tokens <= SMALLEST_ANSWER
                if attempt == ATTEMPTS - 1 or tightest:
                    raise
                estimate = self._after_refusal(refusal, sent, asked, estimate)
            else:
                return

    def filled(
        self, usage: Usage | None, messages: Sequence[Message], parameters: GenerationParameters, written: str
    ) -> Usage:
        """Return what an answer took, estimated where the server did not count.

        Args:
            usage: what it counted.
            messages: what was sent.
            parameters: and how.
            written: the answer.
        """
        sent = Fit(newest_images(messages, most=self._most_images if self.model.sees_images else 0), 0, 0)
        prompt = _size(sent, parameters) / self._bytes_per_token + TOKENS_PER_MESSAGE * len(sent.messages)
        prompt += _images(sent) * (self._tokens_per_image or self.model.tokens_per_image)
        completion = len(written.encode()) / self._bytes_per_token
        counted = usage or Usage()
        return Usage(
            prompt_tokens=math.ceil(prompt) if counted.prompt_tokens is None else counted.prompt_tokens,
            completion_tokens=math.ceil(completion) if counted.completion_tokens is None else counted.completion_tokens,
        )

    def _fit(self, messages: Sequence[Message], parameters: GenerationParameters, estimate: _Estimate) -> Fit:
        messages = newest_images(messages, most=self._most_images if self.model.sees_images else 0)
        context_tokens = self.model.context_tokens or self._told_context_tokens or self._guessed_context_tokens
        if context_tokens is None:
            return Fit(messages, 0, parameters.max_tokens)
        return fit(
            messages,
            parameters,
            context_tokens=context_tokens,
            bytes_per_token=estimate.bytes_per_token,
            tokens_per_image=estimate.tokens_per_image,
        )

    def _learn(self, sent: Fit, parameters: GenerationParameters, usage: Usage) -> None:
        tokens = (usage.prompt_tokens or 0) - TOKENS_PER_MESSAGE * len(sent.messages)
        size = _size(sent, parameters)
        if pictures := _images(sent):
            # One number can teach only one thing; pictures differ more than texts, so a larger one counts at once.
            measured = max((tokens - size / self._bytes_per_token) / pictures, 1)
            known = self._tokens_per_image or measured
            self._tokens_per_image = max(measured, (known + measured) / 2)
        elif tokens > 0 and size > 200:  # in a short prompt the template's own tokens weigh too much
            measured = max(size / tokens, 0.2)
            # Down at once, since a refusal costs a request; up slowly, since the next text may be another language.
            self._bytes_per_token = min(measured, (self._bytes_per_token + measured) / 2)

    def _after_refusal(
        self, refusal: ContextTooLong, sent: Fit, parameters: GenerationParameters, estimate: _Estimate
    ) -> _Estimate:
        self._told_context_tokens = refusal.context_tokens or self._told_context_tokens
        size = _size(sent, parameters) / estimate.bytes_per_token + _images(sent) * estimate.tokens_per_image
        if not (self.model.context_tokens or self._told_context_tokens):
            # Nobody says how large the context is: all that is known is that it is smaller than this.
            self._guessed_context_tokens = max(int(0.7 * size), 2 * SMALLEST_ANSWER)
            return estimate
        larger = max(1 / 0.7, refusal.prompt_tokens / size if refusal.prompt_tokens and size else 0)
        return _Estimate(max(estimate.bytes_per_token / larger, 0.2), estimate.tokens_per_image * larger)


@dataclass(frozen=True, slots=True)
class _Estimate:
    """What is believed of a model's tokens."""

    bytes_per_token: float
    tokens_per_image: float


async def _with_data(
    message: Message, load: Callable[[Message], Awaitable[Message]] | None, loaded: dict[str, Message]
) -> Message:
    """Return the message with the data of its images; ``loaded`` keeps it for another attempt."""
    if load is None or all(image.data for image in message.images):
        return message
    if message.id not in loaded:
        loaded[message.id] = await load(message)
    # The rest as it is sent: the newest of its images, and a word for the others.
    data = {image.id: image for image in loaded[message.id].images}
    return dataclasses.replace(message, images=tuple(data[image.id] for image in message.images if image.id in data))


def _size(sent: Fit, parameters: GenerationParameters) -> int:
    return len(parameters.system_prompt.encode()) + sum(len(message.content.encode()) for message in sent.messages)


def _images(sent: Fit) -> int:
    return sum(len(message.images) for message in sent.messages)
