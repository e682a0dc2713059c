"""The one codec of messages, conversations and profiles: domain objects to plain values that JSON can hold, and back.

SQLite, Firestore, the journal and the JSON export all use it. Missing fields get the dataclass's default (data of an
older version); unknown fields are ignored (data of a newer version).
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from chatapp.domain.conversation import (
    Citation,
    Conversation,
    Document,
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

_ENUMS: dict[str, type[StrEnum]] = {
    "role": Role,
    "status": MessageStatus,
    "finish_reason": FinishReason,
    "feedback": Feedback,
    "place": Place,
}

# Fields that are not written with their default: few messages have them, and files of earlier versions none.
_SPARSE = {"appended", "thinking", "unshown_pictures", "feedback_ms", "documents", "citations"}


def message_fields(message: Message) -> dict[str, Any]:
    """Return the fields of a message, its images and documents without their data."""
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    values = {name: value for name, value in values.items() if value or name not in _SPARSE}
    values |= {name: values[name].value for name in _ENUMS if isinstance(values[name], StrEnum)}
    values["usage"] = message.usage and asdict(message.usage)
    values["error"] = as_json(message.error) if isinstance(message.error, Sentence) else message.error
    values["images"] = [image_fields(image) for image in message.images]
    if message.documents:
        values["documents"] = [document_fields(document) for document in message.documents]
    if message.citations:
        values["citations"] = [asdict(citation) for citation in message.citations]
    return values


def message_of(values: Mapping[str, Any]) -> Message:
    """Return the message with these fields."""
    arguments = _own_fields(Message, values)
    arguments |= {name: enum(arguments[name]) for name, enum in _ENUMS.items() if arguments.get(name) is not None}
    arguments["usage"] = Usage(**arguments["usage"]) if arguments.get("usage") is not None else None
    arguments["error"] = from_json(arguments.get("error", ""))
    arguments["images"] = tuple(image_of(image) for image in arguments.get("images", ()))
    arguments["documents"] = tuple(document_of(document) for document in arguments.get("documents", ()))
    arguments["citations"] = tuple(Citation(**_own_fields(Citation, one)) for one in arguments.get("citations", ()))
    return Message(**arguments)


def image_fields(image: Image) -> dict[str, Any]:
    """Return the fields of an image without its data."""
    return {"id": image.id, "media_type": image.media_type, "width": image.width, "height": image.height}


def image_of(values: Mapping[str, Any]) -> Image:
    """Return the image with these fields."""
    return Image(**_own_fields(Image, values))


def document_fields(document: Document) -> dict[str, Any]:
    """Return the fields of a document without its data."""
    return {
        "id": document.id,
        "name": document.name,
        "kind": document.kind,
        "pages": document.pages,
        "size": document.size,
    }


def document_of(values: Mapping[str, Any]) -> Document:
    """Return the document with these fields."""
    return Document(**_own_fields(Document, values))


def conversation_fields(conversation: Conversation) -> dict[str, Any]:
    """Return the fields of a conversation."""
    values = asdict(conversation)
    if not conversation.changed_ms:
        del values["changed_ms"]
    return values


def conversation_of(values: Mapping[str, Any]) -> Conversation:
    """Return the conversation with these fields."""
    return Conversation(**_own_fields(Conversation, values))


def profile_fields(profile: Profile) -> dict[str, Any]:
    """Return the fields of a profile; its parameters without the system prompt, which belongs to a conversation."""
    values = asdict(profile)
    values["personas"] = list(values["personas"])
    if values["parameters"] is not None:
        del values["parameters"]["system_prompt"]
    return values


def profile_of(values: Mapping[str, Any]) -> Profile:
    """Return the profile with these fields."""
    arguments = _own_fields(Profile, values)
    arguments["personas"] = tuple(Persona(**_own_fields(Persona, persona)) for persona in arguments.get("personas", ()))
    if arguments.get("parameters") is not None:
        arguments["parameters"] = GenerationParameters(**_own_fields(GenerationParameters, arguments["parameters"]))
    return Profile(**arguments)


def clean(message: Message) -> Message:
    """Return the message with text that UTF-8 can encode (see `storable`)."""
    return replace(
        message,
        content=storable(message.content),
        thinking=storable(message.thinking),
        error=from_json(_storable_json(as_json(message.error))),
    )


def clean_conversation(conversation: Conversation) -> Conversation:
    """Return the conversation with text that UTF-8 can encode."""
    return replace(conversation, title=storable(conversation.title), system_prompt=storable(conversation.system_prompt))


def clean_profile(profile: Profile) -> Profile:
    """Return the profile with text that UTF-8 can encode."""
    personas = (
        replace(persona, name=storable(persona.name), instructions=storable(persona.instructions))
        for persona in profile.personas
    )
    return replace(profile, personas=tuple(personas))


def without_data(message: Message) -> Message:
    """Return the message as stores list it: its images and documents without their data."""
    if not (message.images or message.documents):
        return message
    return replace(
        message,
        images=tuple(replace(image, data=b"") for image in message.images),
        documents=tuple(replace(document, data=b"") for document in message.documents),
    )


def _storable_json(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    if isinstance(value, dict):
        return {name: _storable_json(item) for name, item in value.items()}
    return storable(value) if isinstance(value, str) else value


def _own_fields(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in values.items() if name in names}
