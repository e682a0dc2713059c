"""The allow-list (``CHAT_ALLOWED_PEOPLE``): which authenticated users may use the chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.config.field_types import ANYONE
from chatapp.domain.hosts import comparable_address

if TYPE_CHECKING:
    from collections.abc import Iterable


class AllowList:
    """A list of e-mail addresses, domains and `ANYONE`.

    A domain allows its own accounts, but not those of its subdomains. A domain in Hebrew or Arabic is the same as its
    form in ASCII.
    """

    def __init__(self, items: Iterable[str]) -> None:
        self._items = frozenset(map(comparable_address, items))

    def allows(self, email: str, domain: str) -> bool:
        """Return whether the list allows an account.

        Args:
            email: the e-mail address; "" if the provider has not verified it.
            domain: the domain that the account belongs to; "" for none.
        """
        names = {comparable_address(email), comparable_address(domain)} - {""}
        return ANYONE in self._items or not names.isdisjoint(self._items)
