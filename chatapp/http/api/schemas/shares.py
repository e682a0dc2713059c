"""Schemas of share links."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from chatapp.conversations.catch_up import Seen
from chatapp.http.api.schemas.base import RequestBody, ResponseBody
from chatapp.http.api.schemas.turns import SeenMessage


def _whole(value: object) -> object:
    return None if isinstance(value, bool | float) else value  # True == 1


class ShareRequest(RequestBody):
    """For how many days a link works, and the last message that the page shows."""

    days: Annotated[Literal[1, 7, 30], BeforeValidator(_whole)]
    seen: SeenMessage | None = None

    def seen_message(self) -> Seen | None:
        """Return the last message that the page shows."""
        return Seen(self.seen.id, self.seen.revision) if self.seen else None


class ShareBody(ResponseBody):
    """A share, as its owner sees it in a list. Times are milliseconds since the epoch."""

    id: str
    conversation_id: str
    title: str
    created_ms: int
    expires_ms: int


class ShareList(ResponseBody):
    """The user's links that work, the latest first."""

    shares: list[ShareBody]


class NewShare(ResponseBody):
    """A new link: ``path`` is its address below the chat's root, and is shown this once."""

    share: ShareBody
    path: str = Field(description="`shared/` and the secret of the link")
