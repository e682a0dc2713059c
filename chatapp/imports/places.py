"""Limits on imports: one at a time for each user, a few for all users, and so many per hour."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chatapp.domain.errors import LimitReached
from chatapp.domain.sentences import Sentence, Wait
from chatapp.limits.moving_window import MovingWindow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT_ONCE = 2  # each reads in a thread of its own, and takes up to 300 MB for a very large conversation
BUSY_SECONDS = 30

_OWN = Sentence("You already have an import in progress. Wait until it has finished, then add the next file.")
_OTHERS = Sentence("Other imports are in progress in this chat. Try again {when}.")
_TOO_OFTEN = Sentence("You imported files too often. Import the next one {when}.")


class ImportPlaces:
    """Admits imports.

    Args:
        per_hour: of one user; 0: no limit.
        on_refused: called with the name of the limit at each refusal.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        per_hour: int = 0,
        on_refused: Callable[[str], None] = lambda _limit: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._per_hour = per_hour
        self._on_refused = on_refused
        self._window = MovingWindow(3600, clock)
        self._running: set[str] = set()

    @contextmanager
    def place(self, user: str) -> Iterator[None]:
        """Count an import as running within the block.

        Raises:
            LimitReached: it is one too many.
        """
        if user in self._running:
            raise self._refusal(_OWN, 5)
        if len(self._running) >= AT_ONCE:
            raise self._refusal(_OTHERS.filled(when=Wait(BUSY_SECONDS)), BUSY_SECONDS)
        if self._per_hour and (wait := self._window.wait(user, self._per_hour)):
            raise self._refusal(_TOO_OFTEN.filled(when=Wait(wait)), wait)
        if self._per_hour:
            self._window.add(user)
        self._running.add(user)
        try:
            yield
        finally:
            self._running.discard(user)

    def _refusal(self, sentence: Sentence, seconds: int) -> LimitReached:
        self._on_refused("imports")
        return LimitReached(sentence, retry_after=seconds, detail="imports")
