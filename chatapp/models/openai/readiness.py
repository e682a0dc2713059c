"""Whether a model works, as far as it has been seen: by its answers and, after a failure only, by a probe.

A probe asks a question like a person's. It never runs just to find out: on a server that loads models on demand it
would load one for nothing, and evict the one in use (https://github.com/ollama/ollama/issues/4638).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatapp.models.failure import Failure

FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 60.0
"""Between two probes that fail, growing: each may cost the server a load."""

STANDS_SECONDS: Final = 60.0
"""For which a failure stands where no probe is possible; the next question then shows whether the model works."""

IN_USE_SECONDS: Final = 300.0
"""For which a model counts as in use after a token: as long as Ollama keeps one in memory."""


class ServerUse:
    """When each model of one server generated its last token, on the clock of the event loop."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def note(self, model: str) -> None:
        """Note that the model of this name generates a token now."""
        self._last[model] = _now()

    def has_other(self, model: str) -> bool:
        """Return whether another model is in use."""
        return any(_now() - at < IN_USE_SECONDS for other, at in self._last.items() if other != model)


class Readiness:
    """The last failure of a model, and the probes that look whether it is over.

    Args:
        probe: asks the model a question, and notes a token or a failure here. Never raises.

    Attributes:
        failure: the last one, None if the model has answered since, or was never asked.
        running: how many questions are being answered, with that of a probe.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]]) -> None:
        self.failure: Failure | None = None
        self.running = 0
        self._probe = probe
        self._task: asyncio.Task[None] | None = None
        self._failed_at = float("-inf")
        self._next_probe_at = float("-inf")
        self._pause = FIRST_PAUSE_SECONDS

    def note_token(self) -> None:
        """Note that the model generates text."""
        self.failure = None
        self._pause, self._next_probe_at = FIRST_PAUSE_SECONDS, float("-inf")

    def note_failure(self, failure: Failure) -> None:
        """Note that the model did not answer, or not to the end."""
        self.failure = failure
        self._failed_at = _now()

    def forget(self) -> None:
        """Forget the failure: it was another model's, or the server's that runs again."""
        self.note_token()

    def let_pass(self) -> None:
        """Forget the failure after a while, without a probe."""
        if _now() - self._failed_at > STANDS_SECONDS:
            self.forget()

    @property
    def is_probing(self) -> bool:
        """Whether a probe runs."""
        return self._task is not None

    async def probe(self) -> bool:
        """Probe, or wait for the probe that runs; it goes on if the waiting is cancelled.

        Returns whether the model works. Does not probe before the pause after a failed probe is over.
        """
        if self._task is None and _now() >= self._next_probe_at:
            self._task = asyncio.create_task(self._probe_once())
        if self._task is not None:
            await asyncio.wait([self._task])
        return self.failure is None

    async def aclose(self) -> None:
        """Cancel the probe that runs."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _probe_once(self) -> None:
        try:
            await self._probe()
        finally:
            self._task = None
            if self.failure is not None:
                self._next_probe_at = _now() + self._pause
                self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)


def _now() -> float:
    return asyncio.get_running_loop().time()
