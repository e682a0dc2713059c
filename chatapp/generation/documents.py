"""What a model is told of the documents of a conversation and of its collection, and which quotes are in them.

While all texts together take at most half of the model's context window, it gets them whole: those of a collection
before the first question, the others each before the question that it came with. What the model reads then begins alike
in every turn, which servers make use of. Where the conversation has become too long for that, all texts go before the
last question, since the oldest messages are left out. Longer texts are searched for passages that fit the question,
which go before it. A small model gets few passages and short rules. Nothing of it is stored.
"""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from chatapp.documents.citations import Shelf, citations, places, spans
from chatapp.documents.index import Passage, joined
from chatapp.documents.outside import is_outside
from chatapp.documents.passages import MOST, beginnings, candidates, chosen, ranked
from chatapp.documents.prompt import (
    instructions,
    mark_of,
    new_mark,
    passages_text,
    short_instructions,
    short_text,
    whole_text,
)
from chatapp.domain.conversation import Role
from chatapp.domain.errors import ChatError, ContextTooLong
from chatapp.generation.document_texts import DocumentTexts, Source, in_thread
from chatapp.generation.library import LibraryParts, uses_library, with_instructions
from chatapp.models import Omitted, Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence

    from chatapp.documents.chunks import Chunk
    from chatapp.documents.citations import Place, Span
    from chatapp.documents.extraction.shape import Page
    from chatapp.domain.conversation import Citation, Document, Message
    from chatapp.generation.library import LibraryPart
    from chatapp.generation.turn import RunningAnswer
    from chatapp.generation.vectors import DocumentVectors
    from chatapp.models import ModelEvent

WHOLE = 1 / 2  # of the context window, for whole texts
PASSAGES = (1 / 3, 1 / 6, 1 / 12)  # for passages: where the model refuses so many, fewer are sent
SMALL_TOKENS = 256  # for a small model, whole or not: with 1,000 it answers about something else (docs/documents.md)
UNKNOWN_CONTEXT_TOKENS = 8_192  # where the server does not tell
CITATION_SECONDS = 30.0  # for all documents; an answer that takes longer is stored without

log = structlog.get_logger(__name__)


