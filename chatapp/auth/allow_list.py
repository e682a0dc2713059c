"""The allow-list (``CHAT_ALLOWED_PEOPLE``): which authenticated users may use the chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.config.field_types import ANYONE

if TYPE_CHECKING:
    from collections.abc import Iterable


class AllowList:
    """A list of e-mail addresses, domains and `ANYONE`.

    A domain allows its own accounts, but not those of its subdomains.
    """

    def __init__(self, items: Iterable[str]) -> None:
        self._items = frozenset(map(_comparable, items))

    def allows(self, email: str, domain: str) -> bool:
        """Return whether the list allows an account.

        Args:
            email: the e-mail address; "" if the provider has not verified it.
            domain: the domain that the account belongs to; "" for none.
        """
        names = {_comparable(email), _comparable(domain)} - {""}
        return ANYONE in self._items or not names.isdisjoint(self._items)


def _comparable(text: str) -> str:
    # Beyond ASCII, another letter can have the same lower case: the Kelvin sign's is "k".
    return text.lower() if text.isascii() else text
