"""Titles of conversations: the first words, until a model has a better one."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.conversation import GenerationParameters, Message, MessageStatus, Role, Usage, new_id, now_ms
from chatapp.domain.errors import ChatError
from chatapp.models import TextDelta
from chatapp.models.context import ContextWindow
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from chatapp.conversations.updates import Changes
    from chatapp.domain.conversation import Conversation
    from chatapp.generation.turn import RunningAnswer, Turn
    from chatapp.limits import Limits
    from chatapp.models import ChatModel

TITLE_CHARS = 60
TITLES_AT_ONCE = 16  # beyond, the first words stay: no answer waits for somebody's title
TITLE_SECONDS = 20.0
READ_CHARS = 1500  # of the question, and of the answer
ASKED = (
    "Write a title for this conversation, in the language of the question: at most 6 words, nothing but the title, "
    "without quotation marks.\n\nQuestion:\n{question}\n\nAnswer:\n{answer}"
)
_PARAMETERS = GenerationParameters(temperature=0.3, max_tokens=48)
_PICTURE = "\N{FRAME WITH PICTURE}"  # the title of a question without words

log = structlog.get_logger(__name__)


def first_words(text: str) -> str:
    """Return the beginning of a text as a title of one short line."""
    line = " ".join(text.split()) or _PICTURE
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"


class Titles:
    """Asks the model that answered first for a title, and keeps it unless somebody gave the conversation another.

    Args:
        limits: is told what a title took; beyond those of everybody, the first words stay.
    """

    def __init__(self, changes: Changes, limits: Limits) -> None:
        self._changes = changes
        self._limits = limits
        self._running: set[asyncio.Task[str]] = set()

    def begin(self, turn: Turn) -> asyncio.Task[str] | None:
        """Begin to ask for a title, after the first whole answer of a conversation; None if there is nothing to ask.

        The task's result is the title that the conversation now has, "" if it kept the one it had. It never fails.
        """
        answer = next((one for one in turn.answers if one.message().status is MessageStatus.COMPLETE), None)
        if answer is None or not answer.prompt.model.writes_titles or len(self._running) >= TITLES_AT_ONCE:
            return None
        earlier = answer.prompt.messages
        if any(one.role is Role.ASSISTANT and one.status is MessageStatus.COMPLETE for one in earlier):
            return None
        if turn.conversation.title != first_words(earlier[0].content):
            return None  # it has a better one
        if not self._limits.has_room:
            return None
        task = asyncio.create_task(self._give(turn, answer))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def aclose(self) -> None:
        """Ask for no more titles."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _give(self, turn: Turn, answer: RunningAnswer) -> str:
        model, former = answer.prompt.model, turn.conversation.title
        try:
            async with asyncio.timeout(TITLE_SECONDS):
                title = await self._asked(model, answer.prompt.messages[0].content, answer.text)
            if not title:
                log.info("no_title", model=model.id)
                return ""

            def give(one: Conversation) -> Conversation:
                return dataclasses.replace(one, title=title) if one.title == former else one

            changed = await self._changes.change(turn.user, turn.conversation.id, give)
        except (ChatError, TimeoutError) as error:
            log.info("no_title", model=model.id, error=type(error).__name__)
            return ""
        except Exception:
            log.exception("no_title", model=model.id)
            return ""
        return changed.title if changed.title != former else ""

    async def _asked(self, model: ChatModel, question: str, answer: str) -> str:
        text = ASKED.format(question=question[:READ_CHARS], answer=answer[:READ_CHARS])
        asking = Message(id=new_id(), turn_id=new_id(), role=Role.USER, content=text, created_ms=now_ms())
        written, usage = "", None
        try:
            async with aclosing(model.stream([asking], _PARAMETERS)) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        written += event.text
                    elif isinstance(event, Usage):
                        usage = event
        finally:
            if written or usage:
                self._limits.count(ContextWindow(model).filled(usage, [asking], _PARAMETERS, written), model.price)
        return tidied(written)


def tidied(written: str) -> str:
    """Return a model's title without what models like to put around one."""
    line = next(filter(None, (line.strip() for line in written.splitlines())), "")
    line = re.sub(r"^(?:#+\s*|title\s*:\s*)+", "", line, flags=re.IGNORECASE)
    line = line.strip(" \t*_`\"'“”„«»‘’").rstrip(".。")
    return first_words(clean_text(line)) if line else ""
