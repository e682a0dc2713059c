"""Routes of what a page needs when it is opened, the models' states, and the profile."""

import asyncio
from contextlib import suppress
from typing import Literal

from fastapi import APIRouter

from chatapp.config.settings import Settings
from chatapp.domain.conversation import Profile
from chatapp.domain.errors import ConversationNotFound, ProfileChanged, StoreUnavailable
from chatapp.domain.sentences import Duration, Sentence
from chatapp.http.api.conversations import conversation_page
from chatapp.http.api.local_models import summary
from chatapp.http.api.routing import ERRORS, ApiRoute, Chat, CurrentUser, Services, UserId
from chatapp.http.api.schemas.conversations import ConversationPage
from chatapp.http.api.schemas.library import LibraryNames
from chatapp.http.api.schemas.profile import ProfileBody, ProfileChange
from chatapp.http.api.schemas.state import Limits, ModelBody, Models, State, StoreBody, UserBody
from chatapp.http.errors import sentence_of
from chatapp.images.scaling import LONGEST_SIDE, MAX_BYTES
from chatapp.store import Consistency, StoreStatus
from chatapp.store.codec import clean_profile
from chatapp.store.values import WRITE_BYTES

DELIVERY_S = 1.0  # how long a change of the profile waits for the cloud, which takes 10 to 50 ms while it is well
TEXT_BYTES = 100_000  # of a message, beside its images and documents; the store refuses what needs more room

router = APIRouter(route_class=ApiRoute, responses=ERRORS)


@router.get("/state")
async def read_state(user: CurrentUser, chat: Chat, conversation: str = "") -> State:
    """Return all at once: models, profile, list, and the conversation that the page's address names."""
    problems: list[str] = []
    profile, page, opened = Profile(), ConversationPage(pinned=[], items=[], cursor=None), None
    try:
        # While the history is unavailable, the page still shows the models, and a notice.
        profile, page = await asyncio.gather(chat.store.profile(user.id), conversation_page(chat, user.id))
        if conversation:
            with suppress(ConversationNotFound):
                opened = chat.opened(user.id, await chat.conversations.open(user.id, conversation))
    except StoreUnavailable as error:
        problems.append(sentence_of(error))
    models = await _models(chat)
    return State(
        models=models.models,
        notices=[*models.notices, *problems],
        local=models.local,
        default=models.default,
        embeddings_place=models.embeddings_place,
        me=UserBody.model_validate(user),
        profile=ProfileBody.model_validate(profile),
        library=LibraryNames.model_validate(profile),
        conversations=page,
        conversation=opened,
        store=StoreBody.model_validate(chat.store.status()),
        store_kind=chat.settings.store,
        limits=Limits(
            message_chars=chat.settings.max_message_chars,
            images=chat.settings.max_images,
            image_side=LONGEST_SIDE,
            image_bytes=MAX_BYTES,
            documents=chat.settings.max_documents,
            document_bytes=chat.settings.document_megabytes * 1_000_000,
            collection_documents=chat.settings.collection_documents,
            attachment_bytes=WRITE_BYTES - TEXT_BYTES if chat.settings.store == "firestore" else 0,
        ),
        share_links=_share_links(chat.settings),
    )


@router.get("/models")
async def list_models(_user: UserId, chat: Chat) -> Models:
    """Return the models' states; a model is only checked while a page is open."""
    return await _models(chat)


@router.put("/profile")
async def change_profile(change: ProfileChange, user: UserId, chat: Chat) -> ProfileBody:
    """Store the profile, unless another page or device changed it in the meantime, perhaps at another replica."""
    profile, stored = clean_profile(change.profile()), await chat.store.profile(user)
    if profile.revision != stored.revision + 1:
        raise ProfileChanged
    await chat.store.save_profile(user, profile)
    if await chat.store.delivered(user, "", "", seconds=DELIVERY_S):
        stored = await chat.store.profile(user)
        if stored.revision == profile.revision and stored.without_library != profile:
            raise ProfileChanged  # the other replica's change of this revision arrived first, and stays
    return ProfileBody.model_validate(await chat.store.profile(user, consistency=Consistency.CACHED))


def _share_links(settings: Settings) -> Literal["off", "users", "anyone"]:
    return "users" if settings.share_links == "anyone" and settings.identity == "iap" else settings.share_links


async def _models(chat: Services) -> Models:
    if chat.discovery:
        await chat.discovery.refreshed()
    statuses = chat.catalog.statuses()
    return Models(
        models=[ModelBody.of(model, statuses[model.id]) for model in chat.catalog],
        notices=_notices(chat.store.status()),
        local=summary(chat.local_models),
        default=chat.catalog.first_choice().id,
        embeddings_place=chat.turns.embeddings_place,
    )


def _notices(status: StoreStatus) -> list[str]:
    """Return what to tell the user about the store of the history; nothing if it has everything."""
    if status.full:
        return [
            Sentence(
                "The history cannot be saved in the cloud and the local queue is full. New messages are rejected until "
                "the cloud is available again."
            )
        ]
    if status.reachable:
        return []
    if minutes := round(status.waiting_seconds / 60):
        return [
            Sentence(
                "The history in the cloud has been unavailable for {time}. What you write is stored here and saved "
                "there later; older conversations may not open until then.",
                time=Duration(60 * minutes),
            )
        ]
    return [
        Sentence(
            "The history in the cloud is unavailable. What you write is stored here and saved there later; older "
            "conversations may not open until then."
        )
    ]
