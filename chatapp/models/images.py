"""Which images of a conversation are sent to a model, and how their data gets there."""

from __future__ import annotations

import dataclasses
from contextlib import aclosing
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Role
from chatapp.domain.errors import CannotSee, TooManyImages
from chatapp.models.wrapper import ModelWrapper

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from chatapp.domain.conversation import GenerationParameters, Message
    from chatapp.models import ChatModel, ModelEvent

MAX_IMAGES = 16
"""In one request: the newest. Servers have different limits, and refuse more."""
OMITTED_IMAGE = "[A picture was sent here that you are not shown.]"
"""For the model, in place of each image that it does not get."""
DRAWN_PICTURE = "[You drew a picture here, which was shown.]"
"""For the model, in place of each picture of its answers: servers accept images in questions only."""


class StoredImages(ModelWrapper):
    """A model that loads images whose data is in the store, just before they are sent.

    Args:
        load: returns a message with the data of its images, without those that are deleted. It is called once for each
            message that is sent.
    """

    def __init__(self, wrapped: ChatModel, load: Callable[[Message], Awaitable[Message]]) -> None:
        super().__init__(wrapped)
        self._load = load
        self._loaded: dict[str, Message] = {}  # for another attempt

    def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer like the wrapped model. Errors of ``load`` end the answer."""
        if all(image.data for message in messages for image in message.images):
            return self.wrapped.stream(messages, parameters)  # no second generator for every token
        return self._stream_loaded(messages, parameters)

    async def _stream_loaded(
        self, messages: Sequence[Message], parameters: GenerationParameters
    ) -> AsyncGenerator[ModelEvent]:
        with_data = [await self._with_data(message) for message in messages]
        async with aclosing(self.wrapped.stream(with_data, parameters)) as events:
            async for event in events:
                yield event

    async def _with_data(self, message: Message) -> Message:
        if all(image.data for image in message.images):
            return message
        if message.id not in self._loaded:
            self._loaded[message.id] = await self._load(message)
        data = {image.id: image for image in self._loaded[message.id].images}
        # Of the message as it is to be sent, which may have fewer images and another text.
        return dataclasses.replace(
            message, images=tuple(data[image.id] for image in message.images if image.id in data)
        )


def check_images(model: ChatModel, images: int, *, limit: int = MAX_IMAGES) -> None:
    """Refuse a question with so many images that the model would not get, before anything is decoded or sent.

    Raises:
        CannotSee: the model does not support images.
        TooManyImages: it takes fewer of them.
    """
    if images and not model.supports_images:
        raise CannotSee(model.label)
    if images > limit:
        raise TooManyImages(model.label, limit)


def newest_images(messages: Sequence[Message], *, limit: int) -> list[Message]:
    """Return the messages with the newest images of questions, up to ``limit``; a line of text replaces each other."""
    if not any(message.images for message in messages):
        return list(messages)
    newest: list[Message] = []
    for message in reversed(messages):
        if message.images and message.role is Role.ASSISTANT:
            content = "\n".join(filter(None, [message.content, *[DRAWN_PICTURE] * len(message.images)]))
            newest.append(dataclasses.replace(message, content=content, images=()))
            continue
        images = message.images[max(len(message.images) - limit, 0) :]
        limit -= len(images)
        missing = len(message.images) - len(images)
        if missing:
            content = "\n".join([*[OMITTED_IMAGE] * missing, message.content])
            message = dataclasses.replace(message, content=content, images=images)  # noqa: PLW2901  # the one that is sent
        newest.append(message)
    return newest[::-1]
