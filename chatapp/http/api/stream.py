"""The events of an open conversation: its messages, and the text that is being generated."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.conversations.catch_up import Seen
from chatapp.domain.conversation import MessageStatus, Role
from chatapp.domain.errors import NotCaughtUp
from chatapp.domain.message_tree import MessageTree
from chatapp.generation.prepare import can_continue
from chatapp.http.api.schemas.conversations import OpenConversation
from chatapp.http.api.schemas.events import EndEvent, MessageEvent, MessagesEvent, TextDelta, TitleEvent
from chatapp.http.api.schemas.messages import AnswerBody, MessageBody, MessagePage
from chatapp.http.api.unsaved import UnsavedMessages
from chatapp.store import Consistency

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from chatapp.domain.conversation import Conversation, Message
    from chatapp.generation.turn import RunningAnswer, Turn
    from chatapp.http.api.routing import Services
    from chatapp.http.api.schemas.events import Event

MESSAGES_AT_ONCE = 50
# How often another replica's answer is read, each time two documents. With `chatapp.app.SHARED_CHECKPOINT_S` and the
# delivery, its text is shown here within 2 s.
POLL_SECONDS = 0.5
MAX_POLLS = 3600


class ConversationEvents:
    """Makes the events of open conversations."""

    def __init__(self, chat: Services) -> None:
        self._chat = chat

    async def follow(
        self, user: str, conversation_id: str, after: str, shown: int | None = None, *, quick: bool = False
    ) -> AsyncGenerator[Event | None]:
        """Yield the events for a page that shows all messages up to ``after``; None where nothing has changed.

        ``shown`` is their number, with those before the first one that the page has loaded; None: not checked. A
        ``quick`` look reads one document where nothing is new.
        """
        turn = self._chat.turns.current(user, conversation_id)
        unsaved = UnsavedMessages(self._chat.store, user, conversation_id)
        if turn is not None and _has_the_rest(turn, after, shown):
            sent = _sent(turn)
            event = self._messages_of(turn)
            conversation = turn.conversation
        else:
            path = await self._look(user, conversation_id, after, quick=quick)
            turn = self._chat.turns.current(user, conversation_id)
            sent = _sent(turn) if turn else {}
            event = self._messages_after(path, after, turn, shown)
            conversation = path.conversation
        if not after:  # the page knows nothing of the conversation yet
            event.conversation = OpenConversation.of(conversation, writing=turn is not None)
        await unsaved.mark(event.messages)
        yield event
        if turn is not None:
            async with aclosing(self._changes(turn, sent, unsaved)) as changes:
                async for change in changes:
                    yield change
            path = _Path(conversation, turn.tree, [(one, turn.column(one.id)) for one in turn.messages()])
        # Another replica may write an answer, or have taken over the one that was written here.
        async with aclosing(self._polled_changes(user, conversation_id, path)) as changes:
            async for change in changes:
                yield change
        columns = {message.id: column for message, column in path.messages}
        for message in await unsaved.last_changes([message for message, _ in path.messages]):
            yield self._marked(path.tree, message, columns[message.id], unsaved)
        yield EndEvent()

    async def newer_messages(self, user: str, conversation_id: str, after: str) -> MessagesEvent:
        """Return the messages after one."""
        path = await self._path(user, conversation_id)
        return self._messages_after(path, after, self._chat.turns.current(user, conversation_id))

    async def earlier_messages(self, user: str, conversation_id: str, message_id: str) -> MessagePage:
        """Return the messages before one of a conversation."""
        path = await self._path(user, conversation_id)
        messages = path.messages
        if all(message.id != message_id for message, _ in messages):
            messages = [(message, 0) for message in path.tree.path_to(message_id)]
        end = next((i for i, (message, _) in enumerate(messages) if message.id == message_id), 0)
        start = max(0, end - MESSAGES_AT_ONCE)
        bodies = [self._body(path.tree, message) for message, _ in messages[start:end]]
        return MessagePage(messages=bodies, earlier=start)

    async def _path(self, user: str, conversation_id: str) -> _Path:
        conversation, messages = await asyncio.gather(
            self._chat.conversations.open(user, conversation_id),
            self._chat.turns.catch_up.eventually(
                user,
                conversation_id,
                lambda: self._chat.store.messages(user, conversation_id),
            ),
        )
        if (turn := self._chat.turns.current(user, conversation_id)) is not None:
            conversation, messages = turn.conversation, _with_turn(messages, turn)
        tree = MessageTree(messages)
        return _Path(conversation, tree, tree.shown(conversation.branch))

    async def _look(self, user: str, conversation_id: str, after: str, *, quick: bool) -> _Path:
        """Return the conversation with what the page shows already."""
        with suppress(NotCaughtUp):  # it has expired, or another replica cannot deliver it: what is here is shown
            if quick and (path := await self._known_path(user, conversation_id, after)):
                return path
            await self._chat.turns.catch_up.until_known(user, conversation_id, Seen(after))
        return await self._path(user, conversation_id)

    async def _known_path(self, user: str, conversation_id: str, after: str) -> _Path | None:
        """Return what this replica has once it has compared the conversation with the store; None: read it again."""
        messages = await self._chat.turns.catch_up.messages(user, conversation_id, Seen(after), has_time=True)
        if any(message.status is MessageStatus.STREAMING for message in messages):
            return None
        conversation = await self._chat.conversations.open(user, conversation_id, consistency=Consistency.CACHED)
        tree = MessageTree(messages)
        return _Path(conversation, tree, tree.shown(conversation.branch))

    def _messages_of(self, turn: Turn) -> MessagesEvent:
        """Return the messages of a turn, for a page that shows what they follow."""
        new, after, tree = turn.messages(), turn.follows, turn.tree
        if tree.experiment(after):  # the page shows two columns, of which one is followed now
            new, after = [tree.messages[after], *new], tree.before(after)
        bodies = [self._body(tree, message, turn.column(message.id), turn) for message in new]
        return MessagesEvent(messages=bodies, after=after, earlier=0)

    def _messages_after(self, path: _Path, after: str, turn: Turn | None, shown: int | None = None) -> MessagesEvent:
        """Return the messages after one, or the last ones of all if that is not shown any more, or others before it."""
        tree, messages = path.tree, path.messages
        if shown is not None and [message.id for message, _ in messages[:shown]][-1:] != [after]:
            after = ""
        if after in tree.messages and tree.experiment(after):
            after = tree.before(after)  # how it is shown may have changed
        position = next((i for i, (message, _) in enumerate(messages) if message.id == after), -1)
        new = messages[position + 1 :]
        earlier = 0 if position >= 0 else max(0, len(new) - MESSAGES_AT_ONCE)
        bodies = [self._body(tree, message, column, turn) for message, column in new[earlier:]]
        return MessagesEvent(messages=bodies, after=after if position >= 0 else "", earlier=earlier)

    async def _changes(
        self, turn: Turn, sent: dict[str, _Sent], unsaved: UnsavedMessages
    ) -> AsyncGenerator[Event | None]:
        """Yield the changes of a running turn's answers; at its end the conversation's title if it got one."""
        async with aclosing(turn.watch()) as changes:
            async for _ in changes:
                is_unchanged = True
                for answer in turn.answers:
                    before, now = sent[answer.id], _Sent(answer)
                    sent[answer.id] = now  # before the yield, during which more may be written
                    if now.state != before.state:
                        is_unchanged = False
                        column = turn.column(answer.id)
                        yield MessageEvent(message=self._body(turn.tree, answer.message(), column, turn))
                        continue
                    if now.length > before.length or now.thinking_length > before.thinking_length:
                        is_unchanged = False
                        text, thinking = answer.text[before.length :], answer.thinking[before.thinking_length :]
                        yield TextDelta(id=answer.id, text=text, thinking=thinking)
                for message in await unsaved.changes(turn.question) if turn.question else ():
                    is_unchanged = False
                    yield self._marked(turn.tree, message, 0, unsaved)
                if is_unchanged:
                    yield None
        if turn.title is not None:
            await asyncio.wait({turn.title})
            if not turn.title.cancelled() and (title := turn.title.result()):
                yield TitleEvent(title=title)

    async def _polled_changes(self, user: str, conversation_id: str, path: _Path) -> AsyncGenerator[Event | None]:
        """Yield the changes of answers that another replica writes (or that ended just now)."""
        running = {m.id: (m, column) for m, column in path.messages if m.status is MessageStatus.STREAMING}
        for _ in range(MAX_POLLS):
            if not running:
                return
            for before, column in list(running.values()):
                now = await self._chat.store.message(user, conversation_id, before.id)
                has_ended = now.status is not MessageStatus.STREAMING
                if has_ended or not _is_longer(before, now):
                    yield MessageEvent(message=self._body(path.tree, now, column))
                elif now.content == before.content and now.thinking == before.thinking:
                    yield None
                else:
                    text, thinking = now.content[len(before.content) :], now.thinking[len(before.thinking) :]
                    yield TextDelta(id=now.id, text=text, thinking=thinking)
                running[now.id] = now, column
                if has_ended:
                    del running[now.id]
            await asyncio.sleep(POLL_SECONDS)

    def _marked(self, tree: MessageTree, message: Message, column: int, unsaved: UnsavedMessages) -> MessageEvent:
        """Return a message whose mark has changed."""
        body = self._body(tree, message, column)
        body.saved = not unsaved.is_marked(message.id)
        return MessageEvent(message=body)

    def _body(self, tree: MessageTree, message: Message, column: int = 0, turn: Turn | None = None) -> MessageBody:
        kind = AnswerBody if message.role is Role.ASSISTANT else MessageBody
        body = kind.model_validate(message, context=self._chat.catalog)  # which has the labels of models
        body.can_continue, body.column = can_continue(message), column
        body.follows = tree.before(message.id)
        versions = tree.versions(message.id)
        body.versions = versions if len(versions) > 1 else None
        if isinstance(body, AnswerBody):
            running = next((answer for answer in turn.answers if answer.id == message.id), None) if turn else None
            if running is not None:
                body.queue_position = running.queue_position
                body.waits_for = running.waits_for or None
        return body


@dataclass(frozen=True, slots=True)
class _Path:
    """A conversation, and its messages that are shown, each with its column."""

    conversation: Conversation
    tree: MessageTree
    messages: Sequence[tuple[Message, int]]


class _Sent:
    """What the page has of an answer: the length of its text, and the state whose change sends it anew."""

    __slots__ = ("length", "state", "thinking_length")

    def __init__(self, answer: RunningAnswer) -> None:
        self.length = answer.length
        self.thinking_length = answer.thinking_length
        message = answer.message_so_far
        pictures = len(message.images), message.unshown_pictures
        waits = answer.queue_position, answer.waits_for
        self.state = bool(answer.length), answer.moves, pictures, waits, answer.has_ended


def _is_longer(before: Message, now: Message) -> bool:
    """Return whether text and thinking have only grown, or are the same; the first text changes more on the page."""
    has_grown = len(now.content) >= len(before.content) and len(now.thinking) >= len(before.thinking)
    return has_grown and bool(before.content) == bool(now.content) and len(before.images) == len(now.images)


def _has_the_rest(turn: Turn, after: str, shown: int | None) -> bool:
    """Return whether all that a page does not have is in this turn.

    A page may show a message without all that comes before it here: other replicas insert messages.
    """
    tree = turn.tree
    if not turn.follows:
        return True
    return tree.is_beneath(after, turn.follows) and shown in {None, len(tree.path_to(after))}


def _sent(turn: Turn) -> dict[str, _Sent]:
    return {answer.id: _Sent(answer) for answer in turn.answers}


def _with_turn(messages: Sequence[Message], turn: Turn) -> list[Message]:
    """Return the messages with those of the running turn as they are now."""
    running = turn.messages()
    ids = {message.id for message in running}
    return [*(message for message in messages if message.id not in ids), *running]
