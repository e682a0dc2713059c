"""Where a trace of a turn begins and ends. Nothing is recorded here: the server brings what records it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatapp.generation.turn import RunningAnswer, Turn

_NOTHING: AbstractContextManager[None] = nullcontext()


class Tracing:
    """Records nothing; a subclass records turns. Each method returns what is entered for the time of that part."""

    def turn(self, turn: Turn) -> AbstractContextManager[None]:  # noqa: ARG002  # a subclass uses it, like all that follow
        """Enclose a turn, whose answers may run at the same time."""
        return _NOTHING

    def answer(self, answer: RunningAnswer) -> AbstractContextManager[None]:  # noqa: ARG002
        """Enclose an answer of a turn, from the queue to the store."""
        return _NOTHING

    def request(self, answer: RunningAnswer) -> AbstractContextManager[None]:  # noqa: ARG002
        """Enclose the queue and the request to the model; an exception that leaves it is the model's failure."""
        return _NOTHING
