"""Any GGUF file as a model of this chat: one that was downloaded, or a file of the person's own."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Final

from chatapp.domain.sentences import Sentence
from chatapp.models import DEFAULT_TIME_LIMITS, ModelState, ModelStatus
from chatapp.models.llamacpp.metadata import GgufMetadata, InvalidGguf, read_metadata, shard_paths
from chatapp.models.llamacpp.model import LlamaCppModel
from chatapp.models.llamacpp.server import threads
from chatapp.models.llamacpp.setup import missing_engine
from chatapp.models.local.computer import (
    CACHE_BYTES,
    COMPUTATION_BYTES,
    GB,
    SMALLEST_CONTEXT,
    context_that_fits,
    free_memory,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from chatapp.models import TimeLimits

MOST_THREADS: Final = 8
"""Generation waits for memory, not for the processor: more threads than that rarely help."""

CONTEXT_TOKENS: Final = 8192  # where it is not known

SMALL_BYTES: Final = 500_000_000
"""Of the file of a model with half a billion parameters in 4 to 8 bits, which gets lost in long prompts."""


class GgufModel(LlamaCppModel):
    """A GGUF file with its own chat template.

    Threads, context and GPU layers are chosen from what is there when its server starts. GPU layers need a build of
    llama.cpp for the GPU: xllamacpp's wheel for macOS has Metal, its default one for Linux only the processor.

    Args:
        id: short, stable, unique in the catalogue.
        label: its name on the page.
        path: the file.
        projector: the file that turns pictures into tokens; None for a model of text alone.
        context_tokens: that it was trained for; None: as the file says.
        cache_bytes: of memory for each token of a conversation; None: as the file says.
        memory_bytes: that it needs with the smallest context; 0: estimated from its size.
        idle_seconds: without a question, after which its memory is freed; None: never.
        others: returns the other models that run inside of this chat, which give way where memory is short.
        limits: timeouts; ``first_token`` includes the start of the server.
    """

    start_seconds = 300.0  # a slow disk reads 5 GB at 20 MB/s
    writes_titles = True

    def __init__(
        self,
        id: str,  # noqa: A002  # the protocol's name
        label: str,
        path: Path,
        *,
        projector: Path | None = None,
        context_tokens: int | None = None,
        cache_bytes: int | None = None,
        memory_bytes: int = 0,
        idle_seconds: float | None = None,
        others: Callable[[], Iterable[LlamaCppModel]] = tuple,
        limits: TimeLimits = DEFAULT_TIME_LIMITS,
    ) -> None:
        super().__init__(id, label, limits=limits)
        self.supports_images = projector is not None
        # The first part of a model in several files says nothing of the size of all.
        self.is_small = path.is_file() and path.stat().st_size < SMALL_BYTES and "-of-" not in path.name
        self.context_tokens: int | None = min(context_tokens or CONTEXT_TOKENS, SMALLEST_CONTEXT)
        self.idle_seconds = idle_seconds
        self._path = path
        self._projector = projector
        self._trained_for = context_tokens
        self._cache_bytes = cache_bytes
        self._memory_bytes = memory_bytes
        self._others = others

    def file(self) -> Path | None:
        """Return the file."""
        return self._path

    async def find_problem(self) -> ModelStatus | None:
        """Return what keeps the model from running here, None if nothing does."""
        return await asyncio.to_thread(missing_engine) or await asyncio.to_thread(self._file_problem)

    async def status(self) -> ModelStatus:
        """Return whether the model can answer; a file without a chat template is ready, with a warning."""
        status = await super().status()
        if status.state is ModelState.READY and not (await asyncio.to_thread(metadata_of, self._path)).has_template:
            reason = Sentence("its file has no chat template, so it may continue a question and not answer it")
            return ModelStatus(status.state, reason)
        return status

    async def make_room(self) -> ModelStatus | None:
        """Stop other models that run here, where the free memory is not enough for all of them."""
        needed = await asyncio.to_thread(self._needed_memory)
        for other in self._others():
            if free_memory() >= needed:
                break
            if other is not self and other.has_server and other.is_idle:
                await other.unload()
        trained_for, cache_bytes = await asyncio.to_thread(self._sizes)
        self.context_tokens = context_that_fits(trained_for, cache_bytes=cache_bytes, memory_bytes=needed)
        # Only what cannot work at all is refused: the system frees memory, and files are mapped.
        free = free_memory()
        if 0 < free < needed // 2:
            return ModelStatus(
                ModelState.UNAVAILABLE,
                Sentence(
                    "it needs {needed} GB of memory, and {free} GB are free",
                    needed=round(needed / GB, 1),
                    free=round(free / GB, 1),
                ),
                Sentence("close other programs and restart the chat, or choose a smaller model"),
            )
        return None

    def server_settings(self) -> dict[str, Any]:
        """Return the settings of its server."""
        settings: dict[str, Any] = {
            "context_tokens": self.context_tokens,
            "parallel": 1,  # a second question waits: half the context for each would be the alternative
            "threads": min(MOST_THREADS, threads()),
            "gpu_layers": -1,
        }
        return settings | ({"projector": str(self._projector)} if self._projector else {})

    def _needed_memory(self) -> int:
        if self._memory_bytes:
            return self._memory_bytes
        files = shard_paths(self._path, metadata_of(self._path).shards)
        weights = sum(file.stat().st_size for file in files if file.exists())
        return weights + COMPUTATION_BYTES + SMALLEST_CONTEXT * self._sizes()[1]

    def _sizes(self) -> tuple[int, int]:
        """Return the context that it was trained for, and the bytes of each token: as given, else as the file says."""
        metadata = metadata_of(self._path)
        return (
            self._trained_for or metadata.context_tokens or CONTEXT_TOKENS,
            self._cache_bytes or metadata.cache_bytes or CACHE_BYTES,
        )

    def _file_problem(self) -> ModelStatus | None:
        for path in filter(None, (self._path, self._projector)):
            try:
                metadata = metadata_of(path)
            except OSError as error:
                reason = Sentence("{file} cannot be read ({reason})", file=str(path), reason=error.strerror or "")
                return ModelStatus(
                    ModelState.NOT_SET_UP, reason, Sentence("set CHAT_LOCAL_MODEL to a file that exists")
                )
            except InvalidGguf:
                reason = Sentence("{file} is no GGUF file, or is damaged", file=str(path))
                return ModelStatus(ModelState.UNAVAILABLE, reason, Sentence("set CHAT_LOCAL_MODEL to a GGUF file"))
            if path == self._path and (problem := _other_file(path, metadata)):
                return problem
        return None


def metadata_of(path: Path) -> GgufMetadata:
    """Return what a file says, read once as long as it is unchanged.

    Raises:
        InvalidGguf: it is no GGUF file, or is damaged.
        OSError: it cannot be read.
    """
    stat = path.stat()
    return _metadata(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _metadata(path: Path, _size: int, _changed: int) -> GgufMetadata:
    return read_metadata(path)


def _other_file(path: Path, metadata: GgufMetadata) -> ModelStatus | None:
    """Return why an undamaged file is no model that can chat."""
    fix = Sentence("set CHAT_LOCAL_MODEL to the file of a model")
    if not metadata.is_chat_model:
        return ModelStatus(ModelState.UNAVAILABLE, Sentence("{file} is no model that can chat", file=str(path)), fix)
    first, *others = shard_paths(path, metadata.shards)
    missing = next((file for file in others if not file.exists()), None)
    if metadata.shard != 1:
        reason = Sentence("{file} is a later part of a model", file=str(path))
        fix = Sentence("set CHAT_LOCAL_MODEL to its first part, {file}", file=first.name)
    elif missing:
        reason = Sentence("{file}, another part of the model, is missing", file=str(missing))
        fix = Sentence("put all parts of the model into one folder")
    else:
        return None
    return ModelStatus(ModelState.UNAVAILABLE, reason, fix)
