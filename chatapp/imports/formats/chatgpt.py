"""ChatGPT: ``conversations.json``, alone, in its ZIP file, or in numbered parts with a manifest.

    [{"title", "create_time", "update_time", "conversation_id", "current_node", "default_model_slug",
      "is_archived", "is_starred",
      "mapping": {id: {"id", "parent", "children", "message": null | {
          "author": {"role", "name"}, "create_time", "recipient",
          "content": {"content_type", "parts" | "text" | "thoughts" | ...},
          "metadata": {"model_slug", "is_visually_hidden_from_conversation", "attachments", ...}}}}}]

OpenAI does not document it. Sources, read in November 2026: the importers of danny-avila/LibreChat (#15229, #15388) and
mohamed-chs/convoviz (#47 to #49: numbered parts, null titles), and difegam.github.io/chatgpt-to-markdown (file names).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import Role
from chatapp.imports.parsed import (
    Node,
    Parsed,
    PictureRef,
    Skipped,
    dict_of,
    fenced,
    headed,
    id_of,
    joined,
    list_of,
    seconds,
    text_of,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

NAME = "ChatGPT"

_HIDDEN = {"user_editable_context", "model_editable_context"}
_OUTPUTS = {"execution_output", "system_error", "computer_output"}
_QUOTES = {"tether_quote", "sonic_webpage", "tether_browsing_display"}
_RECORDINGS = {"audio_asset_pointer", "real_time_user_audio_video_asset_pointer", "video_container_asset_pointer"}
# A citation: \ue200cite\ue202turn0search1\ue201, which the page of ChatGPT replaces by a link.
_CITATION = re.compile("\ue200[^\ue200\ue201]{0,2000}\ue201")
_MAX_REFERENCES, _MAX_CITED_CHARS = 500, 500_000
_POINTER = re.compile(r"[a-z-]+://([A-Za-z0-9_-]+)")


def recognizes(value: object) -> bool:
    """Return whether a value is a conversation of ChatGPT."""
    return isinstance(value, dict) and isinstance(value.get("mapping"), dict)


def convert(value: Mapping[str, Any]) -> Iterator[Parsed]:
    """Yield the conversation."""
    mapping = value["mapping"]
    parsed = Parsed(
        source="chatgpt",
        id=id_of(value.get("conversation_id")) or id_of(value.get("id")) or next(iter(mapping), ""),
        title=text_of(value.get("title")),
        created_ms=seconds(value.get("create_time")),
        updated_ms=seconds(value.get("update_time")),
        current=id_of(value.get("current_node")),
        pinned=value.get("is_starred") is True,
        archived=value.get("is_archived") is True,
    )
    model = text_of(value.get("default_model_slug"))
    for id_, node in mapping.items():
        node = dict_of(node)  # noqa: PLW2901  # the same, checked
        parsed.nodes.append(_node(id_, node, dict_of(node.get("message")), model, parsed.skipped))
    yield parsed


def _node(id_: str, node: Mapping[str, Any], message: Mapping[str, Any], model: str, skipped: Counter[Skipped]) -> Node:
    made = Node(id=id_, parent=id_of(node.get("parent")))
    content, metadata = dict_of(message.get("content")), dict_of(message.get("metadata"))
    author = dict_of(message.get("author"))
    role, kind = text_of(author.get("role")), text_of(content.get("content_type"))
    is_hidden = role == "system" or kind in _HIDDEN or metadata.get("is_visually_hidden_from_conversation") is True
    if not message or is_hidden or role not in {"user", "assistant", "tool"}:
        if message and (role != "system" or any(map(text_of, list_of(content.get("parts"))))):
            skipped[Skipped.HIDDEN] += 1
        return made
    made.role = Role.USER if role == "user" else Role.ASSISTANT
    made.time_ms = seconds(message.get("create_time"))
    text, is_folded, pictures = _content(kind, content, skipped)
    attachments = [one for one in map(dict_of, list_of(metadata.get("attachments"))) if one]
    made.pictures = _with_names(pictures, attachments)
    in_text = {ref.names[0] for ref in pictures if ref.names}
    skipped[Skipped.FILES] += sum(id_of(one.get("id")) not in in_text for one in attachments)
    text = _without_citations(text, metadata)
    if made.role is Role.USER:
        made.text = text
        return made
    made.model = text_of(metadata.get("model_slug")) or model
    recipient = text_of(message.get("recipient")) or "all"
    if role == "tool":
        made.folded = headed(text_of(author.get("name")) or "tool", text) if text else ""
    elif is_folded or recipient != "all":
        made.folded = headed("" if recipient == "all" else recipient, text)
    else:
        made.text = text
    return made


def _content(kind: str, content: Mapping[str, Any], skipped: Counter[Skipped]) -> tuple[str, bool, list[PictureRef]]:
    """Return the text of a message's content, whether it is folded, and its pictures."""
    if kind in _OUTPUTS:
        text = text_of(content.get("text")) or text_of(content.get("name"))
        return fenced(text) if text else "", True, []
    if kind in _QUOTES:
        return joined(*(text_of(content.get(name)) for name in ("title", "url", "text", "result", "summary"))), True, []
    if kind == "code":
        return fenced(text_of(content.get("text")), text_of(content.get("language"))), False, []
    if kind == "thoughts":
        thoughts = map(dict_of, list_of(content.get("thoughts")))
        texts = (headed(text_of(one.get("summary")), text_of(one.get("content"))) for one in thoughts)
        return joined(*texts), True, []
    text, pictures = _parts(list_of(content.get("parts")), skipped)
    text = text or text_of(content.get("text")) or text_of(content.get("content"))
    if not (text or pictures) and kind not in {"text", "multimodal_text"}:
        skipped[Skipped.UNKNOWN] += 1
    return text, kind == "reasoning_recap", pictures


