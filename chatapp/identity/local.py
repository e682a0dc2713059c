"""One person, on this computer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


class LocalIdentity:
    """Everybody who reaches this computer's loopback address is its one user."""

    def identify(self, request: HTTPConnection) -> tuple[str, str]:  # noqa: ARG002  # the protocol's parameter
        """Return the one user."""
        return "local", ""
