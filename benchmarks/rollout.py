"""Rollout benchmark: a real vLLM, then the chat, are replaced while people read answers; none may be cut.

Run: ``VLLM_SERVE="..." python -m benchmarks.rollout [--people 50] [--tokens 24] [--roll gemma,chat]``. That command
of a vLLM (`tests.vllm_command`) gets the stack's arguments, too. It starts and ends as its pod does (probe, preStop,
SIGTERM, grace period), behind what a Service is for connections. The rollouts:

``gemma``     a second vLLM becomes ready, then the first one ends (more servers, a new node).
``recreate``  vLLM ends, then another one starts: the stack's own strategy, for which no second set of GPUs is needed.
              Every other person allows another model.
``chat``      two chats with their history in the Firestore emulator, behind a load balancer, are replaced one after the
              other, the new one first. (In the others there is one chat, with SQLite.)

The exit status is 1 if an answer was cut, if a question was not answered though a server was ready, or if vLLM outlived
its grace period. In ``chat``, answers longer than the chat waits for may be cut if people can continue them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fault_parts.processes import SECRET, Chat, Emulator, missing_program, settings_of
from benchmarks.fault_parts.report import print_counts
from benchmarks.fault_parts.users import COOKIE
from benchmarks.replica_parts.balancer import Balancer
from benchmarks.rollout_parts.people import Counts, Person
from benchmarks.rollout_parts.server import Servers
from benchmarks.rollout_parts.service import Service
from chatapp.auth.anonymous import AnonymousAuthenticator
from stacks.components.chat_pod import GRACE_SECONDS, PRE_STOP_SECONDS, SHUTDOWN_SECONDS
from tests.fakes.openai_server import FakeOpenAIServer
from tests.vllm_command import VARIABLE, given

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PEOPLE, TOKENS, REPLICAS = 50, 24, 2
DRAIN_SECONDS = 30
AFTER_SECONDS = 5.0  # in which questions go to what is new
KINDS = ("complete", "by another model", "told", "cut", "continued")


@dataclass
class Rig:
    """What a rollout changes: the vLLM that serves, and the chats."""

    folder: Path
    servers: Servers
    chats: list[Chat]
    settings: dict[str, str]
    stack: AsyncExitStack
    times: dict[str, float] = field(default_factory=dict)

    async def gemma(self) -> None:
        """Replace vLLM, the new one first."""
        await self.servers.replace()

    async def recreate(self) -> None:
        """Replace vLLM, the old one first."""
        await self.servers.recreate()

    async def chat(self) -> None:
        """Replace each chat, the new one first."""
        for old in list(self.chats):
            self.chats.append(await self.new_chat())
            old.serving.clear()
            await asyncio.sleep(PRE_STOP_SECONDS)
            began = time.monotonic()
            await old.terminate()
            self.chats.remove(old)
            self.times[f"chat {old.port} ended after SIGTERM"] = time.monotonic() - began

    async def new_chat(self) -> Chat:
        """Return a chat that serves."""
        place = Path(tempfile.mkdtemp(prefix="chat-", dir=self.folder))
        chat = await self.stack.enter_async_context(
            Chat(place, self.settings, end_seconds=GRACE_SECONDS - PRE_STOP_SECONDS)
        )
        await chat.start()
        return chat


async def main(options: argparse.Namespace) -> int:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # type: ignore[union-attr]
    print(f"{os.cpu_count()} cores, {options.people} people, {options.tokens} tokens an answer")
    async with AsyncExitStack() as stack:
        folder = Path(options.keep) if options.keep else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        service = await stack.enter_async_context(Service())
        servers = Servers(folder, service, ahead=options.ahead)
        stack.push_async_callback(servers.kill)
        await servers.start()
        print("vLLM is ready", flush=True)
        failed = False
        for name in options.roll:
            async with (
                _chats(folder, service.url, servers, are_replicas=name == "chat") as rig,
                Balancer(rig.chats, seed=0, has_affinity=True) as balancer,
            ):
                failed |= await _roll(name, rig, balancer.url, options)
        return int(failed)


@asynccontextmanager
async def _chats(folder: Path, gemma: str, servers: Servers, *, are_replicas: bool) -> AsyncIterator[Rig]:
    """Yield a rig with chats that serve: one with SQLite, or replicas with Firestore."""
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(FakeOpenAIServer())
        emulator = (await stack.enter_async_context(Emulator(folder))).host if are_replicas else ""
        settings = settings_of(gemma, emulator, drain_seconds=DRAIN_SECONDS) | {
            "CHAT_ACKNOWLEDGE": "cloud" if are_replicas else "local",
            "CHAT_SHUTDOWN_SECONDS": str(SHUTDOWN_SECONDS),
            "CHAT_MODELS": json.dumps([{"id": "other", "label": "Another model", "url": other.url}]),
        }
        if not are_replicas:
            settings["CHAT_STORE"] = "sqlite"
            del settings["GOOGLE_CLOUD_PROJECT"], settings["FIRESTORE_EMULATOR_HOST"]
        rig = Rig(folder, servers, [], settings, stack)
        for _ in range(REPLICAS if are_replicas else 1):
            rig.chats.append(await rig.new_chat())
        yield rig


async def _roll(name: str, rig: Rig, url: str, options: argparse.Namespace) -> bool:
    """Run one rollout under load, print what happened, and return whether that is a failure."""
    change: Callable[[], Awaitable[None]] = getattr(rig, name)
    counts, ended = Counts(), asyncio.Event()
    identity = AnonymousAuthenticator(SECRET, secure=False)
    people = [
        Person(
            url,
            {COOKIE: identity.new_user()[1]},
            counts,
            max_tokens=options.tokens,
            allows_fallback=name == "recreate" and number % 2 == 0,
        )
        for number in range(options.people)
    ]
    async with asyncio.TaskGroup() as group:
        for person in people:
            group.create_task(person.run(ended))
        await asyncio.gather(*(person.reads.wait() for person in people))
        rig.servers.times.clear()
        began = time.monotonic()
        await change()
        await asyncio.sleep(AFTER_SECONDS)
        ended.set()
    print(f"\n{name}: {time.monotonic() - began:.0f} s under {len(people)} streams")
    print("  " + ", ".join(f"{counts.kinds[kind]} {kind}" for kind in KINDS), end="")
    print(f"; {counts.reconnected} streams reconnected", flush=True)
    print("  " + ", ".join(f"{what} {seconds:.0f} s" for what, seconds in (rig.times | rig.servers.times).items()))
    print_counts("  Why:", counts.sentences)
    if rig.servers.killed:
        print("  vLLM was killed: its grace period was too short.")
    allowed = counts.kinds["continued"] if name == "chat" else 0
    return counts.kinds["cut"] > allowed or (name != "recreate" and counts.kinds["told"] > 0) or rig.servers.killed > 0


def arguments() -> argparse.Namespace:
    names = ("gemma", "recreate", "chat")

    def rolls(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(names):
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(names)}")
        return text.split(",")

    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollout", description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"who read an answer each: {PEOPLE}")
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"of an answer: {TOKENS}")
    parser.add_argument("--roll", type=rolls, default=list(names), help=f"some of {','.join(names)}")
    parser.add_argument("--ahead", action="store_true", help="start each vLLM before it is needed: for few cores")
    parser.add_argument("--keep", help="a folder for the logs; if not given, they are removed")
    return parser.parse_args()


if __name__ == "__main__":
    if not given():
        print(f"Set {VARIABLE} to the command of a vLLM: see tests/vllm_command.py")
        sys.exit(0)
    if sentence := missing_program():
        print(sentence)
        sys.exit(0)
    try:
        sys.exit(asyncio.run(main(arguments())))
    except (asyncio.CancelledError, KeyboardInterrupt):
        sys.exit("Interrupted; every process of this run has been ended.")
