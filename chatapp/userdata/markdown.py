"""A conversation as Markdown that a person reads in any editor, in their language, and the name of its file."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.domain.conversation import FinishReason, MessageStatus, Role
from chatapp.domain.file_names import RIGHT_TO_LEFT_LETTERS, shown_name
from chatapp.domain.message_tree import MessageTree
from chatapp.domain.sentences import Sentence
from chatapp.userdata.inert_markdown import as_code, inert
from chatapp.userdata.json_export import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chatapp.domain.conversation import Conversation, Image, Message

NAME_BYTES = 180  # file systems take 255, Windows' paths 260 characters in all

_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffd]')
_SPECIAL = re.compile(r"([\\`*_\[\]<#&])")
_STATUSES = {
    MessageStatus.STREAMING: Sentence("still being written at the time of this export"),
    MessageStatus.STOPPED: Sentence("stopped"),
    MessageStatus.INTERRUPTED: Sentence("interrupted"),
    MessageStatus.ERROR: Sentence("error"),
}


@dataclass(frozen=True, slots=True)
class Language:
    """The language of an export's own words.

    Attributes:
        translate: returns a sentence in it.
        is_right_to_left: lines of the export begin with a mark, and what has another direction is isolated
            (https://www.unicode.org/reports/tr9/).
    """

    translate: Callable[[str], str] = str
    is_right_to_left: bool = False

    def line(self, text: str) -> str:
        """Return a line in the direction of the language, even if it begins with a Latin name."""
        return f"\u200f{text}" if self.is_right_to_left else text

    def isolated(self, text: str) -> str:
        """Return a name that does not change the direction of what is around it."""
        return f"\u2068{text}\u2069" if self.is_right_to_left else text

    def time(self, ms: int) -> str:
        """Return a time in UTC."""
        time = f"{moment(ms):%Y %m %d %H:%M}".split()
        names = dict(zip(("year", "month", "day", "time"), time, strict=True))
        return self.translate(Sentence("{year}-{month}-{day} {time} UTC", **names))


ENGLISH = Language()


def described(image: Image, language: Language = ENGLISH) -> str:
    """Return a description of an image."""
    size = {"width": str(image.width), "height": str(image.height)}
    return language.translate(Sentence("Picture, {width} × {height}", **size))


def mentioned(image: Image, language: Language = ENGLISH) -> str:
    """Return a description in place of an image."""
    return language.line(f"*{described(image, language)}*")


def document(
    conversation: Conversation,
    messages: Sequence[Message],
    label: Callable[[str], str],
    picture: Callable[[Image, Language], str] = mentioned,
    language: Language = ENGLISH,
) -> str:
    """Return the displayed path of a conversation, with both answers of an experiment.

    ``label`` turns a model's id into its name, ``picture`` an image into Markdown. The texts are inert
    (`chatapp.userdata.inert_markdown`): the document loads nothing, and no message becomes part of another.
    """
    messages = [message for message, _column in MessageTree(messages).shown(conversation.branch)]
    count = language.translate(Sentence("Messages: {number}", number=len(messages)))
    parts = [
        f"# {_title(conversation.title, language)}",
        language.line(f"{language.time(conversation.created_ms)} · {count}"),
    ]
    if conversation.system_prompt.strip():
        heading = language.translate(Sentence("System prompt"))
        parts += ["---", language.line(f"**{heading}**"), inert(conversation.system_prompt)]
    for message in messages:
        parts += ["---", _heading(message, label, language)]
        parts += [picture(image, language) for image in message.images]
        parts += [_named(document.name, language) for document in message.documents]
        parts += [_folded_thinking(message.thinking, language)] if message.thinking.strip() else []
        parts += [inert(message.content)] if message.content.strip() else []
        parts += [language.line(f"*{_line(note)}*") for note in _notes(message, label, language)]
    return "\n\n".join(parts) + "\n"


def file_name(conversation: Conversation, ending: str, language: Language = ENGLISH) -> str:
    """Return a name that every file system takes and that sorts by date: ``2026-11-02 10.15 The title.md``."""
    started = moment(conversation.created_ms).strftime("%Y-%m-%d %H.%M")
    title = safe_name(conversation.title, NAME_BYTES - len(started) - len(ending))
    return f"{started} {title or language.translate(Sentence('Untitled'))}{ending}"


def safe_name(name: str, most_bytes: int) -> str:
    """Return what of a name every file system takes, and no folder; may be empty."""
    name = unicodedata.normalize("NFC", name.encode(errors="ignore").decode())
    name = " ".join(_NOT_IN_NAMES.sub(" ", name).split())
    return name.encode()[:most_bytes].decode(errors="ignore").strip(" .")


def _title(title: str, language: Language) -> str:
    title = _line(title)
    if not title:
        return language.line(language.translate(Sentence("Untitled")))
    return language.line(title) if RIGHT_TO_LEFT_LETTERS.search(title) else title


def _named(name: str, language: Language) -> str:
    """Return a line that names a document; its text is in the JSON export only."""
    name = language.isolated(shown_name(_line(name)))
    return language.line(f"*{language.translate(Sentence('Document: {name}', name=name))}*")


def _folded_thinking(text: str, language: Language) -> str:
    """Return thinking that programs fold and that contains no Markdown: as a code block longer than any within."""
    summary = language.translate(Sentence("Thinking"))
    return f"<details><summary>{summary}</summary>\n\n{as_code(text.strip(), 'text')}\n\n</details>"


def _heading(message: Message, label: Callable[[str], str], language: Language) -> str:
    if message.role is Role.USER:
        who = language.translate(Sentence("You"))
    else:
        name = _line(language.translate(label(message.model)))
        who = language.isolated(name) if name else language.translate(Sentence("Model"))
    facts = [f"**{who}**", language.time(message.created_ms)]
    if (status := _STATUSES.get(message.status)) is not None:
        facts.append(language.translate(status))
    return language.line(" · ".join(facts))


def _notes(message: Message, label: Callable[[str], str], language: Language) -> list[str]:
    """Return what the page says beneath an answer about what was left out or went wrong."""
    notes = []
    if message.instead_of:
        names = {"other": label(message.instead_of), "model": label(message.model)}
        notes.append(Sentence("{other} was unavailable, so {model} answered.", **names))
    if number := message.omitted_messages:
        notes.append(
            Sentence(
                "The conversation is longer than this model can read at once, so it did not read the beginning "
                "({number} messages). It is still stored.",
                number=number,
            )
        )
    if number := message.unshown_pictures:
        notes.append(Sentence("Pictures that were not shown: {number}", number=number))
    if message.finish_reason is FinishReason.LENGTH:
        notes.append(Sentence("The answer stopped at Max tokens."))
    if message.status is MessageStatus.INTERRUPTED:
        notes.append(Sentence("The chat restarted while this answer was being written."))
    return [language.translate(note) for note in (*notes, message.error) if note.strip()]


def _line(text: str) -> str:
    """Return a text as one line in which Markdown sees no marks."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
