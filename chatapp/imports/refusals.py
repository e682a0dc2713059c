"""Why a file is not imported, in words."""

from __future__ import annotations

from chatapp.domain.errors import ChatError
from chatapp.domain.sentences import Sentence


class InvalidImport(ChatError):
    """The file is no export that can be read, is damaged, or is hostile; nothing was imported."""


DAMAGED = Sentence(
    "This file is damaged, or its download was interrupted ({where}). Nothing was imported. Download the export again, "
    "and add it as it is."
)
UNKNOWN = Sentence(
    "There are no conversations in this file that this chat can read. Nothing was imported. Add the file as you "
    "downloaded it from ChatGPT, Claude, Gemini (Google Takeout), Open WebUI, LibreChat or this chat."
)
TAKEOUT_TIMES = Sentence(
    "This Google Takeout has the Gemini history as a web page, and its times are in a form that this chat cannot read. "
    "Nothing was imported. Request it once more: choose My Activity, in it only Gemini Apps, and JSON as the format of "
    "the activity records."
)
NESTED = Sentence(
    "This archive has no conversations, but other archives. Nothing was imported. Unpack it, and add the archives in "
    "it one by one."
)
UNSAFE = Sentence(
    "This archive is not safe to read: {why}. Nothing was imported. Add the file as you downloaded it, without "
    "unpacking and packing it again."
)
LINK = Sentence("it has a link ({name})")
PATH = Sentence("it has a name that leads out of it ({name})")
TWICE = Sentence("it has the name {name} twice")
ENCRYPTED = Sentence("it is encrypted")
METHOD = Sentence("it is compressed in a way that exports are not")
BOMB = Sentence("{name} unpacks to much more than an export has")
TOO_MANY_ENTRIES = Sentence("it has more than {most} files")
TOO_LARGE_UNPACKED = Sentence(
    "This archive unpacks to {size} GB, and at most {most} GB can be imported at once. Nothing was imported. Export "
    "fewer conversations at a time."
)
TOO_LARGE_CONVERSATION = Sentence(
    "One conversation in this file has more than {most} MB. Nothing was imported. Export the other conversations "
    "without it."
)
TOO_DEEP = Sentence(
    "This file is nested too deeply to be read. Nothing was imported. If it is from LibreChat, export the conversation "
    'without "Recursive".'
)
NEWER = Sentence(
    "This export was made by a newer version of this chat (format {version}; this one reads {latest}). Nothing was "
    "imported. Update this chat first."
)


def damaged(where: str, detail: str = "") -> InvalidImport:
    """Return the refusal of a damaged file; ``where`` is a name in it, or a position."""
    return InvalidImport(DAMAGED.filled(where=where[:120]), detail=detail)


def unsafe(why: Sentence) -> InvalidImport:
    """Return the refusal of an archive that no chat made."""
    return InvalidImport(UNSAFE.filled(why=why), detail=str(why))
