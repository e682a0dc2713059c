"""The preparation of a turn: its question and empty answers are stored before any model is asked."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from chatapp.conversations.catch_up import MOST_REMEMBERED, Seen
from chatapp.domain.conversation import (
    TAKEOVER,
    Conversation,
    FinishReason,
    Message,
    MessageStatus,
    Role,
    new_id,
    now_ms,
)
from chatapp.domain.errors import (
    ContinuedElsewhere,
    ConversationBusy,
    ConversationNotFound,
    MessageNotFound,
    NothingToContinue,
    StoreUnavailable,
)
from chatapp.domain.message_tree import MessageTree
from chatapp.generation.titles import first_title
from chatapp.generation.turn import Prompt, Turn
from chatapp.models.images import check_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from chatapp.conversations.catch_up import CatchUp
    from chatapp.conversations.updates import ConversationUpdates
    from chatapp.generation.final_save import FinalSaves, Key
    from chatapp.generation.model_choice import ModelChoice
    from chatapp.generation.requests import TurnRequest
    from chatapp.store import ConversationStore

# To the model, after an answer that ended early. A message works with models of every kind; continuing the model's own
# message needs a special API (vLLM's continue_final_message), which other servers refuse.
CONTINUE_PROMPT = (
    "Your last message was cut off. Continue it exactly where it ended: write only what comes next, in the same "
    "language and formatting, without repeating anything and without any remark about this."
)


log = structlog.get_logger(__name__)


def can_continue(answer: Message) -> bool:
    """Return whether an answer ended early, so that it can be continued."""
    early = {MessageStatus.STOPPED, MessageStatus.INTERRUPTED, MessageStatus.ERROR}
    is_early = answer.status in early or answer.finish_reason is FinishReason.LENGTH
    return answer.role is Role.ASSISTANT and is_early


class AlreadyStored(Exception):
    """The messages of this request are stored: it is a repetition.

    Attributes:
        conversation: as it is now.
    """

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self.conversation = conversation


class TurnPreparation:
    """Stores the messages that a turn begins with.

    Args:
        catch_up: reads what other replicas wrote.
        final_saves: the pending ones of a conversation are stored before anything else is.
        batch_seconds: how often subscribers are told of new text.
    """

    def __init__(
        self,
        store: ConversationStore,
        changes: ConversationUpdates,
        catch_up: CatchUp,
        final_saves: FinalSaves,
        *,
        batch_seconds: float,
    ) -> None:
        self._store = store
        self._catch_up = catch_up
        self._changes = changes
        self._final_saves = final_saves
        self._batch_seconds = batch_seconds
        self._last_turns: OrderedDict[Key, str] = OrderedDict()  # that this replica stored

    async def question(self, key: Key, request: TurnRequest, choices: Sequence[ModelChoice]) -> Turn:
        """Store a question, with an empty answer for each choice.

        Raises:
            InvalidMessage: an image cannot be read.
            LimitReached: too many images are being decoded.
            MessageNotFound: the conversation has no answer that the question could follow.
            ContinuedElsewhere: the conversation has messages that the page does not show.
            AlreadyStored: the conversation has this question.
        """
        user, conversation_id = key
        if request.conversation_id:
            before, current = await self._idle(key, request.seen)
            follows = _checked_follows(before, request, current.branch)
        else:
            before, current, follows = MessageTree([]), None, ""
        if request.question_id in before.messages and current is not None:
            raise AlreadyStored(current)
        images, documents = await request.images.load(), await request.documents.load()  # after all checks
        turn_id, created_ms = _derived_id(request.question_id, "turn"), _next_created_ms(before)
        revision = TAKEOVER if request.is_retry else 0
        question = Message(
            id=request.question_id,
            turn_id=turn_id,
            role=Role.USER,
            content=request.text,
            created_ms=created_ms,
            follows=follows,
            images=images,
            documents=documents,
            appended=request.follows is None,
        )
        answers = [
            _empty_answer(
                choice,
                _derived_id(request.question_id, f"answer {number}"),
                turn_id,
                created_ms + number,
                question.id,
                revision,
            )
            for number, choice in enumerate(choices, 1)
        ]
        update = _update(choices[0], before, follows, request.chosen)
        if current is None:
            title = first_title(question)
            conversation = update(
                Conversation(id=conversation_id, title=title, created_ms=created_ms, updated_ms=created_ms)
            )
            await self._store.create(user, conversation, question, *answers)
        else:
            await self._store.append(user, conversation_id, question, *answers)  # which also sets updated_ms
            conversation = await self._apply(key, current, update, before, request.chosen)
        self._remember(key, turn_id)
        messages = [*before.path_to(follows), question]
        return self._turn(user, conversation, question, before, follows, answers, messages, choices)

    async def regenerate(
        self,
        key: Key,
        question_id: str,
        answer_id: str,
        choice: ModelChoice,
        *,
        seen: Seen | None = None,
        is_retry: bool = False,
    ) -> Turn:
        """Store another, empty answer to a question.

        Raises:
            MessageNotFound: there is no such question.
            ContinuedElsewhere: the conversation has messages that the page does not show.
            AlreadyStored: the conversation has this answer.
        """
        before, current = await self._idle(key, seen or Seen(question_id))
        if answer_id in before.messages:
            raise AlreadyStored(current)
        _refuse_if_continued(before, seen)
        messages = before.path_to(question_id)
        if not messages or messages[-1].role is not Role.USER:
            raise MessageNotFound
        check_images(choice.model, len(messages[-1].images))
        turn_id, created_ms = _derived_id(answer_id, "turn"), _next_created_ms(before)
        answer = _empty_answer(choice, answer_id, turn_id, created_ms, question_id, TAKEOVER if is_retry else 0)
        await self._store.append(*key, answer)
        conversation = await self._apply(key, current, _update(choice, before, question_id, {}), before)
        self._remember(key, turn_id)
        return self._turn(key[0], conversation, None, before, question_id, [answer], messages, [choice])

    async def continue_answer(self, key: Key, message_id: str, choice: ModelChoice, seen: Seen | None = None) -> Turn:
        """Store an answer that ended early as streaming again.

        Raises:
            NothingToContinue: it is complete, or is not the last message that is shown.
            ContinuedElsewhere: the conversation has messages that the page does not show, or another replica continues
                the answer.
        """
        tree, conversation = await self._idle(key, seen or Seen(message_id))
        _refuse_if_continued(tree, seen)
        if message_id in tree.messages and await self._is_continued_elsewhere(key, tree.messages[message_id]):
            raise ContinuedElsewhere
        stored = list(tree.messages.values())
        shown = {message.id: message for message, _ in tree.shown(conversation.branch)}
        early = shown.get(message_id)
        if early is None or not can_continue(early) or tree.is_followed(message_id):
            raise NothingToContinue
        follows = tree.before(message_id)
        before = MessageTree([message for message in stored if message.id != message_id])
        answer = dataclasses.replace(
            early,
            status=MessageStatus.STREAMING,
            revision=early.revision + _lead(),
            model=choice.model.id,
            place=choice.model.place,
            temperature=choice.parameters.temperature,
            instead_of=choice.instead_of,
            seconds_to_first_token=None,
            finish_reason=None,
            error="",
            # An answer without text is generated anew.
            thinking=early.thinking if early.content.strip() else "",
            citations=early.citations if early.content.strip() else (),
        )
        await self._store.append(*key, answer)
        messages = before.path_to(follows)
        if early.content.strip():  # else there is no text to continue: the question is answered again
            instruction = Message(
                id=new_id(),
                turn_id=answer.turn_id,
                role=Role.USER,
                content=CONTINUE_PROMPT,
                created_ms=answer.created_ms + 1,
                follows=answer.id,
            )
            messages = [*messages, early, instruction]
        return self._turn(key[0], conversation, None, before, follows, [answer], messages, [choice])

    async def _is_continued_elsewhere(self, key: Key, early: Message) -> bool:
        """Return whether the store has a newer revision of an answer, which this replica does not know yet."""
        with suppress(StoreUnavailable):
            return (await self._store.message(*key, early.id)).revision > early.revision
        return False

    def _turn(
        self,
        user: str,
        conversation: Conversation,
        question: Message | None,
        before: MessageTree,
        follows: str,
        answers: Sequence[Message],
        messages: Sequence[Message],
        choices: Sequence[ModelChoice],
    ) -> Turn:
        prompts = [Prompt(choice.model, messages, choice.parameters) for choice in choices]
        return Turn(
            user,
            conversation,
            question,
            list(zip(answers, prompts, strict=True)),
            follows=follows,
            before=before.messages.values(),
            batch_seconds=self._batch_seconds,
        )

    async def _apply(
        self,
        key: Key,
        current: Conversation,
        update: Callable[[Conversation], Conversation],
        before: MessageTree,
        chosen: Iterable[str] = (),
    ) -> Conversation:
        """Store what a turn changes in its conversation.

        Where another replica stored the last turn, what that one chose may have yet to arrive: the fields then count
        as changed even if they are as this replica knows them. A failure ends no turn, whose messages are stored: the
        next turn stores its own choice.
        """
        last = next(reversed(before.messages.values()), None)
        is_known = last is None or self._last_turns.get(key) == last.turn_id or not self._store.is_shared(key[1])
        after, fields = update(current), () if is_known else ("model", "system_prompt", "branch", *chosen)
        if after == current and not fields:
            return current
        try:
            return await self._changes.change(*key, update, chosen=fields)
        except (StoreUnavailable, ConversationNotFound) as error:  # or deleted just now, which can be undone
            log.warning("choice_not_saved", conversation=key[1], detail=error.detail)
            return after

    def _remember(self, key: Key, turn_id: str) -> None:
        self._last_turns.pop(key, None)
        self._last_turns[key] = turn_id
        while len(self._last_turns) > MOST_REMEMBERED:
            self._last_turns.popitem(last=False)

    async def _idle(self, key: Key, seen: Seen | None) -> tuple[MessageTree, Conversation]:
        """Return a conversation in which no answer is being generated, with all that the page has seen of it.

        Raises:
            ConversationBusy: another replica generates an answer.
            NotCaughtUp: what the page has seen has not arrived here.
            StoreUnavailable: the end of the last answer could not be stored, and still cannot.
        """
        await self._final_saves.save_pending(key)
        messages = await self._catch_up.messages(*key, seen)
        for number, message in enumerate(messages):
            if message.status is MessageStatus.STREAMING:
                now = await self._store.message(*key, message.id)
                if now.status is MessageStatus.STREAMING:
                    raise ConversationBusy
                messages[number] = now
        return MessageTree(messages), await self._changes.get(*key)


def _checked_follows(before: MessageTree, request: TurnRequest, branch: str) -> str:
    """Return the id of the answer that a question follows, "" for none.

    Raises:
        ContinuedElsewhere: the conversation has messages that the page does not show.
        MessageNotFound: there is no such answer.
    """
    _refuse_if_continued(before, request.seen)
    follows, seen = request.follows, request.seen
    last = before.messages.get(seen.message_id) if seen else None
    if follows is None and last and last.role is Role.ASSISTANT:
        follows = last.id
    if follows is None:
        path = before.path(branch)
        return path[-1].id if path else ""
    if follows and (follows not in before.messages or before.messages[follows].role is not Role.ASSISTANT):
        raise MessageNotFound
    return follows


def _refuse_if_continued(before: MessageTree, seen: Seen | None) -> None:
    if seen and seen.message_id in before.messages and before.has_more(seen.message_id):
        raise ContinuedElsewhere


def _next_created_ms(before: MessageTree) -> int:
    """Return the current time, or a later one if the clock was set back, so that the order never changes."""
    newest_ms = max((message.created_ms for message in before.messages.values()), default=0)
    return max(now_ms(), newest_ms + 1)


def _derived_id(message_id: str, name: str) -> str:
    """Return an id that every replica makes for the same request.

    A page whose response was lost sends its request again, perhaps to another replica, which may not know of the first
    attempt: the answers of both are the same message, and the second one, with revisions from `TAKEOVER`, stays.
    """
    return hashlib.sha256(f"{message_id} {name}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _lead() -> int:
    """Return by how much a continuation raises the revision of its answer: at two replicas never by the same amount.

    So where two devices continue an answer at the same moment, all revisions of one replica, with the end of its answer
    (`chatapp.generation.generator`), are above those of the other, which gives up.
    """
    return TAKEOVER * (1 + 4 * int(new_id()[-6:], 16))


def _empty_answer(
    choice: ModelChoice, message_id: str, turn_id: str, created_ms: int, follows: str, revision: int
) -> Message:
    return Message(
        id=message_id,
        turn_id=turn_id,
        role=Role.ASSISTANT,
        content="",
        created_ms=created_ms,
        status=MessageStatus.STREAMING,
        model=choice.model.id,
        follows=follows,
        place=choice.model.place,
        instead_of=choice.instead_of,
        temperature=choice.parameters.temperature,
        revision=revision,
    )


def _update(
    choice: ModelChoice, before: MessageTree, follows: str, chosen: Mapping[str, str]
) -> Callable[[Conversation], Conversation]:
    """Return a function that stores the chosen model and instructions in a conversation, and shows the new messages.

    ``chosen`` has further fields of it.
    """

    def updated(conversation: Conversation) -> Conversation:
        is_shown = conversation.branch and before.is_beneath(follows, conversation.branch)
        return dataclasses.replace(
            conversation,
            model=choice.instead_of or choice.model.id,
            system_prompt=choice.parameters.system_prompt,
            branch=conversation.branch if is_shown else "",
            **chosen,  # type: ignore[arg-type]  # names of its fields of text
        )

    return updated
