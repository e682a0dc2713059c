"""What people did and what they were told: the side of the story that the stores have to match."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from benchmarks.fault_parts.answers import name_of, question_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Sending(StrEnum):
    """What became of a question as far as the person knows."""

    BEGUN = "begun"
    ACKNOWLEDGED = "acknowledged"  # the page took it and said in which conversation
    REFUSED = "refused"  # in words: nothing was sent
    UNKNOWN = "unknown"  # the reply was lost: it may be there once, or not at all


@dataclass(slots=True, eq=False)
class Talk:
    """A conversation as its only writer knows it.

    Attributes:
        id: "" until the page has said it.
        last: the id of the last message that the page has shown; what follows it is asked for.
        busy_until: an answer may still be written in it; by the monotonic clock.
    """

    user: str
    id: str = ""
    turns: list[Turn] = field(default_factory=list)
    last: str = ""
    busy_until: float = 0.0


@dataclass(slots=True, eq=False)
class Turn:
    """A question and what the page showed of its answer.

    Attributes:
        place: its number among the questions of its conversation.
        phase: the name of the fault while it was sent.
        refusal: the words, if it was refused; what went wrong, if the reply was lost.
        repeats: how often it was sent again under its own name, as the page does when a reply was lost.
        shown: the answer as the page showed it at its end; None if the end was not seen.
        went_on: whether the answer was asked to go on after that; it may then be longer.
        promised: whether the page showed that end without any word that it could not be saved.
        send_seconds: from Send until the page had taken it.
        word_seconds: from the backend's sending of the first token until the page showed it; None if not measured.
    """

    name: str
    question: str
    talk: Talk
    place: int
    phase: str
    sending: Sending = Sending.BEGUN
    refusal: str = ""
    repeats: int = 0
    shown: str | None = None
    went_on: bool = False
    promised: bool = False
    send_seconds: float | None = None
    word_seconds: float | None = None


class Book:
    """All turns of a run, by their names."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.turns: dict[str, Turn] = {}

    def begin(self, talk: Talk, phase: str, *, is_long: bool) -> Turn:
        """Note that a question is about to be sent."""
        name = name_of(self._seed, len(self.turns))
        question = question_of(name, is_long=is_long)
        turn = Turn(name=name, question=question, talk=talk, place=len(talk.turns), phase=phase)
        talk.turns.append(turn)
        self.turns[name] = turn
        return turn

    def of(self, phase: str) -> Iterator[Turn]:
        """Return the turns that were sent in a phase."""
        return (turn for turn in self.turns.values() if turn.phase == phase)
