"""Limits on what models are asked for: checked before anything is stored, counted as it is used.

A message is counted when it is taken on, in windows that move. Tokens and cost are counted at the end of each answer,
however it ended, in days of UTC: whoever has any left may ask, so what is being written then can go beyond the limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limits import RateLimitItemPerDay, RateLimitItemPerMinute
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from chatapp.domain.errors import LimitReached
from chatapp.domain.sentences import Sentence, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from limits import RateLimitItem
    from limits.strategies import RateLimiter

    from chatapp.domain.conversation import Usage
    from chatapp.limits import Quota
    from chatapp.limits.windows import Windows
    from chatapp.models import Price

NANODOLLARS = 1_000_000_000  # the library counts in whole numbers; a token costs some hundred of these

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
}


class UsageLimits:
    """A `chatapp.limits.Limits` for each person and for everybody at this copy of the chat.

    Args:
        person: how much there may be for one.
        everybody: and for all together.
        windows: where it is counted.
        on_refused: is told the name of a limit that was the reason for a refusal.
    """

    def __init__(
        self,
        person: Quota,
        everybody: Quota,
        windows: Windows,
        on_refused: Callable[[str], None] = lambda _limit: None,
    ) -> None:
        self._clock = windows.clock
        self._on_refused = on_refused
        moving, fixed = MovingWindowRateLimiter(windows), FixedWindowRateLimiter(windows)
        self._messages: list[_Limit] = []
        self._tokens: list[_Limit] = []
        self._cost: list[_Limit] = []
        for most, prefix in ((person, ""), (everybody, "all_")):
            if amount := most.messages_per_minute:
                item = RateLimitItemPerMinute(amount, namespace=f"{prefix}messages")
                self._messages.append(_Limit(moving, item, amount))
            if amount := most.tokens_per_day:
                self._tokens.append(_Limit(fixed, _Day(amount, namespace=f"{prefix}tokens"), amount))
            if dollars := most.cost_per_day:
                day = _Day(math.ceil(dollars * NANODOLLARS), namespace=f"{prefix}cost")
                self._cost.append(_Limit(fixed, day, int(dollars) if dollars == int(dollars) else dollars))

    def admit(self, user: str, answers: int = 1) -> None:
        """Count so many answers that a user asks for; refused ones are not counted.

        Raises:
            LimitReached: this user, or everybody, has asked for enough.
        """
        # Nothing waits from here to the count: of many messages at the same moment no more are taken than may be.
        reached = [one for one in (*self._messages, *self._tokens, *self._cost) if not one.has_room(user, answers)]
        if reached:
            wait, limit = max(((one.reset_at(user) - self._clock(), one) for one in reached), key=lambda pair: pair[0])
            raise self._refusal(limit, max(1, math.ceil(wait)))
        for one in self._messages:
            one.take(user, min(answers, one.item.amount))

    @property
    def has_room(self) -> bool:
        """Whether everybody together has tokens left for what nobody asked for."""
        return all(one.has_room("") for one in (*self._tokens, *self._cost) if one.is_shared)

    def count(self, usage: Usage, price: Price | None, user: str | None = None) -> None:
        """Count the tokens of an answer, all of them known; ``user`` is None for what nobody asked for: a title."""
        tokens = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
        cost = math.ceil(((price.of(usage) if price else 0) or 0) * NANODOLLARS)
        for limits, amount in ((self._tokens, tokens), (self._cost, cost)):
            for one in limits:
                if amount and (one.is_shared or user is not None):
                    one.take(user or "", amount)

    def _refusal(self, limit: _Limit, seconds: int) -> LimitReached:
        self._on_refused(limit.name)
        sentence = _REACHED[limit.name].filled(most=limit.most, when=Wait(seconds))
        return LimitReached(sentence, retry_after=seconds, detail=limit.name)


@dataclass(frozen=True, slots=True)
class _Limit:
    """One limit.

    Attributes:
        most: as people say it.
    """

    limiter: RateLimiter
    item: RateLimitItem
    most: float

    @property
    def name(self) -> str:
        return self.item.namespace

    @property
    def is_shared(self) -> bool:
        return self.name.startswith("all_")

    def has_room(self, user: str, answers: int = 1) -> bool:
        # Two answers side by side are more than a limit of one ever has room for.
        return self.limiter.test(self.item, *self._whose(user), cost=min(answers, self.item.amount))

    def take(self, user: str, amount: int) -> None:
        self.limiter.hit(self.item, *self._whose(user), cost=amount)

    def reset_at(self, user: str) -> float:
        return self.limiter.get_window_stats(self.item, *self._whose(user)).reset_time

    def _whose(self, user: str) -> tuple[str, ...]:
        return () if self.is_shared else (user,)


class _Day(RateLimitItemPerDay):
    """A day whose tally stays the same when its limit is changed: the library's key names the limit."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return "/".join((self.namespace, *map(str, identifiers)))
