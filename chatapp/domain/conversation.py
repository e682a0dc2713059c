"""The domain model of a conversation, independent of stores, models and HTTP."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from chatapp.domain.errors import InvalidParameters
from chatapp.domain.library import Collection, Folder  # noqa: TC001  # pydantic reads the annotations of a profile
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Role(StrEnum):
    """Who wrote a message."""

    USER = "user"
    ASSISTANT = "assistant"


class MessageStatus(StrEnum):
    """The state of a message; a question is always ``COMPLETE``."""

    STREAMING = "streaming"
    COMPLETE = "complete"
    STOPPED = "stopped"  # by the user
    INTERRUPTED = "interrupted"  # by the end of the process
    ERROR = "error"


class Feedback(StrEnum):
    """The user's rating of an answer."""

    NONE = ""
    UP = "up"
    DOWN = "down"


class Place(StrEnum):
    """Where a model runs."""

    UNKNOWN = ""
    OWN_GPUS = "own-gpus"  # in the deployment that the chat belongs to
    VERTEX_AI = "vertex-ai"
    GEMINI_API = "gemini-api"
    THIS_COMPUTER = "this-computer"
    OTHER_SERVER = "other-server"


class FinishReason(StrEnum):
    """Why a model ended its answer."""

    STOP = "stop"
    LENGTH = "length"  # max_tokens or the context was reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer as the server counted them; None where it did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image of a question or an answer.

    Attributes:
        id: unique, made by the app.
        media_type: ``image/jpeg``, ``image/png`` or ``image/webp``.
        width: pixels, as ``height``.
        data: the file's bytes; empty in messages that a store lists.
    """

    id: str
    media_type: str
    width: int
    height: int
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document that was read, of a question.

    Attributes:
        id: unique, made by the app.
        name: of its file.
        kind: such as ``pdf`` (`chatapp.documents.extraction.shape.Kind`).
        pages: how many it has, at least 1.
        size: of the file, in bytes.
        data: its text by pages, compressed (`chatapp.documents.packing`); empty in messages that a store lists.
        file: id of its file in the store, "" where that is not kept. It leaves the chat in no response and no export.
    """

    id: str
    name: str
    kind: str
    pages: int
    size: int
    data: bytes = field(default=b"", repr=False)
    file: str = ""


