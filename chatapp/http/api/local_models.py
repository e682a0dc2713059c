"""Routes of the models that can be downloaded to this computer; only a chat for one person at home has them."""

from typing import Annotated

from fastapi import APIRouter, Depends

from chatapp.http.api.routing import ERRORS, ApiRoute, Chat, UserId
from chatapp.http.api.schemas.base import Empty
from chatapp.http.api.schemas.local_models import DownloadRequest, LocalModelBody, LocalModelList, LocalSummary
from chatapp.models.local.library import LocalModels

router = APIRouter(route_class=ApiRoute, responses=ERRORS)


async def _local_models(_user: UserId, chat: Chat) -> LocalModels:
    assert chat.local_models is not None  # noqa: S101  # else the app does not have these routes
    return chat.local_models


Local = Annotated[LocalModels, Depends(_local_models)]


@router.get("/local-models")
async def list_local_models(local: Local) -> LocalModelList:
    """Return all models of the catalogue, with how far a download is."""
    return LocalModelList(models=[LocalModelBody.of(offer) for offer in local.offers()])


@router.post("/local-models/{model_id}/download")
async def download_model(model_id: str, body: DownloadRequest, local: Local) -> LocalModelBody:
    """Download a model, or go on with it; its licence has to be accepted, now or at an earlier time."""
    if body.accept_licence:
        local.accept_licence(model_id)
    local.start(model_id)
    return LocalModelBody.of(local.offer(model_id))


@router.post("/local-models/{model_id}/cancel")
async def cancel_download(model_id: str, _body: Empty, local: Local) -> LocalModelBody:
    """Stop the download of a model; what has arrived is kept."""
    await local.cancel(model_id)
    return LocalModelBody.of(local.offer(model_id))


@router.delete("/local-models/{model_id}")
async def remove_model(model_id: str, local: Local) -> LocalModelBody:
    """Remove the files of a model, also those of an unfinished download."""
    await local.remove(model_id)
    return LocalModelBody.of(local.offer(model_id))


def summary(local: LocalModels | None) -> LocalSummary | None:
    """Return what a page shows of them; None where nothing can be downloaded."""
    if local is None:
        return None
    offers = local.offers()
    bodies = {offer.entry: LocalModelBody.of(offer) for offer in offers}
    recommended, downloading = local.recommended(offers), local.downloading
    return LocalSummary(
        recommended=bodies[recommended] if recommended else None,
        downloading=bodies[downloading] if downloading else None,
    )
