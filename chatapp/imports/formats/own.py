"""This chat's own JSON export: see `chatapp.userdata.json_export`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from chatapp.images.header import MAX_PIXELS, read_header
from chatapp.imports.parsed import Parsed
from chatapp.imports.refusals import NEWER, InvalidImport, damaged
from chatapp.userdata import json_export

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chatapp.domain.conversation import Image, Message, Profile
    from chatapp.domain.library import LibraryDocument

NAME = "Hybrid chat"

_LARGEST = 2**53  # what every store, and JavaScript, holds exactly
_MEDIA_TYPES = {"JPEG": "image/jpeg", "progressive JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp"}


def recognizes_document(members: Mapping[str, Any]) -> bool:
    """Return whether the members of a document before its conversations are those of an export.

    Raises:
        InvalidImport: of a newer version.
    """
    if members.get("format") != json_export.FORMAT:
        return False
    if (version := members.get("version")) != json_export.VERSION:
        raise InvalidImport(NEWER.filled(version=str(version)[:20], latest=json_export.VERSION))
    return True


def convert(value: object, number: int, room: json_export.Room) -> Iterator[Parsed]:
    """Yield the conversation; ``room`` is for the documents of all conversations of the file.

    Raises:
        InvalidImport: a field is wrong.
    """
    where = f"conversations[{number}]"
    try:
        exported = json_export.validated(value, where, room)
    except json_export.InvalidExport as error:
        raise damaged(str(error)[:200]) from error
    for message in exported.messages:
        if not _is_bounded(message) or not all(map(_is_picture, message.images)):
            raise damaged(f"{where}, {message.id}")
    yield Parsed(source="own", id=exported.conversation.id, title=exported.conversation.title, exported=exported)


def document_of(value: object, number: int, room: json_export.Room) -> LibraryDocument:
    """Return a document of a collection; ``room`` is for all documents of the file.

    Raises:
        InvalidImport: a field is wrong.
    """
    try:
        return json_export.validated_library_document(value, f"library[{number}]", room)
    except json_export.InvalidExport as error:
        raise damaged(str(error)[:200]) from error


def profile_of(members: Mapping[str, Any]) -> Profile | None:
    """Return the personas and settings of an export, None if it has none.

    Raises:
        InvalidImport: a field is wrong.
    """
    if members.get("profile") is None:
        return None
    try:
        return json_export.validated_profile(members["profile"])
    except json_export.InvalidExport as error:
        raise damaged(str(error)[:200]) from error


def _is_bounded(message: Message) -> bool:
    """Return whether all numbers of a message are such as a store can hold."""
    usage = message.usage
    numbers = (
        *(message.revision, message.omitted_messages, message.unshown_pictures, message.feedback_ms),
        *(message.seconds, message.seconds_to_first_token, message.temperature, message.cost),
        *((usage.prompt_tokens, usage.completion_tokens) if usage else ()),
    )
    return all(one is None or (math.isfinite(one) and abs(one) < _LARGEST) for one in numbers) and message.revision >= 0


def _is_picture(image: Image) -> bool:
    """Return whether an image is what it says, and may be decoded; one without data has expired."""
    if not image.data:
        return True
    header = read_header(image.data)
    return (
        header is not None
        and _MEDIA_TYPES.get(header.kind) == image.media_type
        and (header.width, header.height) == (image.width, image.height)
        and header.pixels <= MAX_PIXELS[header.kind]
    )
