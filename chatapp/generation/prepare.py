"""What a turn begins with: the question and its unwritten answers, stored before any model is asked."""

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
from chatapp.domain.message_tree import Branches
from chatapp.generation.titles import first_words
from chatapp.generation.turn import Prompt, Turn
from chatapp.models.sent_images import refuse_unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chatapp.conversations.updates import Changes
    from chatapp.domain.conversation import Image
    from chatapp.generation.final_save import Ends, Key
    from chatapp.generation.model_choice import Choice
    from chatapp.store import ConversationStore

# To the model, after an answer that ended early. Only it can tell what comes next, and models of every kind follow it;
# continuing the model's own message needs an API of its own (vLLM's continue_final_message), which others refuse.
GO_ON = (
    "Your last message was cut off. Continue it exactly where it ended: write only what comes next, in the same "
    "language and formatting, without repeating anything and without any remark about this."
)


def can_go_on(answer: Message) -> bool:
    """Return whether an answer ended before its end, so that it can be continued."""
    early = {MessageStatus.STOPPED, MessageStatus.INTERRUPTED, MessageStatus.ERROR}
    is_early = answer.status in early or answer.finish_reason is FinishReason.LENGTH
    return answer.role is Role.ASSISTANT and is_early


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person asks.

    Attributes:
        id: the message's, made by whoever asks.
        follows: id of the answer that it follows; None: the last one that is shown.
        persona: id of whom the model plays, None as before.
    """

    id: str
    text: str
    images: tuple[Image, ...] = ()
    follows: str | None = None
    persona: str | None = None


class TurnStart:
    """Stores what turns begin with.

    Args:
        ends: of answers that are not stored yet; they are before anything else is.
        batch_seconds: how often those who watch are told of new text.
    """

    def __init__(self, store: ConversationStore, changes: Changes, ends: Ends, *, batch_seconds: float) -> None:
        self._store = store
        self._changes = changes
        self._ends = ends
        self._batch_seconds = batch_seconds

    async def question(self, key: Key, question: Question, choices: Sequence[Choice], *, is_new: bool) -> Turn:
        """Store a question with an answer to be written for each choice.

        Raises:
            MessageNotFound: what it is to follow is no answer of this conversation.
        """
        user, conversation_id = key
        known = None if is_new else await self._changes.known(*key)
        before = Branches([] if is_new else await self._idle(key))
        follows = "" if known is None else _followed(before, question.follows, known.branch)
        turn_id, created_ms = new_id(), _later_than(before)
        asked = Message(
            id=question.id,
            turn_id=turn_id,
            role=Role.USER,
            content=question.text,
            created_ms=created_ms,
            follows=follows,
            images=question.images,
        )
        for choice in choices:
            refuse_unseen(choice.model, asked)
        answers = [
            _unwritten(choice, new_id(), turn_id, created_ms + number, asked.id)
            for number, choice in enumerate(choices, 1)
        ]
        noted = _noted(choices[0], before, follows, question.persona)
        if known is None:
            title = first_words(question.text)
            new = Conversation(id=conversation_id, title=title, created_ms=created_ms, updated_ms=created_ms)
            conversation = noted(new)
            await self._store.create(user, conversation, asked, *answers)
        else:
            await self._store.append(user, conversation_id, asked, *answers)  # which also says that it was updated
            conversation = await self._note(key, known, noted)
        prompt = [*before.path_to(follows), asked]
        return self._turn(user, conversation, asked, before, follows, answers, [prompt] * len(choices), choices)

    async def answer_again(self, key: Key, question_id: str, answer_id: str, choice: Choice) -> Turn:
        """Store another answer to a question, to be written.

        Raises:
            MessageNotFound: there is no such question.
        """
        known, before = await self._changes.known(*key), Branches(await self._idle(key))
        prompt = before.path_to(question_id)
        if not prompt or prompt[-1].role is not Role.USER:
            raise MessageNotFound
        refuse_unseen(choice.model, prompt[-1])
        answer = _unwritten(choice, answer_id, new_id(), _later_than(before), question_id)
        await self._store.append(*key, answer)
        conversation = await self._note(key, known, _noted(choice, before, question_id, None))
        return self._turn(key[0], conversation, None, before, question_id, [answer], [prompt], [choice])

    async def continuation(self, key: Key, message_id: str, choice: Choice) -> Turn:
        """Store an answer that ended early as one that goes on.

        Raises:
            NothingToContinue: it is whole, or is not at the end of what is shown.
        """
        known, messages = await self._changes.known(*key), await self._idle(key)
        branches = Branches(messages)
        shown = {message.id: message for message, _ in branches.shown(known.branch)}
        ended = shown.get(message_id)
        if ended is None or not can_go_on(ended) or branches.is_followed(message_id):
            raise NothingToContinue
        follows = branches.before(message_id)
        before = Branches([message for message in messages if message.id != message_id])
        answer = dataclasses.replace(
            ended,
            status=MessageStatus.STREAMING,
            revision=ended.revision + 1,
            model=choice.model.id,
            place=choice.model.place,
            temperature=choice.parameters.temperature,
            instead_of=choice.instead_of,
            seconds_to_first_token=None,
            finish_reason=None,
            error="",
        )
        await self._store.append(*key, answer)
        prompt = before.path_to(follows)
        if ended.content.strip():  # else there is nothing yet to go on from: the question is asked again
            go_on = Message(
                id=new_id(),
                turn_id=answer.turn_id,
                role=Role.USER,
                content=GO_ON,
                created_ms=answer.created_ms + 1,
                follows=answer.id,
            )
            prompt = [*prompt, ended, go_on]
        return self._turn(key[0], known, None, before, follows, [answer], [prompt], [choice])

    def _turn(
        self,
        user: str,
        conversation: Conversation,
        question: Message | None,
        before: Branches,
        follows: str,
        answers: Sequence[Message],
        prompts: Sequence[Sequence[Message]],
        choices: Sequence[Choice],
    ) -> Turn:
        asked = [
            (answer, Prompt(choice.model, prompt, choice.parameters))
            for answer, prompt, choice in zip(answers, prompts, choices, strict=True)
        ]
        new = [*([question] if question else []), *answers]
        return Turn(
            user,
            conversation,
            question,
            asked,
            follows=follows,
            branches=Branches([*before.messages.values(), *new]),
            batch_seconds=self._batch_seconds,
        )

    async def _note(
        self, key: Key, known: Conversation, change: Callable[[Conversation], Conversation]
    ) -> Conversation:
        return known if change(known) == known else await self._changes.change(*key, change)

    async def _idle(self, key: Key) -> list[Message]:
        """Return the messages of a conversation in which nobody writes an answer.

        They are those that this process knows: what another copy of the chat wrote since its page was opened here is
        not waited for, as the person who asks has not seen it either.

        Raises:
            ConversationBusy: another copy of the chat is writing an answer.
            StoreUnavailable: the end of the answer before could not be stored, and still cannot.
        """
        await self._ends.save_left(key)
        messages = await self._store.messages(*key, fresh=False)
        for number, message in enumerate(messages):
            if message.status is MessageStatus.STREAMING:
                now = await self._store.message(*key, message.id)
                if now.status is MessageStatus.STREAMING:
                    raise ConversationBusy
                messages[number] = now
        return messages


def _followed(before: Branches, follows: str | None, branch: str) -> str:
    """Return the id of what a question follows, "" for nothing."""
    if follows is None:
        path = before.path(branch)
        return path[-1].id if path else ""
    if follows and (follows not in before.messages or before.messages[follows].role is not Role.ASSISTANT):
        raise MessageNotFound
    return follows


def _later_than(before: Branches) -> int:
    """Return the time, or a later one when the clock was set back, so that the order never changes."""
    last = next(reversed(before.messages.values()), None)
    return max(now_ms(), last.created_ms + 1 if last else 0)


def _unwritten(choice: Choice, message_id: str, turn_id: str, created_ms: int, follows: str) -> Message:
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


def _noted(
    choice: Choice, before: Branches, follows: str, persona: str | None
) -> Callable[[Conversation], Conversation]:
    """Return what notes in a conversation how it was last asked, and that what is new is shown."""

    def noted(conversation: Conversation) -> Conversation:
        is_shown = conversation.branch and before.is_beneath(follows, conversation.branch)
        return dataclasses.replace(
            conversation,
            model=choice.instead_of or choice.model.id,
            system_prompt=choice.parameters.system_prompt,
            persona=conversation.persona if persona is None else persona,
            branch=conversation.branch if is_shown else "",
        )

    return noted