Attachment = Image | Document  # of a message; stores keep its data apart from the message
AttachmentT = TypeVar("AttachmentT", bound=Attachment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A quote in an answer that is in a document of its conversation, word for word.

    Positions are counted in UTF-16 code units, as JavaScript counts them.

    Attributes:
        end: where the quote ends in the content of the answer, with its closing quotation mark.
        document: id of the document.
        page: its number, from 1.
        page_start: where the quote begins in the text of that page.
        page_end: where it ends there.
        collection: id of the collection that the document belongs to, "" for a document of a message.
        name: of a collection's document, when it was cited; "" for a document of a message.
        quote: the words of the page, of a collection's document, which may be removed before the answer is; "" for a
            document of a message, and where the quotes of an answer would take too much room.
    """

    end: int
    document: str
    page: int
    page_start: int
    page_end: int
    collection: str = ""
    name: str = ""
    quote: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. ``(created_ms, id)`` orders a conversation; a higher ``revision`` replaces a lower one.

    Attributes:
        id: unique, made by the app, ordered by time (see `new_id`).
        turn_id: shared by a question and its answer.
        created_ms: the app's clock, milliseconds since the epoch, rising within a conversation.
        revision: grows with every change of the message, so that a late write never undoes a newer one.
        model: id of the model that answered; empty for a question.
        seconds_to_first_token: from the request to the first text, None when there was none.
        finish_reason: why the model ended, None while it is streaming or if the answer was ended early.
        omitted_messages: how many of the oldest messages were not sent to the model because they no longer fit.
        error: the sentence a person sees when ``status`` is ``ERROR``.
        follows: id of the message before it, "" for a first one; two that follow the same one are versions. None if
            it was stored before versions existed: it follows the one before it in order.
        images: of a question, or drawn by the model.
        feedback: the user's rating of an answer.
        feedback_ms: when that was given, 0 if it never was. It decides between two replicas (see `revised`).
        place: where the model ran.
        instead_of: id of the chosen model, if a fallback answered because it was not ready.
        temperature: the parameter that the answer was generated with.
        seconds: from the request to the end of the answer.
        cost: of the answer, in US dollars; None where the model has no price.
        appended: a question that continues the conversation, rather than a version of an earlier question. Replicas
            that append to the same message at the same time make no versions: see `MessageTree`.
        thinking: what the model thought before it answered; never sent back to a model, and searched only on
            demand.
        unshown_pictures: how many pictures of the model cannot be shown.
        documents: of a question.
        citations: of an answer, by ``end``.
        not_in_documents: an answer says that the documents do not answer the question, and quotes none of them.
        passages: the model of an answer got passages of the documents, and not the whole of each.
    """

    id: str
    turn_id: str
    role: Role
    content: str
    created_ms: int
    status: MessageStatus = MessageStatus.COMPLETE
    revision: int = 0
    model: str = ""
    usage: Usage | None = None
    seconds_to_first_token: float | None = None
    finish_reason: FinishReason | None = None
    omitted_messages: int = 0
    error: str = ""
    follows: str | None = None
    images: tuple[Image, ...] = ()
    feedback: Feedback = Feedback.NONE
    place: Place = Place.UNKNOWN
    instead_of: str = ""
    temperature: float | None = None
    seconds: float | None = None
    cost: float | None = None
    appended: bool = False
    thinking: str = ""
    unshown_pictures: int = 0
    feedback_ms: int = 0
    documents: tuple[Document, ...] = ()
    citations: tuple[Citation, ...] = ()
    passages: bool = False
    not_in_documents: bool = False

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """Images, then documents."""
        return (*self.images, *self.documents)

    def with_attachments(self, attachments: Iterable[Attachment]) -> Message:
        """Return the message with these attachments instead of its own."""
        attachments = tuple(attachments)
        return replace(
            self,
            images=tuple(one for one in attachments if isinstance(one, Image)),
            documents=tuple(one for one in attachments if isinstance(one, Document)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation without its messages; times in milliseconds since the epoch.

    Attributes:
        persona: id of the persona whose instructions ``system_prompt`` began as, "" for none.
        branch: id of a message on the displayed path; below it, and on a path without it, the newest version is
            displayed.
        deleted_ms: when it was deleted, 0 if it was not; it is purged once the deletion can no longer be undone.
        collection: id of the collection whose documents it asks, "" for that of its folder. An id that the user's
            profile does not have (any more) counts as none, as in ``folder``: see `Profile.collection_of`.
        folder: id of the folder that it is in, "" for none.
        changed_ms: when each field was last changed, by name; none for a field that has its first value. It decides
            between two replicas that change the same field (see `changed`), and is no part of what is compared.
    """

    id: str
    title: str
    created_ms: int
    updated_ms: int
    model: str = ""
    system_prompt: str = ""
    persona: str = ""
    pinned: bool = False
    archived: bool = False
    branch: str = ""
    deleted_ms: int = 0
    collection: str = ""
    folder: str = ""
    changed_ms: dict[str, int] = field(default_factory=dict, compare=False)


# A writer raises an answer's revision by 1. Another replica that takes the answer over, to stop or to continue it,
# raises it by more than a writer that does not know of it can reach: at one checkpoint per second in over two hours.
TAKEOVER = 10_000

# The fields of a conversation that a person or a turn changes.
CHANGEABLE = (
    *("title", "model", "system_prompt", "persona", "pinned", "archived", "branch", "deleted_ms"),
    *("collection", "folder"),
)


def revised(before: Message, after: Message) -> Message:
    """Return a message after a write: the higher revision stays, and of two ratings the later one."""
    kept = after if after.revision > before.revision else before
    rated = after if after.feedback_ms > before.feedback_ms else before
    if kept.feedback_ms == rated.feedback_ms:
        return kept
    return replace(kept, feedback=rated.feedback, feedback_ms=rated.feedback_ms)


def changed(before: Conversation, after: Conversation) -> Conversation:
    """Return a conversation after an update, field by field: the later change of each wins.

    ``after`` may be based on an older state than ``before``: where the two differ in a field, the value with the higher
    ``changed_ms`` stays. A field that has none in either takes the value of ``after``. ``created_ms`` stays, and
    ``updated_ms`` never goes back.
    """
    stamps, new = before.changed_ms, after.changed_ms
    names = [
        name for name in CHANGEABLE if new.get(name, 0) > stamps.get(name, 0) or not (name in new or name in stamps)
    ]
    return replace(
        before,
        updated_ms=max(before.updated_ms, after.updated_ms),
        changed_ms={**stamps, **{name: new[name] for name in names if name in new}},
        **{name: getattr(after, name) for name in names},
    )


def saved(before: Profile, after: Profile) -> Profile:
    """Return a profile after a write: of each of its two parts, the higher revision stays."""
    settings = after if after.revision > before.revision else before
    library = after if after.library_revision > before.library_revision else before
    return replace(
        settings,
        collections=library.collections,
        folders=library.folders,
        library_revision=library.library_revision,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationParameters:
    """How to generate an answer; the defaults are the codelab's, and so are the ranges but that of ``max_tokens``.

    Each model has a limit of its own, up to which ``max_tokens`` counts (`ChatModel.max_answer_tokens`).

    Raises:
        InvalidParameters: a value is not a number or out of its range; every such value is named.
    """

    temperature: float = 0.9
    top_p: float = 0.95
    max_tokens: int = 1024
    system_prompt: str = ""

    TEMPERATURE_RANGE = (0.1, 1.0)
    TOP_P_RANGE = (0.1, 1.0)
    MAX_TOKENS_RANGE = (1, 65_536)  # as much as Gemini writes
    LONGEST_SYSTEM_PROMPT = 20_000  # characters

    def __post_init__(self) -> None:
        problems = [
            problem
            for problem in (
                _out_of_range(_TEMPERATURE, self.temperature, self.TEMPERATURE_RANGE),
                _out_of_range(_TOP_P, self.top_p, self.TOP_P_RANGE),
                _out_of_range(_MAX_TOKENS, self.max_tokens, self.MAX_TOKENS_RANGE, whole=True),
                _too_long(_INSTRUCTIONS, self.system_prompt, self.LONGEST_SYSTEM_PROMPT),
            )
            if problem
        ]
        if problems:
            sentence = Sentence("Nothing was sent.")
            for problem in reversed(problems):
                sentence = Sentence("{one} {next}", one=problem, next=sentence)
            raise InvalidParameters(sentence)
        object.__setattr__(self, "max_tokens", int(self.max_tokens))  # a browser's 1024.0 is a whole number too


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """Named instructions for a model, written by the user."""

    id: str
    name: str
    instructions: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A user's settings and personas, collections and folders.

    Attributes:
        parameters: as they were last set, without a system prompt; None while they are the defaults.
        answer_with_other: another model answers, marked as such, while the chosen one is not ready.
        revision: grows with every change of what stands before it; a lower one never replaces a higher one.
        library_revision: the same for ``collections`` and ``folders``, so that neither change undoes the other.
    """

    personas: tuple[Persona, ...] = ()
    parameters: GenerationParameters | None = None
    answer_with_other: bool = False
    revision: int = 0
    collections: tuple[Collection, ...] = ()
    folders: tuple[Folder, ...] = ()
    library_revision: int = 0

    @property
    def without_library(self) -> Profile:
        """The profile without its second part."""
        return replace(self, collections=(), folders=(), library_revision=0)

    def folder_of(self, conversation: Conversation) -> Folder | None:
        """Return the folder that a conversation is in."""
        return next((one for one in self.folders if one.id == conversation.folder), None)

    def collection_of(self, conversation: Conversation) -> Collection | None:
        """Return the collection that a conversation asks: the one that it chose, or else that of its folder."""
        by_id = {one.id: one for one in self.collections}
        folder = self.folder_of(conversation)
        return by_id.get(conversation.collection) or (by_id.get(folder.collection) if folder else None)


_TEMPERATURE, _TOP_P = Sentence("Temperature"), Sentence("Top-p")
_MAX_TOKENS, _INSTRUCTIONS = Sentence("Max tokens"), Sentence("Instructions")


def _out_of_range(
    name: Sentence, value: object, allowed: tuple[float, float], *, whole: bool = False
) -> Sentence | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and allowed[0] <= value <= allowed[1] and (not whole or value == int(value)):  # type: ignore[operator, call-overload]  # is_number says it is one
        return None
    given, (low, high) = repr(str(value)[:40]), map(str, allowed)
    if whole:
        return Sentence(
            "{name} must be a whole number from {low} to {high}, not {given}.",
            name=name,
            low=low,
            high=high,
            given=given,
        )
    return Sentence(
        "{name} must be a number from {low} to {high}, not {given}.", name=name, low=low, high=high, given=given
    )


def _too_long(name: Sentence, value: object, longest: int) -> Sentence | None:
    if isinstance(value, str) and len(value) <= longest:
        return None
    return Sentence("{name} must be text of at most {longest} characters.", name=name, longest=longest)


def new_id() -> str:
    """Return a new UUID of version 7 (RFC 9562) as 32 hex digits: unique, and sorted after those this process made."""
    with _TAKING_TICK:
        ms, part = divmod(next(_TICKS), 4096)  # the part of the millisecond goes first, as in the RFC's method 3
    return f"{ms << 80 | 0x7 << 76 | part << 64 | 0x2 << 62 | int.from_bytes(os.urandom(8)) >> 2:032x}"


def _rising_ticks() -> Iterator[int]:
    """Yield the time in 4096ths of a millisecond, or one more than before where the clock did not go forward."""
    tick = 0
    while True:
        tick = max(tick + 1, time.time_ns() * 4096 // 1_000_000)
        yield tick


_TICKS, _TAKING_TICK = _rising_ticks(), threading.Lock()


def now_ms() -> int:
    """Return the app's clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