def _parts(parts: list[Any], skipped: Counter[Skipped]) -> tuple[str, list[PictureRef]]:
    texts, pictures = [], []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        part = dict_of(part)  # noqa: PLW2901  # the same, checked
        kind = text_of(part.get("content_type"))
        if kind == "image_asset_pointer":
            pictures.append(_picture(text_of(part.get("asset_pointer"))))
        elif kind in _RECORDINGS:
            skipped[Skipped.RECORDINGS] += 1
        elif text_of(part.get("text")):  # such as an audio_transcription
            texts.append(part["text"])
        elif part:
            skipped[Skipped.UNKNOWN] += 1
    return joined(*texts), pictures


def _picture(pointer: str) -> PictureRef:
    """Return the picture of ``file-service://file-ABC`` or ``sediment://file_0123``, which begins its file's name."""
    match = _POINTER.match(pointer)
    return PictureRef((match[1],)) if match else PictureRef()


def _with_names(pictures: list[PictureRef], attachments: list[dict[str, Any]]) -> tuple[PictureRef, ...]:
    names = {id_of(one.get("id")): text_of(one.get("name")) for one in attachments}
    return tuple(
        PictureRef((*ref.names, name)) if ref.names and (name := names.get(ref.names[0], "")) else ref
        for ref in pictures
    )


def _without_citations(text: str, metadata: Mapping[str, Any]) -> str:
    if "\ue200" not in text:
        return text
    for reference in list_of(metadata.get("content_references"))[
        : _MAX_REFERENCES if len(text) < _MAX_CITED_CHARS else 0
    ]:
        reference = dict_of(reference)  # noqa: PLW2901  # the same, checked
        marker = text_of(reference.get("matched_text"))
        if "\ue200" in marker:
            text = text.replace(marker, text_of(reference.get("alt")))
    return _CITATION.sub("", text)


def parts_in(manifest: object) -> set[str]:
    """Return the names of the files with conversations that an ``export_manifest.json`` lists."""
    return set(re.findall(r"\bconversations(?:-\d{1,6})?\.json\b", json.dumps(manifest)))
