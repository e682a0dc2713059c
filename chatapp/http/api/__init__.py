"""What the page asks of the chat: a small JSON API, beside what Gradio serves.

Nothing of another user is ever read or changed; what is wrong is said as ``{"error": sentence}`` (see
`chatapp.domain.sentences.as_json`) with a fitting status. A change must say that it is JSON, which no form of another
site can: see `chatapp.http.api.requests`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from chatapp.http.api import state
from chatapp.http.api.conversations import ConversationRoutes
from chatapp.http.api.stream import Streams
from chatapp.http.api.turns import TurnRoutes
from chatapp.http.errors import ApiRoute

if TYPE_CHECKING:
    from chatapp.config.settings import Settings
    from chatapp.conversations.service import Conversations
    from chatapp.generation.runner import TurnRunner
    from chatapp.models.catalog import Catalog
    from chatapp.store import Store


def router(
    settings: Settings, store: Store, catalog: Catalog, turns: TurnRunner, conversations: Conversations
) -> APIRouter:
    """Return all routes."""
    routes = APIRouter(include_in_schema=False, route_class=ApiRoute)
    streams = Streams(store, catalog, turns, conversations)
    routes.include_router(state.router(settings, store, catalog, turns, conversations))
    asking = TurnRoutes(store, turns, streams, conversations, max_images=settings.max_images)
    routes.include_router(asking.router())
    routes.include_router(ConversationRoutes(conversations, turns, streams).router())
    return routes
