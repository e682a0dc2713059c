"""Routes of share links: make, list and revoke the user's links. `chatapp.http.pages.shared` opens them."""

from fastapi import APIRouter

from chatapp.auth import audit
from chatapp.auth.audit import Action
from chatapp.http.api.routing import ERRORS, ApiRoute, Chat, UserId
from chatapp.http.api.schemas.base import Done
from chatapp.http.api.schemas.shares import NewShare, ShareBody, ShareList, ShareRequest

router = APIRouter(route_class=ApiRoute, responses=ERRORS)


@router.post("/conversations/{conversation_id}/shares")
async def share_conversation(conversation_id: str, request: ShareRequest, user: UserId, chat: Chat) -> NewShare:
    """Make a link to a copy of a conversation as it is now."""
    token, share = await chat.shares.create(user, conversation_id, days=request.days, seen=request.seen_message())
    audit.record(Action.SHARE, user)
    return NewShare(share=ShareBody.model_validate(share), path=f"shared/{token}")


@router.get("/shares")
async def list_shares(user: UserId, chat: Chat) -> ShareList:
    """Return the user's links that work."""
    return ShareList(shares=[ShareBody.model_validate(share) for share in await chat.shares.listed(user)])


@router.delete("/shares/{share_id}")
async def revoke_share(share_id: str, user: UserId, chat: Chat) -> Done:
    """End a link: from now on it does not work."""
    await chat.shares.revoke(user, share_id)
    audit.record(Action.REVOKE_SHARE, user)
    return Done()
