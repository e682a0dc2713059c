"""The phases of a run: each injects one kind of fault into the chat or its connection to Firestore."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.fault_parts.disk import SmallDisk
from benchmarks.fault_parts.proxy import HALF_CLOSE, LATE, LOSE_REPLIES, PASS, REFUSE, STALL, THIN
from benchmarks.fault_parts.rig import pending_writes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from benchmarks.fault_parts.proxy import Fault
    from benchmarks.fault_parts.rig import Rig


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of fault.

    Attributes:
        words: description for the report.
        weight: share of the turns and of the time.
        least_seconds: minimum duration of a useful phase.
    """

    name: str
    words: str
    weight: float
    least_seconds: float
    fault: Callable[[Rig], Awaitable[None]]


async def _calm(rig: Rig) -> None:
    while await rig.continues(60, 60):
        pass


def _constant(fault: Fault) -> Callable[[Rig], Awaitable[None]]:
    async def act(rig: Rig) -> None:
        await rig.proxy.set(fault)
        await _calm(rig)

    return act


def _at_intervals(
    fault: Fault, away: tuple[float, float], back: tuple[float, float]
) -> Callable[[Rig], Awaitable[None]]:
    async def act(rig: Rig) -> None:
        while True:
            await rig.proxy.set(fault)
            rig.done["the network failed"] += 1
            continues = await rig.continues(*away)
            await rig.proxy.set(PASS)
            if not continues or not await rig.continues(*back):
                return

    return act


async def _reset(rig: Rig) -> None:
    while await rig.continues(0.05, 0.8):
        rig.proxy.reset()
        rig.done["connections were reset"] += 1


async def _paused(rig: Rig) -> None:
    while True:
        rig.emulator.pause()
        rig.done["the emulator was paused"] += 1
        continues = await rig.continues(2, 8)
        rig.emulator.resume()
        if not continues or not await rig.continues(1, 3):
            return


async def _restarted(rig: Rig) -> None:
    while True:
        await rig.proxy.set(REFUSE)
        await asyncio.sleep(0.2)  # until requests in progress have arrived or are lost
        await rig.emulator.restart()
        await rig.proxy.set(PASS)
        rig.done["the emulator was restarted"] += 1
        if not await rig.continues(4, 8):
            return


def _chat_ends(*, gently: bool) -> Callable[[Rig], Awaitable[None]]:
    async def act(rig: Rig) -> None:
        await rig.continues(1, 2)
        while True:
            await rig.restart_chat(gently=gently)
            if not await rig.continues(2, 6):
                return

    return act


async def _killed_in_an_outage(rig: Rig) -> None:
    while True:
        await rig.proxy.set(rig.chance.choice((LOSE_REPLIES, STALL, REFUSE, THIN)))
        await rig.continues(1, 4)
        await rig.restart_chat(gently=rig.chance.random() < 0.3)
        await rig.continues(1, 3)  # users continue while Firestore is still unavailable
        await rig.proxy.set(PASS)
        if not await rig.continues(1, 4):
            return


async def _full(rig: Rig) -> None:
    """Fill the disk at intervals; last, because the chat moves to the small disk for the rest of the run."""
    if rig.disk is None:
        await _calm(rig)
        return
    if not isinstance(rig.disk, SmallDisk):
        await _fill_at_intervals(rig)
        return
    await _move(rig, rig.disk.folder / "data")
    await _fill_at_intervals(rig)


async def _fill_at_intervals(rig: Rig) -> None:
    assert rig.disk is not None
    while True:
        await rig.proxy.set(rig.chance.choice((STALL, PASS)))
        await rig.disk.fill()
        rig.done["the disk was filled"] += 1
        continues = await rig.continues(1.5, 5)
        await rig.disk.free()
        await rig.proxy.set(PASS)
        if not continues or not await rig.continues(1, 3):
            return


async def _move(rig: Rig, folder: Path) -> None:
    """Go on with the chat's data in another folder, once nothing waits in this one."""
    while True:
        await rig.drain()
        await rig.chat.terminate()
        if not pending_writes(rig.chat.data_folder):
            break
        await rig.chat.start()  # an answer ended after the look
    rig.chat.data_folder = folder
    await rig.chat.start()


async def _clock(rig: Rig) -> None:
    for seconds in (-3600.0, -86_400.0, 7.0, -30.0):
        rig.set_clock(seconds)
        if not await rig.continues(1.5, 4):
            break
    rig.set_clock(0)


async def _everything(rig: Rig) -> None:
    network = asyncio.create_task(_any_network(rig))
    while await rig.continues(2, 5):
        rig.set_clock(rig.chance.choice((0.0, -600.0, 0.5)))
        await rig.restart_chat(gently=rig.chance.random() < 0.3)
    await network
    rig.set_clock(0)


async def _any_network(rig: Rig) -> None:
    faults = (PASS, LATE, THIN, REFUSE, STALL, LOSE_REPLIES, HALF_CLOSE)
    while True:
        await rig.proxy.set(rig.chance.choice(faults))
        rig.done["the network failed"] += 1
        if rig.chance.random() < 0.3:
            rig.emulator.pause()
        continues = await rig.continues(0.5, 3)
        rig.emulator.resume()
        rig.proxy.reset()
        if not continues:
            return


PHASES = (
    Phase("calm", "nothing", 2, 1, _calm),
    Phase("late", "every part of every stream is 50 to 300 ms late", 2, 1, _constant(LATE)),
    Phase("thin", "4 kB/s in each direction", 2, 1, _constant(THIN)),
    Phase("refused", "connections are cut and refused for 2 to 8 s", 2, 1, _at_intervals(REFUSE, (2, 8), (1, 3))),
    Phase("reset", "all connections are reset, up to 20 times a second", 2, 1, _reset),
    Phase("stalled", "all is accepted, and gone, for 2 to 8 s", 3, 1.5, _at_intervals(STALL, (2, 8), (1, 3))),
    Phase(
        "unheard", "requests arrive, replies do not, for 2 to 8 s", 3, 1.5, _at_intervals(LOSE_REPLIES, (2, 8), (1, 3))
    ),
    Phase("half closed", "one direction of each connection ends soon", 2, 1, _constant(HALF_CLOSE)),
    Phase("paused", "the emulator is stopped (SIGSTOP) for 2 to 8 s", 3, 1.5, _paused),
    Phase("restarted", "the emulator is killed and started with what it held", 3, 1, _restarted),
    Phase("killed", "the chat is killed (SIGKILL) in mid-answer and started again", 4, 2.5, _chat_ends(gently=False)),
    Phase("ended", "the same with SIGTERM", 3, 2.5, _chat_ends(gently=True)),
    Phase("both", "the chat is killed, or ended, while Firestore is away", 4, 3, _killed_in_an_outage),
    Phase("clock", "the chat's clock goes back by an hour, by a day, and on", 2, 1.5, _clock),
    Phase("everything", "any of these at any time, the chat killed or ended too", 4, 4, _everything),
    Phase("full", "the disk of the journal is full for 2 to 5 s", 3, 3, _full),
)
