"""A conversation as a tree: messages with the same parent are versions of each other, and one path is shown."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.domain.conversation import Message


class MessageTree:
    """The messages of a conversation as a tree; ``follows`` is the id of the parent.

    The parent of a message stored before versions existed is the message before it. A message whose parent has expired
    is a root; so is one whose parent is later, which occurs only in damaged imports.

    Args:
        messages: by ``(created_ms, id)``.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = {message.id: message for message in messages}
        self._follows: dict[str, str] = {}
        self._followers: defaultdict[str, list[str]] = defaultdict(list)
        before = ""
        for message in messages:
            follows = before if message.follows is None else message.follows
            self._follows[message.id] = follows
            self._followers[follows].append(message.id)
            before = message.id
        self._order = {id_: number for number, id_ in enumerate(self.messages)}

    def before(self, message_id: str) -> str:
        """Return the id of a message's parent, "" for a root."""
        follows = self._follows.get(message_id, "")
        return follows if follows in self._order and self._order[follows] < self._order[message_id] else ""

    def path_to(self, message_id: str) -> list[Message]:
        """Return the messages from the root to a message; none if it does not exist."""
        path = []
        while message_id in self.messages:
            path.append(self.messages[message_id])
            message_id = self.before(message_id)
        return path[::-1]

    def path(self, branch: str = "") -> list[Message]:
        """Return the displayed path: to the newest message below ``branch``, or to the newest of all without it."""
        if branch not in self.messages:
            return self.path_to(next(reversed(self.messages), ""))
        end, beneath = branch, {branch}
        for message_id in self.messages:
            if self.before(message_id) in beneath:
                beneath.add(message_id)
                end = message_id
        return self.path_to(end)

    def is_beneath(self, message_id: str, branch: str) -> bool:
        """Return whether a message is ``branch`` or a descendant of it."""
        while message_id:
            if message_id == branch:
                return True
            message_id = self.before(message_id)
        return False

    def versions(self, message_id: str) -> list[str]:
        """Return the ids of all versions of a message, including itself, in order."""
        message = self.messages[message_id]
        followers = self._followers[self._follows[message_id]]
        return [id_ for id_ in followers if self.messages[id_].role is message.role]

    def is_followed(self, message_id: str) -> bool:
        """Return whether a message has children."""
        return bool(self._followers.get(message_id))

    def experiment(self, message_id: str) -> list[str]:
        """Return the ids of both answers of an experiment, given one of them.

        Both have the turn of their question. Empty if the message is not part of an experiment.
        """
        answer = self.messages.get(message_id)
        question = self.messages.get(self.before(message_id))
        if (
            answer is None
            or answer.role is not Role.ASSISTANT
            or question is None
            or question.turn_id != answer.turn_id
        ):
            return []
        both = [id_ for id_ in self.versions(message_id) if self.messages[id_].turn_id == answer.turn_id]
        return both if len(both) > 1 else []

    def shown(self, branch: str = "") -> list[tuple[Message, int]]:
        """Return the path with the column of each message: 0, or 1 and 2 at its end for the answers of an experiment.

        They are in two columns until one is chosen, which makes it the branch, or a message follows one.
        """
        path = self.path(branch)
        both = self.experiment(path[-1].id) if path else []
        if not both or branch in both or any(map(self.is_followed, both)):
            return [(message, 0) for message in path]
        columns = [(self.messages[id_], column) for column, id_ in enumerate(both, 1)]
        return [*((message, 0) for message in path[:-1]), *columns]
