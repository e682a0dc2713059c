"""The JSON export: one document with all conversations, for backups, other programs, and import into another chat.

    {"format": "hybrid-chat", "version": 1, "exported": "2026-11-02T10:15:30.123Z", "user": "local",
     "profile": {"personas": [{"id": ..., "name": ..., "instructions": ...}], ...}, "conversations": [
    {"id": ..., "title": ..., "created_ms": ..., "created": ..., ..., "messages": [{"id": ..., "role": ..., ...}]},
    ...
    ], "library": [
    {"collection": ..., "added_ms": ..., "id": ..., "name": ..., "kind": ..., "pages": ..., "size": ..., "data": ...},
    ...
    ]}

A conversation has the fields of `chatapp.domain.conversation.Conversation`, and its messages, in order, those of
`Message`; each conversation is one line. All versions of a message are included: ``follows`` says which one each came
after. The ``data`` of an image is base64. So is that of a document: of its text by pages, as gzip of JSON (see
`chatapp.documents.packing`). ``library`` has the documents of the collections, each in one line; an export without any
has no such list, and an export of one conversation has none. ``error`` is text; the optional ``error_said`` is the same
text in a form that can be translated. ``profile`` has the fields of `Profile`; an export of one conversation has none.
Every time in milliseconds since the epoch is followed by the same time as ISO 8601, for people: an import reads the
milliseconds. ``user`` is the id of the exported user; an import ignores it. A reader must reject a higher ``version``
and ignore unknown fields.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pydantic import TypeAdapter, ValidationError

from chatapp.documents.citations import true_citations, true_quotes
from chatapp.documents.extraction.shape import MAX_PAGES, Kind, Page
from chatapp.documents.packing import InvalidPacking, unpacked
from chatapp.documents.uploads import file_name
from chatapp.domain.conversation import Conversation, Document, GenerationParameters, Message, Profile, now_ms
from chatapp.domain.errors import ChatError, InvalidParameters
from chatapp.domain.library import (
    MAX_COLLECTIONS,
    MAX_FOLDERS,
    MAX_NAME_CHARS,
    Collection,
    Folder,
    LibraryDocument,
)
from chatapp.domain.sentences import Sentence, as_json, from_json
from chatapp.store.codec import attachment_fields, conversation_fields, message_fields, profile_fields
from chatapp.store.firestore.documents import is_id
from chatapp.store.temporary.router import is_temporary
from chatapp.store.values import IMAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chatapp.domain.conversation import Attachment, Citation, Image

FORMAT, VERSION = "hybrid-chat", 1
FOOTER = b"\n]}\n"
LIBRARY = b'\n], "library": [\n'  # between the last conversation and the first document of a collection
LATEST_MS = 253_402_300_799_999  # the last millisecond of the year 9999, where dates end

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONVERSATION, _MESSAGES, _PROFILE = TypeAdapter(Conversation), TypeAdapter(list[Message]), TypeAdapter(Profile)
_DOCUMENT = TypeAdapter(Document)
_IMAGES = {"image/jpeg", "image/png", "image/webp"}
_ATTACHED = "images", "documents"
MAX_NAME = 1_000  # characters of a document's name
MAX_CITING = 400_000  # characters of an answer whose citations are kept; models write less
LARGEST_FILE = 2**53  # bytes; what JavaScript holds exactly


class InvalidExport(ChatError):
    """The file is not an export of a chat, or it is damaged; the message says where."""


@dataclass(slots=True)
class Room:
    """How much of one file's documents is unpacked and searched; what is read takes of it.

    Attributes:
        unpacked: characters; a document adds 10 for each byte that it takes packed.
        searched: characters in which quotes are looked for; citations beyond are left out.
    """

    unpacked: int = 500_000_000
    searched: int = 50_000_000  # in 35 s of CPU


@dataclass(frozen=True, slots=True)
class _Added:
    """What a document of a collection has besides the document."""

    collection: str
    added_ms: int


_ADDED = TypeAdapter(_Added)


class ExportedConversation(NamedTuple):
    """A conversation with all its messages, their images and documents with data."""

    conversation: Conversation
    messages: Sequence[Message]


def iso(ms: int) -> str:
    """Return milliseconds since the epoch as ISO 8601, in UTC."""
    return moment(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(ms: int) -> datetime:
    """Return milliseconds since the epoch as a time in UTC, without a rounding error."""
    return _EPOCH + timedelta(milliseconds=ms)


def header(user: str, profile: Profile | None = None) -> bytes:
    """Return the document up to the first conversation."""
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION, "exported": iso(now_ms()), "user": user}
    if profile is not None:
        head["profile"] = profile_fields(profile)
    return _encoded(head)[:-1] + b', "conversations": [\n'


def encode(conversation: Conversation, messages: Sequence[Message]) -> bytes:
    """Return one conversation as a line without line end; its images and documents need data."""
    fields = conversation_fields(replace(conversation, changed_ms={}))  # it only decides between replicas
    return _encoded(_dated(fields) | {"messages": [_message(one) for one in messages]})


def encode_library_document(document: LibraryDocument) -> bytes:
    """Return a document of a collection, with its data, as a line without line end."""
    own = {"collection": document.collection, "added_ms": document.added_ms}
    return _encoded(_dated(own) | _encoded_attachment(document.document))


def validated_profile(value: object) -> Profile:
    """Return the profile of an export.

    Raises:
        InvalidExport: with the field that is wrong.
    """
    profile = cast("Profile", _checked(_PROFILE, value, "profile"))
    longest = GenerationParameters.LONGEST_SYSTEM_PROMPT
    lists: tuple[tuple[str, int, Sequence[Collection | Folder]], ...] = (
        ("collections", MAX_COLLECTIONS, profile.collections),
        ("folders", MAX_FOLDERS, profile.folders),
    )
    for name, most, entries in lists:
        if len(entries) > most or len({one.id for one in entries}) < len(entries):
            raise InvalidExport(f"profile.{name}: there are more than {most}, or two with one id.")
        for number, one in enumerate(entries):
            where = f"profile.{name}[{number}]"
            if not is_id(one.id):
                raise InvalidExport(f"{where}.id: {one.id[:80]!r} cannot be an id.")
            if not 1 <= len(one.name) <= MAX_NAME_CHARS:
                raise InvalidExport(f"{where}.name: it must have 1 to {MAX_NAME_CHARS} characters.")
            if isinstance(one, Folder) and (len(one.instructions) > longest or not _is_entry(one.collection)):
                raise InvalidExport(f"{where}: its instructions are too long, or its collection cannot be an id.")
    return profile


def validated_library_document(value: object, where: str, room: Room) -> LibraryDocument:
    """Return a document of a collection of an export.

    Raises:
        InvalidExport: with the field that is wrong.
    """
    fields = _decoded(value, where)
    document: Document = _checked(_DOCUMENT, fields, where)
    _check_document(document, where, room)
    own: _Added = _checked(_ADDED, fields, where)
    if not document.data:
        raise InvalidExport(f"{where}.data: it is missing.")
    if not is_id(own.collection):
        raise InvalidExport(f"{where}.collection: {own.collection[:80]!r} cannot be an id.")
    if not 0 <= own.added_ms <= LATEST_MS:
        raise InvalidExport(f"{where}.added_ms: {own.added_ms} is not a time in milliseconds since 1970.")
    document = replace(document, name=file_name(document.name) or document.kind, file="")
    return LibraryDocument(collection=own.collection, document=document, added_ms=own.added_ms)


def _is_entry(entry_id: str) -> bool:
    """Return whether this can be the id of a collection or a folder, or "" for none."""
    return not entry_id or is_id(entry_id)


def validated(value: object, where: str, room: Room) -> ExportedConversation:
    """Return a conversation of an export; ``where`` names it in errors, ``room`` is for all of the file.

    Raises:
        InvalidExport: with the field that is wrong.
    """
    conversation: Conversation = _checked(_CONVERSATION, value, where)
    _check(conversation, where, "created_ms", "updated_ms")
    for name in ("collection", "folder"):
        if not _is_entry(getattr(conversation, name)):
            raise InvalidExport(f"{where}.{name}: {getattr(conversation, name)[:80]!r} cannot be an id.")
    if is_temporary(conversation.id):
        raise InvalidExport(f"{where}.id: {conversation.id[:80]!r} is that of a temporary conversation.")
    raw_messages = value.get("messages") if isinstance(value, dict) else None
    if isinstance(raw_messages, list):
        raw_messages = [_with_bytes(one, f"{where}.messages[{number}]") for number, one in enumerate(raw_messages)]
    messages: list[Message] = _checked(_MESSAGES, raw_messages, f"{where}.messages")
    documents: dict[str, Document] = {}
    for number, message in enumerate(messages):
        _check(message, f"{where}.messages[{number}]", "created_ms")
        for index, image in enumerate(message.images):
            _check_image(image, f"{where}.messages[{number}].images[{index}]")
        for index, document in enumerate(message.documents):
            _check_document(document, f"{where}.messages[{number}].documents[{index}]", room)
            documents[document.id] = document
    pairs = zip(messages, raw_messages or (), strict=True)
    return ExportedConversation(
        conversation,
        [
            replace(
                message,
                error=_error(message, raw),
                documents=tuple(
                    replace(one, name=file_name(one.name) or one.kind, file="") for one in message.documents
                ),
                citations=_citations(message, documents, room),
            )
            for message, raw in pairs
        ],
    )


def _error(message: Message, value: dict[str, Any]) -> str:
    """Return the error of a message, as a sentence if ``error_said`` is one with the same text."""
    try:
        sentence = from_json(value.get("error_said", ""))
    except (LookupError, ValueError, TypeError, AttributeError):  # not written by a chat
        return message.error
    return sentence if sentence == message.error else message.error


def _with_bytes(message: object, where: str) -> object:
    """Return a message with the base64 data of its images and documents decoded."""
    if not isinstance(message, dict):
        return message
    decoded = {
        name: [_decoded(one, f"{where}.{name}[{number}]") for number, one in enumerate(message[name])]
        for name in _ATTACHED
        if isinstance(message.get(name), list)
    }
    return message | decoded


def _decoded(attachment: object, where: str) -> object:
    if not isinstance(attachment, dict) or not isinstance(attachment.get("data"), str):
        return attachment
    try:
        return attachment | {"data": base64.b64decode(attachment["data"], validate=True)}
    except (binascii.Error, ValueError) as error:
        raise InvalidExport(f"{where}.data: this is not base64.") from error


def _check_image(image: Image, where: str) -> None:
    if not is_id(image.id):
        raise InvalidExport(f"{where}.id: {image.id[:80]!r} cannot be an id.")
    if image.media_type not in _IMAGES:
        allowed = ", ".join(sorted(_IMAGES))
        raise InvalidExport(f"{where}.media_type: {image.media_type[:80]!r} is not one of {allowed}.")
    if len(image.data) > IMAGE_BYTES:
        raise InvalidExport(f"{where}.data: this image has more than {IMAGE_BYTES // 1000} kB.")
    if image.width < 1 or image.height < 1:
        raise InvalidExport(f"{where}: its width and height must be 1 or more.")


def _check_document(document: Document, where: str, room: Room) -> None:
    """Check a document; one without data has expired.

    Raises:
        InvalidExport: with the field that is wrong.
    """
    if not is_id(document.id):
        raise InvalidExport(f"{where}.id: {document.id[:80]!r} cannot be an id.")
    if not 1 <= len(document.name) <= MAX_NAME:
        raise InvalidExport(f"{where}.name: it must have 1 to {MAX_NAME} characters.")
    if document.kind not in set(Kind):
        raise InvalidExport(f"{where}.kind: {document.kind[:80]!r} is not one of {', '.join(Kind)}.")
    if not 0 <= document.size < LARGEST_FILE:
        raise InvalidExport(f"{where}.size: this is not the size of a file.")
    if not 1 <= document.pages <= MAX_PAGES:
        raise InvalidExport(f"{where}.pages: it must be 1 to {MAX_PAGES}.")
    if not document.data:
        return
    try:
        pages = unpacked(document.data)
    except InvalidPacking as error:
        raise InvalidExport(f"{where}.data: this is not the text of a document: {error}.") from error
    if len(pages) != document.pages:
        raise InvalidExport(f"{where}.pages: the text has another number of pages.")
    room.unpacked += 10 * len(document.data) - _size(pages)
    if room.unpacked < 0:
        raise InvalidExport(f"{where}.data: the documents of this file unpack to much more than documents do.")


def _citations(message: Message, documents: Mapping[str, Document], room: Room) -> tuple[Citation, ...]:
    """Return those citations of a message that are true: the quote is in the page.

    The documents of collections may not be in the export. The words of the page that a citation of one has must be
    what the answer quotes; the page compares them with the document, where it is there, before it shows them in it.
    """
    if len(message.content) > MAX_CITING:
        return ()
    true = true_quotes(message.content, filter(_is_of_collection, message.citations))
    citations = [one for one in message.citations if not one.collection]
    for name in {one.document for one in citations} & documents.keys():
        if room.searched > 0 and documents[name].data:
            pages = unpacked(documents[name].data)
            room.searched -= _size(pages)
            cited = [one for one in citations if one.document == name]
            true |= true_citations(message.content, cited, pages)
    return tuple(
        replace(one, name=file_name(one.name) or one.document) if one.collection else replace(one, name="", quote="")
        for one in message.citations
        if one in true
    )


def _is_of_collection(citation: Citation) -> bool:
    """Return whether this can be a citation of a collection's document, by its ids, name and page."""
    return (
        is_id(citation.collection)
        and is_id(citation.document)
        and 1 <= len(citation.name) <= MAX_NAME
        and 1 <= citation.page <= MAX_PAGES
        and 0 <= citation.page_start < LARGEST_FILE
    )


