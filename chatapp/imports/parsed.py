"""What a format's module makes of an export: conversations as neutral trees, and counts of what they leave out."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import Feedback, Role
from chatapp.domain.sentences import Sentence
from chatapp.userdata.json_export import LATEST_MS

if TYPE_CHECKING:
    from chatapp.userdata.json_export import ExportedConversation


PICTURE_NAMES = (".png", ".jpg", ".jpeg", ".webp", ".gif")  # ends of the names of pictures


class Skipped(Enum):
    """What an import leaves out, as a summary says it."""

    PICTURES = Sentence("Images that are not in the file: {count}")
    UNREADABLE_PICTURES = Sentence("Images that could not be read: {count}")
    DOCUMENTS = Sentence("Documents that are too large for their message: {count}")
    FILES = Sentence("Attached files other than images: {count}")
    RECORDINGS = Sentence("Voice and video recordings: {count}")
    HIDDEN = Sentence("Hidden messages of the other chat, such as its own instructions: {count}")
    ACTIVITIES = Sentence("Gemini activities other than questions: {count}")
    TIMELESS = Sentence("Gemini questions with a time that could not be read: {count}")
    EMPTY = Sentence("Conversations without messages: {count}")
    UNREADABLE = Sentence("Entries that are no conversations: {count}")
    CUT = Sentence("Texts that were too long and were cut: {count}")
    UNKNOWN = Sentence("Parts of a kind that this chat does not know: {count}")
    EXPIRED = Sentence("Messages older than this chat keeps: {count}")
    DELETED = Sentence("Messages that were deleted in the other chat: {count}")


@dataclass(frozen=True, slots=True)
class PictureRef:
    """A picture of a message.

    Attributes:
        names: ids and file names that it may have in the archive, the most exact first.
        data: the file as base64 or ``data:`` URL, where the export has it in place.
    """

    names: tuple[str, ...] = ()
    data: str = field(default="", repr=False)


@dataclass(slots=True, kw_only=True)
class Node:
    """A message of the other chat, or a part of one.

    Attributes:
        id: unique in its conversation.
        parent: the id of the one before it, "" for a first one.
        role: None if it is not shown; what follows it then follows its parent.
        text: Markdown.
        folded: thinking, and what tools were asked and returned; Markdown.
        model: the model's name, for an answer.
        time_ms: when it was written; None if the export does not say.
    """

    id: str
    parent: str = ""
    role: Role | None = None
    text: str = ""
    folded: str = ""
    model: str = ""
    time_ms: int | None = None
    pictures: tuple[PictureRef, ...] = ()
    feedback: Feedback = Feedback.NONE


@dataclass(slots=True, kw_only=True)
class Parsed:
    """A conversation of an export.

    Attributes:
        source: the format, a key of `chatapp.imports.formats.FORMATS`.
        id: the other chat's.
        current: the id of the node that the other chat showed last, "" if the export does not say.
        skipped: what is left out.
        exported: of this chat's own format: the conversation as it was; ``nodes`` is empty then.
    """

    source: str
    id: str
    title: str = ""
    created_ms: int | None = None
    updated_ms: int | None = None
    nodes: list[Node] = field(default_factory=list)
    current: str = ""
    system_prompt: str = ""
    pinned: bool = False
    archived: bool = False
    skipped: Counter[Skipped] = field(default_factory=Counter)
    exported: ExportedConversation | None = None


def text_of(value: object) -> str:
    """Return a value that should be text; "" if it is none."""
    return value if isinstance(value, str) else ""


def dict_of(value: object) -> dict[str, Any]:
    """Return a value that should be an object; an empty one if it is none."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """Return a value that should be a list; an empty one if it is none."""
    return value if isinstance(value, list) else []


def id_of(value: object) -> str:
    """Return an id, which may be a number; "" if it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value[:500] if isinstance(value, str) else ""


def seconds(value: object) -> int | None:
    """Return a time in seconds since the epoch as milliseconds; one that is in milliseconds already, as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return iso_time(value)
    ms = value if value > 100_000_000_000 else value * 1000  # seconds from the year 5138 on are milliseconds
    if ms > 100_000_000_000_000_000:  # nanoseconds
        ms /= 1_000_000
    return _valid(int(ms))


# Of ISO 8601: any number of digits of a second, of which a time has three.
_ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))?\s*(Z|UTC|[+-]\d\d:?\d\d)?")


def iso_time(value: object) -> int | None:
    """Return a time of ISO 8601, in UTC if it does not say, as milliseconds since the epoch; None if it is none."""
    match = _ISO.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 60 else None
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{zone if zone and zone[0] in '+-' else '+00:00'}")
        ms = int(moment.astimezone(UTC).timestamp()) * 1000
    except (ValueError, OverflowError):
        return None
    return _valid(ms + int(f"{fraction or '0':0<3}"[:3]))


def _valid(ms: int) -> int | None:
    return ms if 0 < ms <= LATEST_MS else None


def fenced(text: str, language: str = "") -> str:
    """Return text as a block of code, which nothing in it can end."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    name = language if re.fullmatch(r"[A-Za-z0-9+#._-]{1,30}", language) else ""
    return f"{fence}{name}\n{text.rstrip()}\n{fence}"


def headed(heading: str, body: str) -> str:
    """Return a folded part: a bold heading on one line, and its body."""
    line = " ".join(heading.split())[:200].replace("*", "")
    return "\n\n".join(part for part in (f"**{line}**" if line else "", body.strip()) if part)


def joined(*parts: str) -> str:
    """Return parts of Markdown as one."""
    return "\n\n".join(part for part in parts if part.strip())
