"""Open WebUI: the file of "Export chats", or of one chat.

    [{"id", "user_id", "title", "archived", "pinned", "created_at", "updated_at",
      "chat": {"title", "models", "system" | "params": {"system"}, "timestamp",
        "history": {"currentId", "messages": {id: {"id", "parentId", "childrenIds", "role", "content", "timestamp",
            "model", "models", "files", "annotation", "error"}}},
        "messages": [...]}}]

Sources, read in November 2026: open-webui/open-webui (#498, #23505). Thinking and tools stand in the text as
``<details type="reasoning">``.
"""

from __future__ import annotations

import html
import json
import re
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
    joined,
    list_of,
    seconds,
    text_of,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

NAME = "Open WebUI"

# Linear: what is between its brackets stops at the next tag, and only text that has an end is searched.
_DETAILS = re.compile(r'<details type="(?:reasoning|tool_calls|code_interpreter)"([^<>]*)>(.*?)</details>', re.DOTALL)
_END = "</details>"
_ATTRIBUTE = re.compile(r'\b(name|arguments|result|output)="([^"]*)"')
_MAX_DETAILS = 1000


def recognizes(value: object) -> bool:
    """Return whether a value is a chat of Open WebUI."""
    return isinstance(value, dict) and _chat(value) is not None


def _chat(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the chat of an entry, or the entry that is one itself; None for anything else."""
    for chat in (dict_of(value.get("chat")), value):
        if isinstance(dict_of(chat.get("history")).get("messages"), dict):
            return chat
    chat = dict_of(value.get("chat"))
    return chat if isinstance(chat.get("messages"), list) else None


def convert(value: Mapping[str, Any]) -> Iterator[Parsed]:
    """Yield the chat."""
    chat = _chat(value) or {}
    history = dict_of(chat.get("history"))
    created = seconds(value.get("created_at")) or seconds(chat.get("timestamp"))
    parsed = Parsed(
        source="open-webui",
        id=id_of(value.get("id")) or id_of(chat.get("id")) or str(created or ""),
        title=text_of(value.get("title")) or text_of(chat.get("title")),
        created_ms=created,
        updated_ms=seconds(value.get("updated_at")),
        current=id_of(history.get("currentId")),
        system_prompt=text_of(chat.get("system")) or text_of(dict_of(chat.get("params")).get("system")),
        pinned=value.get("pinned") is True,
        archived=value.get("archived") is True,
    )
    models = [one for one in list_of(chat.get("models")) if isinstance(one, str)]
    model = models[0] if len(models) == 1 else ""
    messages = dict_of(history.get("messages"))
    if messages:
        for id_, message in messages.items():
            parsed.nodes.append(_node(id_, dict_of(message), model, parsed))
    else:
        before = ""
        for number, message in enumerate(list_of(chat.get("messages"))):
            one = dict_of(message)
            node = _node(id_of(one.get("id")) or str(number), one, model, parsed)
            node.parent = node.parent or before
            before = node.id
            parsed.nodes.append(node)
    yield parsed


def _node(id_: str, message: Mapping[str, Any], model: str, parsed: Parsed) -> Node:
    role = text_of(message.get("role"))
    node = Node(id=id_, parent=id_of(message.get("parentId")), time_ms=seconds(message.get("timestamp")))
    text, pictures = _content(message.get("content"))
    if role == "system":
        parsed.system_prompt = parsed.system_prompt or text
        return node
    if role not in {"user", "assistant"}:
        if message:
            parsed.skipped[Skipped.UNKNOWN] += 1
        return node
    node.pictures = (*pictures, *_files(message, parsed.skipped))
    if role == "user":
        node.role, node.text = Role.USER, text
        return node
    node.role = Role.ASSISTANT
    node.text, node.folded = _unfolded(text)
    node.folded = joined(text_of(message.get("reasoning_content")), node.folded)
    error = message.get("error")
    error_text = text_of(dict_of(error).get("content")) or text_of(error)
    node.text = joined(node.text, fenced(error_text) if error_text else "")
    node.model = text_of(message.get("model")) or text_of(message.get("modelName")) or model
    rating = id_of(dict_of(message.get("annotation")).get("rating"))
    node.feedback = {"1": Feedback.UP, "-1": Feedback.DOWN}.get(rating, Feedback.NONE)
    return node


def _content(content: object) -> tuple[str, list[PictureRef]]:
    if isinstance(content, str):
        return content, []
    texts, pictures = [], []
    for part in map(dict_of, list_of(content)):
        if url := text_of(dict_of(part.get("image_url")).get("url")):
            pictures.append(_picture(url))
        else:
            texts.append(text_of(part.get("text")))
    return joined(*texts), pictures


def _files(message: Mapping[str, Any], skipped: Counter[Skipped]) -> Iterator[PictureRef]:
    for file in map(dict_of, list_of(message.get("files"))):
        kind = text_of(file.get("type"))
        if kind == "image" or text_of(file.get("content_type")).startswith("image/"):
            yield _picture(text_of(file.get("url")), id_of(file.get("id")), text_of(file.get("name")))
        else:
            skipped[Skipped.FILES] += 1


def _picture(url: str, *names: str) -> PictureRef:
    if url.startswith("data:"):
        return PictureRef((), url)
    path = [part for part in url.split("/") if part not in {"content", "api", "v1", "files", ""}]
    return PictureRef(tuple(filter(None, (*names, path[-1] if path else ""))))


def _unfolded(text: str) -> tuple[str, str]:
    """Return the text without its thinking and tools, and these."""
    end = text.rfind(_END) + len(_END) if _END in text else 0
    folded: list[str] = []

    def fold(match: re.Match[str]) -> str:
        attributes = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(match[1])}
        body = "\n".join(
            line.removeprefix("> ").removeprefix(">") for line in _without_summary(match[2]).strip().splitlines()
        )
        values = (
            fenced(_unquoted(attributes[name]))
            for name in ("arguments", "result", "output")
            if attributes.get(name, "").strip()
        )
        folded.append(headed(attributes.get("name", ""), joined(html.unescape(body), *values)))
        return ""

    unfolded = _DETAILS.sub(fold, text[:end], count=_MAX_DETAILS) + text[end:]
    return (unfolded.strip() if folded else text), joined(*folded)


def _without_summary(body: str) -> str:
    before, _, rest = body.partition("<summary>")
    return before + rest.partition("</summary>")[2] if rest else body


def _unquoted(text: str) -> str:
    """Return the text of a value that may be JSON within a JSON string."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str) else text
