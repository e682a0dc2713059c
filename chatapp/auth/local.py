"""The local user: one history for one person on this computer, without a sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.auth import AuthResult, User

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

LOCAL = User(id="local", kind="local")


class LocalAuthenticator:
    """Authenticates every request as the one local user."""

    async def authenticate(self, request: HTTPConnection) -> AuthResult:  # noqa: ARG002  # the protocol's parameter
        """Return the local user."""
        return AuthResult(user=LOCAL)
