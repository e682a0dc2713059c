"""Share links: a copy of a conversation as it is now, for people who have the link."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from chatapp.documents.packing import InvalidPacking, unpacked
from chatapp.domain.conversation import MessageStatus, Role, now_ms
from chatapp.domain.errors import (
    ConversationBusy,
    ConversationNotFound,
    DocumentNotFound,
    InvalidMessage,
    LimitReached,
    ShareNotFound,
)
from chatapp.domain.message_tree import MessageTree
from chatapp.domain.sentences import Sentence, Wait
from chatapp.domain.share import Share
from chatapp.limits.moving_window import MovingWindow
from chatapp.limits.networks import NetworkLimit
from chatapp.store.temporary.router import is_temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chatapp.conversations.catch_up import CatchUp, Seen
    from chatapp.conversations.service import Conversations
    from chatapp.domain.conversation import Citation, Conversation, Document, Image, Message
    from chatapp.store import UserStore

DAY_MS = 24 * 3600 * 1000
SHARE_BYTES = 20_000_000  # of one share: its page shows all of it at once
TEXT_PIECE_BYTES = 900_000
QUOTE_CHARACTERS = 500  # of a quote of a document
MAX_SHARES = 100  # of one user, open at the same time
SHARES_PER_HOUR = 30  # of one user
# Opened pages and pictures. An office or a provider may have one address for many people.
READS_PER_NETWORK, READS_IN_TOTAL, READS_SECONDS = 600, 12_000, 60
TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # as `secrets.token_urlsafe` writes `TOKEN_BYTES`
_IMAGE_TYPES = {b"image/jpeg", b"image/png", b"image/webp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMessage:
    """A message as a share shows it.

    Attributes:
        label: the name of the model that answered; "" for a question.
        images: id, width and height of each.
        documents: the name of each.
        citations: the words, the name of the document and its page, of each quote.
    """

    role: Role
    text: str
    label: str = ""
    images: tuple[tuple[str, int, int], ...] = ()
    documents: tuple[str, ...] = ()
    citations: tuple[tuple[str, str, int], ...] = ()


class Shares:
    """Makes, lists, revokes and opens share links.

    A link has a secret of 256 bits, of which only a digest is stored. It shows a copy of the shown branch, without
    thinking, instructions, ratings and the name of its owner. Of documents it has their names, and the words that the
    answers quote; their text stays with the owner.

    Args:
        store: keeps the shares.
        conversations: reads conversations.
        catch_up: reads what other replicas wrote.
        label: returns the name of a model.
        retention_days: a share never keeps a message for longer; None: no limit.
        on_refused: called with the name of the limit at each refusal.
    """

    def __init__(
        self,
        store: UserStore,
        conversations: Conversations,
        catch_up: CatchUp,
        label: Callable[[str], str],
        *,
        retention_days: int | None = None,
        on_refused: Callable[[str], None] = lambda _limit: None,
    ) -> None:
        self._store = store
        self._conversations = conversations
        self._catch_up = catch_up
        self._label = label
        self._retention_days = retention_days
        self._on_refused = on_refused
        self._made = MovingWindow(3600)
        self._reads = NetworkLimit(READS_PER_NETWORK, READS_IN_TOTAL, MovingWindow(READS_SECONDS))

    async def create(self, user: str, conversation_id: str, *, days: int, seen: Seen | None) -> tuple[str, Share]:
        """Share a conversation as it is now, and return the link's secret, which is stored nowhere, and the share.

        Raises:
            ConversationNotFound: the user has no such conversation, or it is temporary.
            ConversationBusy: an answer is being written.
            InvalidMessage: the conversation is empty or too large, or the user has too many shares.
            LimitReached: the user made too many in an hour.
        """
        if is_temporary(conversation_id):
            raise ConversationNotFound(detail="it is temporary")
        conversation = await self._conversations.open(user, conversation_id)
        messages = await self._shown(user, conversation, seen)
        if wait := self._made.wait(user, SHARES_PER_HOUR):
            self._on_refused("shares")
            raise LimitReached(_TOO_OFTEN.filled(when=Wait(wait)), retry_after=wait, detail="shares")
        if len(await self._store.shares(user)) >= MAX_SHARES:
            raise InvalidMessage(_TOO_MANY.filled(most=MAX_SHARES))
        texts, images = await self._pieces(user, conversation_id, messages)
        pieces = texts | images
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now = now_ms()
        share = Share(
            id=_digest(token),
            conversation_id=conversation_id,
            title=conversation.title,
            created_ms=now,
            expires_ms=self._expires_ms(now, days, messages),
            texts=len(texts),
            size=sum(map(len, pieces.values())),
        )
        await self._store.save_share(user, share, pieces)
        self._made.add(user)
        return token, share

    async def listed(self, user: str) -> list[Share]:
        """Return the user's open shares, the latest first."""
        return await self._store.shares(user)

    async def revoke(self, user: str, share_id: str) -> None:
        """End a share.

        Raises:
            ShareNotFound: the user has no such share.
        """
        if share_id not in {share.id for share in await self._store.shares(user)}:
            raise ShareNotFound
        await self._store.delete_share(user, share_id)

    def admit(self, address: str) -> None:
        """Count a request for a share from a client address ("" if unknown).

        Raises:
            LimitReached: it is one too many in a minute.
        """
        if wait := self._reads.admit(address):
            self._on_refused("shared_reads")
            raise LimitReached(_TOO_MANY_READS.filled(when=Wait(wait)), retry_after=wait, detail="shared reads")

    async def read(self, token: str) -> tuple[Share, list[SharedMessage]]:
        """Return what a link shows.

        Raises:
            ShareNotFound: it is unknown, expired or revoked.
        """
        share_id = _id_of(token)
        share = await self._store.shared(share_id)
        texts = [await self._store.shared_piece(share_id, _text_name(number)) for number in range(share.texts)]
        return share, [_message(one) for one in json.loads(b"".join(texts))]

    async def image(self, token: str, image_id: str) -> tuple[str, bytes]:
        """Return the media type and the data of an image of a share.

        Raises:
            ShareNotFound: the link is unknown, expired or revoked, or it shows no such image.
        """
        piece = await self._store.shared_piece(_id_of(token), _image_name(image_id))
        media_type, _, data = piece.partition(b"\n")
        return media_type.decode() if media_type in _IMAGE_TYPES else "application/octet-stream", data

    async def _shown(self, user: str, conversation: Conversation, seen: Seen | None) -> list[Message]:
        messages = await self._catch_up.messages(user, conversation.id, seen, has_time=True)
        shown = [message for message, _ in MessageTree(messages).shown(conversation.branch)]
        if any(message.status is MessageStatus.STREAMING for message in shown):
            raise ConversationBusy
        if not shown:
            raise InvalidMessage(_EMPTY)
        return shown

    async def _pieces(
        self, user: str, conversation_id: str, messages: Sequence[Message]
    ) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Return the pieces of the messages, and those of their images, by name."""
        images: dict[str, bytes] = {}
        size = 0
        for image in {image.id: image for message in messages for image in message.images}.values():
            if data := await self._image_data(user, conversation_id, image):
                images[_image_name(image.id)] = image.media_type.encode() + b"\n" + data
                size += len(data)
                if size > SHARE_BYTES:
                    raise InvalidMessage(_TOO_LARGE.filled(most=SHARE_BYTES // 1_000_000))
        quotes = await self._quotes(user, conversation_id, messages)
        fields = [self._fields(message, images, quotes) for message in messages]
        content = json.dumps(fields, ensure_ascii=False).encode(errors="replace")
        if size + len(content) > SHARE_BYTES:
            raise InvalidMessage(_TOO_LARGE.filled(most=SHARE_BYTES // 1_000_000))
        starts = range(0, len(content), TEXT_PIECE_BYTES)
        texts = {_text_name(n): content[start : start + TEXT_PIECE_BYTES] for n, start in enumerate(starts)}
        return texts, images

    async def _image_data(self, user: str, conversation_id: str, image: Image) -> bytes:
        try:
            return (await self._store.image(user, conversation_id, image.id)).data
        except ConversationNotFound:
            return b""  # it expired a moment before its message

    async def _quotes(
        self, user: str, conversation_id: str, messages: Sequence[Message]
    ) -> dict[Citation, tuple[str, str, int]]:
        """Return the words of each citation, the name of the document and its page; none where these are gone."""
        cited: defaultdict[tuple[str, str], list[Citation]] = defaultdict(list)
        quotes: dict[Citation, tuple[str, str, int]] = {}
        for citation in (one for message in messages for one in message.citations):
            if citation.quote:
                quotes[citation] = (_shortened(citation.quote), citation.name, citation.page)
            else:
                cited[citation.collection, citation.document].append(citation)
        for (collection, document_id), citations in cited.items():
            with suppress(ConversationNotFound, DocumentNotFound):
                if collection:
                    document = (await self._store.library_document(user, document_id)).document
                else:
                    document = await self._store.document(user, conversation_id, document_id)
                quotes |= await asyncio.to_thread(_quoted, document, citations)
        return quotes

    def _fields(
        self, message: Message, images: dict[str, bytes], quotes: Mapping[Citation, tuple[str, str, int]]
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {"role": message.role.value, "text": message.content}
        if message.role is Role.ASSISTANT:
            fields["label"] = self._label(message.model)
        if shown := [[one.id, one.width, one.height] for one in message.images if _image_name(one.id) in images]:
            fields["images"] = shown
        if message.documents:
            fields["documents"] = [document.name for document in message.documents]
        if quoted := [quotes[citation] for citation in message.citations if citation in quotes]:
            fields["citations"] = quoted
        return fields

    def _expires_ms(self, now: int, days: int, messages: Sequence[Message]) -> int:
        end = now + days * DAY_MS
        if self._retention_days is None:
            return end
        oldest_ms = min(message.created_ms for message in messages)
        return min(end, oldest_ms + self._retention_days * DAY_MS)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _id_of(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ShareNotFound(detail="not a token")
    return _digest(token)


def _text_name(number: int) -> str:
    return f"text-{number}"


def _image_name(image_id: str) -> str:
    return f"image-{image_id}"


def _message(fields: dict[str, Any]) -> SharedMessage:
    images = tuple((str(name), int(width), int(height)) for name, width, height in fields.get("images", ()))
    return SharedMessage(
        role=Role(fields["role"]),
        text=fields["text"],
        label=fields.get("label", ""),
        images=images,
        documents=tuple(map(str, fields.get("documents", ()))),
        citations=tuple((str(words), str(name), int(page)) for words, name, page in fields.get("citations", ())),
    )


def _quoted(document: Document, citations: Sequence[Citation]) -> dict[Citation, tuple[str, str, int]]:
    """Return the words, the name of the document and its page, of each citation that its text has."""
    try:
        pages = unpacked(document.data)
    except InvalidPacking:
        return {}
    quotes = {}
    for one in citations:
        text = pages[one.page - 1].text if 1 <= one.page <= len(pages) else ""
        # As JavaScript counts: in UTF-16 code units.
        quote = text.encode("utf-16-le")[2 * one.page_start : 2 * one.page_end].decode("utf-16-le", "replace")
        if words := _shortened(quote):
            quotes[one] = (words, document.name, one.page)
    return quotes


def _shortened(quote: str) -> str:
    return shorten(quote, QUOTE_CHARACTERS, placeholder=" …")


_EMPTY = Sentence("There is nothing to share in this conversation yet.")
_TOO_LARGE = Sentence(
    "This conversation is too large to share: its texts and pictures have more than {most} MB. Share a shorter "
    "conversation."
)
_TOO_MANY = Sentence("You have {most} links, and that is the limit. Turn off links that you do not need any more.")
_TOO_OFTEN = Sentence("You made many links in a short time. Make the next one {when}.")
_TOO_MANY_READS = Sentence("Links of this chat were opened too often from your network. Try again {when}.")
