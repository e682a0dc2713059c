"""Catching up with other replicas: no request builds on less than what its page shows.

A page may send each request to another replica. It names the last message that it shows, and a replica that does not
have that message yet waits for it: causal consistency on top of stores that are eventually consistent.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from chatapp.domain.errors import ChatError, ConversationNotFound, NotCaughtUp, StoreUnavailable
from chatapp.store import Consistency

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatapp.domain.conversation import Message
    from chatapp.store import ConversationStore

    Key = tuple[str, str]  # user, conversation id

T = TypeVar("T")

# How long a request waits for what another replica wrote, whose journal delivers within milliseconds while Firestore is
# well: named by the page, which shows it; or a conversation that may just as well not exist.
SEEN_S, EXISTS_S = 5.0, 2.0
PAUSES_S = (0.05, 0.1, 0.2, 0.4)  # between reads; the last one repeats
# What this replica has is taken as current for CURRENT_S. Then it reads one document, for which a request waits at most
# CHECK_S, or UNNAMED_S if the client does not say what it has seen. After a read that took longer than CHECK_S, no
# request waits CHECK_S for one until one has taken PROMPT_S at most, as Firestore's do (5 to 30 ms).
CURRENT_S, CHECK_S, PROMPT_S, UNNAMED_S = 2.0, 0.06, 0.03, 1.0
MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Seen:
    """The last message that a page shows, with its revision there or a lower one.

    Attributes:
        earlier: ids of some that it shows before that. Two replicas can append at the same time: one that wrote the
            last message may not know yet what the other one wrote.
    """

    message_id: str
    revision: int = 0
    earlier: tuple[str, ...] = ()


class CatchUp:
    """Reads the messages of conversations to which other replicas write as well."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        # When a conversation was last compared with the store, by the monotonic clock, and its updated_ms then.
        self._compared: OrderedDict[Key, tuple[float, int]] = OrderedDict()
        self._checks: dict[Key, asyncio.Task[None]] = {}
        self._is_slow = False  # the store, when it was read last
        self._is_away = False

    async def messages(
        self, user: str, conversation_id: str, seen: Seen | None, *, has_time: bool = False
    ) -> list[Message]:
        """Return the messages that this replica knows, among them what the page has seen.

        It waits for no request if this replica has that message and has compared the conversation with the store within
        `CURRENT_S`, or if the store is slow. A client that names nothing (``seen`` is None) builds on the newest
        message in the store. One that ``has_time`` waits for the comparison.

        Raises:
            ConversationNotFound: the user has no such conversation.
            NotCaughtUp: what the page has seen did not arrive within `SEEN_S`.
        """
        key = user, conversation_id
        if self._store.is_shared(conversation_id):
            if seen is not None:
                await self.until_known(*key, seen)
            await self._check(key, has_time=seen is None or has_time)
        return await self.eventually(*key, lambda: self._store.messages(*key, consistency=Consistency.CACHED))

    async def until_known(self, user: str, conversation_id: str, seen: Seen) -> None:
        """Wait until this replica has a message at this revision or a higher one; it makes no request if it has.

        Raises:
            ConversationNotFound: the conversation is deleted, or none arrived within `SEEN_S`.
            NotCaughtUp: the message did not arrive within `SEEN_S`.
        """
        key = user, conversation_id
        if not seen.message_id or not self._store.is_shared(conversation_id):
            return None
        with suppress(ConversationNotFound, NotCaughtUp):
            return await self._look(key, seen, Consistency.CACHED)
        try:
            async with asyncio.timeout(SEEN_S):  # a single read may take longer; it goes on, for the next attempt
                await self.eventually(*key, lambda: self._look(key, seen, Consistency.LATEST), seconds=SEEN_S)
        except TimeoutError as error:
            raise NotCaughtUp(detail=f"no answer within {SEEN_S} s") from error

    async def eventually(
        self, user: str, conversation_id: str, read: Callable[[], Awaitable[T]], *, seconds: float | None = None
    ) -> T:
        """Return what ``read`` returns, repeated while another replica may still have to deliver what it needs.

        Args:
            user: who reads.
            conversation_id: what is read.
            read: one attempt.
            seconds: how long to repeat it; None for `EXISTS_S`.

        Raises:
            ConversationNotFound, NotCaughtUp, StoreUnavailable: as the last attempt did.
        """
        ends_at = time.monotonic() + (EXISTS_S if seconds is None else seconds)
        for number in itertools.count():
            try:
                return await read()
            except (ConversationNotFound, NotCaughtUp):
                pause = PAUSES_S[min(number, len(PAUSES_S) - 1)]
                if time.monotonic() + pause > ends_at or await self._is_final(user, conversation_id):
                    raise
            await asyncio.sleep(pause)
        raise AssertionError  # for mypy: the loop ends by returning or raising

    async def aclose(self) -> None:
        """Cancel the reads in progress."""
        checks = list(self._checks.values())
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)

    async def _look(self, key: Key, seen: Seen, consistency: Consistency) -> None:
        try:
            messages = await self._store.messages(*key, consistency=consistency)
        except StoreUnavailable as error:
            raise NotCaughtUp(detail=error.detail) from error
        revisions = {message.id: message.revision for message in messages}
        if revisions.get(seen.message_id, -1) < seen.revision:
            raise NotCaughtUp(detail=f"no message {seen.message_id} of revision {seen.revision}")
        if missing := set(seen.earlier) - revisions.keys():
            raise NotCaughtUp(detail=f"no messages {', '.join(sorted(missing))}")
        if consistency is Consistency.LATEST:
            self._remember(key, max(message.created_ms for message in messages))

    async def _is_final(self, user: str, conversation_id: str) -> bool:
        """Return whether no other replica can deliver anything: none writes here, or this one knows of a deletion."""
        if not self._store.is_shared(conversation_id):
            return True
        try:
            conversation = await self._store.conversation(user, conversation_id, consistency=Consistency.CACHED)
        except (ConversationNotFound, StoreUnavailable):
            return False
        return bool(conversation.deleted_ms)

    async def _check(self, key: Key, *, has_time: bool) -> None:
        """Compare a conversation with the store, and wait a while for that."""
        compared_at, _ = self._compared.get(key, (float("-inf"), 0))
        if time.monotonic() - compared_at < CURRENT_S:
            return
        if (check := self._checks.get(key)) is None:
            if self._is_away and self._checks:  # one read at a time finds out when the store is back
                return
            check = self._checks[key] = asyncio.create_task(self._compare(key))
            check.add_done_callback(lambda _: self._checks.pop(key, None))
        if has_time:
            await asyncio.wait({check}, timeout=UNNAMED_S)
        elif not self._is_slow:
            done, _ = await asyncio.wait({check}, timeout=CHECK_S)
            self._is_slow = self._is_slow or not done

    async def _compare(self, key: Key) -> None:
        """Read the conversation, and its messages too if any is newer than those that this replica has."""
        with suppress(ChatError):  # the store is unavailable: this replica goes on with what it has
            updated_ms = await self._updated_ms(key)
            messages = await self._store.messages(*key, consistency=Consistency.CACHED)
            _, before_ms = self._compared.get(key, (0.0, 0))
            if updated_ms > max((message.created_ms for message in messages), default=0) and updated_ms != before_ms:
                await self._store.messages(*key, consistency=Consistency.STRICT)
            self._remember(key, updated_ms)

    async def _updated_ms(self, key: Key) -> int:
        """Read when a conversation was updated, from the store itself, and learn from that how the store is."""
        began = time.monotonic()
        try:
            updated_ms = (await self._store.conversation(*key, consistency=Consistency.STRICT)).updated_ms
        except StoreUnavailable:
            self._is_away = self._is_slow = True
            raise
        seconds = time.monotonic() - began
        self._is_away = False
        self._is_slow = seconds > (PROMPT_S if self._is_slow else CHECK_S)
        return updated_ms

    def _remember(self, key: Key, updated_ms: int) -> None:
        self._compared.pop(key, None)
        self._compared[key] = time.monotonic(), updated_ms
        while len(self._compared) > MOST_REMEMBERED:
            self._compared.popitem(last=False)
