"""What of a chat's settings becomes models that run inside of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from chatapp.models.llamacpp.demo import DEMO_ID
from chatapp.models.llamacpp.gguf import GgufModel, metadata_of
from chatapp.models.llamacpp.metadata import InvalidGguf
from chatapp.models.llamacpp.model import LlamaCppModel
from chatapp.models.local.library import LocalModels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.models import TimeLimits
    from chatapp.models.catalog import Catalog
    from chatapp.models.local.catalogue import LocalEntry
    from chatapp.models.local.hub import Hub

OWN_FILE_ID: Final = "local-file"


class LocalSetup:
    """Puts models that run inside of the chat into its catalogue.

    Args:
        catalog: of the chat.
        idle_seconds: after which their memory is freed; None: never.
        limits: their timeouts.
    """

    def __init__(self, catalog: Catalog, *, idle_seconds: float | None, limits: TimeLimits) -> None:
        self._catalog = catalog
        self._idle_seconds = idle_seconds
        self._limits = limits

    def library(self, folder: Path, hub: Hub, catalogue: Sequence[LocalEntry]) -> LocalModels:
        """Return the models that can be downloaded; those that are here are in the catalogue, and each later one."""

        def add(entry: LocalEntry) -> None:
            projector = library.path(entry, entry.projector.name) if entry.projector else None
            model = GgufModel(
                entry.id,
                entry.label,
                library.path(entry),
                projector=projector,
                context_tokens=entry.context_tokens,
                cache_bytes=entry.cache_bytes,
                memory_bytes=entry.memory_bytes,
                idle_seconds=self._idle_seconds,
                others=self._running_here,
                limits=self._limits,
            )
            self._catalog.add(model, before=DEMO_ID)

        async def remove(entry: LocalEntry) -> None:
            await self._catalog.remove(entry.id)

        library = LocalModels(folder, hub, catalogue, on_downloaded=add, on_removed=remove)
        for entry in library.downloaded():
            add(entry)
        return library

    def add_file(self, path: Path) -> None:
        """Offer a GGUF file of the person's own, by the name in it."""
        try:
            name = metadata_of(path).name
        except (OSError, InvalidGguf):  # its status says so
            name = ""
        model = GgufModel(
            OWN_FILE_ID,
            name or path.stem,
            path,
            idle_seconds=self._idle_seconds,
            others=self._running_here,
            limits=self._limits,
        )
        self._catalog.add(model, before=DEMO_ID)

    def _running_here(self) -> list[LlamaCppModel]:
        return [model for model in self._catalog if isinstance(model, LlamaCppModel)]


def own_file(value: str) -> Path | None:
    """Return the path in ``CHAT_LOCAL_MODEL``, None where it is the id of a model."""
    return Path(value).expanduser() if value.lower().endswith(".gguf") or "/" in value else None
