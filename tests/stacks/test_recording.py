"""A run of the program leaves nothing that disturbs a later test."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pulumi
import pytest

from tests.stacks.recording import run

if TYPE_CHECKING:
    import logging


@pytest.mark.slow
def test_a_program_that_fails_leaves_no_pending_task(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_: int) -> None:
        message = "refused"
        raise ValueError(message)

    def program() -> None:
        output = pulumi.Output.from_input(1)
        output.apply(refuse)
        for _ in range(20):
            output = pulumi.Output.all(output, output.apply(str)).apply(len)

    with pytest.raises(ValueError, match="refused"):
        run(program)
    gc.collect()
    records: list[logging.LogRecord] = caplog.records
    assert [record.getMessage() for record in records] == []
