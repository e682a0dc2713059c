"""The one codec of messages, conversations and profiles: domain objects to plain values that JSON can hold, and back.

SQLite, Firestore, the journal and the JSON export all use it. Missing fields get the dataclass's default (data of an
older version); unknown fields are ignored (data of a newer version).
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

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
from chatapp.domain.library import Collection, Folder
from chatapp.domain.sentences import Sentence, as_json, from_json
from chatapp.store.values import storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.domain.conversation import Attachment, AttachmentT


_ENUMS: dict[str, type[StrEnum]] = {
    "role": Role,
    "status": MessageStatus,
    "finish_reason": FinishReason,
    "feedback": Feedback,
    "place": Place,
}

# Fields that are not written with their default: few messages have them, and files of earlier versions none.
_SPARSE = {
    *("appended", "thinking", "unshown_pictures", "feedback_ms", "documents", "citations", "passages"),
    "not_in_documents",
}


_MESSAGE_FIELDS = tuple(field.name for field in fields(Message))

# The lists of a profile, and what they hold.
_PROFILE_LISTS: dict[str, type[Any]] = {"personas": Persona, "collections": Collection, "folders": Folder}


def message_fields(message: Message) -> dict[str, Any]:
    """Return the fields of a message, its images and documents without their data."""
    values = {name: getattr(message, name) for name in _MESSAGE_FIELDS}
    values = {name: value for name, value in values.items() if value or name not in _SPARSE}
    values |= {name: values[name].value for name in _ENUMS if isinstance(values[name], StrEnum)}
    values["usage"] = message.usage and asdict(message.usage)
    values["error"] = as_json(message.error) if isinstance(message.error, Sentence) else message.error
    values["images"] = [attachment_fields(image) for image in message.images]
    if message.documents:
        values["documents"] = [attachment_fields(document) for document in message.documents]
    if message.citations:
        values["citations"] = [_citation_fields(citation) for citation in message.citations]
    return values


def message_of(values: Mapping[str, Any]) -> Message:
    """Return the message with these fields."""
    arguments = _own_fields(Message, values)
    arguments |= {name: enum(arguments[name]) for name, enum in _ENUMS.items() if arguments.get(name) is not None}
    arguments["usage"] = Usage(**arguments["usage"]) if arguments.get("usage") is not None else None
    arguments["error"] = from_json(arguments.get("error", ""))
    arguments["images"] = tuple(attachment_of(Image, one) for one in arguments.get("images", ()))
    arguments["documents"] = tuple(attachment_of(Document, one) for one in arguments.get("documents", ()))
    arguments["citations"] = tuple(Citation(**_own_fields(Citation, one)) for one in arguments.get("citations", ()))
    return Message(**arguments)


def _citation_fields(citation: Citation) -> dict[str, Any]:
    """Return the fields of a citation; one of a message's document has neither a collection nor what goes with it."""
    sparse = {"collection", "name", "quote"}
    return {name: value for name, value in asdict(citation).items() if value or name not in sparse}


def attachment_fields(attachment: Attachment) -> dict[str, Any]:
    """Return the fields of an image or a document without its data; of a document without a file, not that."""
    values = {field.name: getattr(attachment, field.name) for field in fields(attachment) if field.name != "data"}
    return {name: value for name, value in values.items() if value or name != "file"}


def attachment_of(kind: type[AttachmentT], values: Mapping[str, Any]) -> AttachmentT:
    """Return the image or the document with these fields."""
    return kind(**_own_fields(kind, values))


def conversation_fields(conversation: Conversation) -> dict[str, Any]:
    """Return the fields of a conversation."""
    values = {field.name: getattr(conversation, field.name) for field in fields(conversation)}
    if not conversation.changed_ms:
        del values["changed_ms"]
    else:
        values["changed_ms"] = dict(conversation.changed_ms)
    # As `_SPARSE`; one that was chosen once is written, so that an update of a stored conversation clears it.
    unused = [name for name in ("collection", "folder") if not values[name] and name not in conversation.changed_ms]
    return {name: value for name, value in values.items() if name not in unused}


def conversation_of(values: Mapping[str, Any]) -> Conversation:
    """Return the conversation with these fields."""
    return Conversation(**_own_fields(Conversation, values))


def profile_fields(profile: Profile) -> dict[str, Any]:
    """Return the fields of a profile; its parameters without the system prompt, which belongs to a conversation."""
    values = asdict(profile)
    values |= {name: list(values[name]) for name in _PROFILE_LISTS}
    if not profile.library_revision:  # as `_SPARSE`
        for name in ("collections", "folders", "library_revision"):
            del values[name]
    if values["parameters"] is not None:
        del values["parameters"]["system_prompt"]
    return values


def profile_of(values: Mapping[str, Any]) -> Profile:
    """Return the profile with these fields."""
    arguments = _own_fields(Profile, values)
    for name, kind in _PROFILE_LISTS.items():
        arguments[name] = tuple(kind(**_own_fields(kind, one)) for one in arguments.get(name, ()))
    if arguments.get("parameters") is not None:
        arguments["parameters"] = GenerationParameters(**_own_fields(GenerationParameters, arguments["parameters"]))
    return Profile(**arguments)


def clean(message: Message) -> Message:
    """Return the message with text that UTF-8 can encode (see `storable`)."""
    content, thinking = storable(message.content), storable(message.thinking)
    is_plain = not (message.error or message.documents or message.citations)
    if is_plain and content == message.content and thinking == message.thinking:
        return message
    return replace(
        message,
        content=content,
        thinking=thinking,
        error=from_json(_storable_json(as_json(message.error))),
        documents=tuple(map(clean_document, message.documents)),
        citations=tuple(map(_clean_citation, message.citations)),
    )


def _clean_citation(citation: Citation) -> Citation:
    if not citation.name and not citation.quote:
        return citation
    return replace(citation, name=storable(citation.name), quote=storable(citation.quote))


def clean_document(document: Document) -> Document:
    """Return the document with a name that UTF-8 can encode."""
    return replace(document, name=storable(document.name))


def clean_conversation(conversation: Conversation) -> Conversation:
    """Return the conversation with text that UTF-8 can encode."""
    return replace(conversation, title=storable(conversation.title), system_prompt=storable(conversation.system_prompt))


def clean_profile(profile: Profile) -> Profile:
    """Return the profile with text that UTF-8 can encode."""
    personas = (
        replace(persona, name=storable(persona.name), instructions=storable(persona.instructions))
        for persona in profile.personas
    )
    collections = (replace(one, name=storable(one.name)) for one in profile.collections)
    folders = (
        replace(one, name=storable(one.name), instructions=storable(one.instructions)) for one in profile.folders
    )
    return replace(profile, personas=tuple(personas), collections=tuple(collections), folders=tuple(folders))


def without_data(message: Message) -> Message:
    """Return the message as stores list it: its images and documents without their data."""
    if not message.attachments:
        return message
    return message.with_attachments(replace(one, data=b"") for one in message.attachments)


def _storable_json(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    if isinstance(value, dict):
        return {name: _storable_json(item) for name, item in value.items()}
    return storable(value) if isinstance(value, str) else value


def _own_fields(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in values.items() if name in names}
