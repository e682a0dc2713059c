"""A model that runs inside of this chat: a GGUF file on llama.cpp, in a watched child process."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
import sys
import time
from abc import ABC, abstractmethod
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from chatapp.domain.conversation import FinishReason, Place
from chatapp.domain.errors import ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.models import DEFAULT_TIME_LIMITS, Finish, ModelDefaults, ModelState, ModelStatus, TextDelta
from chatapp.models.llamacpp.loops import LoopDetector
from chatapp.models.llamacpp.setup import or_alternative
from chatapp.models.openai.model import OpenAICompatibleModel

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncGenerator, Sequence

    from chatapp.domain.conversation import GenerationParameters, Message
    from chatapp.models import ModelEvent, TimeLimits

RESTARTS: Final = 1
CRASH_WINDOW_SECONDS: Final = 600.0
"""In which crashes count: after more than `RESTARTS`, the model stays down."""

NO_ROOM_SECONDS: Final = 10.0
"""After which a model that did not fit into the memory may try again."""

_KILL_SECONDS = 3.0
_CRASH_SECONDS = 1.0  # from the end of a connection to the end of its process
log = structlog.get_logger(__name__)


class LlamaCppModel(ModelDefaults, ABC):
    """A `ChatModel` that runs on this computer; its server starts with the first question or with `start`.

    A subclass says which file it is, what it needs, and how it is run.

    Args:
        id: short, stable, unique in the catalogue.
        label: its name on the page.
        limits: timeouts; ``first_token`` includes the start of the server.
    """

    place = Place.THIS_COMPUTER
    start_seconds: float = 60.0  # until its server is ready
    idle_seconds: float | None = None  # without a question, after which its server is stopped; None: never

    def __init__(self, id: str, label: str, *, limits: TimeLimits = DEFAULT_TIME_LIMITS) -> None:  # noqa: A002  # the protocol's name
        self.id = id
        self.label = label
        self._limits = limits
        self._supervisor: asyncio.Task[None] | None = None
        self._server: _Server | None = None
        self._failure: ModelStatus | None = None  # until the chat is restarted, unless it is forgotten
        self._settled = asyncio.Event()  # a server runs, or has failed for good
        self._closed = False
        self._forget_failure_at = float("inf")
        self._answers = 0  # in progress
        self._idle: asyncio.TimerHandle | None = None
        self._unloading: asyncio.Task[None] | None = None

    @abstractmethod
    def file(self) -> Path | None:
        """Return the model's file, None if there is none."""

    @abstractmethod
    async def find_problem(self) -> ModelStatus | None:
        """Return what keeps the model from running here, None if nothing does. Called often: remember what is slow."""

    async def make_room(self) -> ModelStatus | None:
        """Return what keeps its server from being started now, None if nothing does."""
        return None

    @abstractmethod
    def server_settings(self) -> dict[str, Any]:
        """Return the settings of its server: those of `chatapp.models.llamacpp.server.Settings` but file and key."""

    def adapted(self, parameters: GenerationParameters) -> GenerationParameters:
        """Return the parameters that are sent to the server."""
        return parameters

    async def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer the last message; see `ChatModel.stream`. A small model is stopped where it goes around in a circle.

        Raises:
            ContextTooLong: the prompt does not fit.
            ModelUnavailable: it cannot run here, or has crashed.
        """
        self._answers += 1
        detector = LoopDetector() if self.is_small else None
        try:
            async with aclosing(self._stream(messages, self.adapted(parameters))) as events:
                async for event in events:
                    yield event
                    if detector and isinstance(event, TextDelta) and detector.loops(event.text):
                        yield Finish(FinishReason.STOP)
                        return
        finally:
            self._answers -= 1
            self._watch_idleness()

    async def _stream(
        self, messages: Sequence[Message], parameters: GenerationParameters
    ) -> AsyncGenerator[ModelEvent]:
        server = await self._running_server()
        try:
            async with aclosing(server.model.stream(messages, parameters)) as events:
                async for event in events:
                    yield event
        except ModelUnavailable as error:
            if await server.has_ended():
                raise ModelUnavailable(
                    Sentence("{model} has crashed. Try again.", model=self.label), detail=error.detail
                ) from None
            raise

    async def status(self) -> ModelStatus:
        """Return whether the model can answer; see `OpenAICompatibleModel.status` for the probe of a running server."""
        self._forget_old_failure()
        if problem := self._failure or await self.find_problem():
            return problem
        if self._supervisor is None:
            return ModelStatus(ModelState.READY, Sentence("starts with the first question"))
        server = self._server
        if server is None:
            return ModelStatus(ModelState.LOADING, Sentence("it is starting"), Sentence("try again in a moment"))
        status = await server.model.status()
        if status.state is ModelState.READY:
            return status
        if await server.has_ended():
            return self._failure or ModelStatus(
                ModelState.LOADING, Sentence("it is restarting"), Sentence("try again in a moment")
            )
        fix = Sentence("try again in a moment; if that does not help, restart the chat")
        return ModelStatus(status.state, status.reason, fix)

    async def start(self) -> None:
        """Start the server without waiting for it."""
        self._forget_old_failure()
        if self._supervisor is None and not self._closed:
            self._supervisor = asyncio.create_task(self._supervise())

    @property
    def is_idle(self) -> bool:
        """Whether its server can be stopped without ending an answer, or does not run at all."""
        return self._answers == 0

    @property
    def has_server(self) -> bool:
        """Whether its server runs, starts, or is restarted, and so needs memory."""
        return self._supervisor is not None and not self._supervisor.done()

    async def unload(self) -> None:
        """Stop the server until the next question, unless it is answering one."""
        if self._supervisor is None or self._answers or self._closed or self._failure:
            return
        supervisor, self._supervisor = self._supervisor, None
        supervisor.cancel()
        await asyncio.wait([supervisor])

    def _watch_idleness(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self.idle_seconds is not None and not self._closed:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self.idle_seconds, self._unload_soon)

    def _unload_soon(self) -> None:
        self._unloading = asyncio.get_running_loop().create_task(self.unload())

    async def aclose(self) -> None:
        """Stop the server; running answers end with an error."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        self._fail(ModelStatus(ModelState.UNAVAILABLE, Sentence("the chat is shutting down")))
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])

    async def _running_server(self) -> _Server:
        await self.start()
        try:
            async with asyncio.timeout(self._limits.first_token):
                while self._server is None and self._failure is None:
                    await self._settled.wait()
        except TimeoutError:
            raise ModelUnavailable(
                Sentence("{model} does not start. Try again later, or choose another model.", model=self.label)
            ) from None
        if self._server is None:
            failure = self._failure or ModelStatus(ModelState.UNAVAILABLE)
            raise ModelUnavailable(
                Sentence(
                    "{model} cannot answer: {reason}. To use it, {fix}.",
                    model=self.label,
                    reason=failure.reason,
                    fix=failure.fix,
                )
                if failure.fix
                else Sentence("{model} cannot answer: {reason}.", model=self.label, reason=failure.reason)
            )
        return self._server

    async def _supervise(self) -> None:
        """Keep a server running from the first question to `aclose`."""
        if problem := await self.find_problem():
            self._fail(problem)
            return
        if problem := await self.make_room():
            self._fail(problem)
            self._forget_failure_at = time.monotonic() + NO_ROOM_SECONDS
            return
        self._watch_idleness()
        crashes: list[float] = []
        while True:
            try:
                cause = await self._run_server()
            except (OSError, ValueError) as error:  # no more processes or memory; no JSON
                cause = type(error).__name__
            now = time.monotonic()
            crashes = [crash for crash in crashes if now - crash < CRASH_WINDOW_SECONDS] + [now]
            log.warning("embedded_model_ended", model=self.id, how=cause, crashes=len(crashes))
            if len(crashes) > RESTARTS:
                reason = Sentence("number of crashes: {times} ({how})", times=len(crashes), how=cause)
                fix = or_alternative(Sentence("restart the chat"))
                self._fail(ModelStatus(ModelState.UNAVAILABLE, reason, fix))
                return

    async def _run_server(self) -> str:
        """Run one server to its end, and return why it ended."""
        key = secrets.token_urlsafe(32)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chatapp.models.llamacpp.server",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[3],  # where ``-m`` finds chatapp, wherever this process was started
        )
        cause = ""
        settings = {**self.server_settings(), "model": str(self.file()), "api_key": key}
        try:
            # In stdin and not as an argument, which every user of the computer can read.
            url = await _started(process, json.dumps(settings), self.start_seconds)
            if url:
                model = OpenAICompatibleModel(self.id, self.label, url, api_key=key, limits=self._limits)
                self._server = _Server(model, process)
                self._settled.set()
            await process.wait()
        except TimeoutError:
            cause = Sentence("it did not start in time")
        finally:
            server, self._server = self._server, None
            if self._failure is None:
                self._settled.clear()
            if server is not None:
                await server.model.aclose()
            await _end(process)
        return cause or Sentence("exit status {status}", status=str(process.returncode))

    def _forget_old_failure(self) -> None:
        if time.monotonic() >= self._forget_failure_at:
            self._forget_failure_at = float("inf")
            self._failure = self._supervisor = None
            self._settled.clear()

    def _fail(self, failure: ModelStatus) -> None:
        self._failure = failure
        self._settled.set()


