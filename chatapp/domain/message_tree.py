"""A conversation as a tree: messages with the same parent are versions of each other, and one path is shown.

Only an edit and a regenerated answer make versions. Two replicas can append a question to the same message without
knowing of each other; those questions follow each other, in the same order at every replica.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.domain.conversation import Message


class MessageTree:
    """The messages of a conversation as a tree; ``follows`` is the id of the parent.

    The parent of a message stored before versions existed is the message before it. A message whose parent has expired
    is a root; so is one whose parent is later in a damaged import.

    A question that was appended (`Message.appended`) follows the newest message below its parent if another question
    already follows that, or if it is a question whose answer the replica did not know. The result depends on the
    messages alone, so all replicas compute the same.

    Args:
        messages: by ``(created_ms, id)``.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        if any(message.appended for message in messages) and not _is_in_order(messages):
            messages = _by_turn(_parents_first(messages))
        self.messages: dict[str, Message] = {}
        self._follows: dict[str, str] = {}
        self._followers: defaultdict[str, list[str]] = defaultdict(list)
        self._order: dict[str, int] = {}
        before = ""
        for message in messages:
            follows = before if message.follows is None else message.follows
            if message.appended and (self._is_question(follows) or self._has_question(follows)):
                follows = self._newest_below(follows)
            self.messages[message.id] = message
            self._order[message.id] = len(self._order)
            self._follows[message.id] = follows
            self._followers[follows].append(message.id)
            before = message.id

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

    def has_more(self, message_id: str) -> bool:
        """Return whether the conversation continues after a message, or after the other answer of its experiment."""
        return any(map(self.is_followed, [message_id, *self.experiment(message_id)]))

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

    def _is_question(self, message_id: str) -> bool:
        return message_id in self.messages and self.messages[message_id].role is Role.USER

    def _has_question(self, follows: str) -> bool:
        followers = self._followers.get(follows, ())
        return bool(followers) and any(map(self._is_question, followers))

    def _newest_below(self, message_id: str) -> str:
        """Return the newest message so far that is below one."""
        beneath, newest = {message_id}, message_id
        for id_ in self.messages:
            if self._follows[id_] in beneath:
                beneath.add(id_)
                newest = id_
        return newest


def _is_in_order(messages: Sequence[Message]) -> bool:
    """Return whether `_parents_first` and `_by_turn` would change nothing, as with most conversations."""
    turns: dict[str, str] = {}  # of the questions so far
    ids: set[str] = set()
    question = ""  # whose answers may come now
    for message in messages:
        follows = message.follows or ""
        if follows and follows not in ids:
            return False
        if message.role is Role.USER:
            turns[message.id] = message.turn_id
            question = message.id
        elif turns.get(follows) != message.turn_id:
            question = ""
        elif follows != question:
            return False
        ids.add(message.id)
    return True


def _by_turn(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with the answers of a turn right after its question: turns of two replicas may overlap."""
    questions = {message.id: message.turn_id for message in messages if message.role is Role.USER}
    answers: defaultdict[str, list[Message]] = defaultdict(list)
    rest = []
    for message in messages:
        question = message.follows or ""
        if message.role is Role.ASSISTANT and questions.get(question) == message.turn_id:
            answers[question].append(message)
        else:
            rest.append(message)
    return [each for message in rest for each in (message, *answers[message.id])]


def _parents_first(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with each one after its parent; those of a circle come last.

    A page that gets no reply sends its question again, and another replica may store it with a later time than the
    replica where a follower of the first one was stored meanwhile.
    """
    ids = {message.id for message in messages}
    waiting: defaultdict[str, list[Message]] = defaultdict(list)
    ordered: dict[str, Message] = {}
    for message in messages:
        if message.follows in ids and message.follows not in ordered:
            waiting[message.follows or ""].append(message)
            continue
        placed = deque([message])
        while placed:
            each = placed.popleft()
            ordered[each.id] = each
            placed.extend(waiting.pop(each.id, ()))
    return [*ordered.values(), *(message for message in messages if message.id not in ordered)]
