"""The models that can be downloaded, are being downloaded, or are here: one folder for each of them."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import structlog

from chatapp.domain.errors import ChatError
from chatapp.domain.sentences import Sentence
from chatapp.models.local.computer import GB, free_disk, free_memory
from chatapp.models.local.download import SPARE_DISK, arrived, download, not_writable
from chatapp.models.local.hub import DownloadFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from chatapp.models.local.catalogue import LocalEntry
    from chatapp.models.local.hub import Hub

SPEED_SECONDS: Final = 5.0
"""Over which the speed is measured: long enough not to jump, short enough to notice a slow network."""

BRISK_BYTES: Final = 3_000_000_000
"""Read for each token: with the 25 GB/s of a laptop's memory, 8 tokens a second. A Mac's GPU reads much faster."""

_ACCEPTED = "licence-accepted.txt"
log = structlog.get_logger(__name__)


class LocalModelRefused(ChatError):
    """What was asked for cannot be done with this model now."""


class LocalState(StrEnum):
    """Where a model of the catalogue is."""

    AVAILABLE = "available"  # at the hub
    PARTIAL = "partial"  # some of it is here
    DOWNLOADING = "downloading"
    DOWNLOADED = "downloaded"


@dataclass(frozen=True, slots=True)
class Offer:
    """A model of the catalogue as it is now.

    Attributes:
        entry: of the catalogue.
        state: where it is.
        arrived: bytes of its files that are here.
        speed: bytes per second of a download in progress; None before that is known.
        problem: why this computer cannot run it, or has no room for it; None if it can.
        error: why the last download failed; None if it did not.
        licence_accepted: whether it was, at an earlier download.
    """

    entry: LocalEntry
    state: LocalState
    arrived: int
    speed: float | None = None
    problem: Sentence | None = None
    error: str | None = None
    licence_accepted: bool = False

    @property
    def seconds_left(self) -> float | None:
        """How long a download in progress will take; None if unknown."""
        return (self.entry.size - self.arrived) / self.speed if self.speed else None


class LocalModels:
    """The catalogue and the folder of models of one chat. One download runs at a time.

    Args:
        folder: of all models; it may not exist yet.
        hub: to download from.
        catalogue: what can be downloaded.
        on_downloaded: called when all files of a model are here.
        on_removed: called before its files are removed.
    """

    def __init__(
        self,
        folder: Path,
        hub: Hub,
        catalogue: Sequence[LocalEntry],
        *,
        on_downloaded: Callable[[LocalEntry], None] = lambda _entry: None,
        on_removed: Callable[[LocalEntry], Awaitable[None]] | None = None,
    ) -> None:
        self._folder = folder
        self._hub = hub
        self._catalogue = {entry.id: entry for entry in catalogue}
        self._on_downloaded = on_downloaded
        self._on_removed = on_removed
        self._task: asyncio.Task[None] | None = None
        self._progress: _Progress | None = None
        self._errors: dict[str, str] = {}

    @property
    def downloading(self) -> LocalEntry | None:
        """The model that is being downloaded, None if none is."""
        return self._progress.entry if self._progress else None

    def find(self, model_id: str) -> LocalEntry:
        """Return the entry with this id.

        Raises:
            LocalModelRefused: there is none.
        """
        if entry := self._catalogue.get(model_id):
            return entry
        raise LocalModelRefused(Sentence("This model is not in the list of models that can be downloaded."))

    def path(self, entry: LocalEntry, name: str = "") -> Path:
        """Return the path of a file of a model; of the model itself, if none is named."""
        return self._folder / entry.id / (name or entry.file.name)

    def is_downloaded(self, entry: LocalEntry) -> bool:
        """Return whether all files of a model are here: a file gets its name once its checksum is right."""
        return all(self.path(entry, file.name).exists() for file in entry.files)

    def downloaded(self) -> list[LocalEntry]:
        """Return the models that are here."""
        return [entry for entry in self._catalogue.values() if self.is_downloaded(entry)]

    def offers(self) -> list[Offer]:
        """Return all models as they are now."""
        free = self._free()
        return [self._offer(entry, free) for entry in self._catalogue.values()]

    def offer(self, model_id: str) -> Offer:
        """Return a model as it is now.

        Raises:
            LocalModelRefused: there is none.
        """
        return self._offer(self.find(model_id))

    def recommended(self, offers: Sequence[Offer] = ()) -> LocalEntry | None:
        """Return the best model that this computer can run at a good speed, or else the fastest that it can run.

        None if it can run none, or has one already. ``offers``: of all models, where they are at hand.
        """
        offers = offers or self.offers()
        if any(offer.state is LocalState.DOWNLOADED for offer in offers):
            return None
        fitting = [offer.entry for offer in offers if offer.problem is None]
        brisk = [entry for entry in fitting if _active(entry) <= BRISK_BYTES or sys.platform == "darwin"]
        best = max(brisk, key=lambda entry: entry.memory_bytes, default=None)
        return best or min(fitting, key=_active, default=None)

    def accept_licence(self, model_id: str) -> None:
        """Remember that a person has accepted the licence of a model.

        Raises:
            LocalModelRefused: there is no such model, or the folder cannot be written.
        """
        entry = self.find(model_id)
        file = self.path(entry, _ACCEPTED)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
            file.write_text(f"{entry.licence.name}, {entry.licence.url}\naccepted {now}\n", encoding="utf-8")
        except OSError as error:
            raise LocalModelRefused(not_writable(file.parent, error)) from error

    def is_licence_accepted(self, entry: LocalEntry) -> bool:
        """Return whether a person has accepted the licence of a model."""
        return self.path(entry, _ACCEPTED).exists()

    def is_wanted(self, model_id: str) -> bool:
        """Return whether a model can be downloaded, is not here yet, and its licence is accepted."""
        entry = self._catalogue.get(model_id)
        return entry is not None and not self.is_downloaded(entry) and self.is_licence_accepted(entry)

    def start(self, model_id: str) -> None:
        """Download a model, or go on with it, in the background.

        Raises:
            LocalModelRefused: there is no such model, its licence is not accepted, or another one is downloaded now.
        """
        entry = self.find(model_id)
        if self.downloading == entry or self.is_downloaded(entry):
            return
        if self.downloading:
            raise LocalModelRefused(
                Sentence("{model} is being downloaded. Wait until that is finished.", model=self.downloading.label)
            )
        if not self.is_licence_accepted(entry):
            raise LocalModelRefused(
                Sentence(
                    "Accept the licence of {model} first: {licence}.", model=entry.label, licence=entry.licence.name
                )
            )
        self._errors.pop(model_id, None)
        self._progress = _Progress(entry)
        self._task = asyncio.get_running_loop().create_task(self._download(self._progress))

    async def wait(self) -> None:
        """Wait until no download is in progress."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def cancel(self, model_id: str) -> None:
        """Stop the download of a model; what has arrived is kept."""
        if self._progress and self._progress.entry.id == model_id and self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._progress = None  # also where the task was cancelled before it began

    async def remove(self, model_id: str) -> None:
        """Remove the files of a model, also of an unfinished download.

        Raises:
            LocalModelRefused: there is no such model, or its files cannot be removed.
        """
        entry = self.find(model_id)
        await self.cancel(model_id)
        if self._on_removed:
            await self._on_removed(entry)
        self._errors.pop(model_id, None)
        try:
            await asyncio.to_thread(shutil.rmtree, self.path(entry).parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise LocalModelRefused(
                Sentence(
                    "The files in {folder} cannot be removed ({reason}).",
                    folder=str(self.path(entry).parent),
                    reason=error.strerror or type(error).__name__,
                )
            ) from error

    async def aclose(self) -> None:
        """Stop the download in progress; what has arrived is kept."""
        if self.downloading:
            await self.cancel(self.downloading.id)

    async def _download(self, progress: _Progress) -> None:
        entry = progress.entry
        try:
            for file in entry.files:
                target = self.path(entry, file.name)
                await download(self._hub, file, target, progress.of_file(file.name))
            self._on_downloaded(entry)
            log.info("model_downloaded", model=entry.id)
        except DownloadFailed as error:
            self._errors[entry.id] = error.sentence
            log.warning("download_failed", model=entry.id, detail=error.detail)
        finally:
            self._progress = None

    def _free(self) -> tuple[int, int]:
        """Return the free memory and disk; on a Mac that takes a process."""
        return free_memory(), free_disk(self._folder)

    def _offer(self, entry: LocalEntry, free: tuple[int, int] | None = None) -> Offer:
        accepted, error = self.is_licence_accepted(entry), self._errors.get(entry.id)
        if self._progress and self._progress.entry is entry:
            progress = self._progress
            here = max(progress.arrived, self._arrived(entry))
            return Offer(entry, LocalState.DOWNLOADING, here, progress.speed, licence_accepted=accepted)
        here = self._arrived(entry)
        if self.is_downloaded(entry):
            return Offer(entry, LocalState.DOWNLOADED, here, licence_accepted=accepted)
        memory, disk = free or self._free()
        problem = _problem(entry, memory, disk + here)
        state = LocalState.PARTIAL if here else LocalState.AVAILABLE
        return Offer(entry, state, here, problem=problem, error=error, licence_accepted=accepted)

    def _arrived(self, entry: LocalEntry) -> int:
        return sum(arrived(self.path(entry, file.name)) for file in entry.files)


def _active(entry: LocalEntry) -> int:
    return entry.active_bytes or entry.file.size


def _problem(entry: LocalEntry, memory: int, disk: int) -> Sentence | None:
    """Return why this computer cannot run a model, None if it can; as far as the system says what it has."""
    if 0 < memory < entry.memory_bytes:
        return Sentence(
            "It needs {needed} GB of memory, and {free} GB are free.",
            needed=round(entry.memory_bytes / GB, 1),
            free=round(memory / GB, 1),
        )
    if disk < entry.size + SPARE_DISK:
        return Sentence(
            "It needs {needed} GB of disk, and {free} GB are free.",
            needed=round((entry.size + SPARE_DISK) / GB, 1),
            free=round(disk / GB, 1),
        )
    return None


class _Progress:
    """How much of a model has arrived, and how fast."""

    def __init__(self, entry: LocalEntry) -> None:
        self.entry = entry
        self._files: dict[str, int] = {}
        self._marks: list[tuple[float, int]] = []  # time and bytes, of the last seconds

    @property
    def arrived(self) -> int:
        return sum(self._files.values())

    @property
    def speed(self) -> float | None:
        """Bytes per second, None before it is known."""
        if len(self._marks) < 2:
            return None
        (began, before), (_, now) = self._marks[0], self._marks[-1]
        seconds = time.monotonic() - began
        return (now - before) / seconds if seconds > 0.5 else None

    def of_file(self, name: str) -> Callable[[int], None]:
        """Return a function that is told how many bytes of a file are here."""
        self._marks.clear()  # what was there before the download says nothing about its speed

        def on_bytes(count: int) -> None:
            self._files[name] = count
            now = time.monotonic()
            if not self._marks or now - self._marks[-1][0] > 0.2:
                self._marks.append((now, self.arrived))
                while now - self._marks[0][0] > SPEED_SECONDS:
                    self._marks.pop(0)

        return on_bytes
