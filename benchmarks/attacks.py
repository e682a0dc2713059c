"""Attack benchmark: what one hostile user costs everyone else, in a chat with 1 GiB of memory.

Run: ``python -m benchmarks.attacks [NAME ...] [--checkout FOLDER] [--megabytes 1024]``. Each attack gets a chat process
of its own, whose data segment is limited (``RLIMIT_DATA``). Meanwhile two processes request ``/healthz``, and another
user's list, every 20 ms. The exit status is 1 if the chat ends, or if one of these requests takes more than
`MOST_SECONDS`. With ``--checkout`` the chat runs from another checkout, for figures of an earlier commit.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import resource
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import psutil

from benchmarks.attack_parts.probe import Probe
from tests.fakes.openai_server import FakeOpenAIServer
from tests.fakes.pictures import plain, white_png
from tests.page_client import SAME_ORIGIN, PageClient, open_page
from tests.serving import NO_LIMITS_ENVIRONMENT, ChatProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

MOST_SECONDS = 0.2  # of a health check, and of another user's list
JSON = {**SAME_ORIGIN, "content-type": "application/json"}
READS = ("searches_per_minute", "exports_per_minute", "reads_per_minute")


@dataclass
class Rig:
    """A running chat and its attacker.

    Attributes:
        attacker: a user's page.
        statuses: of the responses that the attacker got; None for none.
        notes: what the attack measured itself.
    """

    chat: ChatProcess
    attacker: PageClient
    statuses: Counter[int | None] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    async def send_image(self, page: PageClient, file: bytes) -> None:
        """Upload an image of a user; before December 2026, send a message with it."""
        headers = {**SAME_ORIGIN, "content-type": "image/png"}
        async with page._http.post(f"{self.chat.url}/images", data=file, headers=headers) as response:  # noqa: SLF001
            if response.status not in {404, 405}:
                self.statuses[response.status] += 1
                return
        image = base64.b64encode(file).decode()
        body = {"text": "Hi", "model": "gemma", "images": [{"data": image}], "question": uuid.uuid4().hex}
        async with page._http.post(f"{self.chat.url}/conversations", json=body, headers=SAME_ORIGIN) as response:  # noqa: SLF001
            self.statuses[response.status] += 1

    async def send(self, method: str, path: str, body: bytes | None = None) -> None:
        """Send a request of the attacker and read the response."""
        try:
            async with self.attacker._http.request(  # noqa: SLF001  # the user's cookies
                method, f"{self.chat.url}{path}", data=body, headers=JSON
            ) as response:
                await response.read()
                self.statuses[response.status] += 1
        except aiohttp.ClientError:
            self.statuses[None] += 1


def empty_objects(megabytes: int) -> Callable[[Rig], Awaitable[None]]:
    """Return the attack that sends so much JSON of empty objects as a message."""

    async def attack(rig: Rig) -> None:
        await rig.send("POST", "/conversations", b'{"images": [' + b"{}," * (megabytes * 333_333) + b"{}]}")

    return attack


async def many_bodies(rig: Rig) -> None:
    """Send 40 messages of 1 MB at the same time."""
    body = b'{"text": "' + b"x" * 1_000_000 + b'", "model": "gemma"}'
    await asyncio.gather(*(rig.send("POST", "/conversations", body) for _ in range(40)))


async def deep_body(rig: Rig) -> None:
    """Send a megabyte of brackets."""
    await rig.send("PUT", "/profile", b"[" * 1_000_000)


async def searches(rig: Rig) -> None:
    """Search 2 MB 120 times at once."""
    await asyncio.gather(*(rig.send("GET", f"/search?q=nothing+{number}") for number in range(120)))


async def exports(rig: Rig) -> None:
    """Download 2 MB 40 times at once."""
    await asyncio.gather(*(rig.send("POST", "/export/everything.json", b"{}") for _ in range(40)))
    if set(rig.statuses) <= {404, 405}:  # before December 2026
        rig.statuses.clear()
        await asyncio.gather(*(rig.send("GET", "/export/everything.json") for _ in range(40)))


async def large_images(rig: Rig) -> None:
    """Send six PNGs of 40 megapixels in 130 kB each, while another user sends one of 8 x 8 pixels."""
    file = white_png(8000, 5000)
    files = [file + bytes([number]) for number in range(6)]  # six different uploads
    async with open_page(rig.chat.url) as other:
        sending = [asyncio.create_task(rig.send_image(rig.attacker, file)) for file in files]
        await asyncio.sleep(0.2)
        began = time.monotonic()
        small = asyncio.create_task(rig.send_image(other, plain((8, 8))))
        largest = 0
        while not all(task.done() for task in sending):
            children = psutil.Process(rig.chat.pid).children()
            with contextlib.suppress(psutil.NoSuchProcess):
                largest = max(largest, sum(child.memory_info().rss for child in children))
            if small.done() and not rig.notes:
                rig.notes.append(f"the small one waited {time.monotonic() - began:.2f} s")
            await asyncio.sleep(0.01)
        await small
        rig.notes.append(f"children had {largest / 1e6:.0f} MB at most")


async def hostile_markdown(rig: Rig) -> None:
    """Download two messages of 100,000 characters whose link titles never end."""
    texts = ['[a]: /u "' * 11_000, "<textarea>\n[a]: /u '\n" * 4_700]
    conversation = ""
    for text in texts:
        conversation = await rig.attacker.send(text[:99_000], conversation=conversation, model="gemma")
        await rig.attacker.messages(conversation)
    began = time.monotonic()
    await rig.send("POST", f"/export/{conversation}.md", b"{}")
    if set(rig.statuses) <= {404, 405}:  # before December 2026
        rig.statuses.clear()
        await rig.send("GET", f"/export/{conversation}.md")
    rig.notes.append(f"the download took {time.monotonic() - began:.2f} s")


async def nothing(_rig: Rig) -> None:
    """Attack nothing for a while: what the machine itself delays."""
    await asyncio.sleep(3)


ATTACKS: dict[str, Callable[[Rig], Awaitable[None]]] = {
    "nothing": nothing,
    "8 MB of empty objects": empty_objects(8),
    "20 MB of empty objects": empty_objects(20),
    "58 MB of empty objects": empty_objects(58),
    "1 MB of brackets": deep_body,
    "40 messages of 1 MB at once": many_bodies,
    "120 searches of 2 MB at once": searches,
    "40 exports of 2 MB at once": exports,
    "six images of 40 megapixels": large_images,
    "a download of hostile Markdown": hostile_markdown,
}
WITH_HISTORY = {searches, exports}


async def main(options: argparse.Namespace) -> int:
    """Run the attacks, print a table, and return the exit status."""
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {options.megabytes} MB; seconds at worst")
    print(f"{'attack':32} {'took':>6} {'healthz':>8} {'other':>8} {'MB before':>10} {'MB peak':>8}  statuses")
    failed = False
    for name in options.names or ATTACKS:
        failed |= await _attack(name, options)
    return int(failed)


async def _attack(name: str, options: argparse.Namespace) -> bool:
    attack = ATTACKS[name]
    async with _rig(options, has_history=attack in WITH_HISTORY) as rig, open_page(rig.chat.url) as other:
        cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in other._http.cookie_jar)  # noqa: SLF001
        process = psutil.Process(rig.chat.pid)
        before, began = process.memory_info().rss, time.monotonic()
        with (
            Probe(rig.chat.port, "/healthz") as health,
            Probe(rig.chat.port, "/conversations", {**SAME_ORIGIN, "cookie": cookies}) as theirs,
        ):
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await attack(rig)
            took = time.monotonic() - began
            await asyncio.sleep(0.5)
        is_alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        peak = _peak(rig.chat.pid) if is_alive else float("nan")
    statuses = ", ".join(f"{count} x {status or 'none'}" for status, count in rig.statuses.items())
    statuses = "; ".join([statuses, *rig.notes])
    print(
        f"{name:32} {took:6.2f} {health.worst:8.3f} {theirs.worst:8.3f} {before / 1e6:10.0f} {peak / 1e6:8.0f}"
        f"  {statuses}{'' if is_alive else ' (the chat ended)'}",
        flush=True,
    )
    return not is_alive or max(health.worst, theirs.worst) > MOST_SECONDS


def _peak(pid: int) -> float:
    """Return the largest memory that a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@asynccontextmanager
