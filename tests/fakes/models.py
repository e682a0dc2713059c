"""A fake language model with scripted pieces, pauses and failures."""

from __future__ import annotations

import asyncio

from chatapp.domain.conversation import FinishReason, Usage
from chatapp.domain.errors import ContextTooLong, TooManyImages
from chatapp.models import Finish, ModelDefaults, ModelState, ModelStatus, TextDelta


class ReadyModel(ModelDefaults):
    """A base for models of tests that are ready from the start, and hold nothing to close."""

    id, label, context_tokens = "scripted", "Scripted", None

    async def status(self):
        return ModelStatus(ModelState.READY)

    async def start(self):
        pass

    async def aclose(self):
        pass


class ScriptedModel(ModelDefaults):
    """Answers with ``pieces``, which are texts or events, one each ``seconds_between``.

    Waits for ``gate`` before the piece with the index ``gate_at``.

    A prompt of more than ``context_tokens`` is refused like a server would, with numbers or without; more pictures than
    ``most_images``, too.
    """

    def __init__(
        self,
        *pieces,
        id="scripted",
        seconds_between=0.0,
        gate_at=None,
        error=None,
        finish=FinishReason.STOP,
        context_tokens=None,
        bytes_per_token=None,
        tells_numbers=True,
        status=ModelStatus(ModelState.READY),  # noqa: B008  # frozen
        supports_images=False,
        tokens_per_image=256,
        most_images=None,
    ):
        self.supports_images = supports_images
        self.tokens_per_image = self.real_tokens_per_image = tokens_per_image
        self._most_images = most_images
        self.id = id
        self.label = id.title()
        self.context_tokens = context_tokens
        self.gate = asyncio.Event()
        self.writing = asyncio.Event()
        self.asked = []  # (messages, parameters) of every request
        self.closed = 0
        self.contexts_read = 0
        self._pieces = pieces
        self._seconds_between = seconds_between
        self._gate_at = gate_at
        self._error = error
        self._finish = finish
        self._bytes_per_token = bytes_per_token
        self._tells_numbers = tells_numbers
        self._real_context = context_tokens
        self._status = status

    async def read_context(self):
        self.contexts_read += 1

    async def stream(self, messages, parameters):
        self.asked.append((list(messages), parameters))
        images = sum(len(message.images) for message in messages)
        if self._most_images is not None and images > self._most_images:
            raise TooManyImages(self.label, self._most_images)
        self._refuse_if_too_long(messages, parameters)
        try:
            for index, piece in enumerate(self._pieces):
                if index == self._gate_at:
                    self.writing.set()
                    await self.gate.wait()
                await asyncio.sleep(self._seconds_between)
                yield TextDelta(piece) if isinstance(piece, str) else piece
            if self._error:
                raise self._error
            yield Usage(prompt_tokens=self._tokens(messages), completion_tokens=len(self._pieces))
            yield Finish(self._finish)
        finally:
            self.closed += 1

    def hide_context(self):
        """Behave like a server that does not list its context size."""
        self.context_tokens = None
        return self

    def _tokens(self, messages):
        text = int(sum(len(m.content.encode()) for m in messages) / (self._bytes_per_token or 4)) + 5 * len(messages)
        return text + sum(len(m.images) for m in messages) * self.real_tokens_per_image

    def _refuse_if_too_long(self, messages, parameters):
        tokens = self._tokens(messages)
        if self._real_context and tokens + parameters.max_tokens > self._real_context:
            numbers = {"prompt_tokens": tokens, "context_tokens": self._real_context} if self._tells_numbers else {}
            raise ContextTooLong("This message is too long for the model.", **numbers)

    async def status(self):
        return self._status

    async def start(self):
        pass

    async def aclose(self):
        pass
