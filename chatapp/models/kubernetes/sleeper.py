"""Lets a model sleep while it is not used, and wakes it: scales one workload between zero and a number of replicas.

Every replica of the chat runs one. They share a `SleepRecord`; conflicts are normal, and solved by reading again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Final

import structlog

from chatapp.domain.sentences import Sentence
from chatapp.models.kubernetes.api import KubernetesError
from chatapp.models.kubernetes.diagnosis import replicas
from chatapp.models.kubernetes.fields import at, text
from chatapp.models.kubernetes.sleep_record import SleepRecord, SleepState, Step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from chatapp.domain.office_hours import OfficeHours
    from chatapp.models.kubernetes.api import KubernetesApi
    from chatapp.models.kubernetes.failures import Explanation
    from chatapp.models.kubernetes.workload import Workload

LOOK_SECONDS: Final = 30.0
"""Between two looks at the record while nothing changes."""
WAKING_LOOK_SECONDS: Final = 10.0
"""Of every replica, while the model wakes or falls asleep. What this replica changed, and a question that waits here
and finds the model ready, make it look at once."""
NOTE_SECONDS: Final = 60.0
"""At most how often one replica notes a use; much less than the shortest idle time, which is five minutes."""
LONGEST_PAUSE_SECONDS: Final = 60.0
"""Between two attempts while the API refuses or does not answer."""
REFUSED_SECONDS: Final = 20.0
"""For which requests are refused before the account is said to lack the right: an API server that has just started
refuses what it may, until it has read the roles (seen with 1.37)."""
_ATTEMPTS = 5  # to note a use while other replicas change the record
log = structlog.get_logger(__name__)


def _now_ms() -> int:
    return round(time.time() * 1000)


class Sleeper:
    """The sleep of one model, as this replica of the chat takes part in it.

    Args:
        api: sends the requests.
        namespace: of the workload, and of the ConfigMap ``NAME-use`` with the record.
        workload: with this name.
        idle_seconds: without a use, after which the model sleeps.
        most: the replicas that it has while it is awake; never more.
        hours: in which it does not sleep; it is woken at their beginning.
        now_ms: the clock that the replicas share; milliseconds since the epoch.

    Attributes:
        record: as it was read last.
        problem: why the model cannot be woken now, and what to do; None where it can.
    """

    def __init__(
        self,
        api: KubernetesApi,
        namespace: str,
        workload: Workload,
        *,
        idle_seconds: float,
        most: int = 1,
        hours: OfficeHours | None = None,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self.record = SleepRecord()
        self.problem: Explanation | None = None
        self._api = api
        self._kind = workload.kind
        self._scale = f"{workload.path(namespace)}/scale"
        self._configmap = f"/api/v1/namespaces/{namespace}/configmaps/{workload.name}-use"
        self._idle_ms = round(idle_seconds * 1000)
        self._most = most
        self._hours = hours
        self._now_ms = now_ms
        self._uses = 0  # questions that are being answered
        self._noted_ms = 0  # by this replica
        self._pause = 1.0
        self._refused_since: float | None = None
        self._next_at = float("-inf")  # the next attempt after a failure
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()  # ends the pause of `run`
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_awake(self) -> bool:
        """Whether the model is awake, as far as this replica knows; before the first look it is taken to be."""
        return self.record.state is SleepState.AWAKE

    @contextlib.asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        """Keep the model awake while a question waits or is being answered."""
        self._uses += 1
        self._in_background(self.note_use())
        try:
            yield
        finally:
            self._uses -= 1

    def wake(self) -> None:
        """Have the model woken, without waiting for it."""
        self._in_background(self.note_use())

    async def note_use(self) -> None:
        """Note a use, at most once a minute while the model is awake; one that sleeps begins to wake. Never raises."""
        async with self._one_at_a_time:
            is_fresh = self._now_ms() - self._noted_ms < NOTE_SECONDS * 1000
            if (is_fresh and self.record.state in {SleepState.AWAKE, SleepState.WAKING}) or not self._may_try():
                return
            for attempt in range(_ATTEMPTS):
                now = self._now_ms()
                try:
                    record = SleepRecord.of(await self._api.get(self._configmap))
                    await self._store(record.used(now))
                    self._noted_ms = now
                except KubernetesError as error:
                    if error.is_conflict and attempt < _ATTEMPTS - 1:
                        await asyncio.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311  # jitter, not a secret
                        continue
                    self._failed(error)
                    return
                break
        self._woken.set()

    async def step(self, is_ready: Callable[[], Awaitable[bool]]) -> None:
        """Look at the record and at the scale, and do what is next. Never raises."""
        async with self._one_at_a_time:
            if not self._may_try():
                return
            try:
                await self._step(is_ready)
            except KubernetesError as error:
                if not error.is_conflict:  # after a conflict, the next look finds what is new
                    self._failed(error)
            else:
                self.problem, self._pause, self._refused_since = None, 1.0, None

    async def run(self, is_ready: Callable[[], Awaitable[bool]]) -> None:
        """Take steps for ever."""
        while True:
            if self._uses:
                await self.note_use()
            await self.step(is_ready)
            is_settled = self.record.state in {SleepState.AWAKE, SleepState.ASLEEP}
            seconds = LOOK_SECONDS if is_settled else WAKING_LOOK_SECONDS
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds * random.uniform(0.8, 1.2)):  # noqa: S311  # replicas take turns
                    await self._woken.wait()

    async def aclose(self) -> None:
        """Cancel what runs in the background."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _step(self, is_ready: Callable[[], Awaitable[bool]]) -> None:
        # The scale first: if it is scaled down by another replica after this, a change of it conflicts.
        scale = await self._api.get(self._scale)
        record = self.record = SleepRecord.of(await self._api.get(self._configmap))
        count, now = replicas(scale) or 0, self._now_ms()
        if not record.since_ms:  # the first look of all: the time begins now
            await self._store(record.entered(SleepState.AWAKE, now))
            return
        ready = record.state is SleepState.WAKING and bool(count) and await is_ready()
        opened = self._hours.opened_ms(now) if self._hours else None
        step = record.next_step(count, now, self._idle_ms, is_ready=ready, opened_ms=opened)
        if step is Step.NOTHING or (step is Step.END and self._uses):
            return
        log.info("gemma_sleep", step=step.value, replicas=count)
        match step:
            case Step.END:
                # Scaled down by the next look, here or at another replica: a question in between wins.
                await self._store(record.entered(SleepState.ENDING, now))
                self._woken.set()
            case Step.WAKE:
                await self._store(record.entered(SleepState.WAKING, now))
                self._woken.set()
            case Step.SCALE_DOWN:
                await self._set_replicas(scale, 0)
            case Step.SCALE_UP:
                await self._set_replicas(scale, self._most)
            case Step.NOTE_ASLEEP:
                await self._store(record.entered(SleepState.ASLEEP, now))
            case Step.NOTE_AWAKE:
                await self._store(record.entered(SleepState.AWAKE, now).used(now))

    async def _set_replicas(self, scale: object, count: int) -> None:
        version = text(at(scale, "metadata", "resourceVersion"))
        await self._api.patch(self._scale, {"metadata": {"resourceVersion": version}, "spec": {"replicas": count}})
        self._woken.set()

    async def _store(self, record: SleepRecord) -> None:
        self.record = SleepRecord.of(await self._api.patch(self._configmap, record.change()))

    def _may_try(self) -> bool:
        return asyncio.get_running_loop().time() >= self._next_at

    def _failed(self, error: KubernetesError) -> None:
        now = asyncio.get_running_loop().time()
        self._next_at = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        log.warning("gemma_sleep_failed", detail=str(error))
        self._refused_since = (self._refused_since or now) if error.is_forbidden else None
        if self._refused_since is not None and now - self._refused_since >= REFUSED_SECONDS:
            self.problem = (
                Sentence("the chat may not scale its {kind} in the cluster", kind=self._kind),
                Sentence("run make up again, which grants it"),
            )
        else:
            self.problem = (
                Sentence("the cluster does not let the chat wake it now"),
                Sentence("wait a few minutes, or choose another model"),
            )

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
