"""One person, on this computer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.auth import Identified, Person

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

LOCAL = Person(user="local", kind="local")


class LocalIdentity:
    """Everybody who reaches this computer's loopback address is its one user."""

    async def identify(self, request: HTTPConnection) -> Identified:  # noqa: ARG002  # the protocol's parameter
        """Return the one person."""
        return Identified(person=LOCAL)