def has_documents(messages: Iterable[Message]) -> bool:
    """Return whether a question has documents."""
    return any(message.documents for message in messages)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is sent to a model, with the texts of documents.

    Attributes:
        told: ids of the documents of which it has text.
        is_in_place: each document is before its own question.
        is_whole: it has all of each document, and not passages.
    """

    messages: Sequence[Message]
    told: frozenset[str]
    is_in_place: bool = False
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class _Sources:
    """The documents of a turn, by where they are from."""

    conversation: Source
    library: LibraryPart
    own: Sequence[Document]

    @property
    def documents(self) -> dict[str, tuple[Source, Document]]:
        """All documents by id, those of the collection first; the order is that of the conversation."""
        collection = Source(self.conversation.user, self.library.collection, is_collection=True)
        return {
            **{one.id: (collection, one) for one in self.library.documents},
            **{one.id: (self.conversation, one) for one in self.own},
        }


def says_not_in_documents(answer: RunningAnswer) -> bool:
    """Return whether an answer to a question with documents begins with the sentence that they do not answer it."""
    return bool(_sources(answer).documents) and is_outside(answer.text)


class ConversationDocuments:
    """Puts documents before questions, and finds the quotes of answers in them."""

    def __init__(self, texts: DocumentTexts, library: LibraryParts, vectors: DocumentVectors) -> None:
        self._texts = texts
        self._library = library
        self._vectors = vectors

    def stream(self, answer: RunningAnswer) -> AsyncGenerator[ModelEvent]:
        """Answer like the model of the prompt, to messages with the texts of their documents.

        ``answer.sent`` becomes the messages that are sent. Where the model refuses them as too long before it answers,
        it gets less of the documents. Where the conversation is in a folder, its instructions go into the prompt.

        Raises:
            StoreUnavailable: a document or the library cannot be read now.
            ModelError: as the model.
        """
        prompt = answer.prompt
        if has_documents(prompt.messages) or uses_library(answer.turn.conversation):
            return self._stream(answer)
        return prompt.model.stream(prompt.messages, prompt.parameters)  # no second generator for every token

    async def _stream(self, answer: RunningAnswer) -> AsyncGenerator[ModelEvent]:
        turn = answer.turn
        answer.library = library = await self._library.of(turn.user, turn.conversation)
        answer.prompt = prompt = dataclasses.replace(
            answer.prompt, parameters=with_instructions(answer.prompt.parameters, library.instructions)
        )
        first_document = next((place for place, message in enumerate(prompt.messages) if message.documents), 0)
        if library.documents:
            first_document = 0
        refusal = None
        await prompt.model.read_context()
        async with aclosing(self._attempts(answer)) as attempts:
            async for attempt in attempts:
                answer.sent, answer.told = attempt.messages, attempt.told
                begun = False
                try:
                    async with aclosing(prompt.model.stream(attempt.messages, prompt.parameters)) as events:
                        async for event in events:
                            if attempt.is_in_place and not begun and _leaves_out(event, first_document):
                                break
                            if not begun and not isinstance(event, Waiting):
                                begun = True
                                answer.set(passages=answer.message_so_far.passages or not attempt.is_whole)
                            yield event
                        else:
                            return
                except ContextTooLong as error:
                    if begun:
                        raise
                    refusal = error
        raise refusal or AssertionError("the last attempt leaves nothing out")

    async def citations(self, answer: RunningAnswer) -> tuple[Citation, ...]:
        """Return which quotes of an answer are in the documents that it may quote; none where that fails.

        They are looked for in the documents of the conversation, and then in those of the collection that the model was
        told of.
        """
        sources = _sources(answer)
        if not sources.documents:
            return ()
        text = answer.text
        quotes: dict[str, dict[Span, Place]] = {}
        # Of the last question first: a later version of a document counts.
        documents = [*reversed(sources.own), *(one for one in sources.library.documents if one.id in answer.told)]
        try:
            async with asyncio.timeout(CITATION_SECONDS):
                looked_for = await in_thread(spans, text)
                for document in documents:
                    if not looked_for:
                        break
                    pages = await self._texts.pages(sources.documents[document.id][0], document)
                    quotes[document.id] = await in_thread(places, text, looked_for, pages)
                    looked_for = [span for span in looked_for if span not in quotes[document.id]]
            return await in_thread(citations, text, quotes, _shelves(sources))
        except ChatError as error:
            log.warning("no_citations", error=type(error).__name__, detail=error.detail)
        except TimeoutError:
            log.warning("no_citations", error="TimeoutError")
        except Exception:
            log.exception("no_citations")
        return ()

    async def _attempts(self, answer: RunningAnswer) -> AsyncGenerator[Attempt]:
        """Yield messages with more and then with less of the documents."""
        prompt, sources = answer.prompt, _sources(answer)
        model, messages = prompt.model, prompt.messages
        if not sources.documents:
            yield Attempt(messages, frozenset())
            return
        tokens = model.known_context_tokens or UNKNOWN_CONTEXT_TOKENS
        most, parts = WHOLE * tokens, [part * tokens for part in PASSAGES]
        if model.is_small:
            most, parts = SMALL_TOKENS, [min(SMALL_TOKENS, part) for part in parts]
        whole = await self._whole(sources, model.bytes_of(most))
        if whole is not None:
            told = await in_thread(partial(_told, sources.conversation.id, whole, short=model.is_small))
            first, *others = ([*message.documents] for message in messages)
            placed = [[*sources.library.documents, *first], *others]
            in_place = [_with(message, [told(here)]) for message, here in zip(messages, placed, strict=True)]
            if model.fits(in_place, prompt.parameters):
                yield Attempt(in_place, frozenset(whole), is_in_place=True)
            every = [document for _, document in sources.documents.values()]
            yield Attempt(_before_the_last(messages, told(every)), frozenset(whole))
        by_meaning: list[Passage] = []
        if self._vectors.are_allowed(model.id, model.place):
            by_meaning = await self._vectors.nearest(sources.documents, _questions(answer)[0])
        for part in parts:
            text, shown = await self._passages(
                sources, _questions(answer), by_meaning, model.bytes_of(part), short=model.is_small
            )
            yield Attempt(_before_the_last(messages, text), shown, is_whole=False)

    async def _whole(self, sources: _Sources, most: float) -> dict[str, tuple[str, tuple[Page, ...]]] | None:
        """Return the names and pages of all documents by id; None if they have more than ``most`` bytes."""
        documents = sources.documents
        if sum(self._texts.known_size(*one) for one in documents.values()) > most:
            return None
        pages: dict[str, tuple[str, tuple[Page, ...]]] = {}
        for source, document in documents.values():
            pages[document.id] = document.name, await self._texts.pages(source, document)
            most -= self._texts.known_size(source, document)
            if most < 0:
                return None
        return pages

    async def _passages(
        self, sources: _Sources, questions: Sequence[str], by_meaning: Sequence[Passage], most: float, *, short: bool
    ) -> tuple[str, frozenset[str]]:
        """Return the passages that fit the questions, as the model is told them, and the ids of their documents."""
        documents = sources.documents
        lists = [
            [passage for passage in passages if passage.document in documents]
            for passages in await self._candidates(sources, questions)
        ]
        every = {passage for passages in (*lists, by_meaning) for passage in passages}
        chunks = await self._chunks(documents, every)
        by_words = await in_thread(ranked, lists, chunks, questions)
        best = joined([(1.0, by_words), (1.0, [passage for passage in by_meaning if passage in chunks])])
        if len(best) < MOST:
            first = await self._beginnings(documents)
            best, chunks = [*best, *first], {**chunks, **first}
        shown = await in_thread(chosen, best, chunks, int(most))

        def told(mark: str) -> str:
            if short:
                texts = (chunks[place].text for chunks in shown.values() for place in sorted(chunks))
                return short_instructions([short_text(texts, mark=mark)], mark=mark)
            passages = [passages_text(documents[one][1].name, of, of, mark=mark) for one, of in shown.items()]
            return instructions(passages, mark=mark)

        text = _marked(sources.conversation.id, told)
        return text, frozenset(shown)

    async def _candidates(self, sources: _Sources, questions: Sequence[str]) -> list[list[Passage]]:
        by_source: dict[Source, list[Document]] = {}
        for source, document in sources.documents.values():
            by_source.setdefault(source, []).append(document)
        lists = []
        for source, documents in by_source.items():
            index = await self._texts.index(source, documents)
            lists.append(await in_thread(candidates, index, questions))
        return lists

    async def _chunks(
        self, documents: Mapping[str, tuple[Source, Document]], passages: Iterable[Passage]
    ) -> dict[Passage, Chunk]:
        """Return the chunks of passages; those of a document that was deleted just now are left out."""
        chunks: dict[Passage, Chunk] = {}
        for document_id, place in sorted(passages):  # one document after the other
            of_document = await self._texts.chunks(*documents[document_id])
            if place < len(of_document):
                chunks[Passage(document_id, place)] = of_document[place]
        return chunks

    async def _beginnings(self, documents: Mapping[str, tuple[Source, Document]]) -> dict[Passage, Chunk]:
        """Return the first passages of documents, for questions about all of them."""
        first = dict(list(documents.items())[:MOST])
        of_document = {one: await self._texts.chunks(*first[one]) for one in first}
        places = {one: len(chunks) for one, chunks in of_document.items()}
        return {one: of_document[one.document][one.place] for one in beginnings(places)}


def _leaves_out(event: ModelEvent, first_document: int) -> bool:
    return isinstance(event, Omitted) and event.messages > first_document


def _shelves(sources: _Sources) -> dict[str, Shelf]:
    """Return what citations keep of the documents that are not the conversation's own."""
    own = {one.id for one in sources.own}
    library = sources.library
    return {one.id: Shelf(library.collection, one.name) for one in library.documents if one.id not in own}


