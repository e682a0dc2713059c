"""Turns: a question and its streamed answers, which run whether or not a client is connected."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import structlog

from chatapp.conversations.acknowledgement import Acknowledgement
from chatapp.conversations.catch_up import CatchUp
from chatapp.conversations.updates import ConversationUpdates
from chatapp.domain.conversation import TAKEOVER, Conversation, MessageStatus, new_id
from chatapp.domain.errors import (
    ConversationBusy,
    ConversationNotFound,
    FilesMissing,
    InvalidMessage,
    ModelUnavailable,
)
from chatapp.domain.sentences import Sentence
from chatapp.generation.document_texts import DocumentTexts
from chatapp.generation.documents import ConversationDocuments, has_documents
from chatapp.generation.generator import AnswerGenerator
from chatapp.generation.library import LibraryParts
from chatapp.generation.model_choice import ModelChooser
from chatapp.generation.prepare import AlreadyStored, TurnPreparation
from chatapp.generation.queue import TurnLimits, TurnQueue
from chatapp.generation.titles import Titles
from chatapp.generation.vectors import DocumentVectors
from chatapp.images.decoder import ImageDecoder
from chatapp.limits import NoLimits
from chatapp.models.images import check_images
from chatapp.models.prompt import clean_text
from chatapp.store import Consistency
from chatapp.store.temporary.router import PREFIX, is_temporary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence

    from chatapp.domain.conversation import Image, Message, Place
    from chatapp.generation.final_save import Key
    from chatapp.generation.requests import AnswerRequest, TurnRequest
    from chatapp.generation.tracing import Tracing
    from chatapp.generation.turn import Turn
    from chatapp.generation.vectors import EmbeddingPolicy
    from chatapp.limits import Limits
    from chatapp.models.catalog import Catalog
    from chatapp.store import UserStore

_DEFAULT_LIMITS = TurnLimits()
_NO_LIMITS = NoLimits()

log = structlog.get_logger(__name__)


class TurnRunner:
    """Starts turns, streams them to any number of subscribers, and stops them.

    A question is stored before its model is asked; an answer is stored every ``checkpoint_seconds`` while it grows and
    once at its end, and no text waits for that. Subscribers get new text at most every ``batch_seconds``.

    Args:
        limits: beyond these, answers wait in a queue, or are refused.
        usage_limits: beyond these, they are refused.
        cloud_seconds: for how long a question waits for the cloud, while its model answers, before it counts as sent;
            and so each change of a conversation, with `acknowledgement`.
        titles: ask the model that answered first for a title of the conversation.
        on_end: called with every answer that ended, and the seconds that it took.
        images: decodes pictures of models; None: a decoder of its own.
        tracing: records turns; None: nothing is recorded.
        embeddings: find passages of documents by meaning; None: they are found by words alone.
    """

    def __init__(
        self,
        store: UserStore,
        catalog: Catalog,
        *,
        max_message_chars: int = 100_000,
        batch_seconds: float = 0.08,
        checkpoint_seconds: float = 5.0,
        limits: TurnLimits = _DEFAULT_LIMITS,
        usage_limits: Limits = _NO_LIMITS,
        cloud_seconds: float = 0.0,
        titles: bool = False,
        on_end: Callable[[Message, float], None] = lambda _answer, _seconds: None,
        images: ImageDecoder | None = None,
        tracing: Tracing | None = None,
        embeddings: EmbeddingPolicy | None = None,
    ) -> None:
        self.updates = ConversationUpdates(store)
        self.catch_up = CatchUp(store)
        self._store = store
        self._models = ModelChooser(catalog)
        self._max_message_chars = max_message_chars
        self._queue = TurnQueue(limits)
        self._usage_limits = usage_limits
        self._documents = DocumentTexts(store)
        self._vectors = DocumentVectors(self._documents, store, embeddings)
        self._library = LibraryParts(store, self._forget_texts)
        self._generator = AnswerGenerator(
            store,
            catalog,
            self._queue,
            checkpoint_seconds=checkpoint_seconds,
            limits=usage_limits,
            on_end=on_end,
            images=images or ImageDecoder(),
            documents=ConversationDocuments(self._documents, self._library, self._vectors),
            tracing=tracing,
        )
        self._preparation = TurnPreparation(
            store, self.updates, self.catch_up, self._generator.final_saves, batch_seconds=batch_seconds
        )
        self.acknowledgement = Acknowledgement(store, seconds=cloud_seconds)
        self._titles = Titles(self.updates, usage_limits) if titles else None
        # Each conversation with a turn, from before the turn is stored until it has ended; done once it is stored.
        self._reservations: dict[Key, asyncio.Future[Turn]] = {}
        self._stopped: set[Key] = set()  # those of them that were stopped before they were stored
        self._turns: set[asyncio.Task[None]] = set()  # the loop itself keeps no task alive
        self._closing = False
        self._idle = asyncio.Event()

    @property
    def running_count(self) -> int:
        """How many answers are being generated."""
        return self._queue.running

    @property
    def waiting_count(self) -> int:
        """How many answers wait in the queue."""
        return self._queue.waiting

    @property
    def embeddings_place(self) -> Place:
        """Where the text of documents goes to be embedded, whatever model answers; unknown where it does not."""
        return self._vectors.place

    async def start(self, user: str, request: TurnRequest) -> Conversation:
        """Store a question, start its answers and return the conversation.

        With ``cloud_seconds``, it returns when the question is in the cloud, or after that time.

        Raises:
            InvalidMessage: the text is blank or too long.
            CannotSee: a model does not support images.
            TooManyImages: there are more of them than a model takes.
            FilesMissing: some of them, or of the documents, are not here; nothing was stored.
            UnknownModel: there is no such model.
            ModelUnavailable: a model is not set up, or the app is shutting down.
            TooManyTurns: too many answers run or wait.
            LimitReached: a usage limit of this user, or of all users together, is reached.
            ConversationBusy: an answer is being generated in this conversation.
            ConversationNotFound: the user has no such conversation.
            MessageNotFound: the conversation has no answer that the question could follow.
            StoreUnavailable: the question could not be stored; no model was asked.
        """
        text = self._validated(request.text, has_files=bool(request.images or request.documents))
        request = dataclasses.replace(request, text=text, question_id=request.question_id or new_id())
        key = (user, request.conversation_id or _new_conversation_id(user, request))
        conversation = await self._start(key, request)
        await self.acknowledgement.wait(*key, request.question_id)
        return conversation

    async def _start(self, key: Key, request: TurnRequest) -> Conversation:
        if request.is_retry and (conversation := await self._already_stored(key, request.question_id)):
            return conversation
        load_images = self._image_loader(key)
        choices = [
            await self._models.choose(
                answer,
                load_images,
                has_documents=self._document_finder(key, request),
                needs_images=bool(request.images),
            )
            for answer in request.answers
        ]
        for choice in choices:
            check_images(choice.model, len(request.images))
        missing = [
            *await request.images.find(request.conversation_id),
            *await request.documents.find(request.conversation_id),
        ]
        if missing:
            raise FilesMissing(missing)
        try:
            return await self._run(key, len(choices), lambda: self._preparation.question(key, request, choices))
        except AlreadyStored as stored:
            return stored.conversation

    async def regenerate(
        self,
        user: str,
        conversation_id: str,
        question_id: str,
        request: AnswerRequest,
        *,
        answer_id: str = "",
        is_retry: bool = False,
    ) -> Conversation:
        """Start another answer to a question, and return the conversation.

        ``answer_id`` and ``is_retry`` make it idempotent, as ``question_id`` and ``is_retry`` do in `TurnRequest`.

        Raises:
            MessageNotFound: the conversation has no such question.
            ConversationNotFound, ...: as `start`.
        """
        answer_id = answer_id or new_id()
        key = (user, conversation_id)
        if is_retry and (conversation := await self._already_stored(key, answer_id)):
            return conversation
        choice = await self._models.choose(request, self._image_loader(key), has_documents=self._document_finder(key))

        async def prepare() -> Turn:
            return await self._preparation.regenerate(
                key, question_id, answer_id, choice, seen=request.seen, is_retry=is_retry
            )

        try:
            return await self._run(key, 1, prepare)
        except AlreadyStored as stored:
            return stored.conversation

    async def continue_answer(
        self, user: str, conversation_id: str, message_id: str, request: AnswerRequest
    ) -> Conversation:
        """Continue an answer that ended early, in the same message; return the conversation.

        Raises:
            NothingToContinue: the answer is complete, or is not the last message that is shown.
            ConversationNotFound, ...: as `start`.
        """
        key = (user, conversation_id)
        choice = await self._models.choose(request, self._image_loader(key), has_documents=self._document_finder(key))
        return await self._run(key, 1, lambda: self._preparation.continue_answer(key, message_id, choice, request.seen))

    def is_busy(self, user: str, conversation_id: str) -> bool:
        """Return whether this conversation has a turn that runs or is being stored."""
        return (user, conversation_id) in self._reservations

    def current(self, user: str, conversation_id: str) -> Turn | None:
        """Return the running turn of this conversation, None if there is none or it is not stored yet."""
        reservation = self._reservations.get((user, conversation_id))
        return reservation.result() if reservation is not None and reservation.done() else None

    async def watch(self, user: str, conversation_id: str) -> AsyncGenerator[Message]:
        """Yield the (first) running answer as it grows, and once more at its end; nothing if none is running."""
        turn = self.current(user, conversation_id)
        if turn is not None:
            async with aclosing(turn.watch()) as changes:
                async for _ in changes:
                    yield turn.answers[0].message()

    async def stop(self, user: str, conversation_id: str) -> bool:
        """Stop the running turn, store its text so far, and return whether there was one.

        One that another replica writes is marked as stopped, which that replica notices at its next checkpoint: it then
        ends the answer and stores its text so far. If that replica is dead, the answer is stopped at once.
        """
        key = user, conversation_id
        if (reservation := self._reservations.get(key)) is not None and not reservation.done():
            self._stopped.add(key)  # no model is asked
        if (turn := await self._stored_turn(key)) is not None:
            await turn.cancel(MessageStatus.STOPPED)
            return True
        return self._store.is_shared(conversation_id) and await self._stop_elsewhere(user, conversation_id)

    async def _stop_elsewhere(self, user: str, conversation_id: str) -> bool:
        messages = await self._store.messages(user, conversation_id)
        running = [message for message in messages if message.status is MessageStatus.STREAMING]
        if running:
            stopped = (
                dataclasses.replace(message, status=MessageStatus.STOPPED, revision=message.revision + TAKEOVER)
                for message in running
            )
            await self._store.append(user, conversation_id, *stopped)
        return bool(running)

    async def stop_all(self, user: str) -> None:
        """Stop all running turns of a user, and store their text so far."""
        await asyncio.gather(*(self.stop(*key) for key in list(self._reservations) if key[0] == user))

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation for good; its running turn is stopped first."""
        await self.stop(user, conversation_id)
        self._forget_texts(user, conversation_id)
        await self._store.delete(user, conversation_id)

    def forget_documents(self, user: str, collection_id: str, document_ids: Sequence[str]) -> None:
        """Keep nothing in memory of documents that were removed from a collection."""
        self._library.forget(user, collection_id)
        self._forget_texts(user, collection_id, document_ids)

    def _forget_texts(self, user: str, source_id: str, document_ids: Collection[str] | None = None) -> None:
        self._documents.forget(user, source_id, document_ids)
        self._vectors.forget(user, source_id, document_ids)

    async def finish(self, seconds: float) -> None:
        """Start no more turns, and give the running ones some time to end by themselves."""
        self._closing = True
        if not self._reservations:
            return
        self._idle.clear()
        log.warning("finishing_answers", answers=len(self._reservations), at_most_seconds=seconds)
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("answers_interrupted", answers=len(self._reservations))

    async def aclose(self) -> None:
        """Start no more turns, end those that run, and store their text so far as interrupted."""
        self._closing = True
        turns = await asyncio.gather(*(self._stored_turn(key) for key in self._reservations))
        await asyncio.gather(*(turn.cancel(MessageStatus.INTERRUPTED) for turn in turns if turn is not None))
        if self._titles:
            await self._titles.aclose()
        await self.catch_up.aclose()
        await self._generator.final_saves.aclose()
        await self._vectors.aclose()
        self._documents.close()

    def _document_finder(self, key: Key, request: TurnRequest | None = None) -> Callable[[], Awaitable[bool]]:
        """Return a function that returns whether a conversation has documents, gets some, or asks a collection."""

        async def check() -> bool:
            if request is not None and request.documents:
                return True
            conversation = Conversation(id=key[1], title="", created_ms=0, updated_ms=0)
            with suppress(ConversationNotFound):
                if has_documents(await self._store.messages(*key, consistency=Consistency.CACHED)):
                    return True
                conversation = await self.updates.get(*key)
            if request is not None:
                collection = conversation.collection if request.collection is None else request.collection
                folder = conversation.folder if request.folder is None else request.folder
                conversation = dataclasses.replace(conversation, collection=collection, folder=folder)
            return await self._library.has_collection(key[0], conversation)

        return check

    def _image_loader(self, key: Key) -> Callable[[Message], Awaitable[Message]]:
        """Return a function that loads the images of a message; images that are deleted are left out."""

        async def load_images(message: Message) -> Message:
            images: list[Image] = []
            for image in message.images:
                if image.data:
                    images.append(image)
                    continue
                with suppress(ConversationNotFound):
                    images.append(await self._store.image(*key, image.id))
            return dataclasses.replace(message, images=tuple(images))

        return load_images

    def _validated(self, text: str, *, has_files: bool) -> str:
        if not isinstance(text, str) or not (text.strip() or has_files):
            raise InvalidMessage(Sentence("The message is empty. Write a message first."))
        if len(text) > self._max_message_chars:
            raise InvalidMessage(
                Sentence(
                    "This message has {characters} characters; at most {most} can be sent at once. "
                    "Nothing was sent; your text is still in the box. Shorten it, or send it in "
                    "parts.",
                    characters=len(text),
                    most=self._max_message_chars,
                )
            )
        return clean_text(text)

    async def _run(self, key: Key, answers: int, prepare: Callable[[], Awaitable[Turn]]) -> Conversation:
        """Check what needs no store, reserve the conversation, store the turn that ``prepare`` returns, and run it."""
        previous = self.current(*key)
        if previous is not None and previous.is_written:
            await previous.finished.wait()
        if self._closing:
            raise ModelUnavailable(Sentence("The chat is restarting. Nothing was sent; send again in a moment."))
        if key in self._reservations:
            raise ConversationBusy
        self._queue.refuse_if_full(key[0], answers)
        self._usage_limits.admit(key[0], answers)  # last: what another check refuses is not counted
        reservation: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._reservations[key] = reservation
        reservation.add_done_callback(lambda done: done.cancelled() or done.exception())  # retrieved without a client
        task = asyncio.create_task(self._store_and_generate(key, prepare, reservation))
        self._turns.add(task)
        task.add_done_callback(self._turns.discard)
        # Shielded: a client that disconnects right now must not leave a question without its answer.
        return (await asyncio.shield(reservation)).conversation

    async def _store_and_generate(
        self, key: Key, prepare: Callable[[], Awaitable[Turn]], reservation: asyncio.Future[Turn]
    ) -> None:
        """Store a turn and go on with its answers: the model is asked before the page is told that it is stored."""
        try:
            turn = await prepare()
        except BaseException as error:
            self._release(key)
            if not isinstance(error, Exception):
                reservation.cancel()
                raise
            reservation.set_exception(error)
            return
        turn.task = asyncio.current_task()
        if key in self._stopped:
            turn.cancelled_as = MessageStatus.STOPPED
        reservation.set_result(turn)
        await self._generate(key, turn)

    async def _generate(self, key: Key, turn: Turn) -> None:
        try:
            await self._generator.run(turn)
        finally:
            self._release(key)
            if self._titles and not self._closing and not is_temporary(key[1]):
                turn.title = self._titles.start(turn)
            turn.finish()

    def _release(self, key: Key) -> None:
        del self._reservations[key]
        self._stopped.discard(key)
        if not self._reservations:
            self._idle.set()

    async def _stored_turn(self, key: Key) -> Turn | None:
        """Return the running turn of a conversation, awaiting one that is being stored."""
        if (reservation := self._reservations.get(key)) is not None:
            await asyncio.wait({reservation})
        return self.current(*key)

    async def _already_stored(self, key: Key, message_id: str) -> Conversation | None:
        """Return the conversation if it has this message already."""
        turn = await self._stored_turn(key)
        if turn is not None and any(message.id == message_id for message in turn.messages()):
            return turn.conversation
        try:
            messages = await self._store.messages(*key)
            if any(message.id == message_id for message in messages):
                return await self._store.conversation(*key, consistency=Consistency.CACHED)
        except ConversationNotFound:
            pass  # the first message of a new conversation, which was not stored
        return None


def _new_conversation_id(user: str, request: TurnRequest) -> str:
    """Return the id of the conversation that a question starts: the same for a retry, and no other user's."""
    text = f"{user}\0{request.question_id}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{PREFIX}{digest}" if request.is_temporary else digest
