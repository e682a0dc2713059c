"""Fault-injection benchmark: nothing that the chat acknowledged is lost when it, its disk or Firestore fails.

Run: ``python -m benchmarks.faults [--turns 5000] [--seconds 480] [--seed N] [--mix killed,both] [--keep FOLDER]``.
The chat runs as a process with its history in the Firestore emulator, behind a proxy that fails as networks do. Users
send questions, some with a document, and add documents to collections, through the API of its page while one fault
after the other happens (`benchmarks.fault_parts.phases`). At the end, everything is read twice, from Firestore and
through a restarted chat, and compared with the responses that the users got. A turn is acknowledged when its stream has
named the conversation; an answer, when the page has shown its end. A part of its own (``--mix files``, ``--rounds``)
does so with SQLite and the files of documents, which Firestore does not keep. The exit status is 1 if anything is lost,
duplicated, out of order or wrong, if a refusal is not in words, or if the log has a traceback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from benchmarks.fault_parts.audit import audit, audit_pages, read_firestore
from benchmarks.fault_parts.disk import LimitedFiles, SmallDisk, can_mount
from benchmarks.fault_parts.kept_files import ROUNDS, keep_files
from benchmarks.fault_parts.pace import Pace
from benchmarks.fault_parts.phases import PHASES
from benchmarks.fault_parts.processes import Backend, Chat, Emulator, Probe, missing_program, settings_of
from benchmarks.fault_parts.proxy import PASS, Proxy
from benchmarks.fault_parts.record import Book
from benchmarks.fault_parts.report import (
    Probed,
    Span,
    log_lines,
    print_counts,
    print_findings,
    print_table,
    tracebacks,
)
from benchmarks.fault_parts.rig import Rig, pending_writes
from benchmarks.fault_parts.shelves import audit_shelves, counts_of, read_libraries
from benchmarks.fault_parts.users import User

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.fault_parts.audit import Findings
    from benchmarks.fault_parts.phases import Phase

TURNS, SECONDS, PEOPLE = 5000, 480.0, 20
LATE_SECONDS = 600.0  # at most, for the remaining turns after all phases
EMULATOR_NICE = 10  # while turns are measured: a tenth of the share of what competes with it for a core
FILES = "files"
FAILURES = ("lost", "doubled", "out of order", "wrong", "kept though refused")


async def main(options: argparse.Namespace) -> int:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)  # type: ignore[union-attr]
    print(f"--seed {options.seed}; {os.cpu_count()} cores, Python {sys.version.split()[0]}, {options.people} people")
    status = 0 if options.mix == [FILES] else await _with_firestore(options)
    if not options.mix or FILES in options.mix:
        async with AsyncExitStack() as stack:
            folder = _folder(stack, options.keep and f"{options.keep}/{FILES}")
            outcome = await keep_files(folder, options.seed, options.rounds)
        print_counts("Files of documents, with SQLite:", outcome.done + outcome.uploads)
        print_counts("Of these, wrong:", outcome.wrong)
        status = 1 if outcome.wrong else status
    return status


async def _with_firestore(options: argparse.Namespace) -> int:
    """Return the exit status of the part with Firestore."""
    async with AsyncExitStack() as stack:
        folder = _folder(stack, options.keep)
        rig, probe = await _build_rig(stack, folder, options)
        book, pace = Book(options.seed), Pace()
        people = [User(rig.chat, book, pace, random.Random(f"{options.seed} {i}")) for i in range(options.people)]
        await rig.chat.start()
        running = [asyncio.create_task(person.run()) for person in people]
        stack.callback(lambda: [one.cancel() for one in running])
        spans = await _phases(rig, pace, options)
        pace.end()
        await asyncio.gather(*running)
        probed, refused = await probe.end() if probe else ([], Counter())
        findings = await _audit(rig, book, people)
        print()
        print_table(book, spans, findings, [Probed(*one) for one in probed])
        print_findings(findings)
        print_counts("What was done:", rig.done + rig.proxy.counts)
        print(f"After SIGTERM the chat took {rig.longest_end:.1f} s at most to end, with people and without Firestore.")
        print_counts("What people saw while they watched, besides answers:", _sum(one.errors for one in people))
        print_counts("Documents of collections:", counts_of(people))
        print_counts("Refusals:", Counter(turn.refusal for turn in book.turns.values() if turn.refusal))
        print_counts("Warnings and errors in the chat's log:", log_lines(rig.chat.log))
        plain = (one for person in people for one in (*person.not_in_words, *person.shelf.not_in_words))
        without_words = Counter(plain) + tracebacks(rig.chat.log)
        print_counts("Turns that the probe was refused, which store and end do not count:", refused)
        print_counts("Errors without words, and tracebacks:", without_words)
        for sentence in rig.chat.crashes:
            print(sentence)
        if options.keep:
            (folder / "findings.json").write_text(json.dumps(findings.sentences, indent=1, ensure_ascii=False))
        return 1 if findings.number(*FAILURES) or rig.chat.crashes or without_words else 0


def _folder(stack: AsyncExitStack, kept: str | None) -> Path:
    if not kept:
        return Path(stack.enter_context(tempfile.TemporaryDirectory()))
    folder = Path(kept).absolute()
    folder.mkdir(parents=True)  # an existing one may contain the journal of an earlier run
    return folder


async def _build_rig(stack: AsyncExitStack, folder: Path, options: argparse.Namespace) -> tuple[Rig, Probe | None]:
    """Start everything except the chat."""
    clock = folder / "clock"
    clock.write_bytes(bytes(8))
    emulator = await stack.enter_async_context(Emulator(folder, nice=EMULATOR_NICE if options.probe else 0))
    proxy = await stack.enter_async_context(Proxy(emulator.port, options.seed))
    backend = await stack.enter_async_context(Backend())
    disk = stack.enter_context(SmallDisk(folder / "small")) if can_mount(folder) else None
    settings = settings_of(backend.url, proxy.host, drain_seconds=2) | {"FAULTS_CLOCK": str(clock)}
    chat = await stack.enter_async_context(Chat(folder, settings))
    probe = await stack.enter_async_context(Probe(folder / "probe", proxy.host)) if options.probe else None
    limited = LimitedFiles(chat) if sys.platform.startswith("linux") else None
    rig = Rig(
        chat=chat,
        proxy=proxy,
        emulator=emulator,
        clock=clock,
        disk=disk or limited,
        chance=random.Random(options.seed),
    )
    print(f"The disk is filled by {rig.disk.how}." if rig.disk else "No disk can be filled here: that phase is calm.")
    return rig, probe


async def _phases(rig: Rig, pace: Pace, options: argparse.Namespace) -> list[Span]:
    phases: list[Phase] = [phase for phase in PHASES if not options.mix or phase.name in options.mix]
    weights = sum(phase.weight for phase in phases)
    spans: list[Span] = []
    for phase in phases:
        share = phase.weight / weights
        seconds = max(phase.least_seconds, options.seconds * share)
        turns = round(options.turns * share)
        print(f"{phase.name}: {phase.words}; {turns} turns in {seconds:.0f} s", flush=True)
        rig.begin()
        began = time.monotonic()
        fault = asyncio.create_task(phase.fault(rig))
        await pace.run(phase.name, turns, seconds, at_most=seconds * 1.2)
        rig.end()
        await fault
        await rig.proxy.set(PASS)
        spans.append(Span(phase, began, time.monotonic()))
    missing = options.turns - pace.begun
    if missing > 0:
        print(f"The last {missing} turns, which were held up before, at the same rate", flush=True)
        seconds = missing * options.seconds / options.turns
        await pace.run(spans[-1].phase.name, missing, seconds, at_most=seconds + LATE_SECONDS)
    return spans


async def _audit(rig: Rig, book: Book, people: Sequence[User]) -> Findings:
    """Deliver all pending writes, stop the chat, and read everything."""
    began = time.monotonic()
    await rig.drain()
    drained = time.monotonic() - began
    status = await rig.chat.terminate()
    if status:
        rig.chat.crashes.append(f"The chat ended with {status} after SIGTERM.")
    if left := pending_writes(rig.chat.data_folder):
        rig.chat.crashes.append(f"{left} writes still wait in the journal, with nothing in their way.")
    if rig.emulator.nice:  # all is measured
        rig.emulator.nice = 0
        await rig.emulator.restart()
    with mock.patch.dict(os.environ, FIRESTORE_EMULATOR_HOST=rig.emulator.host):
        everything, libraries = await read_firestore(people), await read_libraries(people)
    findings = audit(book, everything)
    audit_shelves(people, libraries, findings)
    await rig.chat.start()
    await audit_pages(rig.chat.url, people, everything, libraries, findings)
    await rig.chat.terminate()
    print(
        f"All was delivered {drained:.1f} s after the last turn. Read back, twice: {findings.messages:,} messages in "
        f"{findings.conversations:,} conversations, in {time.monotonic() - began - drained:.0f} s."
    )
    return findings


def _sum(counts: Sequence[Counter[str]]) -> Counter[str]:
    return sum(counts, Counter[str]())


def arguments() -> argparse.Namespace:
    names = [*(phase.name for phase in PHASES), FILES]

    def mix(text: str) -> list[str]:
        options = text.split(",")
        if unknown := [name for name in options if name not in names]:
            raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}; there are {', '.join(names)}")
        return options

    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=TURNS, help=f"turns in all: {TURNS}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"in which they begin: {SECONDS:.0f}")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"concurrent users with two tabs each: {PEOPLE}")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 16), help="of an earlier run, to repeat it")
    parser.add_argument("--mix", type=mix, help=f"only these, of {','.join(names)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of the part with files: {ROUNDS}")
    parser.add_argument("--keep", help="a folder for the journal and the logs; if not given, they are removed")
    parser.add_argument(
        "--no-probe", dest="probe", action="store_false", help="do not measure the store alone, beside the chat"
    )
    return parser.parse_args()


if __name__ == "__main__":
    parsed = arguments()
    if parsed.mix != [FILES] and (sentence := missing_program()):
        print(sentence)
        raise SystemExit(0)
    try:
        raise SystemExit(asyncio.run(main(parsed)))
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise SystemExit("Interrupted; every process of this run has been ended.") from None
