"""The audit log: who did what with an account or with all that is in it, one line each.

A line is ``audit`` with an ``action`` and the user's opaque id: no address, no name, and nothing of a conversation.
"""

from __future__ import annotations

from enum import StrEnum

import structlog

log = structlog.get_logger(__name__)


class Action(StrEnum):
    """What is noted."""

    SIGN_IN = "sign_in"
    SIGN_IN_REFUSED = "sign_in_refused"
    SIGN_OUT = "sign_out"
    SIGN_OUT_EVERYWHERE = "sign_out_everywhere"
    EXPORT = "export"
    DELETE = "delete"
    DELETE_EVERYTHING = "delete_everything"
    TAKE_ALONG = "take_along"


def note(action: Action, user: str) -> None:
    """Note what a user did; "" where nobody knows who it was."""
    log.info("audit", action=action.value, user=user)
