"""The read cache: recently read lists, conversations, messages and profiles."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from chatapp.store import Page
from chatapp.store.values import cursor_after, in_order, newest, place, position, sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chatapp.domain.conversation import Conversation, Message, Profile
    from chatapp.store.journal.rows import Key

RECENT_BYTES = 32_000_000
_OBJECT_BYTES = 600  # of a message or conversation without its texts, about


@dataclass(frozen=True, slots=True)
class Listed:
    """The first part of a user's list, complete up to ``cursor``.

    Attributes:
        conversations: by id, in any order.
        cursor: of the next page; None: there is none. Conversations only move forward, so it stays valid.
        limit: of the read that filled it.
    """

    conversations: dict[str, Conversation]
    cursor: str | None
    limit: int

    def reaches(self, conversation: Conversation) -> bool:
        """Return whether a conversation belongs to this part of the list."""
        return self.cursor is None or sort_key(conversation) >= position(self.cursor)

    def page(self, limit: int) -> Page[Conversation]:
        """Return the first conversations, the last updated first."""
        ordered = sorted(self.conversations.values(), key=sort_key, reverse=True)
        more = len(ordered) > limit
        return Page(ordered[:limit], cursor_after(ordered[limit - 1]) if more else self.cursor)


class Recent:
    """Caches lists, conversations and messages in memory; evicts the least recently used first.

    Every write of this process updates the cache.

    Args:
        most_bytes: approximate size.
    """

    def __init__(self, most_bytes: int = RECENT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._entries: OrderedDict[tuple[str, ...], tuple[Any, int]] = OrderedDict()  # values and sizes

    def listed(self, user: str) -> Listed | None:
        """Return the first part of the user's list."""
        listed: Listed | None = self._get("list", user)
        return listed

    def pinned(self, user: str) -> list[Conversation] | None:
        """Return the user's pinned conversations, the last updated first."""
        pinned: dict[str, Conversation] | None = self._get("pinned", user)
        return None if pinned is None else sorted(pinned.values(), key=sort_key, reverse=True)

    def profile(self, user: str) -> Profile | None:
        """Return the user's cached profile."""
        profile: Profile | None = self._get("profile", user)
        return profile

    def conversation(self, key: Key) -> Conversation | None:
        """Return the cached conversation."""
        conversation: Conversation | None = self._get("conversation", *key)
        if conversation is None and (listed := self.listed(key[0])):
            conversation = listed.conversations.get(key[1])
        return conversation or (self._get("pinned", key[0]) or {}).get(key[1])

    def messages(self, key: Key) -> list[Message] | None:
        """Return all cached messages of a conversation."""
        messages: list[Message] | None = self._get("messages", *key)
        return messages

    def keep_list(self, user: str, page: Page[Conversation], limit: int) -> None:
        """Cache the user's first page, which was read with ``limit``."""
        self._keep_listed(user, Listed({item.id: item for item in page.items}, page.cursor, limit))

    def keep_pinned(self, user: str, pinned: Iterable[Conversation]) -> None:
        """Cache the user's pinned conversations."""
        by_id = {conversation.id: conversation for conversation in pinned}
        self._keep(("pinned", user), by_id, _OBJECT_BYTES + sum(map(_size, by_id.values())))

    def keep_profile(self, user: str, profile: Profile) -> None:
        """Cache a profile."""
        size = sum(len(one.name) + len(one.instructions) for one in profile.personas)
        size += sum(len(one.name) + len(one.instructions) for one in profile.folders)
        objects = 1 + len(profile.personas) + len(profile.folders) + len(profile.collections)
        self._keep(("profile", user), profile, _OBJECT_BYTES * objects + 2 * size)

    def keep_conversation(self, key: Key, conversation: Conversation) -> None:
        """Cache a conversation, in the user's list too."""
        self.keep_conversations(key[0], [conversation])

    def keep_conversations(self, user: str, conversations: Sequence[Conversation]) -> None:
        """Cache conversations, in the user's lists too: these are copied once."""
        by_id = {conversation.id: conversation for conversation in conversations}
        for id_, conversation in by_id.items():
            self._keep(("conversation", user, id_), conversation, _size(conversation))
        if (pinned := self._peek("pinned", user)) is not None:
            unchanged = [item for item in pinned.values() if item.id not in by_id]
            shown = [item for item in by_id.values() if item.pinned and not item.deleted_ms]
            self.keep_pinned(user, [*unchanged, *shown])
        listed: Listed | None = self._peek("list", user)
        if listed and (reached := {id_: item for id_, item in by_id.items() if listed.reaches(item)}):
            self._keep_listed(user, replace(listed, conversations=listed.conversations | reached))

    def keep_messages(self, key: Key, messages: list[Message]) -> None:
        """Cache all messages of a conversation."""
        self._keep(("messages", *key), messages, sum(map(_message_size, messages)))

    def keep_message(self, key: Key, message: Message) -> None:
        """Cache a message if the messages of its conversation are cached."""
        self._add_messages(key, [message])

    def appended(self, key: Key, messages: Iterable[Message], conversation: Conversation) -> None:
        """Cache messages that were appended; ``conversation`` is used if none is cached."""
        messages = list(messages)
        conversation = self.conversation(key) or conversation
        newest_ms = max((message.created_ms for message in messages), default=0)
        self.keep_conversation(key, replace(conversation, updated_ms=max(conversation.updated_ms, newest_ms)))
        self._add_messages(key, messages)

    def forget(self, key: Key) -> None:
        """Drop a deleted conversation."""
        self._drop(("conversation", *key))
        self._drop(("messages", *key))
        user, conversation_id = key
        # A reader may hold the list or the mapping: both are replaced, never changed in place.
        if (listed := self._peek("list", user)) and conversation_id in listed.conversations:
            remaining = {id_: item for id_, item in listed.conversations.items() if id_ != conversation_id}
            self._keep_listed(user, replace(listed, conversations=remaining))
        if conversation_id in (pinned := self._peek("pinned", user) or {}):
            self.keep_pinned(user, [item for id_, item in pinned.items() if id_ != conversation_id])

    def forget_profile(self, user: str) -> None:
        """Drop the user's cached profile."""
        self._drop(("profile", user))

    def _add_messages(self, key: Key, messages: Sequence[Message]) -> None:
        """Cache messages if those of their conversation are cached; most come last, and the others stay as they are."""
        name = ("messages", *key)
        before, size = self._entries.get(name, (None, 0))
        if before is None:
            return
        ids = {message.id for message in messages}
        rest = [message for message in before if message.id not in ids]
        replaced = [message for message in before if message.id in ids] if len(rest) < len(before) else []
        added = in_order(newest([*replaced, *messages]))
        size += sum(map(_message_size, added)) - sum(map(_message_size, replaced))
        every = [*rest, *added]  # a reader may hold the list: it is replaced, never changed in place
        come_last = not rest or not added or place(rest[-1]) < place(added[0])
        self._keep(name, every if come_last else in_order(every), size)

    def _keep_listed(self, user: str, listed: Listed) -> None:
        self._keep(("list", user), listed, sum(map(_size, listed.conversations.values())))

    def _get(self, *name: str) -> Any:  # noqa: ANN401  # the value of this kind of entry
        """Return a value, which is then the last used."""
        if name in self._entries:
            self._entries.move_to_end(name)
        return self._peek(*name)

    def _peek(self, *name: str) -> Any:  # noqa: ANN401  # as `_get`
        value, _ = self._entries.get(name, (None, 0))
        return value

    def _keep(self, name: tuple[str, ...], value: object, size: int) -> None:
        self._drop(name)
        self._entries[name] = value, size
        self._bytes += size
        while self._bytes > self._most_bytes and self._entries:
            self._drop(next(iter(self._entries)))

    def _drop(self, name: tuple[str, ...]) -> None:
        _, size = self._entries.pop(name, (None, 0))
        self._bytes -= size


def _size(conversation: Conversation) -> int:
    return _OBJECT_BYTES + 2 * (len(conversation.title) + len(conversation.system_prompt))


def _message_size(message: Message) -> int:
    return _OBJECT_BYTES + 2 * (len(message.content) + len(message.thinking))
