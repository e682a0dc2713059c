"""Replica benchmark: several chats before one Firestore, and people whose every request may go to another one.

Run: ``python -m benchmarks.replicas [--turns 1000] [--copies 2] [--calm] [--people 8] [--seed N] [--keep FOLDER]``.
Each person has two devices that write in the same conversations. A load balancer without affinity stands before the
chats, and 20 to 200 ms of latency between them and the Firestore emulator. Unless ``--calm``, connections to the
emulator are reset, and replicas are killed, ended and replaced one after the other. At the end every conversation is
read at every replica. The exit status is 1 if an acknowledged message is missing from what is shown, doubled or out of
order, if there is a version that no edit or second answer made, if a refusal is not in words, or if a log has a
traceback.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import percentile
from benchmarks.fault_parts.answers import name_of
from benchmarks.fault_parts.pace import Pace
from benchmarks.fault_parts.processes import SECRET, Backend, Chat, Emulator, missing_program, settings_of
from benchmarks.fault_parts.proxy import PASS, Fault, Proxy
from benchmarks.fault_parts.report import log_lines, print_counts, tracebacks
from benchmarks.fault_parts.rig import pending_writes
from benchmarks.fault_parts.users import COOKIE
from benchmarks.replica_parts.audit import KINDS, audit
from benchmarks.replica_parts.balancer import Balancer
from benchmarks.replica_parts.devices import Person
from chatapp.auth.anonymous import AnonymousAuthenticator

if TYPE_CHECKING:
    from collections.abc import Sequence

TURNS, PEOPLE, COPIES, PER_SECOND = 1000, 8, 2, 12.0
DISTANT = Fault(seconds_late=(0.02, 0.2))
DRAIN_SECONDS = 120.0
FAULT_SECONDS = (2.0, 5.0)
SENTENCES_SHOWN = 6


async def main(options: argparse.Namespace) -> int:
    print(f"--seed {options.seed}; {os.cpu_count()} cores, {options.copies} replicas, {options.people} people")
    chance = random.Random(options.seed)
    async with AsyncExitStack() as stack:
        folder = Path(options.keep) if options.keep else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        emulator = await stack.enter_async_context(Emulator(folder))
        proxy = await stack.enter_async_context(Proxy(emulator.port, options.seed))
        backend = await stack.enter_async_context(Backend())
        replicas = []
        settings = settings_of(backend.url, proxy.host, drain_seconds=5)
        for number in range(options.copies):
            place = folder / f"replica-{number}"
            place.mkdir()
            replicas.append(await stack.enter_async_context(Chat(place, settings)))
        await asyncio.gather(*(replica.start() for replica in replicas))
        balancer = await stack.enter_async_context(Balancer(replicas, options.seed))
        await proxy.set(DISTANT)
        pace = Pace()
        people = made_people(balancer.url, pace, options)
        running = [asyncio.create_task(person.run()) for person in people]
        done: Counter[str] = Counter()
        has_ended = asyncio.Event()
        faults = asyncio.create_task(cause_faults(replicas, proxy, chance, done, has_ended, calm=options.calm))
        seconds = options.turns / options.rate
        await pace.run("all", options.turns, seconds, at_most=3 * seconds + 60)
        pace.end()
        await asyncio.gather(*running)
        has_ended.set()
        await faults  # a replica that is starting keeps its journal locked
        await proxy.set(PASS)
        left = await drained(replicas)
        await asyncio.sleep(2.5)  # for which a replica may take what it has as current
        findings = await audit(people, [replica.url for replica in replicas])
        questions = [question for person in people for talk in person.talks for question in talk.questions]
        print(f"{len(questions)} messages acknowledged in {sum(len(one.talks) for one in people)} conversations.")
        waits = sorted(question.seconds for question in questions) or [0.0]
        halfway, almost_all = (round(percentile(waits, share) * 1000) for share in (50, 99))
        print(f"From Send until taken: p50 {halfway} ms, p99 {almost_all} ms")
        print(", ".join(f"{findings.counts[kind]} {kind}" for kind in KINDS), flush=True)
        for kind, sentences in findings.sentences.items():
            print(f"{kind}:", *sentences[:SENTENCES_SHOWN], sep="\n  ")
        print_counts("What was done:", done)
        print_counts("What devices met:", sum((person.counts for person in people), Counter()))
        without_words = sum((person.not_in_words for person in people), Counter())
        for replica in replicas:
            print_counts("Warnings and errors in a log:", log_lines(replica.log))
            without_words += tracebacks(replica.log)
            print(*replica.crashes, sep="\n")
        if left:
            print(f"{left} writes still wait in journals, with nothing in their way.")
        print_counts("Errors without words, and tracebacks:", without_words)
        given_up = sum(person.counts["given up"] for person in people)
        crashes = any(replica.crashes for replica in replicas)
        return 1 if findings.counts or left or given_up or crashes or without_words else 0


def made_people(url: str, pace: Pace, options: argparse.Namespace) -> list[Person]:
    identity = AnonymousAuthenticator(SECRET, secure=False)
    names = [name_of(options.seed, number) for number in range(options.turns + 4 * options.people)]
    return [
        Person(url, {COOKIE: identity.new_user()[1]}, pace, random.Random(f"{options.seed} {number}"), names)
        for number in range(options.people)
    ]


async def cause_faults(
    replicas: Sequence[Chat],
    proxy: Proxy,
    chance: random.Random,
    done: Counter[str],
    has_ended: asyncio.Event,
    *,
    calm: bool,
) -> None:
    """Reset connections, and kill, end or replace replicas; one at a time, so that another one serves.

    In the end all are up.
    """
    while not calm:
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(*FAULT_SECONDS)):
                await has_ended.wait()
                return
        fault = chance.choice(("reset", "reset", "kill", "end", "roll"))
        done[fault] += 1
        if fault == "reset":
            proxy.reset()
            continue
        for replica in replicas if fault == "roll" else [chance.choice(replicas)]:
            await (replica.kill() if fault == "kill" else replica.terminate())
            await replica.start()


async def drained(replicas: Sequence[Chat]) -> int:
    """Wait until all journals are empty; return the number of writes that are left."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while (left := sum(pending_writes(one.data_folder) for one in replicas)) and time.monotonic() < deadline:  # noqa: ASYNC110  # files
        await asyncio.sleep(0.1)
    return left


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replicas", description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=TURNS, help=f"messages in all: {TURNS}")
    parser.add_argument("--copies", type=int, default=COPIES, help=f"replicas: {COPIES}")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"with two devices each: {PEOPLE}")
    parser.add_argument("--rate", type=float, default=PER_SECOND, help=f"messages per second: {PER_SECOND}")
    parser.add_argument("--calm", action="store_true", help="without faults, only with latency")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 16), help="of the people and the faults")
    parser.add_argument("--keep", help="a new folder for the journals and the logs; if not given, they are removed")
    return parser.parse_args()


if __name__ == "__main__":
    if sentence := missing_program():
        print(sentence)
        sys.exit(0)
    sys.exit(asyncio.run(main(arguments())))
