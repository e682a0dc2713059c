"""Which pictures of a conversation a model is shown: pure functions over the neutral format."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from chatapp.domain.errors import CannotSee, TooManyImages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.domain.conversation import Message
    from chatapp.models import ChatModel

MOST_IMAGES = 16
"""In one request, the newest; older ones are told of. What servers take differs, and they refuse what is more."""
NOT_SHOWN = "[A picture was sent here that you are not shown.]"
"""For the model, in place of each picture that it does not get."""


def refuse_unseen(model: ChatModel, question: Message, *, most: int = MOST_IMAGES) -> None:
    """Refuse a question whose pictures the model would not see, before anything is sent.

    Raises:
        CannotSee: the model sees no pictures.
        TooManyImages: it does not see as many.
    """
    if question.images and not model.sees_images:
        raise CannotSee(model.label)
    if len(question.images) > most:
        raise TooManyImages(model.label, most)


def newest_images(messages: Sequence[Message], *, most: int) -> list[Message]:
    """Return the messages with at most that many pictures, the newest; each other one is a line of text."""
    kept: list[Message] = []
    for message in reversed(messages):
        images = message.images[max(len(message.images) - most, 0) :]
        most -= len(images)
        missing = len(message.images) - len(images)
        if missing:
            content = "\n".join([*[NOT_SHOWN] * missing, message.content])
            message = dataclasses.replace(message, content=content, images=images)  # noqa: PLW2901  # the one that is sent
        kept.append(message)
    return kept[::-1]
