"""What the chat is told about who may come in and how much they may ask, as its environment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pulumi

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Access:
    """Who comes in.

    Attributes:
        identity: ``google`` (the chat signs people in), ``iap`` (Identity-Aware Proxy in front of it does) or
            ``anonymous``.
        root_url: the address that people use; `None`: whatever they type.
        allowed_people: addresses, domains, ``*``; none with ``iap``: its own policy decides alone.
        client_id: of the OAuth client, with ``google``.
        client_secret: likewise.
        guests: with ``google``: whether people may chat before they sign in.
        iap_audience: for whom ``iap`` signs its tokens.
        trusted_proxies: networks whose X-Forwarded-For is believed.
    """

    identity: Literal["google", "iap", "anonymous"] = "anonymous"
    root_url: pulumi.Input[str] | None = None
    allowed_people: Sequence[pulumi.Input[str]] = ()
    client_id: str = ""
    client_secret: pulumi.Input[str] | None = None
    guests: bool = False
    iap_audience: pulumi.Input[str] | None = None
    trusted_proxies: Sequence[pulumi.Input[str]] = ()

    def variables(self) -> dict[str, pulumi.Input[str]]:
        """Return what is no secret."""
        values: dict[str, pulumi.Input[str]] = {"CHAT_IDENTITY": self.identity}
        if self.root_url is not None:
            values["CHAT_ROOT_URL"] = self.root_url
        if self.allowed_people:
            values["CHAT_ALLOWED_PEOPLE"] = _joined(self.allowed_people)
        if self.client_id:
            values["CHAT_OIDC_CLIENT_ID"] = self.client_id
        if self.guests:
            values["CHAT_GUESTS"] = "true"
        if self.iap_audience is not None:
            values["CHAT_IAP_AUDIENCE"] = self.iap_audience
        if self.trusted_proxies:
            values["CHAT_TRUSTED_PROXIES"] = _joined(self.trusted_proxies)
        return values

    def secrets(self) -> dict[str, pulumi.Input[str]]:
        """Return what goes into the Secret."""
        return {} if self.client_secret is None else {"CHAT_OIDC_CLIENT_SECRET": self.client_secret}


@dataclass(frozen=True)
class Limits:
    """How much people may ask; 0: the chat's own default.

    Attributes:
        messages_per_minute: of one person.
        tokens_per_day: of one person, read and written.
        cost_per_day: of one person, in US dollars.
        all_tokens_per_day: of all people together.
        all_cost_per_day: of all people together, in US dollars.
    """

    messages_per_minute: int = 0
    tokens_per_day: int = 0
    cost_per_day: float = 0
    all_tokens_per_day: int = 0
    all_cost_per_day: float = 0

    def variables(self, replicas: int) -> dict[str, pulumi.Input[str]]:
        """Return them for each of `replicas` copies of the chat.

        Each copy counts for itself: it gets its part of what all may take together, so that the sum is never more. A
        browser stays with one copy: a person's own limit is not divided.
        """
        values = {
            "CHAT_MESSAGES_PER_MINUTE": str(self.messages_per_minute or ""),
            "CHAT_TOKENS_PER_DAY": str(self.tokens_per_day or ""),
            "CHAT_COST_PER_DAY": _dollars(self.cost_per_day),
            "CHAT_ALL_TOKENS_PER_DAY": str(_part(self.all_tokens_per_day, replicas) or ""),
            "CHAT_ALL_COST_PER_DAY": _dollars(self.all_cost_per_day / replicas),
        }
        return {name: value for name, value in values.items() if value}


def _part(total: int, replicas: int) -> int:
    # Not 0, which the chat takes for "no limit".
    return max(1, total // replicas) if total else 0


def _dollars(amount: float) -> str:
    """Return an amount to a ten-thousandth, rounded down but never to 0, which the chat takes for "no limit"."""
    return f"{max(1, math.floor(amount * 10_000 + 1e-6)) / 10_000:.4f}".rstrip("0").rstrip(".") if amount else ""


def _joined(parts: Sequence[pulumi.Input[str]]) -> pulumi.Input[str]:
    if all(isinstance(part, str) for part in parts):
        return ",".join(map(str, parts))
    return pulumi.Output.all(*parts).apply(lambda known: ",".join(map(str, known)))