async def _rig(options: argparse.Namespace, *, has_history: bool) -> AsyncIterator[Rig]:
    with tempfile.TemporaryDirectory() as folder:
        async with FakeOpenAIServer(answer=["Hello."]) as model:
            settings = {name: value for name, value in NO_LIMITS_ENVIRONMENT.items() if name[5:].lower() not in READS}
            chat = ChatProcess(
                Path(folder),
                cold=True,
                **settings,
                PYTHONPATH=str(options.checkout),
                CHAT_GEMMA_URL=model.url,
                CHAT_GEMMA_IMAGES="true",
                CHAT_IDENTITY="anonymous",
                CHAT_EMBEDDED_MODEL="false",
                CHAT_TITLES="first-words",
            )
            await chat.start()
            most = options.megabytes * 1_000_000
            resource.prlimit(chat.pid, resource.RLIMIT_DATA, (most, most))
            try:
                connector = aiohttp.TCPConnector(limit=0)
                async with open_page(chat.url, connector=connector, timeout=aiohttp.ClientTimeout(120)) as attacker:
                    if has_history:
                        await _write_history(attacker)
                    yield Rig(chat, attacker)
            finally:
                await chat.end()


async def _write_history(page: PageClient) -> None:
    """Send 2 MB of messages."""
    for number in range(20):
        await page.messages(await page.send(f"{number} " + "lorem ipsum " * 8_300, model="gemma"))


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of an attack; all if none: {', '.join(ATTACKS)}")
    parser.add_argument("--checkout", type=Path, default=Path.cwd(), help="the folder that the chat runs from")
    parser.add_argument("--megabytes", type=int, default=1024, help="of memory for the chat")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - ATTACKS.keys():
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(asyncio.run(main(_options())))
