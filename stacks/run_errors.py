"""Errors of the program, reported once."""

from __future__ import annotations

import asyncio
from typing import Any

import pulumi


def report_run_errors_once() -> None:
    """Keep asyncio from logging a `pulumi.RunError` again, with a traceback, for each resource that waited for it.

    Pulumi logs its message. Call it inside the program, whose event loop runs by then.
    """
    loop = asyncio.get_running_loop()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), pulumi.RunError):
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
