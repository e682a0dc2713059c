"""Cookies: the only place that reads the ``Cookie`` header and builds ``Set-Cookie`` headers.

Over HTTPS every cookie has the prefix ``__Host-``: browsers accept it from this host alone, so another host of the same
domain can neither set nor replace it (RFC 6265bis, section 4.1.3.2). That holds only if the server compares names as
strictly as the browser does. Starlette's ``request.cookies`` does not: it strips U+00A0 and U+0085 from names, so a
cookie whose name is U+00A0 and then ``__Host-x``, which any host of the domain may set, passes for ``__Host-x``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chatapp.domain.errors import ChatError
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

HOST_PREFIX = "__Host-"
TWO_COOKIES = Sentence(
    "This browser sent two cookies of the same name, so another site may have set one of them. Delete this site's "
    "cookies in the settings of the browser, then open the chat again."
)
# RFC 6265, section 4.1.1: no spaces, controls, commas or backslashes; some clients put quotes around a value with "=".
_VALUE = re.compile(rb'([!#-+\--:<-\[\]-~]*)|"([!#-+\--:<-\[\]-~]*)"')


class DuplicateCookie(ChatError):
    """A request has two cookies of one name, and nothing tells which of them this chat has set.

    The response must not delete the cookie: the browser would keep the other one, and send it alone from then on.
    """

    def __init__(self, name: str) -> None:
        super().__init__(TWO_COOKIES, detail=name)


class Cookie:
    """One cookie of this chat, sent for the whole host and to no script.

    Args:
        name: its name over plain HTTP.
        secure: the chat is served over HTTPS: the name gets the prefix ``__Host-``.
    """

    def __init__(self, name: str, *, secure: bool) -> None:
        self.name = HOST_PREFIX + name if secure else name
        self._attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

    def read(self, request: HTTPConnection) -> str | None:
        """Return the cookie's value, as `read_cookie` does."""
        return read_cookie(request, self.name)

    def set(self, value: str, *, seconds: int) -> str:
        """Return the ``Set-Cookie`` header for a value."""
        return f"{self.name}={value}; Max-Age={seconds}{self._attributes}"

    @property
    def deleted(self) -> str:
        """The ``Set-Cookie`` header that deletes the cookie."""
        return self.set("", seconds=0)


def read_cookie(request: HTTPConnection, name: str) -> str | None:
    """Return the value of a cookie: None if the request has none of this name, "" if the value is not valid.

    Names are compared byte by byte. Several ``Cookie`` headers are one list, as in HTTP/2 (RFC 9113, section 8.2.3).

    Raises:
        DuplicateCookie: the name occurs twice.
    """
    start = name.encode("ascii") + b"="
    values = [
        pair[len(start) :]
        for header_name, header in request.scope["headers"]
        if header_name == b"cookie"
        for part in header.split(b";")
        # Browsers separate cookies by "; " and store no name that begins with a space.
        if (pair := part.removeprefix(b" ")).startswith(start)
    ]
    if len(values) > 1:
        raise DuplicateCookie(name)
    if not values:
        return None
    match = _VALUE.fullmatch(values[0])
    return (match[1] or match[2] or b"").decode("ascii") if match else ""
