"""Uploaded images that wait for a message, in memory.

A message names an upload by its id, which is made from the file: the same file again is the same upload, without being
decoded again. Nothing depends on an upload being kept: the page still has its file, and uploads it again where this
process does not know it (another replica, a restart, an hour later).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.domain.errors import LimitReached
from chatapp.domain.sentences import Sentence, Wait
from chatapp.images.decoder import checked_header
from chatapp.limits.moving_window import MovingWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chatapp.domain.conversation import Image
    from chatapp.images.decoder import ImageDecoder

KEEP_SECONDS = 1800.0
MAX_USER_BYTES = 16_000_000  # 16 images of `chatapp.images.scaling.MAX_BYTES`, the most that a message can have
MAX_TOTAL_BYTES = 64_000_000
MIN_BYTES = 20_000  # what a small image counts as, so that their number is bounded, too

_REACHED = Sentence(
    "Your limit of {most} images per minute is reached. Your images are still in the box. Try again {when}."
)
_ALL_REACHED = Sentence(
    "This chat's shared limit on images per minute is reached. Your images are still in the box. Try again {when}."
)


class UploadLimits:
    """Rate limits of uploads: images per minute, of one user and of all users; 0: no limit.

    Args:
        on_refused: called with the name of the limit at each refusal.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        per_user: int = 0,
        in_total: int = 0,
        on_refused: Callable[[str], None] = lambda _limit: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = (
            ("of {user}", "uploads", per_user, _REACHED),
            ("all", "all_uploads", in_total, _ALL_REACHED),
        )
        self._on_refused = on_refused
        self._window = MovingWindow(60, clock)

    def admit(self, user: str) -> None:
        """Count an image that is to be decoded; a refused one is not counted.

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
class _Upload:
    image: Image
    used_at: float  # by the monotonic clock


class Uploads:
    """Keeps uploaded images for `KEEP_SECONDS` after their last use.

    Beyond `MAX_USER_BYTES`, the user's own oldest uploads make room; beyond `MAX_TOTAL_BYTES`, those of the user who
    has the most.

    Args:
        decoder: decodes the files.
        limits: on how often.
    """

    def __init__(self, decoder: ImageDecoder, limits: UploadLimits | None = None) -> None:
        self._decoder = decoder
        self._limits = limits or UploadLimits()
        self._users: dict[str, OrderedDict[str, _Upload]] = {}  # by user and id, the least recently used first
        self._timer: asyncio.TimerHandle | None = None

    @property
    def held_bytes(self) -> int:
        """The bytes of all uploads."""
        return sum(map(self._bytes_of, self._users))

    async def add(self, user: str, file: bytes) -> tuple[str, Image]:
        """Decode and keep an image; return its id and the image.

        Raises:
            InvalidMessage: it is no image, is damaged, or is too large.
            LimitReached: too many images were uploaded, or are being decoded.
        """
        upload_id = hashlib.sha256(file).hexdigest()[:32]
        if (image := self.get(user, upload_id)) is not None:
            return upload_id, image
        checked_header(file)
        self._limits.admit(user)
        image = await self._decoder.decoded(user, file)
        self._users.setdefault(user, OrderedDict())[upload_id] = _Upload(image, time.monotonic())
        self._make_room(user)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEEP_SECONDS, self._sweep)
        return upload_id, image

    def get(self, user: str, upload_id: str) -> Image | None:
        """Return an image, None if the user has no such upload."""
        self._drop_unused()
        uploads = self._users.get(user, OrderedDict())
        if (upload := uploads.get(upload_id)) is None:
            return None
        upload.used_at = time.monotonic()
        uploads.move_to_end(upload_id)
        return upload.image

    def drop(self, user: str, upload_ids: Iterable[str]) -> None:
        """Forget uploads that a message has used; others are ignored."""
        uploads = self._users.get(user, OrderedDict())
        for upload_id in upload_ids:
            uploads.pop(upload_id, None)
        if not uploads:
            self._users.pop(user, None)

    def drop_all(self, user: str) -> None:
        """Forget all uploads of a user."""
        self._users.pop(user, None)

    def _bytes_of(self, user: str) -> int:
        return sum(max(len(upload.image.data), MIN_BYTES) for upload in self._users[user].values())

    def _make_room(self, user: str) -> None:
        while self._bytes_of(user) > MAX_USER_BYTES:
            self._users[user].popitem(last=False)
        while self.held_bytes > MAX_TOTAL_BYTES:
            largest = max(self._users, key=self._bytes_of)
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
