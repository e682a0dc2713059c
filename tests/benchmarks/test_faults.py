"""``benchmarks.faults``: the chat, its disk and Firestore fail, and nothing that was acknowledged is lost."""

import asyncio
import re
import signal
import sys

import psutil
import pytest

from benchmarks.fault_parts.kept_files import keep_files
from benchmarks.fault_parts.phases import PHASES
from benchmarks.fault_parts.processes import CHECKOUT, missing_program

pytestmark = pytest.mark.slow
needs_the_emulator = pytest.mark.skipif(bool(missing_program()), reason=missing_program() or "nothing is missing")


@pytest.fixture
async def run():
    """Return a function that starts the benchmark; at the end, kill it and its child processes."""
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


@needs_the_emulator
@pytest.mark.parametrize(
    ("turns", "seconds", "people", "phases"),
    [
        pytest.param(60, 9, 8, ["restarted", "killed", "full"], id="short"),
        # Without the part with files, which has a test of its own below.
        pytest.param(
            *(2000, 320, 20, [phase.name for phase in PHASES]),
            id="every kind of fault",
            marks=pytest.mark.long(seconds=700),
        ),
    ],
)
async def test_no_acknowledged_turn_is_lost(run, turns, seconds, people, phases):
    length = ("--turns", str(turns), "--seconds", str(seconds), "--people", str(people))
    process = await run(*length, "--seed", "1", "--no-probe", "--mix", ",".join(phases))
    async with asyncio.timeout(seconds + 1800):
        output, _ = await process.communicate()
    report = output.decode()
    assert process.returncode == 0, report
    _, begun, acknowledged = map(int, re.search(r"^all +(\d+) +(\d+) +(\d+)", report, re.MULTILINE).groups())
    assert begun >= turns
    assert acknowledged > turns / 2, report
    is_short = len(phases) < len(PHASES)
    assert int(re.search(r"(\d+) x added: acknowledged", report)[1]) > (0 if is_short else 50), report
    done = ["chat was killed", "emulator was restarted", "disk was filled"]
    for event in done if is_short else [*done, "chat was ended", "emulator was paused"]:
        assert event in report


@pytest.mark.parametrize("rounds", [1, pytest.param(12, marks=pytest.mark.long(seconds=150))])
async def test_no_acknowledged_file_of_a_document_is_lost_and_none_is_left(tmp_path, rounds):
    outcome = await keep_files(tmp_path, seed=1, rounds=rounds, number_of_people=2 if rounds == 1 else 4)
    assert outcome.wrong == {}
    assert outcome.done["chat was killed"]
    assert outcome.done["disk was full"]
    assert outcome.uploads["acknowledged"] >= 5 * rounds
    assert outcome.uploads["refused"] >= 3
    assert {name for name in outcome.uploads if "refused with" in name} == set()


@needs_the_emulator
async def test_interrupted_run_ends_all_its_processes(run):
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
