"""The audit log: one line for each sign-in, sign-out, export, deletion and merge of an account's data.

A line is the event ``audit`` with an ``action`` and the opaque user id. It never holds an e-mail address, a name or
text of a conversation.
"""

from __future__ import annotations

from enum import StrEnum

import structlog

log = structlog.get_logger(__name__)


class Action(StrEnum):
    """The audited actions."""

    SIGN_IN = "sign_in"
    SIGN_IN_REFUSED = "sign_in_refused"
    SIGN_OUT = "sign_out"
    SIGN_OUT_EVERYWHERE = "sign_out_everywhere"
    EXPORT = "export"
    DELETE = "delete"
    DELETE_EVERYTHING = "delete_everything"
    MERGE_GUEST = "merge_guest"


def record(action: Action, user: str) -> None:
    """Log an action of a user id; "" if the user is unknown."""
    log.info("audit", action=action.value, user=user)
