"""Messages, conversations and profiles as plain values that JSON can hold, and back; what an older chat kept is read.

Fields that were not there when something was kept have their defaults; fields that a newer chat kept are ignored.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from chatapp.domain.conversation import (
    Conversation,
    Feedback,
    FinishReason,
    GenerationParameters,
    Image,
    Message,
    MessageStatus,
    Persona,
    Place,
    Profile,
    Role,
    Usage,
)
from chatapp.domain.sentences import Sentence, as_json, from_json
from chatapp.store.values import storable

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_CHOICES = {"role": Role, "status": MessageStatus, "finish_reason": FinishReason, "feedback": Feedback, "place": Place}


def message_fields(message: Message) -> dict[str, Any]:
    """Return the fields of a message, its images without their bytes."""
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    values["usage"] = message.usage and asdict(message.usage)
    values["error"] = said(message.error)
    values["images"] = [image_fields(image) for image in message.images]
    return values


def message_of(values: Mapping[str, Any]) -> Message:
    """Return the message whose fields these are."""
    known = _known(Message, values)
    for name, choice in _CHOICES.items():
        if known.get(name) is not None:
            known[name] = choice(known[name])
    known["usage"] = Usage(**known["usage"]) if known.get("usage") is not None else None
    known["error"] = from_json(known.get("error", ""))
    known["images"] = tuple(Image(**_known(Image, image)) for image in known.get("images", ()))
    return Message(**known)


def image_fields(image: Image) -> dict[str, Any]:
    """Return what is known of an image besides its bytes."""
    return {"id": image.id, "media_type": image.media_type, "width": image.width, "height": image.height}


def conversation_fields(conversation: Conversation) -> dict[str, Any]:
    """Return the fields of a conversation."""
    return asdict(conversation)


def conversation_of(values: Mapping[str, Any]) -> Conversation:
    """Return the conversation whose fields these are."""
    return Conversation(**_known(Conversation, values))


def profile_fields(profile: Profile) -> dict[str, Any]:
    """Return the fields of a profile; its parameters without the system prompt, which is a conversation's."""
    values = asdict(profile)
    values["personas"] = list(values["personas"])
    if values["parameters"] is not None:
        del values["parameters"]["system_prompt"]
    return values


def profile_of(values: Mapping[str, Any]) -> Profile:
    """Return the profile whose fields these are."""
    known = _known(Profile, values)
    known["personas"] = tuple(Persona(**_known(Persona, persona)) for persona in known.get("personas", ()))
    if known.get("parameters") is not None:
        known["parameters"] = GenerationParameters(**_known(GenerationParameters, known["parameters"]))
    return Profile(**known)


def said(sentence: str) -> str | dict[str, Any]:
    """Return what a place keeps of a sentence: plain text as it is, else what it was made of."""
    return as_json(sentence) if isinstance(sentence, Sentence) else sentence


def clean(message: Message) -> Message:
    """Return the message with text that can be stored."""
    return replace(message, content=storable(message.content), error=_storable_sentence(message.error))


def clean_conversation(conversation: Conversation) -> Conversation:
    """Return the conversation with text that can be stored."""
    return replace(conversation, title=storable(conversation.title), system_prompt=storable(conversation.system_prompt))


def clean_profile(profile: Profile) -> Profile:
    """Return the profile with text that can be stored."""
    personas = (
        replace(persona, name=storable(persona.name), instructions=storable(persona.instructions))
        for persona in profile.personas
    )
    return replace(profile, personas=tuple(personas))


def without_bytes(message: Message) -> Message:
    """Return the message as stores list it: its images without their bytes."""
    return replace(message, images=tuple(replace(image, data=b"") for image in message.images))


def _storable_sentence(sentence: str) -> str:
    return from_json(_storable(as_json(sentence)))


def _storable(said: Any) -> Any:  # noqa: ANN401  # what JSON can hold
    if isinstance(said, dict):
        return {name: _storable(value) for name, value in said.items()}
    return storable(said) if isinstance(said, str) else said


def _known(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in values.items() if name in names}
