"""Quotas on the use of models: checked before a message is stored, counted as tokens are used.

A message counts when it is accepted, in a moving window of a minute. Tokens and cost count at the end of each answer,
however it ended, per day (UTC). A user with any quota left may send, so the answer can exceed the quota.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.domain.errors import LimitReached
from chatapp.domain.sentences import Sentence, Wait
from chatapp.limits import Quota
from chatapp.limits.guests import is_guest
from chatapp.limits.moving_window import MovingWindow

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatapp.domain.conversation import Usage
    from chatapp.limits.daily_totals import DailyTotals
    from chatapp.models import Price

NANODOLLARS = 1_000_000_000  # totals are integers; a token costs some hundred of these

_REACHED = {
    "messages": Sentence(
        "Your limit of {most} messages per minute is reached. Nothing was sent; your text is still "
        "in the box. Try again {when}."
    ),
    "tokens": Sentence(
        "Your daily limit of {most} tokens is reached. Nothing was sent; your text is still in the "
        "box. Try again {when}."
    ),
    "cost": Sentence(
        "Your daily cost limit of {most} US dollars is reached. Nothing was sent; your text is still "
        "in the box. Try again {when}."
    ),
    "all_messages": Sentence(
        "This chat's shared limit on messages per minute is reached. Nothing was sent; your text is "
        "still in the box. Try again {when}."
    ),
    "all_tokens": Sentence(
        "This chat's shared daily token limit is reached. Nothing was sent; your text is still in "
        "the box. Try again {when}."
    ),
    "all_cost": Sentence(
        "This chat's shared daily cost limit is reached. Nothing was sent; your text is still in the "
        "box. Try again {when}."
    ),
    "guest_messages": Sentence(
        "The limit on messages per minute of all guests together is reached. Nothing was sent; your text is still "
        "in the box. Sign in, or try again {when}."
    ),
    "guest_tokens": Sentence(
        "The daily token limit of all guests together is reached. Nothing was sent; your text is still in the box. "
        "Sign in, or try again {when}."
    ),
    "guest_cost": Sentence(
        "The daily cost limit of all guests together is reached. Nothing was sent; your text is still in the box. "
        "Sign in, or try again {when}."
    ),
}


class UsageLimits:
    """A `chatapp.limits.Limits` with a quota per user and a quota of all users of this replica.

    Args:
        user: the quota of each user.
        shared: the quota of all users together.
        guests: the part of it that all guests together may use, so that something is left for members; None: no limit.
        totals: where tokens and cost are counted.
        on_refused: called with the name of the limit (`chatapp.limits.LIMIT_NAMES`) at each refusal.
    """

    def __init__(
        self,
        user: Quota,
        shared: Quota,
        totals: DailyTotals,
        on_refused: Callable[[str], None] = lambda _limit: None,
        *,
        guests: Quota | None = None,
    ) -> None:
        self._on_refused = on_refused
        window = MovingWindow(60, totals.clock)
        self._messages: list[_MessageLimit] = []
        self._tokens: list[_DailyLimit] = []
        self._cost: list[_DailyLimit] = []
        for quota, prefix in ((user, ""), (shared, "all_"), (guests or Quota(), "guest_")):
            if limit := quota.messages_per_minute:
                self._messages.append(_MessageLimit(f"{prefix}messages", limit, limit, window))
            if limit := quota.tokens_per_day:
                self._tokens.append(_DailyLimit(f"{prefix}tokens", limit, limit, totals))
            if dollars := quota.cost_per_day:
                shown = int(dollars) if dollars == int(dollars) else dollars
                self._cost.append(_DailyLimit(f"{prefix}cost", shown, math.ceil(dollars * NANODOLLARS), totals))

    def admit(self, user: str, answers: int = 1) -> None:
        """Count answers that a user asks for; refused ones are not counted.

        Raises:
            LimitReached: the user's quota or the shared one is used up.
        """
        # Nothing awaits between the check and the count, so concurrent messages cannot exceed a limit.
        every: tuple[_MessageLimit | _DailyLimit, ...] = (*self._messages, *self._tokens, *self._cost)
        limits = [limit for limit in every if limit.applies_to(user)]
        limit = max(limits, key=lambda one: one.wait(user, answers), default=None)
        if limit is not None and (wait := limit.wait(user, answers)):
            self._on_refused(limit.name)
            sentence = _REACHED[limit.name].filled(most=limit.shown, when=Wait(wait))
            raise LimitReached(sentence, retry_after=wait, detail=limit.name)
        for message_limit in self._messages:
            if message_limit.applies_to(user):
                message_limit.add(user, answers)

    @property
    def has_shared_quota(self) -> bool:
        """Whether the shared quota has tokens left for background work, such as titles."""
        return not any(one.wait("") for one in (*self._tokens, *self._cost) if one.is_shared)

    def count(self, usage: Usage, price: Price | None, user: str | None = None) -> None:
        """Count the tokens of an answer; ``user`` is None for background work, such as a title."""
        tokens = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
        cost = math.ceil(((price.of(usage) if price else 0) or 0) * NANODOLLARS)
        for limits, amount in ((self._tokens, tokens), (self._cost, cost)):
            for one in limits:
                if amount and (one.is_shared or (user is not None and one.applies_to(user))):
                    one.add(user or "", amount)


@dataclass(frozen=True, slots=True)
class _Limit:
    """One limit.

    Attributes:
        name: one of `chatapp.limits.LIMIT_NAMES`.
        shown: the limit as the error message shows it.
        limit: the limit as it is counted.
    """

    name: str
    shown: float
    limit: int

    @property
    def is_shared(self) -> bool:
        return self.name.startswith("all_")

    @property
    def is_guests(self) -> bool:
        return self.name.startswith("guest_")

    def applies_to(self, user: str) -> bool:
        return is_guest(user) or not self.is_guests

    def key(self, user: str) -> str:
        return self.name if self.is_shared or self.is_guests else f"{self.name}/{user}"


@dataclass(frozen=True, slots=True)
class _MessageLimit(_Limit):
    window: MovingWindow

    def wait(self, user: str, answers: int = 1) -> int:
        return self.window.wait(self.key(user), self.limit, self._fitting(answers))

    def add(self, user: str, answers: int) -> None:
        self.window.add(self.key(user), self._fitting(answers))

    def _fitting(self, answers: int) -> int:
        return min(answers, self.limit)  # two answers in parallel would never fit into a limit of one


@dataclass(frozen=True, slots=True)
class _DailyLimit(_Limit):
    totals: DailyTotals

    def wait(self, user: str, _answers: int = 1) -> int:
        return self.totals.seconds_left() if self.totals.get(self.key(user)) >= self.limit else 0

    def add(self, user: str, amount: int) -> None:
        self.totals.add(self.key(user), amount)
