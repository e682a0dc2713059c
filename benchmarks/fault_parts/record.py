"""The turns of the users and the responses that they got: the store must match them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from benchmarks.fault_parts.answers import name_of, question_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Sending(StrEnum):
    """The state of a question, as its sender knows it."""

    BEGUN = "begun"
    ACKNOWLEDGED = "acknowledged"  # the stream named its conversation
    REFUSED = "refused"  # with an error: it must not be stored
    UNKNOWN = "unknown"  # the response was lost: it may be stored, at most once


@dataclass(slots=True, eq=False)
class Talk:
    """A conversation, as its only writer knows it.

    Attributes:
        id: "" until the first acknowledgment.
        last: the id of the last message that the page has shown.
        busy_until: until when an answer may be in progress; by the monotonic clock.
    """

    user: str
    id: str = ""
    turns: list[Turn] = field(default_factory=list)
    last: str = ""
    busy_until: float = 0.0


@dataclass(slots=True, eq=False)
class Turn:
    """A question and its answer, as the page showed it.

    Attributes:
        place: index of the question in its conversation.
        phase: the name of the fault while it was sent.
        refusal: the error, if it was refused or the response was lost.
        repeats: number of retries with the same id.
        document: the text of its document; "" if it has none.
        shown: the complete answer on the page; None if its end is unknown.
        continued: whether it was continued after that; the stored answer may be longer.
        promised: whether the page showed that end without a warning that it is not saved.
        send_seconds: from sending to the acknowledgment.
        word_seconds: from the backend's first token to the page; None if not measured.
    """

    name: str
    question: str
    talk: Talk
    place: int
    phase: str
    sending: Sending = Sending.BEGUN
    refusal: str = ""
    repeats: int = 0
    document: str = ""
    shown: str | None = None
    continued: bool = False
    promised: bool = False
    send_seconds: float | None = None
    word_seconds: float | None = None


class Book:
    """All turns of a run by name."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.turns: dict[str, Turn] = {}

    def begin(self, talk: Talk, phase: str, *, is_long: bool) -> Turn:
        """Record a question before it is sent."""
        name = name_of(self._seed, len(self.turns))
        question = question_of(name, is_long=is_long)
        turn = Turn(name=name, question=question, talk=talk, place=len(talk.turns), phase=phase)
        talk.turns.append(turn)
        self.turns[name] = turn
        return turn

    def of(self, phase: str) -> Iterator[Turn]:
        """Return the turns of a phase."""
        return (turn for turn in self.turns.values() if turn.phase == phase)
