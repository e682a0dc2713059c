"""A random user per browser, known by a signed cookie."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from itsdangerous import BadSignature, Signer

if TYPE_CHECKING:
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
    if not path.exists():
        # Made whole under another name first: an empty file, left by a kill, would let anybody forge cookies.
        descriptor, made = tempfile.mkstemp(dir=path.parent)  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
        with suppress(FileExistsError):  # another start was quicker: its secret counts
            os.link(made, path)
        Path(made).unlink()
    secret = path.read_text(encoding="utf-8").strip()
    if not secret:
        raise OSError(errno.EINVAL, f"{path} is empty; remove it")
    return secret
