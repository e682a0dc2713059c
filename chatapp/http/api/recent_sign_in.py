"""Requires a recent sign-in before what cannot be undone: a session may be open on a device that others use, too."""

from urllib.parse import urlsplit

from chatapp.auth import User
from chatapp.domain.conversation import now_ms
from chatapp.domain.sentences import Sentence

RECENT_MS = 15 * 60_000
SIGN_IN_AGAIN = Sentence("Sign in again before you delete everything. Nothing was deleted.")


def has_signed_in_recently(user: User) -> bool:
    """Return whether the user signed in a short time ago, or the chat has no sign-in for this user."""
    return user.signed_in_ms is None or now_ms() < user.signed_in_ms + RECENT_MS


def sign_in_again_url(root_url: str) -> str:
    """Return the address that has the provider ask the user to sign in again, given the chat's public address."""
    return f"{urlsplit(root_url).path.rstrip('/')}/sign-in/start?again=1"
