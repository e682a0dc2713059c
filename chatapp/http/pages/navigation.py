"""A person who opens an address, told from a script, and where they may be led on to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

_OWN_PAGE = re.compile(r"/(?:c/[A-Za-z0-9-]{1,80})?")


def own_page(asked: str) -> str:
    """Return the address of a page of this chat to go on to: the one that was asked for if it is one, else ``/``."""
    return asked if _OWN_PAGE.fullmatch(asked) else "/"


def is_navigation(request: HTTPConnection) -> bool:
    """Return whether a person opens an address, rather than a script asking for something."""
    mode = request.headers.get("sec-fetch-mode")  # not sent over plain HTTP
    return mode == "navigate" if mode else "text/html" in request.headers.get("accept", "")
