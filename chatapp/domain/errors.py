"""Domain errors: each one has the sentence that the user sees.

``str(error)`` is written for the person at the page: what happened, why, and what to do. ``detail`` is for the log
(status codes, the server's own words) and may never hold text of a conversation, a key or a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Sequence


class ChatError(Exception):
    """Base of all errors with a message for the user.

    Attributes:
        sentence: the message: a `Sentence`, which can be translated, or plain text.
    """

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.sentence = message
        self.detail = detail


class InvalidMessage(ChatError):
    """The text cannot be sent: empty or too long."""


class TooLong(InvalidMessage):
    """More was sent than any page sends at once."""

    def __init__(self) -> None:
        super().__init__(Sentence("The request is too large. Shorten the message; your text is still in the box."))


class ImageTooLarge(InvalidMessage):
    """The file of an image has too many bytes."""

    def __init__(self) -> None:
        super().__init__(
            Sentence("An image can be at most {most} MB. Scale it down or save it as JPEG, then add it again.", most=10)
        )


class DocumentTooLarge(InvalidMessage):
    """The file of a document has too many bytes."""

    def __init__(self, megabytes: int) -> None:
        super().__init__(
            Sentence(
                "A document can have at most {most} MB here. It was not added. Split it, or save it with smaller "
                "images, then add it again.",
                most=megabytes,
            )
        )


class ImportTooLarge(InvalidMessage):
    """The file of an import has too many bytes."""

    def __init__(self, megabytes: int) -> None:
        super().__init__(
            Sentence(
                "This file has more than {most} MB, and that is the most that can be imported here. Nothing was "
                "imported. Export fewer conversations, or ask the operator of this chat to import the file.",
                most=megabytes,
            )
        )


class InvalidParameters(ChatError):
    """A generation parameter is out of its range or is not a number."""


class UnknownModel(ChatError):
    """No model with this id is in the catalogue."""


class ShareNotFound(ChatError):
    """There is no such share: it never existed, has expired or was revoked, or its conversation was deleted."""

    def __init__(self, *, detail: str = "") -> None:
        super().__init__(
            Sentence(
                "This link does not work. It has expired, was turned off, or is not complete. Ask the person who sent "
                "it to you for a new one."
            ),
            detail=detail,
        )


class ConversationNotFound(ChatError):
    """There is no such conversation for this user (it never reveals whether another user has it)."""

    def __init__(self, *, detail: str = "") -> None:
        super().__init__(
            Sentence(
                "This conversation does not exist or was deleted. Start a new chat; your text is still in the box."
            ),
            detail=detail,
        )


class MessageNotFound(ConversationNotFound):
    """There is no such message in the conversation."""

    def __init__(self, *, detail: str = "") -> None:
        ChatError.__init__(
            self,
            Sentence("This message no longer exists. Reload the page; your text is still in the box."),
            detail=detail,
        )


class DocumentNotFound(ChatError):
    """The user has no such document in a collection: it was removed, or never existed."""

    def __init__(self, *, detail: str = "") -> None:
        super().__init__(
            Sentence("This document is not in the collection any more. Reload the page to see what is there."),
            detail=detail,
        )


class FileNotKept(ChatError):
    """A document is there without its file: it was added where files are not kept, or came from an export."""

    def __init__(self) -> None:
        super().__init__(Sentence("The file of this document is not stored in this chat. You can still read its text."))


class LibraryEntryNotFound(ChatError):
    """The user has no such collection or folder: it was deleted, or never existed."""

    def __init__(self, *, detail: str = "") -> None:
        super().__init__(
            Sentence("This collection or folder does not exist any more. Reload the page to see what is there."),
            detail=detail,
        )


class FilesMissing(ChatError):
    """A message names images or documents that are not here: uploads of another process, or deleted ones.

    Attributes:
        ids: of the images and documents; the client uploads them again.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(
            Sentence(
                "Images or documents of this message are no longer available. Nothing was sent; your text is still in "
                "the box. Add them again, then send again."
            ),
            detail=f"{len(ids)} files",
        )
        self.ids = tuple(ids)


