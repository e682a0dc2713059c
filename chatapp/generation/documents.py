"""What a model is told of the documents of a conversation, and which quotes of its answer are in them.

While all texts together take at most half of the model's context window, it gets them whole, each before the question
that it came with: what the model reads then begins alike in every turn, which servers make use of. Where the
conversation has become too long for that, all texts go before the last question, since the oldest messages are left
out. Longer texts are searched for passages that fit the question, which go before it. Nothing of it is stored.
"""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from chatapp.documents.citations import citations, places, spans
from chatapp.documents.passages import chosen
from chatapp.documents.prompt import instructions, mark_of, new_mark, passages_text, whole_text
from chatapp.domain.conversation import Role
from chatapp.domain.errors import ChatError, ContextTooLong
from chatapp.generation.document_texts import DocumentTexts, in_thread
from chatapp.models import Omitted, Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from chatapp.documents.citations import Place, Span
    from chatapp.documents.extraction.shape import Page
    from chatapp.domain.conversation import Citation, Document, Message
    from chatapp.generation.final_save import Key
    from chatapp.generation.turn import RunningAnswer
    from chatapp.models import ModelEvent

WHOLE = 1 / 2  # of the context window, for whole texts
PASSAGES = (1 / 3, 1 / 6, 1 / 12)  # for passages: where the model refuses so many, fewer are sent
UNKNOWN_CONTEXT_TOKENS = 8_192  # where the server does not tell
CITATION_SECONDS = 30.0  # for all documents; an answer that takes longer is stored without

log = structlog.get_logger(__name__)


def has_documents(messages: Iterable[Message]) -> bool:
    """Return whether a question has documents."""
    return any(message.documents for message in messages)


class ConversationDocuments:
    """Puts documents before questions, and finds the quotes of answers in them."""

    def __init__(self, texts: DocumentTexts) -> None:
        self._texts = texts

    def stream(self, answer: RunningAnswer) -> AsyncGenerator[ModelEvent]:
        """Answer like the model of the prompt, to messages with the texts of their documents.

        ``answer.sent`` becomes the messages that are sent. Where the model refuses them as too long before it answers,
        it gets less of the documents.

        Raises:
            StoreUnavailable: a document cannot be read now.
            ModelError: as the model.
        """
        prompt = answer.prompt
        if has_documents(prompt.messages):
            return self._stream(answer)
        return prompt.model.stream(prompt.messages, prompt.parameters)  # no second generator for every token

    async def _stream(self, answer: RunningAnswer) -> AsyncGenerator[ModelEvent]:
        prompt, refusal = answer.prompt, None
        await prompt.model.read_context()
        first_document = next(place for place, message in enumerate(prompt.messages) if message.documents)
        async with aclosing(self._attempts(answer)) as attempts:
            async for is_in_place, messages in attempts:
                answer.sent = messages
                begun = False
                try:
                    async with aclosing(prompt.model.stream(messages, prompt.parameters)) as events:
                        async for event in events:
                            if is_in_place and not begun and _leaves_out(event, first_document):
                                break
                            begun = begun or not isinstance(event, Waiting)
                            yield event
                        else:
                            return
                except ContextTooLong as error:
                    if begun:
                        raise
                    refusal = error
        raise refusal or AssertionError("the last attempt leaves nothing out")

    async def citations(self, answer: RunningAnswer) -> tuple[Citation, ...]:
        """Return which quotes of an answer are in the documents of its conversation; none where that fails."""
        if not has_documents(answer.prompt.messages):
            return ()
        text = answer.text
        quotes: dict[str, dict[Span, Place]] = {}
        key = answer.turn.user, answer.turn.conversation.id
        try:
            async with asyncio.timeout(CITATION_SECONDS):
                looked_for = await in_thread(spans, text)
                # Of the last question first: a later version of a document counts.
                for document in reversed(_documents(answer.prompt.messages)):
                    if not looked_for:
                        break
                    pages = await self._texts.pages(key, document)
                    quotes[document.id] = await in_thread(places, text, looked_for, pages)
                    looked_for = [span for span in looked_for if span not in quotes[document.id]]
            return await in_thread(citations, text, quotes)
        except ChatError as error:
            log.warning("no_citations", error=type(error).__name__, detail=error.detail)
        except TimeoutError:
            log.warning("no_citations", error="TimeoutError")
        except Exception:
            log.exception("no_citations")
        return ()

    async def _attempts(self, answer: RunningAnswer) -> AsyncGenerator[tuple[bool, Sequence[Message]]]:
        """Yield messages with more and then with less of the documents; and whether each is before its own question."""
        prompt, key = answer.prompt, (answer.turn.user, answer.turn.conversation.id)
        model, messages = prompt.model, prompt.messages
        tokens = model.known_context_tokens or UNKNOWN_CONTEXT_TOKENS
        whole = await self._whole(key, _documents(messages), model.bytes_of(WHOLE * tokens))
        if whole is not None:
            told = await in_thread(_told, key[1], whole)
            in_place = [_with(message, [told(message.documents)]) for message in messages]
            if model.fits(in_place, prompt.parameters):
                yield True, in_place
            yield False, _before_the_last(messages, told(_documents(messages)))
        for part in PASSAGES:
            text = await self._passages(key, messages, _questions(answer), model.bytes_of(part * tokens))
            yield False, _before_the_last(messages, text)

    async def _whole(
        self, key: Key, documents: Sequence[Document], most: float
    ) -> dict[str, tuple[str, tuple[Page, ...]]] | None:
        """Return the names and pages of all documents by id; None if they have more than ``most`` bytes."""
        if sum(self._texts.known_size(key, document) for document in documents) > most:
            return None
        pages: dict[str, tuple[str, tuple[Page, ...]]] = {}
        for document in documents:
            pages[document.id] = document.name, await self._texts.pages(key, document)
            most -= self._texts.known_size(key, document)
            if most < 0:
                return None
        return pages

    async def _passages(self, key: Key, messages: Sequence[Message], questions: Sequence[str], most: float) -> str:
        documents = {document.id: document for document in _documents(messages)}
        candidates = {}
        for document_id, document in documents.items():
            indexed = await self._texts.indexed(key, document)
            candidates[document_id] = await in_thread(indexed.candidates, questions)
        shown = await in_thread(chosen, candidates, questions, int(most))
        return _marked(
            key[1],
            lambda mark: instructions(
                [
                    passages_text(documents[document_id].name, chunks, chunks, mark=mark)
                    for document_id, chunks in shown.items()
                ],
                mark=mark,
            ),
        )


