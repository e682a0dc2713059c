"""What was last seen of recently used conversations: for when the cloud cannot be asked."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from chatapp.store.values import in_order, newest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatapp.conversation import Conversation, Message
    from chatapp.store.journal_rows import Key

RECENT_BYTES = 32_000_000
_OBJECT_BYTES = 600  # of a message or conversation without its texts, about


class Recent:
    """The lists, conversations and messages that were last seen, in memory, the least recently used forgotten first.

    Args:
        most_bytes: what they may take, about.
    """

    def __init__(self, most_bytes: int = RECENT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._sizes: OrderedDict[tuple[str, ...], int] = OrderedDict()
        self._lists: dict[str, tuple[dict[str, Conversation], bool]] = {}
        self._conversations: dict[Key, Conversation] = {}
        self._messages: dict[Key, list[Message]] = {}

    def listed(self, user: str) -> tuple[dict[str, Conversation], bool] | None:
        """Return the user's first page by id, and whether there was more."""
        self._use("list", user)
        return self._lists.get(user)

    def conversation(self, key: Key) -> Conversation | None:
        """Return the conversation as it was last seen."""
        self._use("conversation", *key)
        return self._conversations.get(key)

    def messages(self, key: Key) -> list[Message] | None:
        """Return all messages as they were last seen."""
        self._use("messages", *key)
        return self._messages.get(key)

    def keep_list(self, user: str, items: Iterable[Conversation], *, more: bool) -> None:
        """Keep the user's first page."""
        self._lists[user] = {item.id: item for item in items}, more
        self._keep(("list", user), sum(map(_size, self._lists[user][0].values())))

    def keep_conversation(self, key: Key, conversation: Conversation) -> None:
        """Keep a conversation, in the user's list too."""
        self._conversations[key] = conversation
        self._keep(("conversation", *key), _size(conversation))
        if listed := self._lists.get(key[0]):
            self.keep_list(key[0], (listed[0] | {conversation.id: conversation}).values(), more=listed[1])

    def keep_messages(self, key: Key, messages: list[Message]) -> None:
        """Keep all messages of a conversation."""
        self._messages[key] = messages
        self._keep(("messages", *key), sum(_OBJECT_BYTES + 2 * len(message.content) for message in messages))

    def appended(self, key: Key, messages: Iterable[Message]) -> None:
        """Add what was appended to what is kept."""
        messages = list(messages)
        newest_ms = max((message.created_ms for message in messages), default=0)
        if known := self._conversations.get(key):
            self.keep_conversation(key, replace(known, updated_ms=max(known.updated_ms, newest_ms)))
        if (before := self._messages.get(key)) is not None:
            self.keep_messages(key, in_order(newest([*before, *messages])))

    def forget(self, key: Key) -> None:
        """Forget a conversation that is deleted."""
        self._drop(("conversation", *key))
        self._drop(("messages", *key))
        if listed := self._lists.get(key[0]):
            listed[0].pop(key[1], None)

    def _use(self, *name: str) -> None:
        if name in self._sizes:
            self._sizes.move_to_end(name)

    def _keep(self, name: tuple[str, ...], size: int) -> None:
        self._bytes += size - self._sizes.pop(name, 0)
        self._sizes[name] = size
        while self._bytes > self._most_bytes and self._sizes:
            self._drop(next(iter(self._sizes)))

    def _drop(self, name: tuple[str, ...]) -> None:
        self._bytes -= self._sizes.pop(name, 0)
        kind, user, *conversation = name
        if kind == "list":
            self._lists.pop(user, None)
        elif kind == "conversation":
            self._conversations.pop((user, conversation[0]), None)
        else:
            self._messages.pop((user, conversation[0]), None)


def _size(conversation: Conversation) -> int:
    return _OBJECT_BYTES + 2 * (len(conversation.title) + len(conversation.system_prompt))
