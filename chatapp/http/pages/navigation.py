"""Tells a person who opens an address from a script, and checks where a redirect may lead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

_LOCAL_PAGE = re.compile(r"/(?:c/[A-Za-z0-9-]{1,80}|shared/[A-Za-z0-9_-]{43})?")


def local_page(address: str) -> str:
    """Return the address if it is a page of this chat, else ``/``: no redirect leads to another site."""
    return address if _LOCAL_PAGE.fullmatch(address) else "/"


def is_navigation(request: HTTPConnection) -> bool:
    """Return whether a person opens an address, rather than a script that sends a request."""
    mode = request.headers.get("sec-fetch-mode")  # not sent over plain HTTP
    return mode == "navigate" if mode else "text/html" in request.headers.get("accept", "")
