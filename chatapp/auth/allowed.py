"""Who may use the chat, of those whom a provider knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.config.auth_settings import ANYONE

if TYPE_CHECKING:
    from collections.abc import Iterable


class AllowedPeople:
    """A list of addresses, of domains, and of `ANYONE`.

    A domain lets in who belongs to it, and nobody of a domain below it.
    """

    def __init__(self, items: Iterable[str]) -> None:
        self._items = frozenset(map(_comparable, items))

    def let_in(self, address: str, domain: str) -> bool:
        """Return whether somebody may use the chat.

        Args:
            address: the e-mail address, "" if the provider has not verified it.
            domain: the domain that the person belongs to, "" for none.
        """
        known = {_comparable(address), _comparable(domain)} - {""}
        return ANYONE in self._items or not known.isdisjoint(self._items)


def _comparable(text: str) -> str:
    # Beyond ASCII a letter may have another's small form: the Kelvin sign has k's.
    return text.lower() if text.isascii() else text
