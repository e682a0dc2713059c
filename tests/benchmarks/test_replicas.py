"""``benchmarks.replicas``: people move between replicas that fail; every message is shown once and in order."""

import asyncio
import re
import sys

import pytest

from benchmarks.fault_parts.processes import CHECKOUT, missing_program

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(missing_program()), reason=missing_program() or "nothing is missing"),
]


@pytest.mark.parametrize(
    ("turns", "options"),
    [
        pytest.param(120, ("--calm", "--rate", "4", "--people", "5"), id="calm"),
        pytest.param(5000, ("--copies", "3"), id="every kind of fault"),
    ],
)
async def test_no_acknowledged_message_is_hidden_doubled_or_out_of_order(turns, options):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.replicas", "--turns", str(turns), "--seed", "1", *options),
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    report = output.decode()
    assert process.returncode == 0, report
    assert int(re.search(r"(\d+) messages acknowledged", report)[1]) >= turns
