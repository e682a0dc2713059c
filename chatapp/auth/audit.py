"""The audit log, and the log of refused requests.

A line of the audit log is the event ``audit`` with an ``action`` and the opaque user id: one for each sign-in,
sign-out, export, deletion, merge of an account's data, and share link. A refused request is the event
``request_refused`` with a ``reason``. Neither ever holds an e-mail address, a name, an IP address or text of a
conversation.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

import structlog

from chatapp.limits.moving_window import MovingWindow

LINES_PER_MINUTE = 20  # of each kind: clients without an account cause them

log = structlog.get_logger(__name__)


class Action(StrEnum):
    """The audited actions."""

    SIGN_IN = "sign_in"
    SIGN_IN_REFUSED = "sign_in_refused"
    SIGN_OUT = "sign_out"
    SIGN_OUT_EVERYWHERE = "sign_out_everywhere"
    END_SESSION = "end_session"
    EXPORT = "export"
    IMPORT = "import"
    DELETE = "delete"
    DELETE_EVERYTHING = "delete_everything"
    MERGE_GUEST = "merge_guest"
    SHARE = "share"
    REVOKE_SHARE = "revoke_share"


class Refusal(StrEnum):
    """Why a request was refused before it reached a route."""

    ORIGIN = "origin"
    HOST = "host"
    SIZE = "size"
    AUTHENTICATION = "authentication"


def record(action: Action, user: str) -> None:
    """Log an action of a user id."""
    log.info("audit", action=action.value, user=user)


class RefusalLog:
    """Logs refusals that any client can cause, at most `LINES_PER_MINUTE` of each kind.

    A line that follows others that were left out has their number as ``left_out``.
    """

    def __init__(self, window: MovingWindow | None = None) -> None:
        self._window = MovingWindow(60) if window is None else window  # an empty one is false
        self._left_out: Counter[str] = Counter()

    def sign_in_refused(self, user: str) -> None:
        """Log that a sign-in was refused, with the user id; "" if the user is unknown."""
        self._write("audit", action=Action.SIGN_IN_REFUSED.value, user=user)

    def request_refused(self, reason: Refusal, status: int) -> None:
        """Log that a request was refused with an HTTP status."""
        self._write("request_refused", reason=reason.value, status=status)

    def sign_in_failed(self, detail: str) -> None:
        """Log why a sign-in failed."""
        self._write("sign_in_refused", detail=detail)

    def _write(self, event: str, **details: str | int) -> None:
        kind = f"{event}/{details.get('reason', '')}"
        if self._window.wait(kind, LINES_PER_MINUTE):
            self._left_out[kind] += 1
            return
        self._window.add(kind)
        if left_out := self._left_out.pop(kind, 0):
            details["left_out"] = left_out
        write = log.info if event == "audit" else log.warning
        write(event, **details)
