"""How much one person, and everybody together, may ask of the models: messages a minute, tokens and US dollars a day.

What is counted, and when, is in `chatapp.limits.usage`. Each copy of the chat counts what it does itself.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from chatapp.domain.conversation import Usage
    from chatapp.models import Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How much there may be; 0: without a limit.

    Attributes:
        messages_per_minute: each answer that a model is asked for is one: another answer to a question, the rest of
            one, and each of two side by side, too.
        tokens_per_day: that are read and written, in a day of UTC.
        cost_per_day: US dollars, of models whose price is known.
    """

    messages_per_minute: int = 0
    tokens_per_day: int = 0
    cost_per_day: float = 0

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


# For one person. A message every three seconds is more than anybody reads, and holds up a script. A conversation is
# read again with each message: a million tokens are 200 messages in conversations of 5,000. With the default Gemini
# they cost $0.30 to $2.50; the third limit is there for dearer models.
USER_QUOTA = Quota(messages_per_minute=20, tokens_per_day=1_000_000, cost_per_day=2)
# For everybody at one copy of the chat. Ten messages a second are 120 answers at once if each takes 12 s, half of what
# is written at once at most (CHAT_TURNS_AT_ONCE); tokens and dollars are those of twenty and ten people who use theirs
# up. A month at this limit costs $600.
SHARED_QUOTA = Quota(messages_per_minute=600, tokens_per_day=20_000_000, cost_per_day=20)

NAMES = ("messages", "tokens", "cost", "all_messages", "all_tokens", "all_cost", "new_guests")  # in the metrics


class Limits(Protocol):
    """Says whether a model may be asked, and is told what that took."""

    def admit(self, user: str, answers: int = 1) -> None:
        """Count so many answers that a user asks for; refused ones are not counted.

        Raises:
            LimitReached: this user, or everybody, has asked for enough.
        """

    def count(self, usage: Usage, price: Price | None, user: str | None = None) -> None:
        """Count the tokens of an answer, all of them known; ``user`` is None for what nobody asked for: a title."""

    @property
    def has_room(self) -> bool:
        """Whether everybody together has tokens left for what nobody asked for."""


class NoLimits:
    """Counts nothing and refuses nothing."""

    has_room = True

    def admit(self, user: str, answers: int = 1) -> None:
        """Do nothing."""

    def count(self, usage: Usage, price: Price | None, user: str | None = None) -> None:
        """Do nothing."""
