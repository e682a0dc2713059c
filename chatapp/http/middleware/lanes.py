"""Runs each request in the lane of its route."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from chatapp.auth import USER_KEY, current_user_id
from chatapp.domain.errors import LimitReached
from chatapp.http.errors import error_response
from chatapp.http.middleware.csrf import SAFE_METHODS
from chatapp.http.request_rules import rule_of
from chatapp.limits.lanes import Lane, LaneName

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class LanesMiddleware:
    """Lets requests run in lanes, each user in turn (`chatapp.limits.lanes`).

    A request has a place in its lane while the chat works on it: until its response starts, because what follows is
    sent as the client reads it. An export works between the parts that it sends: it has a place then, too.

    Args:
        app: the app behind it.
        lanes: by name.
    """

    def __init__(self, app: ASGIApp, *, lanes: dict[LaneName, Lane]) -> None:
        self._app = app
        self._lanes = lanes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on when it is its turn; refuse it if too many wait."""
        name = _lane_of(scope) if scope["type"] == "http" and USER_KEY in scope else None
        if name is None:
            await self._app(scope, receive, send)
            return
        lane, user = self._lanes[name], current_user_id(HTTPConnection(scope))
        try:
            lane.admit(user)
        except LimitReached as error:
            refusal = error_response(scope, 429, error.sentence, retry_after=error.retry_after)
            await refusal(scope, receive, send)
            return
        place = _Place(lane, user, send, returns=name is LaneName.EXPORT)
        await lane.enter(user)
        try:
            await self._app(scope, receive, place.send)
        finally:
            place.leave()


def _lane_of(scope: Scope) -> LaneName | None:
    """Return the lane of a request; None for changes, which have limits of their own."""
    lane = rule_of(scope["path"]).lane
    return lane if lane is LaneName.EXPORT or scope["method"] in SAFE_METHODS else None


class _Place:
    """The place of one request in its lane, which it leaves while it sends.

    Args:
        lane: which has counted it as running.
        user: who sent the request.
        send: sends a message of the response.
        returns: whether it takes a place again after each message but the last.
    """

    def __init__(self, lane: Lane, user: str, send: Send, *, returns: bool) -> None:
        self._lane = lane
        self._user = user
        self._send = send
        self._returns = returns
        self._is_taken = True

    async def send(self, message: Message) -> None:
        """Send a message without a place in the lane."""
        self.leave()
        await self._send(message)
        if self._returns and (message["type"] == "http.response.start" or message.get("more_body", False)):
            await self._lane.enter(self._user)
            self._is_taken = True

    def leave(self) -> None:
        """Give the place back, unless that is done."""
        if self._is_taken:
            self._is_taken = False
            self._lane.leave(self._user)
