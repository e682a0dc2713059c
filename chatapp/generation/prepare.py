"""The preparation of a turn: its question and empty answers are stored before any model is asked."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from chatapp.domain.conversation import (
    Conversation,
    FinishReason,
    Message,
    MessageStatus,
    Role,
    new_id,
    now_ms,
)
from chatapp.domain.errors import ConversationBusy, MessageNotFound, NothingToContinue
from chatapp.domain.message_tree import MessageTree
from chatapp.generation.titles import first_words
from chatapp.generation.turn import Prompt, Turn
from chatapp.models.images import check_images
from chatapp.store import Consistency

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def can_continue(answer: Message) -> bool:
    """Return whether an answer ended early, so that it can be continued."""
    early = {MessageStatus.STOPPED, MessageStatus.INTERRUPTED, MessageStatus.ERROR}
    is_early = answer.status in early or answer.finish_reason is FinishReason.LENGTH
    return answer.role is Role.ASSISTANT and is_early


class TurnPreparation:
    """Stores the messages that a turn begins with.

    Args:
        final_saves: the pending ones of a conversation are stored before anything else is.
        batch_seconds: how often subscribers are told of new text.
    """

    def __init__(
        self, store: ConversationStore, changes: ConversationUpdates, final_saves: FinalSaves, *, batch_seconds: float
    ) -> None:
        self._store = store
        self._changes = changes
        self._final_saves = final_saves
        self._batch_seconds = batch_seconds

    async def question(self, key: Key, request: TurnRequest, choices: Sequence[ModelChoice]) -> Turn:
        """Store a question, with an empty answer for each choice.

        Raises:
            CannotSee: a model does not support images.
            TooManyImages: there are more of them than a model takes.
            MessageNotFound: the conversation has no answer that the question could follow.
        """
        user, conversation_id = key
        is_new = not request.conversation_id
        current = None if is_new else await self._changes.get(*key)
        before = MessageTree([] if is_new else await self._idle_messages(key))
        follows = "" if current is None else _checked_follows(before, request.follows, current.branch)
        turn_id, created_ms = new_id(), _next_created_ms(before)
        question = Message(
            id=request.question_id,
            turn_id=turn_id,
            role=Role.USER,
            content=request.text,
            created_ms=created_ms,
            follows=follows,
            images=request.images,
        )
        for choice in choices:
            check_images(choice.model, question)
        answers = [
            _empty_answer(choice, new_id(), turn_id, created_ms + number, question.id)
            for number, choice in enumerate(choices, 1)
        ]
        update = _update(choices[0], before, follows, request.persona)
        if current is None:
            title = first_words(request.text)
            conversation = update(
                Conversation(id=conversation_id, title=title, created_ms=created_ms, updated_ms=created_ms)
            )
            await self._store.create(user, conversation, question, *answers)
        else:
            await self._store.append(user, conversation_id, question, *answers)  # which also sets updated_ms
            conversation = await self._apply(key, current, update)
        messages = [*before.path_to(follows), question]
        return self._turn(user, conversation, question, before, follows, answers, messages, choices)

    async def regenerate(self, key: Key, question_id: str, answer_id: str, choice: ModelChoice) -> Turn:
        """Store another, empty answer to a question.

        Raises:
            MessageNotFound: there is no such question.
        """
        current, before = await self._changes.get(*key), MessageTree(await self._idle_messages(key))
        messages = before.path_to(question_id)
        if not messages or messages[-1].role is not Role.USER:
            raise MessageNotFound
        check_images(choice.model, messages[-1])
        answer = _empty_answer(choice, answer_id, new_id(), _next_created_ms(before), question_id)
        await self._store.append(*key, answer)
        conversation = await self._apply(key, current, _update(choice, before, question_id, None))
        return self._turn(key[0], conversation, None, before, question_id, [answer], messages, [choice])

    async def continue_answer(self, key: Key, message_id: str, choice: ModelChoice) -> Turn:
        """Store an answer that ended early as streaming again.

        Raises:
            NothingToContinue: it is complete, or is not the last message that is shown.
        """
        conversation, stored = await self._changes.get(*key), await self._idle_messages(key)
        tree = MessageTree(stored)
        shown = {message.id: message for message, _ in tree.shown(conversation.branch)}
        early = shown.get(message_id)
        if early is None or not can_continue(early) or tree.is_followed(message_id):
            raise NothingToContinue
        follows = tree.before(message_id)
        before = MessageTree([message for message in stored if message.id != message_id])
        answer = dataclasses.replace(
            early,
            status=MessageStatus.STREAMING,
            revision=early.revision + 1,
            model=choice.model.id,
            place=choice.model.place,
            temperature=choice.parameters.temperature,
            instead_of=choice.instead_of,
            seconds_to_first_token=None,
            finish_reason=None,
            error="",
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
        new = [*([question] if question else []), *answers]
        return Turn(
            user,
            conversation,
            question,
            list(zip(answers, prompts, strict=True)),
            follows=follows,
            tree=MessageTree([*before.messages.values(), *new]),
            batch_seconds=self._batch_seconds,
        )

    async def _apply(
        self, key: Key, current: Conversation, update: Callable[[Conversation], Conversation]
    ) -> Conversation:
        return current if update(current) == current else await self._changes.change(*key, update)

    async def _idle_messages(self, key: Key) -> list[Message]:
        """Return the messages of a conversation in which no answer is being generated.

        They are those that this process knows. It does not wait for what another replica wrote since this one loaded
        the conversation: the person has not seen that either.

        Raises:
            ConversationBusy: another replica generates an answer.
            StoreUnavailable: the end of the last answer could not be stored, and still cannot.
        """
        await self._final_saves.save_pending(key)
        messages = await self._store.messages(*key, consistency=Consistency.CACHED)
        for number, message in enumerate(messages):
            if message.status is MessageStatus.STREAMING:
                now = await self._store.message(*key, message.id)
                if now.status is MessageStatus.STREAMING:
                    raise ConversationBusy
                messages[number] = now
        return messages


def _checked_follows(before: MessageTree, follows: str | None, branch: str) -> str:
    """Return the id of the answer that a question follows, "" for none."""
    if follows is None:
        path = before.path(branch)
        return path[-1].id if path else ""
    if follows and (follows not in before.messages or before.messages[follows].role is not Role.ASSISTANT):
        raise MessageNotFound
    return follows


def _next_created_ms(before: MessageTree) -> int:
    """Return the current time, or a later one if the clock was set back, so that the order never changes."""
    last = next(reversed(before.messages.values()), None)
    return max(now_ms(), last.created_ms + 1 if last else 0)


def _empty_answer(choice: ModelChoice, message_id: str, turn_id: str, created_ms: int, follows: str) -> Message:
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
    )


def _update(
    choice: ModelChoice, before: MessageTree, follows: str, persona: str | None
) -> Callable[[Conversation], Conversation]:
    """Return a function that stores the chosen model and instructions in a conversation, and shows the new messages."""

    def updated(conversation: Conversation) -> Conversation:
        is_shown = conversation.branch and before.is_beneath(follows, conversation.branch)
        return dataclasses.replace(
            conversation,
            model=choice.instead_of or choice.model.id,
            system_prompt=choice.parameters.system_prompt,
            persona=conversation.persona if persona is None else persona,
            branch=conversation.branch if is_shown else "",
        )

    return updated
