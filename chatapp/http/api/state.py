"""What a page needs when it is opened, and what it looks at again and again.

GET /state?conversation={id}  all at once: models, profile, list, and the conversation that the address names
GET /models                   the models' states; asks nobody but the models that somebody looks at
PUT /profile                  what is remembered of the person
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from chatapp.auth import current_user, current_user_id
from chatapp.domain import images as pictures
from chatapp.domain.conversation import Profile
from chatapp.domain.errors import ConversationNotFound, ProfileChanged, StoreUnavailable
from chatapp.domain.sentences import as_json
from chatapp.http.api import facts, requests
from chatapp.http.api.conversations import page
from chatapp.http.api.profiles import asked_profile
from chatapp.http.errors import ApiRoute, sentence_of
from chatapp.store import Consistency

if TYPE_CHECKING:
    from starlette.responses import Response

    from chatapp.config.settings import Settings
    from chatapp.conversations.service import Conversations
    from chatapp.generation.runner import TurnRunner
    from chatapp.models.catalog import Catalog
    from chatapp.store import Store


def router(
    settings: Settings, store: Store, catalog: Catalog, turns: TurnRunner, conversations: Conversations
) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(include_in_schema=False, route_class=ApiRoute)

    @routes.get("/state", response_model=None)
    async def state(request: Request, conversation: str = "") -> Response:
        account = current_user(request)
        user = account.id
        problems: list[Any] = []
        profile = Profile()
        listing: dict[str, Any] = {"pinned": [], "items": [], "cursor": None}
        opened: dict[str, Any] | None = None
        try:
            # A page that opens while the history is away still shows the models and what is wrong.
            profile, listing = await asyncio.gather(store.profile(user), page(conversations, turns, user))
            if conversation:
                with suppress(ConversationNotFound):
                    found = await conversations.open(user, conversation)
                    opened = facts.opened(found, writing=turns.is_busy(user, found.id))
        except StoreUnavailable as error:
            problems.append(as_json(sentence_of(error)))
        limits = {
            "messageChars": settings.max_message_chars,
            "images": settings.max_images,
            "imageSide": pictures.LONGEST_SIDE,
            "imageBytes": pictures.MOST_BYTES,
        }
        found_state = {
            **models(),
            "default": catalog.first_choice().id,
            "me": {"kind": account.kind, "name": account.name, "address": account.email},
            "profile": facts.profile(profile),
            "conversations": listing,
            "conversation": opened,
            "store": facts.store(store.status()),
            "limits": limits,
        }
        found_state["notices"] += problems
        return JSONResponse(found_state)

    @routes.get("/models", response_model=None)
    async def looked(_request: Request) -> Response:
        return JSONResponse(models())

    @routes.put("/profile", response_model=None)
    async def keep_profile(request: Request) -> Response:
        user, profile = current_user_id(request), asked_profile(await requests.sent(request))
        before = await store.profile(user)
        if profile.revision != before.revision + 1:
            raise ProfileChanged
        await store.save_profile(user, profile)
        return JSONResponse(facts.profile(await store.profile(user, consistency=Consistency.CACHED)))

    def models() -> dict[str, Any]:
        statuses = catalog.statuses()
        return {
            "models": [facts.model(one, statuses[one.id]) for one in catalog],
            "notices": facts.notices(store.status()),
        }

    return routes
