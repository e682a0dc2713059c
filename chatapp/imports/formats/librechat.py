"""LibreChat: the JSON export of a conversation, with or without branches, flat or "recursive".

    {"conversationId", "endpoint", "title", "exportAt", "branches", "recursive", "options": {"model", "promptPrefix"},
     "messages" | "messagesTree": [{"messageId", "parentMessageId", "sender", "isCreatedByUser", "text", "model",
         "createdAt", "content": [{"type": "text" | "think" | "tool_call" | "image_file" | ...}], "files",
         "children": [...]}]}

Source, read in November 2026: danny-avila/LibreChat, client/src/hooks/Conversations/useExportConversation.ts and
api/server/utils/import/importers.js.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import Feedback, Role
from chatapp.imports.parsed import (
    Node,
    Parsed,
    PictureRef,
    Skipped,
    dict_of,
    fenced,
    headed,
    id_of,
    iso_time,
    joined,
    list_of,
    seconds,
    text_of,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

NAME = "LibreChat"

NO_PARENT = "00000000-0000-0000-0000-000000000000"


def recognizes(value: object) -> bool:
    """Return whether a value is a conversation of LibreChat."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("conversationId"), str)
        and any(isinstance(value.get(name), (list, dict)) for name in ("messages", "messagesTree"))
    )


def convert(value: Mapping[str, Any]) -> Iterator[Parsed]:
    """Yield the conversation."""
    options = dict_of(value.get("options"))
    parsed = Parsed(
        source="librechat",
        id=id_of(value["conversationId"]),
        title=text_of(value.get("title")),
        created_ms=_time(value.get("createdAt")),
        updated_ms=_time(value.get("updatedAt")),
        system_prompt=text_of(options.get("promptPrefix")) or text_of(options.get("system")),
        archived=value.get("isArchived") is True,
    )
    model = text_of(options.get("model")) or text_of(value.get("model"))
    messages = value.get("messagesTree") or value.get("messages")
    stack = [(message, "") for message in reversed(messages if isinstance(messages, list) else [messages])]
    before = ""
    while stack:  # a loop, because a long conversation is nested as deeply as it is long
        message, parent = stack.pop()
        if not isinstance(message, dict):
            parsed.skipped[Skipped.UNREADABLE] += 1
            continue
        node = _node(message, len(parsed.nodes), model, parsed.skipped)
        named = id_of(message.get("parentMessageId"))
        node.parent = parent or ("" if named == NO_PARENT else named)
        if not (parent or named):  # one without any: the messages are in order
            node.parent = before
        before = node.id
        parsed.nodes.append(node)
        stack += [(child, node.id) for child in reversed(list_of(message.get("children")))]
    yield parsed


def _time(value: object) -> int | None:
    return iso_time(value) or seconds(value)


def _node(message: Mapping[str, Any], number: int, model: str, skipped: Counter[Skipped]) -> Node:
    is_question = message.get("isCreatedByUser") is True or text_of(message.get("sender")).lower() == "user"
    texts, folded, pictures = [], [], []
    for part in map(dict_of, list_of(message.get("content"))):
        kind = text_of(part.get("type"))
        if kind in {"text", "error"}:
            texts.append(_value(part.get(kind) or part.get("text")))
        elif kind == "think":
            folded.append(_value(part.get("think")))
        elif kind == "tool_call":
            folded.append(_tool(dict_of(part.get("tool_call"))))
        elif kind == "image_file":
            pictures.append(_picture(dict_of(part.get("image_file"))))
        elif kind == "image_url":
            url = part.get("image_url")
            url = text_of(url) or text_of(dict_of(url).get("url"))
            pictures.append(PictureRef((), url) if url.startswith("data:") else PictureRef((url.rpartition("/")[2],)))
        elif part:
            skipped[Skipped.UNKNOWN] += 1
    for file in map(dict_of, list_of(message.get("files"))):
        if text_of(file.get("type")).startswith("image") or file.get("height"):
            pictures.append(_picture(file))
        else:
            skipped[Skipped.FILES] += 1
    rating = text_of(dict_of(message.get("feedback")).get("rating"))
    return Node(
        id=id_of(message.get("messageId")) or str(number),
        role=Role.USER if is_question else Role.ASSISTANT,
        text=joined(*texts) or text_of(message.get("text")),
        folded="" if is_question else joined(*folded),
        model="" if is_question else text_of(message.get("model")) or model or text_of(message.get("sender")),
        time_ms=_time(message.get("createdAt")),
        pictures=tuple(pictures),
        feedback={"thumbsUp": Feedback.UP, "thumbsDown": Feedback.DOWN}.get(rating, Feedback.NONE),
    )


def _value(value: object) -> str:
    return text_of(value) or text_of(dict_of(value).get("value"))


def _picture(file: Mapping[str, Any]) -> PictureRef:
    names = (
        id_of(file.get("file_id")),
        text_of(file.get("filename")),
        text_of(file.get("filepath")).rpartition("/")[2],
    )
    return PictureRef(tuple(filter(None, names)))


def _tool(call: Mapping[str, Any]) -> str:
    function = dict_of(call.get("function"))
    name = text_of(call.get("name")) or text_of(function.get("name")) or text_of(call.get("type")) or "tool"
    values = (call.get("args") or function.get("arguments"), call.get("output") or function.get("output"))
    texts = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in values if one)
    return headed(name, joined(*(fenced(one) for one in texts)))
