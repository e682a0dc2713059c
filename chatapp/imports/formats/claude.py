"""Claude: ``conversations.json``, alone or in its ZIP file.

    [{"uuid", "name", "summary", "created_at", "updated_at", "model", "current_leaf_message_uuid", "is_starred",
      "chat_messages": [{"uuid", "parent_message_uuid", "sender": "human" | "assistant", "created_at", "text",
          "content": [{"type": "text" | "thinking" | "tool_use" | "tool_result" | ..., ...}],
          "attachments": [{"file_name", "file_type", "extracted_content"}],
          "files": [{"file_uuid", "file_name", "file_kind"}]}]}]

Anthropic does not document it. Sources, read in November 2026: docs/providers/claude-ai.md of Sinity/polylogue, and
ukogan/claude-migration-assistant (#4: a manifest that links to archives). An export has no parents where it is old: its
messages then follow each other.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import Role
from chatapp.imports.parsed import (
    PICTURE_NAMES,
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
    text_of,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

NAME = "Claude"
_TOOLS = {"tool_use", "tool_result", "server_tool_use", "web_search_tool_result", "mcp_tool_use", "mcp_tool_result"}


def recognizes(value: object) -> bool:
    """Return whether a value is a conversation of Claude."""
    return isinstance(value, dict) and isinstance(value.get("chat_messages"), list)


def convert(value: Mapping[str, Any]) -> Iterator[Parsed]:
    """Yield the conversation."""
    parsed = Parsed(
        source="claude",
        id=id_of(value.get("uuid")) or text_of(value.get("created_at")),
        title=text_of(value.get("name")),
        created_ms=iso_time(value.get("created_at")),
        updated_ms=iso_time(value.get("updated_at")),
        current=id_of(value.get("current_leaf_message_uuid")),
        pinned=value.get("is_starred") is True,
    )
    model = text_of(value.get("model"))
    before = ""
    for number, message in enumerate(value["chat_messages"]):
        if not isinstance(message, dict):
            parsed.skipped[Skipped.UNREADABLE] += 1
            continue
        node = _node(message, number, model, parsed.skipped)
        node.parent = id_of(message["parent_message_uuid"]) if message.get("parent_message_uuid") else before
        before = node.id
        parsed.nodes.append(node)
    yield parsed


def _node(message: Mapping[str, Any], number: int, model: str, skipped: Counter[Skipped]) -> Node:
    is_question = text_of(message.get("sender")) in {"human", "user"}
    texts: list[str] = []
    folded: list[str] = []
    pictures: list[PictureRef] = []
    for block in map(dict_of, list_of(message.get("content"))):
        _add_block(block, texts, folded, pictures, skipped)
    text = joined(*texts) or text_of(message.get("text"))
    text = joined(text, *_attachments(list_of(message.get("attachments")), skipped))
    for file in map(dict_of, [*list_of(message.get("files")), *list_of(message.get("files_v2"))]):
        ref = _file(file)
        if ref is None:
            skipped[Skipped.FILES] += 1
        elif ref not in pictures:
            pictures.append(ref)
    return Node(
        id=id_of(message.get("uuid")) or str(number),
        role=Role.USER if is_question else Role.ASSISTANT,
        text=text,
        folded="" if is_question else joined(*folded),
        model="" if is_question else text_of(message.get("model")) or model or NAME,
        time_ms=iso_time(message.get("created_at")),
        pictures=tuple(pictures),
    )


def _add_block(
    block: Mapping[str, Any],
    texts: list[str],
    folded: list[str],
    pictures: list[PictureRef],
    skipped: Counter[Skipped],
) -> None:
    """Add a block of a message's content to its texts, its folded parts or its pictures."""
    kind = text_of(block.get("type"))
    if kind in {"text", "voice_note"}:
        texts.append(text_of(block.get("text")))
        skipped[Skipped.RECORDINGS] += kind == "voice_note"
    elif kind == "thinking":
        folded.append(text_of(block.get("thinking")))
    elif kind in _TOOLS:
        folded.append(_tool(kind, block))
    elif kind == "image":
        source = dict_of(block.get("source"))
        pictures.append(PictureRef((id_of(block.get("file_uuid")),), text_of(source.get("data"))))
    elif kind != "token_budget":
        skipped[Skipped.UNKNOWN] += 1


def _attachments(attachments: list[Any], skipped: Counter[Skipped]) -> Iterator[str]:
    """Yield the texts of attached files, which the model has read as a part of the question."""
    for attachment in map(dict_of, attachments):
        if content := text_of(attachment.get("extracted_content")):
            yield headed(text_of(attachment.get("file_name")) or "paste", fenced(content))
        else:
            skipped[Skipped.FILES] += 1


def _tool(kind: str, block: Mapping[str, Any]) -> str:
    name = text_of(block.get("name")) or kind
    if "input" in block:
        values = dict_of(block["input"])
        body = "\n\n".join(
            f"{key}:\n{fenced(value)}" if isinstance(value, str) else f"{key}: {json.dumps(value, ensure_ascii=False)}"
            for key, value in values.items()
        )
        return headed(name, body)
    content = block.get("content")
    if isinstance(content, str):
        return headed(name, fenced(content))
    texts = [text_of(one.get("text")) or text_of(one.get("title")) for one in map(dict_of, list_of(content))]
    return headed(name, fenced(joined(*texts))) if any(texts) else ""


def _file(file: Mapping[str, Any]) -> PictureRef | None:
    """Return a file that is a picture; None for any other."""
    name = text_of(file.get("file_name"))
    if file.get("file_kind") != "image" and not name.lower().endswith(PICTURE_NAMES):
        return None
    return PictureRef(tuple(one for one in (id_of(file.get("file_uuid")), name) if one))
