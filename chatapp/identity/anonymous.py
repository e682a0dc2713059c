"""A random user per browser, known by a signed cookie."""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import TYPE_CHECKING

from itsdangerous import BadSignature, Signer

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import HTTPConnection

COOKIE = "chat_user"
COOKIE_SECONDS = 365 * 24 * 3600


class AnonymousIdentity:
    """Gives every browser a user of its own, which nobody can forge or guess.

    Args:
        secret: signs the cookies; replicas of one chat share it.
        secure: send the cookie over HTTPS only.
    """

    def __init__(self, secret: str, *, secure: bool) -> None:
        self._signer = Signer(secret, salt="chat.identity.anonymous", digest_method=hashlib.sha256)
        self._attributes = f"Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

    def identify(self, request: HTTPConnection) -> tuple[str, str]:
        """Return the cookie's user, or a new one with the cookie that will say so."""
        try:
            return self._signer.unsign(request.cookies.get(COOKIE, "")).decode(), ""
        except BadSignature:
            user = f"anonymous-{secrets.token_hex(16)}"
            return user, f"{COOKIE}={self._signer.sign(user).decode()}; {self._attributes}"


def kept_secret(path: Path) -> str:
    """Return the secret in this file; made (mode 0600) if it is not there yet.

    Raises:
        OSError: the file can be neither read nor made.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
    return path.read_text()
