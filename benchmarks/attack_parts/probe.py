"""How long requests take, measured in a process of its own, which shares nothing with the attacker."""

from __future__ import annotations

import http.client
import multiprocessing
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PAUSE_SECONDS = 0.02
_CONTEXT = multiprocessing.get_context("spawn")


class Probe:
    """Requests an address again and again while it is entered.

    Args:
        port: on loopback.
        path: the address.
        headers: of each request.

    Attributes:
        seconds: how long each request took; of one that failed, infinite.
    """

    def __init__(self, port: int, path: str, headers: dict[str, str] | None = None) -> None:
        self.seconds: list[float] = []
        self._end, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_run, args=(theirs, port, path, headers or {}), daemon=True)

    def __enter__(self) -> Probe:
        self._process.start()
        self._end.recv()  # after the first request
        return self

    def __exit__(self, *_: object) -> None:
        self._end.send(None)
        self.seconds = self._end.recv()
        self._process.join()

    @property
    def worst(self) -> float:
        """The longest time."""
        return max(self.seconds, default=0.0)


def _run(pipe: Connection, port: int, path: str, headers: dict[str, str]) -> None:
    _request(port, path, headers)
    pipe.send(None)
    seconds = []
    while not pipe.poll(PAUSE_SECONDS):
        seconds.append(_request(port, path, headers))
    pipe.send(seconds)


def _request(port: int, path: str, headers: dict[str, str]) -> float:
    before = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
    except OSError:
        return float("inf")
    finally:
        connection.close()
    return time.monotonic() - before if response.status == 200 else float("inf")
