"""What a check of the Google Cloud project is, and how all of them run: at the same time, none stopping another."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stacks.names import Names
from stacks.preflight.google_api import GoogleApi, UnreadableError
from stacks.preflight.report import Report, Status
from stacks.settings import Settings

DEADLINE_SECONDS = 60.0
AT_ONCE = 8

Finding = tuple[Status, str]
"""A result and its sentence, which ends with the command that mends it, where there is one."""


class Project:
    """What the checks read.

    Attributes:
        settings: of the stack.
        names: of its resources.
        api: of Google.
        recorded: types of the resources in the stack's state; `None`: it cannot be read.
        hugging_face_token: empty: none.
    """

    def __init__(
        self,
        settings: Settings,
        names: Names,
        api: GoogleApi,
        *,
        recorded: Collection[str] | None,
        hugging_face_token: str,
    ) -> None:
        self.settings, self.names, self.api = settings, names, api
        self.recorded, self.hugging_face_token = recorded, hugging_face_token

    @cached_property
    def record(self) -> dict[str, Any]:
        """The project itself: its number, state and parent."""
        return self.api.read(f"https://cloudresourcemanager.googleapis.com/v1/projects/{self.settings.project}")

    @property
    def compute(self) -> str:
        """The address of the project in Compute Engine."""
        return f"https://compute.googleapis.com/compute/v1/projects/{self.settings.project}"


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        title: what is checked, as the beginning of a sentence.
        run: yields what it finds; may raise `UnreadableError`, which is reported and stops no other check.
        applies: whether the settings make it necessary.
    """

    title: str
    run: Callable[[Project], Iterable[Finding]]
    applies: Callable[[Settings], bool] = lambda _: True


def run_checks(report: Report, checks: Sequence[Check], project: Project) -> None:
    """Run the checks that apply, and report them in their order."""
    chosen = [check for check in checks if check.applies(project.settings)]
    deadline = time.monotonic() + DEADLINE_SECONDS
    executor = ThreadPoolExecutor(AT_ONCE)
    try:
        running = [executor.submit(_findings, check, project) for check in chosen]
        for check, each in zip(chosen, running, strict=True):
            for status, sentence in _result(check, each, deadline):
                report.add(status, sentence)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _findings(check: Check, project: Project) -> list[Finding]:
    return list(_safely(check, project))


def _safely(check: Check, project: Project) -> Iterator[Finding]:
    try:
        yield from check.run(project)
    except UnreadableError as error:
        yield "later", f"{check.title}: {error}"


def _result(check: Check, running: Future[list[Finding]], deadline: float) -> list[Finding]:
    try:
        return running.result(timeout=max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return [("later", f"{check.title}: Google did not answer within {DEADLINE_SECONDS:g} seconds")]