class ConversationBusy(ChatError):
    """An answer is still being written in this conversation."""

    def __init__(self) -> None:
        super().__init__(
            Sentence(
                "An answer is still being written in this conversation. Wait for it or press Stop, then send again."
            )
        )


class TooManyTurns(ChatError):
    """So many answers are being written, or waited for, that no other can be taken on."""


class LimitReached(ChatError):
    """A limit on how much may be asked for is reached; nothing was stored.

    Attributes:
        retry_after: seconds after which it may be tried again.
    """

    def __init__(self, message: str, *, retry_after: int, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.retry_after = retry_after


class NothingToContinue(ChatError):
    """The answer to continue is complete, is not the last message, or does not exist."""

    def __init__(self) -> None:
        super().__init__(
            Sentence(
                "This answer cannot be continued: it is complete, or another message follows it. Send a "
                "message instead."
            )
        )


class ContinuedElsewhere(ChatError):
    """The conversation has messages after the last one that the page shows; nothing was stored."""

    def __init__(self) -> None:
        super().__init__(
            Sentence(
                "This conversation went on in another window or on another device; its new messages are shown now. "
                "Nothing was sent, and your text is still in the box. Read them, then send again."
            )
        )


class NotCaughtUp(ChatError):
    """Another replica stored what the page shows, and this one does not have it yet; nothing was stored."""

    def __init__(self, *, detail: str = "") -> None:
        super().__init__(
            Sentence(
                "The chat is still catching up with this conversation. Nothing was sent, and your text is still in the "
                "box. Send again in a moment."
            ),
            detail=detail,
        )


class ProfileChanged(ChatError):
    """The profile was changed meanwhile, on another page or device."""

    def __init__(self) -> None:
        super().__init__(
            Sentence(
                "Your personas or settings were changed on another page or device. Nothing was "
                "saved. Reload the page and try again."
            )
        )


class StoreUnavailable(ChatError):
    """The history cannot be read or written right now; nothing was changed."""


class StorageFull(ChatError):
    """The user's data, or everybody's together, take as much as they may; nothing was stored."""


class ModelError(ChatError):
    """Base of everything that ends an answer early."""


class ModelUnavailable(ModelError):
    """The model does not answer: not set up, not reachable, refused, broken or too slow."""


class ModelLoading(ModelUnavailable):
    """The server is up and the model is still being loaded."""


class ContextTooLong(ModelError):
    """The prompt is longer than the model's context.

    Attributes:
        prompt_tokens: as counted by the server, None if it did not report it.
        context_tokens: the model's context size in tokens, None if it was not reported.
    """

    def __init__(
        self, message: str, *, prompt_tokens: int | None = None, context_tokens: int | None = None, detail: str = ""
    ) -> None:
        super().__init__(message, detail=detail)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class CannotSee(InvalidMessage, ModelError):
    """There are images, and the model supports none."""

    def __init__(self, model: str, *, detail: str = "") -> None:
        super().__init__(
            Sentence(
                "{model} does not support images. Choose a model that does, or send the message without images.",
                model=model,
            ),
            detail=detail,
        )


class TooManyImages(InvalidMessage, ModelError):
    """There are more images than the model accepts at once.

    Attributes:
        most: how many it takes, None when it did not say.
    """

    def __init__(self, model: str, most: int | None = None, *, detail: str = "") -> None:
        super().__init__(
            Sentence("Too many images: {model} accepts at most {most}. Send fewer.", model=model, most=most)
            if most is not None
            else Sentence("{model} does not accept so many images at once. Send fewer.", model=model),
            detail=detail,
        )
        self.most = most


class Blocked(ModelError):
    """The model or its safety filter refused to answer; the sentence says why."""


class RateLimited(ModelError):
    """Too many requests or a quota is used up."""
