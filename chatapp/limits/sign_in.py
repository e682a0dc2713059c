"""The rate limit of sign-ins that do not succeed, because each has the chat ask the identity provider."""

from __future__ import annotations

from chatapp.limits.moving_window import MovingWindow
from chatapp.limits.networks import NetworkLimit

WINDOW_SECONDS = 600
# A sign-in that succeeds is not counted, so an office behind one address may sign in at the same time.
FAILURES_PER_NETWORK = 20
FAILURES_IN_TOTAL = 200


class SignInLimit(NetworkLimit):
    """Counts sign-ins that are in progress at the provider or have failed there, per client network and in total."""

    def __init__(self, window: MovingWindow | None = None) -> None:
        window = MovingWindow(WINDOW_SECONDS) if window is None else window
        super().__init__(FAILURES_PER_NETWORK, FAILURES_IN_TOTAL, window)
