"""A conversation as Markdown that a person reads in any editor, and the name of its file."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from chatapp.domain.conversation import MessageStatus, Role
from chatapp.domain.message_tree import MessageTree
from chatapp.userdata.json_export import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chatapp.domain.conversation import Conversation, Image, Message

NAME_BYTES = 180  # file systems take 255, Windows' paths 260 characters in all

# Where it takes a parser to tell whether a code fence is open: one that is not at the margin may be part of a list, and
# HTML may go on until something closes it, fences included. (Parsing takes half a second per megabyte.)
_DOUBTFUL = re.compile(r"^(?:[\s>+*-]|\d+[.)])[^\n]*(?:```|~~~)|^ {0,3}<[a-z/!?]", re.MULTILINE | re.IGNORECASE)
_FENCE = re.compile(r"^(`{3,}(?![^\n]*`)|~{3,})[ \t]*([^\n]*)$", re.MULTILINE)
_HTML_ENDS = ("-->", "?>", "]]>", "</script>", "</pre>", "</style>", "</textarea>", ">")
_BLOCKS = MarkdownIt("commonmark")
_BLOCKS.core.ruler.enableOnly(["normalize", "block"])

_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffd]')
_SPECIAL = re.compile(r"([\\`*_\[\]<#&])")


def described(image: Image) -> str:
    """Return a description of an image."""
    return f"Picture, {image.width} × {image.height}"


def mentioned(image: Image) -> str:
    """Return a description in place of an image."""
    return f"*{described(image)}*"


def document(
    conversation: Conversation,
    messages: Sequence[Message],
    label: Callable[[str], str],
    picture: Callable[[Image], str] = mentioned,
) -> str:
    """Return the displayed path of a conversation, with both answers of an experiment.

    ``label`` turns a model's id into its name, ``picture`` an image into Markdown.

    The text of a message is not changed, but open constructs, such as a code fence, are closed after it, so that the
    next message does not become part of them.
    """
    messages = [message for message, _column in MessageTree(messages).shown(conversation.branch)]
    count = "1 message" if len(messages) == 1 else f"{len(messages):,} messages"
    parts = [f"# {_line(conversation.title) or 'Untitled'}", f"{_time(conversation.created_ms)} · {count}"]
    if conversation.system_prompt.strip():
        parts += ["---", "**System prompt**", closed(conversation.system_prompt)]
    for message in messages:
        parts += ["---", _heading(message, label), *map(picture, message.images)]
        parts += [_folded_thinking(message.thinking)] if message.thinking.strip() else []
        parts += [closed(message.content)] if message.content.strip() else []
        parts += [f"*Pictures that were not shown: {message.unshown_pictures}*"] if message.unshown_pictures else []
        parts += [f"*{_line(message.error)}*"] if message.error.strip() else []
    return "\n\n".join(parts) + "\n"


def closed(text: str) -> str:
    """Return a text with an end to whatever it leaves open at its end, so that more can follow it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
    if not _DOUBTFUL.search(text):
        fence = _open_fence(text)
        return f"{text}\n{fence}" if fence else text
    last = _BLOCKS.parse(f"{text}\n\n---\n")[-1]
    if last.type == "fence":
        return f"{text}\n{last.markup}"
    if last.type == "html_block":
        ends = (f"{text}\n{end}" for end in _HTML_ENDS)
        return next(ended for ended in ends if _BLOCKS.parse(f"{ended}\n\n---\n")[-1].type == "hr")
    return text


def file_name(conversation: Conversation, ending: str) -> str:
    """Return a name that every file system takes and that sorts by date: ``2026-11-02 10.15 The title.md``."""
    title = unicodedata.normalize("NFC", conversation.title.encode(errors="ignore").decode())
    title = " ".join(_NOT_IN_NAMES.sub(" ", title).split())
    started = moment(conversation.created_ms).strftime("%Y-%m-%d %H.%M")
    room = NAME_BYTES - len(started) - len(ending)
    title = title.encode()[:room].decode(errors="ignore").strip(" .")
    return f"{started} {title or 'Untitled'}{ending}"


def _heading(message: Message, label: Callable[[str], str]) -> str:
    who = "You" if message.role is Role.USER else _line(label(message.model)) or "Model"
    facts = [f"**{who}**", _time(message.created_ms)]
    if message.status is MessageStatus.STREAMING:
        facts.append("still being written at the time of this export")
    elif message.status is not MessageStatus.COMPLETE:
        facts.append(message.status.value)
    return " · ".join(facts)


def _folded_thinking(text: str) -> str:
    """Return thinking that programs fold and that contains no Markdown: as a code block longer than any within."""
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"<details><summary>Thinking</summary>\n\n{fence}text\n{text.strip()}\n{fence}\n\n</details>"


def _open_fence(text: str) -> str:
    """Return the code fence that is open at the end of a text, "" if none is; all are at the margin."""
    opened = ""
    for fence, rest in _FENCE.findall(text):
        if not opened:
            opened = fence
        elif fence.startswith(opened) and not rest.strip():
            opened = ""
    return opened


def _line(text: str) -> str:
    """Return a text as one line in which Markdown sees no marks."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _time(ms: int) -> str:
    return moment(ms).strftime("%Y-%m-%d %H:%M UTC")
