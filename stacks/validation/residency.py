"""Data residency: where a deployment may keep and process what people write.

Firestore, the model, the bucket and the logs each have a location of their own. `residency` decides for all of them,
and refuses a location outside of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stacks.settings import Settings
    from stacks.validation.conflicts import Conflict


@dataclass(frozen=True)
class Residency:
    """One value of the setting.

    Attributes:
        title: for a person.
        region: the one to offer for the cluster.
        database: the default location of Firestore.
        databases: its multi-regions inside.
        model: the default location of Gemini, a multi-region.
        logs: the location of the log bucket, a multi-region.
        prefix: of the regions inside.
        outside: regions with that prefix that are not inside.
    """

    title: str
    region: str
    database: str
    databases: frozenset[str]
    model: str
    logs: str
    prefix: str
    outside: frozenset[str] = frozenset()

    def has_region(self, region: str) -> bool:
        """Return whether a region of Google Cloud is inside."""
        return region.startswith(self.prefix) and region not in self.outside


RESIDENCIES = {
    # Google processes Gemini's requests to the multi-regions eu and us inside of them
    # (https://docs.cloud.google.com/vertex-ai/generative-ai/docs/learn/data-residency). eur3 is Belgium, the
    # Netherlands and Finland (https://cloud.google.com/firestore/docs/locations). London and Zurich are not in the EU.
    "eu": Residency(
        title="the European Union",
        region="europe-west4",
        database="eur3",
        databases=frozenset({"eur3"}),
        model="eu",
        logs="eu",
        prefix="europe-",
        outside=frozenset({"europe-west2", "europe-west6"}),
    ),
    "us": Residency(
        title="the United States",
        region="us-central1",
        database="nam5",
        databases=frozenset({"nam5", "nam7"}),
        model="us",
        logs="us",
        prefix="us-",
    ),
}

NO_RESIDENCY = (
    "Gemini answers from the location global, which gives no data residency: Google may process a question anywhere. "
    "To bind the chat to the European Union or the United States, before the first make up: pulumi config set "
    "residency eu (or us)"
)
"""For a deployment that has none, which is the default."""


def residency_conflicts(settings: Settings) -> Iterator[Conflict]:
    """Yield each location that lies outside of the residency, with what is allowed."""
    chosen = settings.bound_to
    if chosen is None or not settings.on_gcp:
        return
    outside = f"lies outside of {chosen.title}, and residency is {settings.residency}"
    if not chosen.has_region(settings.region):
        yield (
            ("gcp:region", "residency"),
            f"gcp:region is {settings.region}, which {outside}: the cluster, the image and the bucket of builds are "
            f"there; pulumi config set gcp:region {chosen.region}",
        )
    database = settings.database_location
    if database and database not in chosen.databases and not chosen.has_region(database):
        yield (
            ("databaseLocation", "residency"),
            f"databaseLocation is {database}, which {outside}: it holds the conversations; remove the setting "
            f"({chosen.database}), or choose a region there",
        )
    model = settings.vertex_location
    if model and model != chosen.model and not chosen.has_region(model):
        what = "which gives no residency" if model == "global" else f"which {outside}"
        yield (
            ("vertexLocation", "residency"),
            f"vertexLocation is {model}, {what}: Gemini reads the questions there; remove the setting "
            f"({chosen.model}), or choose a region of {chosen.title}",
        )
    build = settings.build_region
    if build and not chosen.has_region(build):
        what = "which gives no residency" if build == "global" else f"which {outside}"
        yield (
            ("buildRegion", "residency"),
            f"buildRegion is {build}, {what}: Cloud Build reads the source there; remove the setting "
            f"({settings.region}), or choose a region of {chosen.title}",
        )
    if settings.gemma_url:
        yield (
            ("gemmaUrl", "residency"),
            "gemmaUrl is set, and the stack cannot know where that server is: remove it, or residency",
        )
