"""The simulated world: replicas that run the chat's own code, a cloud, a disk for each replica, and their faults."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatapp.conversations.service import Conversations
from chatapp.domain.conversation import FinishReason
from chatapp.domain.errors import StoreUnavailable
from chatapp.generation.runner import TurnRunner
from chatapp.models import Finish, TextDelta
from chatapp.models.catalog import Catalog
from chatapp.store.journal.recent import RECENT_BYTES
from chatapp.store.journal.store import JournaledStore
from tests.fakes.models import ReadyModel
from tests.fakes.shared_cloud import SharedCloud
from tests.simulation.disk import REPLICA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class World:
    """All that a seed decides.

    Attributes:
        is_calm: no more faults.
        crash_share: the chance that a replica is killed at one of its awaits.
        cached_bytes: how much each replica caches of what it has read.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.cloud = SharedCloud()
        self.is_calm = False
        self.crash_share = self.chance.choice((0.0, 0.0, 0.002, 0.006))
        self.loss_share = self.chance.choice((0.0, 0.02, 0.1))
        self.latency_s = self.chance.choice(((0.001, 0.01), (0.02, 0.2), (0.1, 3.0)))
        self.replicas = [Replica(self, number) for number in range(self.chance.randint(2, 4))]
        self.cached_bytes = self.chance.choice((RECENT_BYTES, RECENT_BYTES, 20_000, 0))
        self.crashes = 0

    async def open(self) -> None:
        """Start all replicas."""
        for replica in self.replicas:
            await replica.start()

    async def close(self) -> None:
        """End all replicas."""
        for replica in self.replicas:
            await replica.end()


class Replica:
    """One chat with its own journal; the journal outlives a crash.

    Attributes:
        life: counts the starts; what belongs to an earlier life never gets further than its current await.
        cuts: until when (virtual time) it has no connection to the cloud.
    """

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.life = 0
        self.is_up = False
        self.cut_until = 0.0
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in order: a set's depends on their addresses

    async def start(self) -> None:
        """Start it, on what it left on its disk."""
        token = REPLICA.set(self)
        try:
            self.life += 1
            client = self.world.cloud.client(self._travel)
            path = Path(f"/replica-{self.number}/journal.db")
            options = {"drain_seconds": 20, "recent_bytes": self.world.cached_bytes}
            self.store = await JournaledStore.open(path, client, destination="the cloud", **options)
            self.model = Model(self.world.chance, f"replica {self.number}")
            self.catalog = Catalog([self.model])
            await self.catalog.check()
            self.turns = TurnRunner(self.store, self.catalog, checkpoint_seconds=1.2)
            self.conversations = Conversations(self.store, self.turns.updates, self.turns, self.turns.catch_up)
            self.is_up = True
        finally:
            REPLICA.reset(token)

    async def end(self) -> None:
        """End it as SIGTERM does."""
        self.is_up = False
        await self.turns.aclose()
        await self.conversations.aclose()
        await self.store.aclose()
        await self.catalog.aclose()

    def crash(self) -> None:
        """Kill it; it starts again after a while."""
        self.world.crashes += 1
        self.life += 1
        self.is_up = False
        for task in list(self._tasks):
            task.cancel()
        asyncio.get_running_loop().create_task(self._restart())

    def belongs(self, task: asyncio.Task[Any]) -> None:
        """Remember a task of this replica, which ends with it."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def pause(self, low: float, high: float) -> None:
        """Wait for a disk or a network, or die."""
        life, world = self.life, self.world
        await asyncio.sleep(world.chance.uniform(low, high))
        if life == self.life and not world.is_calm and self.is_up and world.chance.random() < world.crash_share:
            self.crash()
        if life != self.life:
            raise asyncio.CancelledError

    async def _restart(self) -> None:
        await asyncio.sleep(self.world.chance.uniform(0.05, 5.0))
        await self.start()

    async def _travel(self, _name: str) -> None:
        """Travel to the cloud or back."""
        world = self.world
        await self.pause(*(world.latency_s if not world.is_calm else (0.001, 0.01)))
        if world.is_calm:
            return
        now = asyncio.get_running_loop().time()
        if now > self.cut_until and world.chance.random() < 0.003:
            self.cut_until = now + world.chance.uniform(0.5, 30.0)
        if now < self.cut_until or world.chance.random() < world.loss_share:
            raise StoreUnavailable("The cloud cannot be reached.", detail="503 simulated")


class Model(ReadyModel):
    """Answers in a few pieces over a few seconds."""

    def __init__(self, chance: random.Random, name: str) -> None:
        self._chance = chance
        self._name = name

    async def stream(self, messages: Any, parameters: Any) -> AsyncIterator[Any]:
        """Answer with the question, word by word."""
        del parameters
        question = messages[-1].content.rpartition("\n\n")[2]  # the texts of documents are before it
        for word in (self._name, "answers", question):
            await asyncio.sleep(self._chance.choice((0.01, 0.3, 1.0)))
            yield TextDelta(f"{word} ")
        yield Finish(FinishReason.STOP)


def make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Make a task that ends with the replica that made it."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    if (replica := REPLICA.get()) is not None:
        replica.belongs(task)
    return task


async def until_quiet(world: World) -> None:
    """Let everything be delivered, without faults, and every replica notice what the others wrote."""
    world.is_calm = True
    for replica in world.replicas:
        replica.cut_until = 0.0
    await asyncio.sleep(130.0)  # restarts, retries of deliveries, and answers whose replica is gone
    for replica in world.replicas:
        assert replica.is_up
        assert replica.store.status().waiting_writes == 0, f"replica {replica.number} delivers nothing"