def _size(pages: Iterable[Page]) -> int:
    """Return about how many characters the pages have as JSON."""
    return sum(20 + sum(len(block.text) + 20 for block in page.blocks) for page in pages)


def _checked(adapter: TypeAdapter[Any], value: object, where: str) -> Any:  # noqa: ANN401  # the adapter's type
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise InvalidExport(f"{where}{path}: {first['msg'][:1].lower()}{first['msg'][1:]}.") from error
    except InvalidParameters as error:
        raise InvalidExport(f"{where}.parameters: {error}") from error


def _check(value: Conversation | Message, where: str, *times: str) -> None:
    if not is_id(value.id):
        raise InvalidExport(f"{where}.id: {value.id[:80]!r} cannot be an id.")
    for name in times:
        if not 0 <= getattr(value, name) <= LATEST_MS:
            raise InvalidExport(f"{where}.{name}: {getattr(value, name)} is not a time in milliseconds since 1970.")


def _message(message: Message) -> dict[str, Any]:
    fields = _dated(message_fields(replace(message, feedback_ms=0)))  # as `changed_ms`
    fields["error"] = str(message.error)
    if isinstance(message.error, Sentence):
        fields["error_said"] = as_json(message.error)
    fields["images"] = list(map(_encoded_attachment, message.images))
    if message.documents:
        fields["documents"] = list(map(_encoded_attachment, message.documents))
    return fields


def _encoded_attachment(attachment: Attachment) -> dict[str, Any]:
    """Return an attachment with its data; a document without its file, which is in this chat only."""
    own = {name: value for name, value in attachment_fields(attachment).items() if name != "file"}
    return own | {"data": base64.b64encode(attachment.data).decode()}


def _dated(fields: dict[str, Any]) -> dict[str, Any]:
    """Add each time as ISO 8601 after its milliseconds."""
    dated = {}
    for name, value in fields.items():
        dated[name] = value
        if name.endswith("_ms") and name != "deleted_ms":  # deleted conversations are not exported
            dated[name.removesuffix("_ms")] = iso(value)
    return dated


def _encoded(fields: dict[str, Any]) -> bytes:
    # An error of a model server may contain a lone surrogate, which UTF-8 cannot encode.
    return json.dumps(fields, ensure_ascii=False).encode(errors="replace")
