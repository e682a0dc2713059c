"""Uploads that wait for a message, in memory, and the rate limits on them.

A message names an upload by its id, which is made from the file: the same file again is the same upload. Nothing
depends on an upload being kept: the page still has its file, and uploads it again where this process does not know it
(another replica, a restart, an hour later).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from chatapp.domain.errors import LimitReached
from chatapp.domain.sentences import Wait
from chatapp.limits.moving_window import MovingWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from chatapp.domain.sentences import Sentence

KEEP_SECONDS = 1800.0
MAX_USER_BYTES = 16_000_000  # 16 files of `chatapp.store.values.IMAGE_BYTES`, the most that a message can have
MAX_TOTAL_BYTES = 64_000_000
MIN_BYTES = 20_000  # what a small file counts as, so that their number is bounded, too

T = TypeVar("T")


class UploadLimits:
    """Rate limits of uploads: files per minute, of one user and of all users; 0: no limit.

    Args:
        sentences: the refusals of the two limits, with ``{most}`` and ``{when}``.
        on_refused: called with the name of the limit at each refusal.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        sentences: tuple[Sentence, Sentence],
        per_user: int = 0,
        in_total: int = 0,
        on_refused: Callable[[str], None] = lambda _limit: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = (
            ("of {user}", "uploads", per_user, sentences[0]),
            ("all", "all_uploads", in_total, sentences[1]),
        )
        self._on_refused = on_refused
        self._window = MovingWindow(60, clock)

    def admit(self, user: str) -> None:
        """Count a file that is to be read; a refused one is not counted.

        Raises:
            LimitReached: the user's limit or the shared one is reached.
        """
        for key, name, limit, sentence in self._limits:
            if limit and (wait := self._window.wait(key.format(user=user), limit)):
                self._on_refused(name)
                raise LimitReached(sentence.filled(most=limit, when=Wait(wait)), retry_after=wait, detail=name)
        for key, _name, limit, _sentence in self._limits:
            if limit:
                self._window.add(key.format(user=user))


@dataclass(slots=True)
class _Upload(Generic[T]):
    file: T
    used_at: float  # by the monotonic clock


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRoom(Generic[T]):
    """How much uploads may take on the disk.

    Attributes:
        size_of: returns the bytes that an upload takes there.
        per_user: bytes of one user.
        in_total: bytes of all users.
    """

    size_of: Callable[[T], int]
    per_user: int
    in_total: int


class KeptUploads(Generic[T]):
    """Keeps what was made of uploaded files for `KEEP_SECONDS` after their last use.

    Beyond `MAX_USER_BYTES`, the user's own oldest uploads make room; beyond `MAX_TOTAL_BYTES`, those of the user who
    has the most.

    Args:
        size_of: returns the bytes that an upload takes in memory.
        disk: what is on the disk of the uploads; None: nothing is.
        on_dropped: called with the user and the uploads that are forgotten.
    """

    def __init__(
        self,
        size_of: Callable[[T], int],
        disk: DiskRoom[T] | None = None,
        on_dropped: Callable[[str, list[T]], None] = lambda _user, _files: None,
    ) -> None:
        self._size_of = size_of
        self._disk = disk
        self._on_dropped = on_dropped
        self._users: dict[str, OrderedDict[str, _Upload[T]]] = {}  # by user and id, the least recently used first
        self._timer: asyncio.TimerHandle | None = None

    @property
    def held_bytes(self) -> int:
        """The bytes of all uploads."""
        return sum(self._bytes_of(user, self._in_memory) for user in self._users)

    def keep(self, user: str, upload_id: str, file: T) -> None:
        """Keep an upload under its id; it replaces one of this id."""
        self.drop(user, [upload_id])
        self._users.setdefault(user, OrderedDict())[upload_id] = _Upload(file, time.monotonic())
        self._make_room(user)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEEP_SECONDS, self._sweep)

    def get(self, user: str, upload_id: str) -> T | None:
        """Return an upload, None if the user has none of this id."""
        self._drop_unused()
        uploads = self._users.get(user, OrderedDict())
        if (upload := uploads.get(upload_id)) is None:
            return None
        upload.used_at = time.monotonic()
        uploads.move_to_end(upload_id)
        return upload.file

    def drop(self, user: str, upload_ids: Iterable[str]) -> None:
        """Forget uploads that a message has used; others are ignored."""
        uploads = self._users.get(user, OrderedDict())
        dropped = [upload.file for one in upload_ids if (upload := uploads.pop(one, None))]
        if not uploads:
            self._users.pop(user, None)
        if dropped:
            self._on_dropped(user, dropped)

    def drop_all(self, user: str) -> None:
        """Forget all uploads of a user."""
        self.drop(user, list(self._users.get(user, ())))

    def _in_memory(self, file: T) -> int:
        return max(self._size_of(file), MIN_BYTES)

    def _bytes_of(self, user: str, size_of: Callable[[T], int]) -> int:
        return sum(size_of(upload.file) for upload in self._users.get(user, OrderedDict()).values())

    @property
    def _rooms(self) -> Iterator[tuple[Callable[[T], int], int, int]]:
        yield self._in_memory, MAX_USER_BYTES, MAX_TOTAL_BYTES
        if self._disk:
            yield self._disk.size_of, self._disk.per_user, self._disk.in_total

    def _make_room(self, user: str) -> None:
        for size_of, per_user, in_total in self._rooms:
            while self._bytes_of(user, size_of) > per_user:
                self.drop(user, [next(iter(self._users[user]))])
            while sum(self._bytes_of(one, size_of) for one in self._users) > in_total:
                largest = max(self._users, key=lambda one: self._bytes_of(one, size_of))  # called here
                self.drop(largest, [next(iter(self._users[largest]))])

    def _sweep(self) -> None:
        self._drop_unused()
        self._timer = None
        if self._users:
            self._timer = asyncio.get_running_loop().call_later(KEEP_SECONDS / 10, self._sweep)

    def _drop_unused(self) -> None:
        oldest = time.monotonic() - KEEP_SECONDS
        for user, uploads in list(self._users.items()):
            self.drop(user, [upload_id for upload_id, upload in uploads.items() if upload.used_at < oldest])
