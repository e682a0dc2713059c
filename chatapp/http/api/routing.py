"""What all routes of the API share: the services that they call, the user who sent a request, and its bounds."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from chatapp.auth import User, current_user, current_user_id
from chatapp.config.settings import Settings
from chatapp.conversations.library import Library
from chatapp.conversations.service import Conversations
from chatapp.conversations.shares import Shares
from chatapp.documents.uploads import DocumentUploads
from chatapp.domain.conversation import Conversation
from chatapp.domain.sentences import Sentence
from chatapp.generation.runner import TurnRunner
from chatapp.http.api.json_body import JsonRequest
from chatapp.http.api.schemas.base import ErrorBody
from chatapp.http.api.schemas.conversations import ConversationItem, OpenConversation
from chatapp.http.errors import EXPECTED, UnexpectedError
from chatapp.images.decoder import ImageDecoder
from chatapp.images.uploads import Uploads
from chatapp.imports.places import ImportPlaces
from chatapp.models.catalog import Catalog
from chatapp.models.discovery.discovery import Discovery
from chatapp.models.local.library import LocalModels
from chatapp.store import UserStore

ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}}


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the routes call; `chatapp.app` puts it at ``app.state.services``.

    Attributes:
        local_models: that can be downloaded; None where nothing can be.
        discovery: of model servers on this computer; None where they are not looked for.
    """

    settings: Settings
    store: UserStore
    catalog: Catalog
    turns: TurnRunner
    conversations: Conversations
    shares: Shares
    library: Library
    images: ImageDecoder
    uploads: Uploads
    documents: DocumentUploads
    imports: ImportPlaces
    local_models: LocalModels | None = None
    discovery: Discovery | None = None

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
    """A route with bounded JSON (`JsonRequest`), whose unexpected errors the exception handlers answer, too.

    `chatapp.http.request_rules` bounds the size of the body. FastAPI's own bound (``max_body_size``) answers in plain
    text, whatever an exception handler says (0.165).
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler of a request, wrapped."""
        handle = super().get_route_handler()

        async def handle_request(request: Request) -> Response:
            try:
                return await handle(JsonRequest(request.scope, request.receive))
            except EXPECTED:
                raise
            except Exception as error:
                raise UnexpectedError from error

        return handle_request


class NotConfirmed(HTTPException):
    """A request that must be confirmed is not."""

    def __init__(self) -> None:
        super().__init__(400, Sentence("Confirm that everything should be deleted. Nothing was deleted."))


class ConfirmedRoute(ApiRoute):
    """A route that does nothing without a confirmation; every other body gets one and the same answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler of a request, wrapped."""
        handle = super().get_route_handler()

        async def handle_request(request: Request) -> Response:
            try:
                return await handle(request)
            except (RequestValidationError, HTTPException):
                raise NotConfirmed from None

        return handle_request
