"""Quotas and rate limits: messages per minute, tokens and US dollars per day, new guests per hour.

`chatapp.limits.usage` checks and counts the quotas, `chatapp.limits.guests` the new guests, and `chatapp.limits.lanes`
bounds searches, exports and other reading. Each replica counts only its own requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from chatapp.domain.conversation import Usage
    from chatapp.models import Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How much may be used; 0: no limit.

    Attributes:
        messages_per_minute: each answer counts as one, also a regenerated or continued one, and each of two in
            parallel.
        tokens_per_day: input and output tokens, per day (UTC).
        cost_per_day: US dollars, of models whose price is known.
    """

    messages_per_minute: int = 0
    tokens_per_day: int = 0
    cost_per_day: float = 0

    def part(self, share: float) -> Quota:
        """Return this part of the quota: at least one message and token of what is limited."""
        return Quota(
            messages_per_minute=math.ceil(self.messages_per_minute * share),
            tokens_per_day=math.ceil(self.tokens_per_day * share),
            cost_per_day=self.cost_per_day * share,
        )

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


# One user's default. A message every three seconds is more than a person reads, and stops a script. The conversation is
# sent again with each message: a million tokens are 200 messages in conversations of 5,000. With the default Gemini
# they cost $0.30 to $2.50; the cost limit is for more expensive models.
USER_QUOTA = Quota(messages_per_minute=20, tokens_per_day=1_000_000, cost_per_day=2)
# The default for all users of a replica. Ten messages per second are 120 concurrent answers of 12 s each, half of
# CHAT_TURNS_AT_ONCE. Tokens and dollars are those of twenty and ten users who use up theirs. A month at this limit
# costs $600.
SHARED_QUOTA = Quota(messages_per_minute=600, tokens_per_day=20_000_000, cost_per_day=20)

LIMIT_NAMES = (  # in the metrics; the last six are `chatapp.limits.lanes.LaneName`
    *("messages", "tokens", "cost", "all_messages", "all_tokens", "all_cost"),
    *("guest_messages", "guest_tokens", "guest_cost", "new_guests", "uploads", "all_uploads"),
    *("imports", "storage", "all_storage", "searches", "exports", "lists", "streams", "images", "documents"),
)


class Limits(Protocol):
    """Admits messages, and counts what their answers used."""

    def admit(self, user: str, answers: int = 1) -> None:
        """Count answers that a user asks for; refused ones are not counted.

        Raises:
            LimitReached: the user's quota or the shared one is used up.
        """

    def count(self, usage: Usage, price: Price | None, user: str | None = None) -> None:
        """Count the tokens of an answer; ``user`` is None for background work, such as a title."""

    @property
    def has_shared_quota(self) -> bool:
        """Whether the shared quota has tokens left for background work, such as titles."""


class NoLimits:
    """Counts nothing and refuses nothing."""

    has_shared_quota = True

    def admit(self, user: str, answers: int = 1) -> None:
        """Do nothing."""

    def count(self, usage: Usage, price: Price | None, user: str | None = None) -> None:
        """Do nothing."""
