"""Makes a conversation of this chat from the neutral tree of an export.

An answer that took several steps (thinking, a call of a tool, its result, text) is one message, with all but its text
folded. Ids come from those of the other chat and from the user, so that they are the same each time, and so that each
user may have a copy. Times rise along each path, as everywhere in this chat.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Conversation, Feedback, GenerationParameters, Message, Role, now_ms
from chatapp.imports.parsed import Skipped, joined
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from chatapp.imports.parsed import Node, Parsed, PictureRef

TITLE_CHARS, MAX_TITLE_CHARS = 60, 200
MAX_MODEL_CHARS = 200
MAX_TEXT_BYTES = 1_500_000  # of a message's text, and of its folded parts: both fit into one write to any store
MAX_PICTURES = 16  # of a message


@dataclass(slots=True)
class Assembled:
    """A conversation that is ready to be stored, but for its pictures.

    Attributes:
        pictures: of messages, by their ids.
    """

    conversation: Conversation
    messages: list[Message]
    pictures: dict[str, tuple[PictureRef, ...]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Draft:
    """A message that further nodes may add to."""

    node: str
    role: Role
    created_ms: int
    follows: _Draft | None
    texts: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    pictures: list[PictureRef] = field(default_factory=list)
    model: str = ""
    feedback: Feedback = Feedback.NONE
    is_empty: bool = False

    def add(self, node: Node) -> None:
        self.texts.append(node.text)
        self.folded.append(node.folded)
        self.pictures += node.pictures
        self.model = node.model or self.model
        self.feedback = node.feedback or self.feedback


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node is: after a message, which it may continue."""

    node: str
    follows: _Draft | None
    is_open: bool  # whether an answer may continue the one before it
    order: int  # among its siblings


def assemble(parsed: Parsed, user: str) -> Assembled | None:
    """Return the conversation; None if it has no messages. Counts in ``parsed.skipped`` what had to be cut."""
    drafts, last = _drafts(parsed)
    shown = [draft for draft in drafts if not draft.is_empty]
    if not shown:
        return None
    conversation_id = identifier("conversation", user, parsed.source, parsed.id)
    ids = {id(draft): identifier("message", conversation_id, draft.node) for draft in shown}
    answered: set[int] = set()
    messages: list[Message] = []
    pictures: dict[str, tuple[PictureRef, ...]] = {}
    for draft in shown:
        parent = _shown(draft.follows)
        turn = ids[id(draft)]
        if draft.role is Role.ASSISTANT and parent and parent.role is Role.USER and id(parent) not in answered:
            answered.add(id(parent))
            turn = ids[id(parent)]
        messages.append(
            Message(
                id=ids[id(draft)],
                turn_id=turn,
                role=draft.role,
                content=_cut(joined(*draft.texts), parsed),
                thinking=_cut(joined(*draft.folded), parsed),
                created_ms=draft.created_ms,
                model=clean_text(draft.model)[:MAX_MODEL_CHARS],
                follows=ids[id(parent)] if parent else "",
                feedback=draft.feedback,
            )
        )
        if draft.pictures:
            parsed.skipped[Skipped.PICTURES] += max(0, len(draft.pictures) - MAX_PICTURES)
            pictures[ids[id(draft)]] = tuple(draft.pictures[:MAX_PICTURES])
    messages.sort(key=lambda message: (message.created_ms, message.id))
    current = _shown(last.get(parsed.current))
    first, newest = messages[0].created_ms, messages[-1].created_ms
    conversation = Conversation(
        id=conversation_id,
        title=_title(parsed, messages),
        created_ms=min(parsed.created_ms or first, first),
        updated_ms=max(min(parsed.updated_ms or newest, now_ms()), newest),
        system_prompt=clean_text(parsed.system_prompt)[: GenerationParameters.LONGEST_SYSTEM_PROMPT],
        pinned=parsed.pinned,
        archived=parsed.archived,
        branch=ids[id(current)] if current else "",
    )
    return Assembled(conversation, messages, pictures)


def identifier(*parts: str) -> str:
    """Return an id made from others: the same for the same ones."""
    digest = hashlib.sha256("\0".join(("imported", *parts)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


def _drafts(parsed: Parsed) -> tuple[list[_Draft], dict[str, _Draft | None]]:
    """Return the messages of the tree, parents first, and for each node the message that it is a part of, or follows.

    Each node is visited once, whatever the tree: a cycle is cut where it is entered, and a node whose parent is missing
    is a first one.
    """
    nodes = {node.id: node for node in parsed.nodes}
    children: defaultdict[str, list[str]] = defaultdict(list)
    for node in nodes.values():
        children[node.parent if node.parent in nodes and node.parent != node.id else ""].append(node.id)
    latest = now_ms()
    start = min(parsed.created_ms or latest, latest)
    drafts: list[_Draft] = []
    last: dict[str, _Draft | None] = {}
    # Those in a cycle are below no first node: they are entered last.
    starts = [*children[""], *(id_ for id_ in nodes)]
    for number, first in enumerate(starts):
        stack = [_Place(first, None, is_open=False, order=number)]
        while stack:
            place = stack.pop()
            if place.node in last:
                continue
            node = nodes[place.node]
            follows, is_open = place.follows, place.is_open
            if node.role is not None:
                if not (is_open and follows and follows.role is node.role is Role.ASSISTANT):
                    earliest = follows.created_ms + 1 + place.order if follows else start + place.order
                    time = min(node.time_ms or 0, latest)
                    created = max(time, follows.created_ms + 1) if time and follows else time or earliest
                    follows = _Draft(node.id, node.role, created, follows)
                    drafts.append(follows)
                follows.add(node)
                is_open = True
            last[node.id] = follows
            below = children.get(node.id, ())
            stack += [
                _Place(child, follows, is_open=is_open and len(below) == 1, order=order)
                for order, child in reversed(list(enumerate(below)))
            ]
    for draft in drafts:
        draft.is_empty = not (joined(*draft.texts, *draft.folded) or draft.pictures)
    return drafts, last


def _shown(draft: _Draft | None) -> _Draft | None:
    while draft is not None and draft.is_empty:
        draft = draft.follows
    return draft


def _cut(text: str, parsed: Parsed) -> str:
    text = clean_text(text)
    encoded = text.encode()
    if len(encoded) <= MAX_TEXT_BYTES:
        return text
    parsed.skipped[Skipped.CUT] += 1
    return encoded[:MAX_TEXT_BYTES].decode(errors="ignore") + "…"


def _title(parsed: Parsed, messages: list[Message]) -> str:
    title = " ".join(clean_text(parsed.title).split())
    if title:
        return title[:MAX_TITLE_CHARS]
    questions = (" ".join(message.content[:1000].split()) for message in messages if message.role is Role.USER)
    first = next(filter(None, questions), "") or " ".join(messages[0].content[:1000].split()) or parsed.source
    return first if len(first) <= TITLE_CHARS else f"{first[: TITLE_CHARS - 1].rstrip()}…"
