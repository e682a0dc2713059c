"""A copy of one list of objects: read by a look, and kept current by a watch while there are looks.

client-go's word for this (https://pkg.go.dev/k8s.io/client-go/tools/cache#Reflector).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, Final

from chatapp.models.kubernetes.api import KubernetesError
from chatapp.models.kubernetes.fields import at, name_of, objects, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chatapp.models.kubernetes.api import KubernetesApi

NEEDED_SECONDS: Final = 25.0
"""Between two looks at most, for which a watch is opened; so long after the last one it is closed. A page looks every
10 s. A single look (`make status`) opens none, nor do those of a scrape each half minute."""
PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 60.0
"""Between two lists while the API does not answer, growing."""
FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 60.0
"""Between two attempts to watch, growing; each look lists meanwhile. After a refusal the longest."""
LASTED_SECONDS: Final = 5.0
"""A watch that broke after this time is opened again at once."""


class Reflector:
    """The objects of one list.

    Each look lists, unless a watch is open: then the copy is what the API has now, and a look takes no request. There
    is at most one watch, and none while there are no looks.

    Args:
        api: sends the requests.
        path: of the list.
        query: selects the objects.
        most: how many are listed, and how many are kept: the last that have changed.
        on_change: called after each change that a watch brings.
        on_refusal: called when the account may not watch.

    Attributes:
        is_watched: whether a watch is open.
    """

    def __init__(
        self,
        api: KubernetesApi,
        path: str,
        query: Mapping[str, str],
        *,
        most: int,
        on_change: Callable[[], None],
        on_refusal: Callable[[KubernetesError], None],
    ) -> None:
        self.is_watched = False
        self._api = api
        self._path = path
        self._query = dict(query)
        self._most = most
        self._on_change = on_change
        self._on_refusal = on_refusal
        self._objects: dict[str, dict[str, Any]] = {}  # by their UIDs
        self._version = ""  # of the list, which a watch goes on from; "": list first
        self._filling = asyncio.Lock()  # a list and the begin of a watch, one at a time
        self._task: asyncio.Task[None] | None = None
        self._end: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._looked_at = float("-inf")
        self._pause = PAUSE_SECONDS
        self._next_at = float("-inf")  # of a list, after a failure
        self._error = KubernetesError("")  # that failure

    @property
    def copy(self) -> list[dict[str, Any]]:
        """The objects as they were known last: current after a `look`."""
        return list(self._objects.values())

    async def look(self) -> None:
        """Bring the copy up to date.

        Raises:
            KubernetesError: the API refuses or does not answer, now or at a look a moment ago.
        """
        loop = asyncio.get_running_loop()
        is_needed = loop.time() - self._looked_at <= NEEDED_SECONDS and not self._is_closed
        self._looked_at = loop.time()
        try:
            async with asyncio.timeout(self._api.timeout), self._filling:
                if not self.is_watched:
                    await self._list()
        except TimeoutError:
            raise self._failed(KubernetesError("no answer in time")) from None
        if is_needed:
            self._task = self._task or asyncio.create_task(self._watch_for_ever())
            if self._end:
                self._end.cancel()
            self._end = loop.call_later(NEEDED_SECONDS, self._stop)

    async def aclose(self) -> None:
        """Close the connection."""
        self._is_closed = True
        if task := self._stop():
            await asyncio.wait([task])

    def _stop(self) -> asyncio.Task[None] | None:
        task, self._task = self._task, None
        if self._end:
            self._end.cancel()
        if task:
            task.cancel()
        return task

    async def _list(self) -> None:
        if asyncio.get_running_loop().time() < self._next_at:
            raise self._error
        try:
            listing = await self._api.get(self._path, **self._query, limit=str(self._most))
        except KubernetesError as error:
            raise self._failed(error) from None
        if not isinstance(listing.get("items"), list):
            raise self._failed(KubernetesError("no list of objects"))
        self._pause = PAUSE_SECONDS
        self._objects = {_key(each): each for each in objects(listing["items"])}
        self._version = text(at(listing, "metadata", "resourceVersion"))

    def _failed(self, error: KubernetesError) -> KubernetesError:
        self._error = error
        self._next_at = asyncio.get_running_loop().time() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        return error

    async def _watch_for_ever(self) -> None:
        clock, pause = asyncio.get_running_loop().time, FIRST_RETRY_SECONDS
        while True:
            began = clock()
            try:
                await self._watch()
            except KubernetesError as error:
                if error.is_expired:
                    self._version = ""
                if error.is_forbidden:
                    self._on_refusal(error)
                    pause = LONGEST_RETRY_SECONDS
            if clock() - began >= LASTED_SECONDS:
                pause = FIRST_RETRY_SECONDS
                continue
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311  # replicas take turns
            pause = min(2 * pause, LONGEST_RETRY_SECONDS)

    async def _watch(self) -> None:
        """Keep the copy current until the watch ends."""
        async with contextlib.AsyncExitStack() as opened:
            async with self._filling:
                if not self._version:
                    await self._list()
                    self._on_change()
                watch = self._api.watch(self._path, version=self._version, **self._query)
                changes = await opened.enter_async_context(watch)
                self.is_watched = True
            try:
                async for kind, thing in changes:
                    self._apply(kind, thing)
            finally:
                self.is_watched = False

    def _apply(self, kind: str, thing: dict[str, Any]) -> None:
        self._version = text(at(thing, "metadata", "resourceVersion")) or self._version
        if kind not in {"ADDED", "MODIFIED", "DELETED"}:
            return
        self._objects.pop(_key(thing), None)
        if kind != "DELETED":
            self._objects[_key(thing)] = thing
            while len(self._objects) > self._most:
                del self._objects[next(iter(self._objects))]
        self._on_change()


def _key(thing: object) -> str:
    return text(at(thing, "metadata", "uid")) or name_of(thing)
