"""Titles of conversations: the first words of the question, then what a model suggests."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.conversation import GenerationParameters, Message, MessageStatus, Role, Usage, new_id, now_ms
from chatapp.domain.errors import ChatError
from chatapp.models import TextDelta, TextWasThinking, ThinkingDelta
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from chatapp.conversations.updates import ConversationUpdates
    from chatapp.domain.conversation import Conversation
    from chatapp.generation.turn import RunningAnswer, Turn
    from chatapp.limits import Limits

TITLE_CHARS = 60
TITLES_AT_ONCE = 16  # beyond, the first words stay: titles must not slow down answers
TITLE_SECONDS = 20.0
READ_CHARS = 1500  # of the question, and of the answer
PROMPT = (
    "Write a title for this conversation, in the language of the question: at most 6 words, nothing but the title, "
    "without quotation marks.\n\nQuestion:\n{question}\n\nAnswer:\n{answer}"
)
_PARAMETERS = GenerationParameters(temperature=0.3, max_tokens=48)
_AFTER_THINKING = dataclasses.replace(_PARAMETERS, max_tokens=1024)  # of a model that thinks
MAX_CHARS = 20_000  # a server that ignores Max tokens is not read any further
_IMAGE = "\N{FRAME WITH PICTURE}"  # the title of a question without words

log = structlog.get_logger(__name__)


def first_title(question: Message) -> str:
    """Return the title of a conversation that begins with a question: its first words, else what comes with it."""
    names = [document.name for document in question.documents]
    return first_words(question.content if question.content.strip() else " ".join(names[:1]))


def first_words(text: str) -> str:
    """Return the beginning of a text as a title of one short line."""
    line = " ".join(text.split()) or _IMAGE
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"


class Titles:
    """Asks the model that answered first for a title, and stores it unless the person has renamed the conversation.

    Args:
        limits: counts the tokens of titles; once the limit of all users is reached, the first words stay.
    """

    def __init__(self, changes: ConversationUpdates, limits: Limits) -> None:
        self._changes = changes
        self._limits = limits
        self._running: set[asyncio.Task[str]] = set()

    def start(self, turn: Turn) -> asyncio.Task[str] | None:
        """Start to generate a title after the first complete answer of a conversation; None if it needs none.

        The task's result is the conversation's new title, "" if it keeps the one that it has. The task never fails.
        """
        answer = next((one for one in turn.answers if one.message().status is MessageStatus.COMPLETE), None)
        if answer is None or not answer.prompt.model.writes_titles or len(self._running) >= TITLES_AT_ONCE:
            return None
        messages = answer.prompt.messages
        if any(one.role is Role.ASSISTANT and one.status is MessageStatus.COMPLETE for one in messages):
            return None
        if turn.conversation.title != first_title(messages[0]):
            return None  # the person has renamed it
        if not self._limits.has_shared_quota:
            return None
        task = asyncio.create_task(self._title(turn, answer))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def aclose(self) -> None:
        """Cancel all running titles."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _title(self, turn: Turn, answer: RunningAnswer) -> str:
        model, former = answer.prompt.model, turn.conversation.title
        try:
            async with asyncio.timeout(TITLE_SECONDS):
                title = await self._generate(answer)
            if not title:
                log.info("no_title", model=model.id)
                return ""

            def rename(one: Conversation) -> Conversation:
                return dataclasses.replace(one, title=title) if one.title == former else one

            # As old as the conversation: whenever a person renames it, at whichever replica, that name stays.
            created_ms = turn.conversation.created_ms
            changed = await self._changes.change(turn.user, turn.conversation.id, rename, at_ms=created_ms)
        except (ChatError, TimeoutError) as error:
            log.info("no_title", model=model.id, error=type(error).__name__)
            return ""
        except Exception:
            log.exception("no_title", model=model.id)
            return ""
        return changed.title if changed.title != former else ""

    async def _generate(self, answer: RunningAnswer) -> str:
        model, question = answer.prompt.model, answer.prompt.messages[0].content
        parameters = _AFTER_THINKING if answer.new_thinking else _PARAMETERS
        text = PROMPT.format(question=question[:READ_CHARS], answer=answer.text[:READ_CHARS])
        prompt = [Message(id=new_id(), turn_id=new_id(), role=Role.USER, content=text, created_ms=now_ms())]
        written, thinking, usage = "", "", None
        try:
            async with aclosing(model.stream(prompt, parameters)) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        written += event.text
                    elif isinstance(event, ThinkingDelta):
                        thinking += event.text
                    elif isinstance(event, TextWasThinking):
                        thinking, written = thinking + written, ""
                    elif isinstance(event, Usage):
                        usage = event
                    if len(written) + len(thinking) > MAX_CHARS:
                        break
        finally:
            if written or thinking or usage:
                self._limits.count(model.estimated_usage(usage, prompt, parameters, thinking + written), model.price)
        return cleaned_title(written)


def cleaned_title(written: str) -> str:
    """Return a model's title without the quotation marks, headings and labels that models put around one."""
    line = next(filter(None, (line.strip() for line in written.splitlines())), "")
    line = re.sub(r"^(?:#+\s*|title\s*:\s*)+", "", line, flags=re.IGNORECASE)
    line = line.strip(" \t*_`\"'“”„«»‘’").rstrip(".。")
    return first_words(clean_text(line)) if line else ""
