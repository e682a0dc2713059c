"""What all routes of the API share: the services that they call, the user who sent a request, and its bounds."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from chatapp.auth import User, current_user, current_user_id
from chatapp.config.settings import Settings
from chatapp.conversations.service import Conversations
from chatapp.domain.conversation import Conversation
from chatapp.domain.errors import TooLong
from chatapp.domain.images import MOST_SENT_BYTES, ImageDecoder
from chatapp.domain.sentences import Sentence
from chatapp.generation.runner import TurnRunner
from chatapp.http.api.schemas.base import ErrorBody
from chatapp.http.api.schemas.conversations import ConversationItem, OpenConversation
from chatapp.http.errors import EXPECTED, UnexpectedError
from chatapp.models.catalog import Catalog
from chatapp.store import Store

MAX_BODY_BYTES = 8_000_000  # the longest message in any alphabet, escaped, with room
ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}}


def max_question_bytes(images: int) -> int:
    """Return the bytes of the longest question with so many images, in base64."""
    return MAX_BODY_BYTES + images * MOST_SENT_BYTES * 4 // 3


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the routes call; `chatapp.app` puts it at ``app.state.services``."""

    settings: Settings
    store: Store
    catalog: Catalog
    turns: TurnRunner
    conversations: Conversations
    images: ImageDecoder

    def item(self, user: str, conversation: Conversation) -> ConversationItem:
        """Return a conversation as a list shows it."""
        return ConversationItem.of(conversation, writing=self.turns.is_busy(user, conversation.id))

    def opened(self, user: str, conversation: Conversation) -> OpenConversation:
        """Return a conversation as it is shown on its own."""
        return OpenConversation.of(conversation, writing=self.turns.is_busy(user, conversation.id))


# Asynchronous, because FastAPI runs other dependencies in threads.
async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _user(request: Request) -> User:
    return current_user(request)


async def _user_id(request: Request) -> str:
    return current_user_id(request)


Chat = Annotated[Services, Depends(_services)]
CurrentUser = Annotated[User, Depends(_user)]
UserId = Annotated[str, Depends(_user_id)]


class ApiRoute(APIRoute):
    """A route with a bound on the body, whose unexpected errors the exception handlers answer, too.

    FastAPI's own bound (``max_body_size``) answers in plain text, whatever an exception handler says (0.165).
    """

    max_body_bytes: ClassVar[float] = MAX_BODY_BYTES

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler of a request, wrapped."""
        handle = super().get_route_handler()

        async def handle_request(request: Request) -> Response:
            try:
                return await handle(Request(request.scope, _bounded(request.receive, self.max_body_bytes)))
            except EXPECTED:
                raise
            except Exception as error:
                raise UnexpectedError from error

        return handle_request


class QuestionRoute(ApiRoute):
    """A route that takes images: `SizesMiddleware` bounds these, by the settings."""

    max_body_bytes = float("inf")


class NotConfirmed(HTTPException):
    """A request that must be confirmed is not."""

    def __init__(self) -> None:
        super().__init__(400, Sentence("Confirm that everything should be deleted. Nothing was deleted."))


class ConfirmedRoute(ApiRoute):
    """A route that does nothing without a confirmation; every other body gets one and the same answer."""

    max_body_bytes = 1_000

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler of a request, wrapped."""
        handle = super().get_route_handler()

        async def handle_request(request: Request) -> Response:
            try:
                return await handle(request)
            except (RequestValidationError, HTTPException):
                raise NotConfirmed from None

        return handle_request


def _bounded(receive: Receive, max_bytes: float) -> Receive:
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise TooLong
        return message

    return bounded