def _leaves_out(event: ModelEvent, first_document: int) -> bool:
    return isinstance(event, Omitted) and event.messages > first_document


def _documents(messages: Sequence[Message]) -> list[Document]:
    return [document for message in messages for document in message.documents]


def _questions(answer: RunningAnswer) -> list[str]:
    """Return what passages are searched for: the last question, and it with the one before, to which it may refer."""
    stored = answer.turn.tree.messages  # not the instruction to continue
    questions = [one for one in answer.prompt.messages if one.role is Role.USER and one.id in stored]
    texts = [question.content for question in questions[-2:]]
    return list(dict.fromkeys((texts[-1], "\n".join(texts))))


def _told(conversation_id: str, whole: dict[str, tuple[str, tuple[Page, ...]]]) -> Callable[[Sequence[Document]], str]:
    """Return a function that tells some documents; all of them are told with one mark."""

    def all_with(mark: str) -> dict[str, str]:
        return {one: whole_text(name, pages, mark=mark) for one, (name, pages) in whole.items()}

    mark = mark_of(conversation_id)
    try:
        texts = all_with(mark)
    except ValueError:
        mark = new_mark()
        texts = all_with(mark)
    return lambda documents: instructions([texts[one.id] for one in documents], mark=mark) if documents else ""


def _marked(conversation_id: str, told: Callable[[str], str]) -> str:
    try:
        return told(mark_of(conversation_id))
    except ValueError:
        return told(new_mark())


def _with(message: Message, texts: Iterable[str]) -> Message:
    content = "\n\n".join([*filter(None, texts), message.content])
    return dataclasses.replace(message, content=content)


def _before_the_last(messages: Sequence[Message], text: str) -> list[Message]:
    """Return the messages with a text before the last one; earlier questions name their documents."""
    earlier = [_with(message, map(_named, message.documents)) for message in messages[:-1]]
    return [*earlier, _with(messages[-1], [text])]


def _named(document: Document) -> str:
    return f"[A document was added here: {document.name}]"
