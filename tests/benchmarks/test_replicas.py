"""``benchmarks.replicas``: people move between two replicas; every message is shown once and in order."""

import asyncio
import re
import sys

import pytest

from benchmarks.fault_parts.processes import CHECKOUT, missing_program

pytestmark = [
    pytest.mark.long(seconds=60),
    pytest.mark.skipif(bool(missing_program()), reason=missing_program() or "nothing is missing"),
]


async def test_no_acknowledged_message_is_hidden_doubled_or_out_of_order():
    options = ("--turns", "120", "--seed", "1", "--calm", "--rate", "4", "--people", "5")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.replicas", *options),
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    report = output.decode()
    assert process.returncode == 0, report
    assert int(re.search(r"(\d+) messages acknowledged", report)[1]) >= 120
