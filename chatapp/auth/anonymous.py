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
from urllib.parse import urlsplit

from itsdangerous import BadSignature, Signer

from chatapp.auth import AuthResult, User
from chatapp.auth.client import client_address
from chatapp.auth.cookies import Cookie, DuplicateCookie
from chatapp.domain.sentences import Sentence
from chatapp.limits.guests import GUEST_ID_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.datastructures import Headers
    from starlette.requests import HTTPConnection

COOKIE_SECONDS = 365 * 24 * 3600
TOO_MANY = Sentence("There are too many new guests from your network. Try again in at most an hour.")
NOT_A_PAGE = Sentence("A page of another site sent this request. Open the chat yourself to continue.")
_FRAMES = frozenset({"iframe", "frame", "embed", "object", "fencedframe"})


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
        self._cookie = Cookie("chat_user", secure=secure)
        # Until November 2026 the cookie had no prefix over HTTPS either. Remove it when guests of that time are gone: a
        # year later.
        self._earlier = Cookie("chat_user", secure=False) if secure else None

    async def authenticate(self, request: HTTPConnection) -> AuthResult:
        """Return the cookie's user, or a new user with a cookie; no user if none may be made for this request.

        Raises:
            DuplicateCookie: the request has two cookies.
        """
        if user_id := self._signed_in(self._cookie, request):
            return AuthResult(user=User(id=user_id, kind="anonymous"))
        if not _may_make_guest(request.headers):
            return AuthResult(user=None, problem=NOT_A_PAGE, status=403)
        if seconds := self._admit(client_address(request.scope)):
            return AuthResult(user=None, problem=TOO_MANY, status=429, retry_after=seconds)
        user_id, cookie = self.new_user()
        header = self._cookie.set(cookie, seconds=COOKIE_SECONDS)
        return AuthResult(user=User(id=user_id, kind="anonymous"), cookies=(header,))

    def user_in(self, request: HTTPConnection) -> str:
        """Return the user id in the request's cookie; "" without one valid cookie."""
        return self._only_one(self._cookie, request)

    def earlier_user_in(self, request: HTTPConnection) -> str:
        """Return the user id in a cookie that has no prefix although the chat is served over HTTPS; "" without one.

        Another host of the domain can set such a cookie. So it never authenticates a request: what it names may only be
        shown to the user, who then decides whether to merge it.
        """
        return self._only_one(self._earlier, request) if self._earlier else ""

    def new_user(self) -> tuple[str, str]:
        """Return a new user id, and the value of its cookie."""
        user_id = f"{GUEST_ID_PREFIX}{secrets.token_hex(16)}"
        return user_id, self._signer.sign(user_id).decode()

    def delete_cookie(self, user: str, request: HTTPConnection) -> tuple[str, ...]:
        """Return the ``Set-Cookie`` headers that delete each cookie of the request that names this user."""
        cookies = [cookie for cookie in (self._cookie, self._earlier) if cookie]
        return tuple(cookie.deleted for cookie in cookies if self._only_one(cookie, request) == user)

    def _only_one(self, cookie: Cookie, request: HTTPConnection) -> str:
        try:
            return self._signed_in(cookie, request)
        except DuplicateCookie:
            return ""

    def _signed_in(self, cookie: Cookie, request: HTTPConnection) -> str:
        try:
            return self._signer.unsign(cookie.read(request) or "").decode()
        except BadSignature:
            return ""


def _may_make_guest(headers: Headers) -> bool:
    """Return whether a person opens the chat as a document of its own, or its page sends a request.

    Another site can load the chat in hidden frames and prefetch its addresses without end. Browsers say so over HTTPS
    and on this computer (https://www.w3.org/TR/fetch-metadata/). Over plain HTTP only a ``Referer`` of another site
    shows it, which that site can suppress.
    """
    if "prefetch" in headers.get("sec-purpose", headers.get("purpose", "")):
        return False
    site, destination = headers.get("sec-fetch-site"), headers.get("sec-fetch-dest")
    match site:
        case None if destination is None:
            return _host_of(headers.get("referer", "")) in {"", headers.get("host", "").lower()}
        case "same-origin":
            return destination not in _FRAMES
        case "none":
            return destination in {None, "document"}
        case _:
            return destination == "document"


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:  # such as a bracket without its pair
        return url


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
