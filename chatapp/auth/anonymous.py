"""Anonymous users: each browser gets a random user id in a signed cookie."""

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

from chatapp.auth import AuthResult, User
from chatapp.auth.client import client_address
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import HTTPConnection

COOKIE = "chat_user"
COOKIE_SECONDS = 365 * 24 * 3600
TOO_MANY = Sentence("There are too many new guests from your network. Try again in at most an hour.")


class AnonymousAuthenticator:
    """Gives each browser its own user id, which cannot be guessed or forged.

    Args:
        secret: signs the cookies; all replicas share it.
        secure: send the cookie over HTTPS only.
        admit: rate limit of new users: counts one from this client address and returns 0, or returns the seconds to
            wait.
    """

    def __init__(self, secret: str, *, secure: bool, admit: Callable[[str], int] = lambda _address: 0) -> None:
        self._admit = admit
        self._signer = Signer(secret, salt="chat.identity.anonymous", digest_method=hashlib.sha256)
        self._attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

    async def authenticate(self, request: HTTPConnection) -> AuthResult:
        """Return the cookie's user, or a new user with a cookie; no user if the rate limit is reached."""
        if user_id := self.user_in(request):
            return AuthResult(user=User(id=user_id, kind="anonymous"))
        if seconds := self._admit(client_address(request.scope)):
            return AuthResult(user=None, problem=TOO_MANY, status=429, retry_after=seconds)
        user_id, cookie = self.new_user()
        header = f"{COOKIE}={cookie}; Max-Age={COOKIE_SECONDS}{self._attributes}"
        return AuthResult(user=User(id=user_id, kind="anonymous"), cookies=(header,))

    def user_in(self, request: HTTPConnection) -> str:
        """Return the user id in the request's cookie; "" without a valid cookie."""
        try:
            return self._signer.unsign(request.cookies.get(COOKIE, "")).decode()
        except BadSignature:
            return ""

    def new_user(self) -> tuple[str, str]:
        """Return a new user id, and the value of its cookie."""
        user_id = f"anonymous-{secrets.token_hex(16)}"
        return user_id, self._signer.sign(user_id).decode()

    @property
    def delete_cookie(self) -> str:
        """The ``Set-Cookie`` header that deletes the cookie."""
        return f"{COOKIE}=; Max-Age=0{self._attributes}"


def load_or_create_secret(path: Path) -> str:
    """Return the secret in this file; create the file (mode 0600) if it does not exist.

    Raises:
        OSError: the file can be neither read nor created.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        # Written under another name, then linked: a kill must not leave an empty secret, with which anyone could sign.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
        with suppress(FileExistsError):  # another process was faster: its secret counts
            os.link(temporary, path)
        Path(temporary).unlink()
    secret = path.read_text(encoding="utf-8").strip()
    if not secret:
        raise OSError(errno.EINVAL, f"{path} is empty; remove it")
    return secret
