"""What ends a copy, and what only delays it."""

from __future__ import annotations

from typing import Final

EXIT_PERMANENT: Final = 2
"""Exit status of an error that another try would meet again; the Job ends then."""


class CopyFailed(Exception):
    """The copy cannot be made; the message says why and what to do.

    Attributes:
        is_permanent: whether another try would fail in the same way.
    """

    def __init__(self, message: str, *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class Interrupted(Exception):
    """A connection was lost, or a server is busy: the same request may succeed in a moment."""
