"""A short run of ``benchmarks.faults``: every kind of fault once, and nothing that was acknowledged is lost."""

import asyncio
import re
import signal
import sys

import psutil
import pytest

from benchmarks.fault_parts.processes import CHECKOUT, what_is_missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing() or "nothing is missing"),
]


@pytest.fixture
async def run():
    """Return a function that starts the benchmark; what still runs at the end is killed, with all that it started."""
    started = []

    async def start(*options):
        command = [sys.executable, "-m", "benchmarks.faults", *options]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, cwd=CHECKOUT, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for child in children:
                child.kill()
            await process.communicate()


async def test_nothing_that_the_chat_acknowledged_is_lost_whatever_happens(run):
    process = await run("--turns", "200", "--seconds", "20", "--people", "8", "--seed", "1")
    async with asyncio.timeout(600):
        output, _ = await process.communicate()
    said = output.decode()
    assert process.returncode == 0, said
    _, turns, acknowledged = map(int, re.search(r"^all +(\d+) +(\d+) +(\d+)", said, re.MULTILINE).groups())
    assert turns >= 200
    assert acknowledged > 100, said
    for done in (
        "chat was killed",
        "chat was ended",
        "emulator was restarted",
        "emulator was paused",
        "disk was filled",
    ):
        assert done in said


async def test_interrupted_it_ends_everything_that_it_started(run):
    process = await run("--turns", "100", "--seconds", "100", "--people", "2", "--mix", "calm")
    async with asyncio.timeout(600):
        while b"calm:" not in await process.stdout.readline():
            pass
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        output, _ = await process.communicate()
    assert b"Interrupted" in output
    assert len(children) >= 4  # the emulator, the backend, the probe and the chat
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