@dataclasses.dataclass(frozen=True, slots=True)
class _Server:
    """A running server: the process, and the model behind its address."""

    model: OpenAICompatibleModel
    process: Process

    async def has_ended(self) -> bool:
        """Return whether the process has ended, which is known a moment after its connections are lost."""
        try:
            async with asyncio.timeout(_CRASH_SECONDS):
                await self.process.wait()
        except TimeoutError:
            return False
        return True


async def _started(process: Process, settings: str, seconds: float) -> str:
    """Return the address once the server is ready, "" if it ends instead.

    Raises:
        TimeoutError: neither happened within these seconds.
    """
    assert process.stdin is not None  # noqa: S101  # created with a pipe
    assert process.stdout is not None  # noqa: S101  # as above
    async with asyncio.timeout(seconds):
        with suppress(ConnectionError):  # it ended before it read
            process.stdin.write(settings.encode() + b"\n")
            await process.stdin.drain()
        line = await process.stdout.readline()
    return str(json.loads(line)["url"]) if line else ""


async def _end(process: Process) -> None:
    """Terminate the process if it still runs, and kill it after `_KILL_SECONDS`."""
    if process.stdin is not None:
        process.stdin.close()
    for send_signal in (process.terminate, process.kill):
        if process.returncode is not None:
            break
        with suppress(ProcessLookupError):
            send_signal()
        with suppress(TimeoutError):
            async with asyncio.timeout(_KILL_SECONDS):
                await process.wait()
