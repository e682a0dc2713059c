"""Models that can be downloaded to this computer."""

from typing import Self

from pydantic import Field

from chatapp.http.api.schemas.base import RequestBody, ResponseBody, Translatable
from chatapp.models.local.library import LocalState, Offer


class LocalModelBody(ResponseBody):
    """A model of the catalogue as it is now."""

    id: str
    label: str
    state: LocalState
    size: int = Field(description="bytes of all its files")
    arrived: int = Field(description="bytes that are here")
    speed: int | None = Field(description="bytes per second of a download in progress")
    seconds_left: int | None
    problem: Translatable | None = Field(description="why this computer cannot run it")
    error: Translatable | None = Field(description="why the last download failed")
    licence: str
    licence_url: str
    licence_accepted: bool
    source: str = Field(description="address of its page at the hub")
    supports_images: bool = Field(serialization_alias="images")
    languages: int = Field(description="how many it knows; 0: unknown")

    @classmethod
    def of(cls, offer: Offer) -> Self:
        """Return a model as the page gets it."""
        entry = offer.entry
        return cls(
            id=entry.id,
            label=entry.label,
            state=offer.state,
            size=entry.size,
            arrived=offer.arrived,
            speed=None if offer.speed is None else round(offer.speed),
            seconds_left=None if offer.seconds_left is None else round(offer.seconds_left),
            problem=offer.problem,
            error=offer.error,
            licence=entry.licence.name,
            licence_url=entry.licence.url,
            licence_accepted=offer.licence_accepted,
            source=entry.source,
            supports_images=entry.projector is not None,
            languages=entry.languages,
        )


class LocalModelList(ResponseBody):
    """All models of the catalogue."""

    models: list[LocalModelBody]


class LocalSummary(ResponseBody):
    """What a page shows without being asked: the model to offer, and the download in progress."""

    recommended: LocalModelBody | None
    downloading: LocalModelBody | None


class DownloadRequest(RequestBody):
    """Consent to a download."""

    accept_licence: bool = Field(default=False, alias="acceptLicence")