def _sources(answer: RunningAnswer) -> _Sources:
    turn = answer.turn
    own = [document for message in answer.prompt.messages for document in message.documents]
    return _Sources(Source(turn.user, turn.conversation.id), answer.library, own)


def _questions(answer: RunningAnswer) -> list[str]:
    """Return what passages are searched for: the last question, and it with the one before, to which it may refer."""
    stored = answer.turn.tree.messages  # not the instruction to continue
    questions = [one for one in answer.prompt.messages if one.role is Role.USER and one.id in stored]
    texts = [question.content for question in questions[-2:]]
    return list(dict.fromkeys((texts[-1], "\n".join(texts))))


def _told(
    conversation_id: str, whole: dict[str, tuple[str, tuple[Page, ...]]], *, short: bool
) -> Callable[[Sequence[Document]], str]:
    """Return a function that tells some documents; all of them are told with one mark."""

    def all_with(mark: str) -> dict[str, str]:
        if short:
            return {one: short_text((page.text for page in pages), mark=mark) for one, (_, pages) in whole.items()}
        return {one: whole_text(name, pages, mark=mark) for one, (name, pages) in whole.items()}

    mark = mark_of(conversation_id)
    try:
        texts = all_with(mark)
    except ValueError:
        mark = new_mark()
        texts = all_with(mark)

    def told(documents: Sequence[Document]) -> str:
        rules = short_instructions if short else instructions
        return rules([texts[one.id] for one in documents], mark=mark) if documents else ""

    return told


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
