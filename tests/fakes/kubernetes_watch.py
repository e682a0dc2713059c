"""The objects of one kind in a fake Kubernetes API, and the watches of them, as etcd and the API server have them."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterable

Matches = Callable[[dict[str, Any]], bool]
_NUMBERS = itertools.count(1)
EXPIRED = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410}
INTERNAL = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 500, "message": "etcd"}


@dataclass(frozen=True)
class Change:
    version: int
    type: str
    object: dict[str, Any]


class Watched:
    """The objects of one kind, and the changes of them since the history was compacted.

    Args:
        kind: of the objects.
        next_version: returns a new resource version of the cluster.
        is_cached: by the API server, which events are not; only what is has bookmarks.

    Attributes:
        objects: as they are now, with a UID and a resource version each.
        history: the changes, the newest last.
        oldest: the resource version that a watch can begin at.
    """

    def __init__(self, kind: str, next_version: Callable[[], str], *, is_cached: bool = True) -> None:
        self.objects: tuple[dict[str, Any], ...] = ()
        self.history: list[Change] = []
        self.oldest = 0
        self._kind = kind
        self._next_version = next_version
        self._is_cached = is_cached
        self._watches: dict[asyncio.Task[Any], tuple[asyncio.Queue[bytes], Matches]] = {}

    @property
    def open(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    def set(self, things: Iterable[dict[str, Any]]) -> None:
        """Have these objects: the n-th one of a name stays the same object. What differs is a change."""
        before = {_place(each, self.objects, number): each for number, each in enumerate(self.objects)}
        things, after = tuple(things), []
        for number, thing in enumerate(things):
            known = before.pop(_place(thing, things, number), None)
            new = copy.deepcopy(thing)
            uid = known["metadata"]["uid"] if known else f"uid-{next(_NUMBERS)}"
            new["metadata"] |= {"uid": uid, "resourceVersion": known["metadata"]["resourceVersion"] if known else ""}
            if new != known:
                new["metadata"]["resourceVersion"] = self._next_version()
                self._note("MODIFIED" if known else "ADDED", new)
            after.append(new)
        for gone in before.values():
            last = copy.deepcopy(gone)
            last["metadata"]["resourceVersion"] = self._next_version()
            self._note("DELETED", last)
        self.objects = tuple(after)

    def compact(self) -> None:
        """Forget the changes so far: a watch can begin only now."""
        self.oldest = int(self._next_version())
        self.history.clear()

    def bookmark(self) -> None:
        """Send each watch the resource version of now, where what is watched is cached."""
        if not self._is_cached:
            return
        metadata = {"resourceVersion": self._next_version(), "creationTimestamp": None}
        self.send(_line("BOOKMARK", {"kind": self._kind, "apiVersion": "v1", "metadata": metadata}))

    def send(self, line: bytes) -> None:
        """Send each watch these bytes."""
        for queue, _ in self._watches.values():
            queue.put_nowait(line)

    def fail(self, status: dict[str, Any]) -> None:
        """End each watch with an event ERROR."""
        self.send(_line("ERROR", status))
        self.send(b"")

    def end(self) -> None:
        """End each watch as after its ``timeoutSeconds``: with a bookmark, and the end of the answer."""
        self.bookmark()
        self.send(b"")

    def drop(self) -> None:
        """Break the connection of each watch."""
        for task in list(self._watches):
            task.cancel()

    async def serve(self, request: web.Request, matches: Matches) -> web.StreamResponse:
        """Answer a watch: the changes after its version, and then each as it comes."""
        version = int(request.query["resourceVersion"])
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        task = asyncio.current_task()
        assert task is not None
        if version < self.oldest:
            queue.put_nowait(_line("ERROR", EXPIRED | {"message": f"too old resource version: {version}"}))
            queue.put_nowait(b"")
        else:
            for change in self.history:
                if change.version > version and matches(change.object):
                    queue.put_nowait(_line(change.type, change.object))
        self._watches[task] = queue, matches
        try:
            await response.prepare(request)
            with suppress(TimeoutError):
                async with asyncio.timeout(float(request.query["timeoutSeconds"])):
                    while line := await queue.get():
                        is_bookmark = b'"BOOKMARK"' in line
                        if is_bookmark and request.query.get("allowWatchBookmarks") != "true":
                            continue
                        await response.write(line)
            await response.write_eof()
        except asyncio.CancelledError:
            if request.transport is not None:
                request.transport.abort()
        finally:
            del self._watches[task]
        return response

    def _note(self, kind: str, thing: dict[str, Any]) -> None:
        self.history.append(Change(int(thing["metadata"]["resourceVersion"]), kind, thing))
        for queue, matches in self._watches.values():
            if matches(thing):
                queue.put_nowait(_line(kind, thing))


def _line(kind: str, thing: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode() + b"\n"


def _place(thing: dict[str, Any], things: tuple[dict[str, Any], ...], number: int) -> tuple[str, str, int]:
    """Return what an object is known by: its names, and how many before it have the same."""
    names = thing["metadata"].get("namespace", ""), thing["metadata"]["name"]
    same = sum((each["metadata"].get("namespace", ""), each["metadata"]["name"]) == names for each in things[:number])
    return *names, same
