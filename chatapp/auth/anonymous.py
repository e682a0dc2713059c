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

from chatapp.auth import Identified, Person
from chatapp.auth.client import client_address
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import HTTPConnection

COOKIE = "chat_user"
COOKIE_SECONDS = 365 * 24 * 3600
TOO_MANY = Sentence(
    "Too many new guests have come from your network in the last hour. Try again later; it takes an hour at most."
)


class AnonymousIdentity:
    """Gives every browser a user of its own, which nobody can forge or guess.

    Args:
        secret: signs the cookies; replicas of one chat share it.
        secure: send the cookie over HTTPS only.
        admit: counts a new user from this address, or returns for how many seconds there may be none.
    """

    def __init__(self, secret: str, *, secure: bool, admit: Callable[[str], int] = lambda _address: 0) -> None:
        self._admit = admit
        self._signer = Signer(secret, salt="chat.identity.anonymous", digest_method=hashlib.sha256)
        self._attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

    async def identify(self, request: HTTPConnection) -> Identified:
        """Return the cookie's user, or a new one with the cookie that will say so; nobody if there are too many."""
        if user := self.user_in(request):
            return Identified(person=Person(user=user, kind="anonymous"))
        if seconds := self._admit(client_address(request.scope)):
            return Identified(person=None, problem=TOO_MANY, status=429, retry_after=seconds)
        user, cookie = self.new_user()
        header = f"{COOKIE}={cookie}; Max-Age={COOKIE_SECONDS}{self._attributes}"
        return Identified(person=Person(user=user, kind="anonymous"), cookies=(header,))

    def user_in(self, request: HTTPConnection) -> str:
        """Return the user whom the request's cookie names; "" if it has none that is ours."""
        try:
            return self._signer.unsign(request.cookies.get(COOKIE, "")).decode()
        except BadSignature:
            return ""

    def new_user(self) -> tuple[str, str]:
        """Return a new user and the value of the cookie that names them."""
        user = f"anonymous-{secrets.token_hex(16)}"
        return user, self._signer.sign(user).decode()

    @property
    def forgotten(self) -> str:
        """The ``Set-Cookie`` header that makes a browser forget its user."""
        return f"{COOKIE}=; Max-Age=0{self._attributes}"


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
