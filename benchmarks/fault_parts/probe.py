"""Measures the delay of a turn by the store alone: the runner with its own journal, through the same network.

``python -m benchmarks.fault_parts.probe FOLDER`` runs in a process that is not killed and serves no pages, until its
standard input ends; its clock is not set, and its disk is not the one that is filled. For each turn it prints the time,
the seconds until the request to the model, the seconds from the end of the model's response until the answer is stored,
and the seconds of a bare write just before: what the machine takes for the least that a durable store does, while all
processes of the run share it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.config.logs import configure_logs
from chatapp.conversations.catch_up import Seen
from chatapp.domain.conversation import FinishReason, GenerationParameters
from chatapp.domain.errors import ChatError
from chatapp.generation.requests import AnswerRequest, TurnRequest
from chatapp.generation.runner import TurnRunner
from chatapp.models import Finish, ModelDefaults, ModelState, ModelStatus, TextDelta
from chatapp.models.catalog import Catalog
from chatapp.store.firestore.store import FirestoreStore
from chatapp.store.journal.store import JournaledStore
from tests.firestore_emulator import PROJECT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from io import FileIO

    from chatapp.domain.conversation import Message
    from chatapp.models import ModelEvent

TALKS = 4  # concurrent conversations
# Between the turns of a conversation. Random, as people's are: after equal pauses the conversations stayed in step, and
# one turn in three began within 10 ms of another, whose CPU it waited for.
PAUSE_SECONDS = (0.2, 0.6)
MAX_TURNS = 20  # of a conversation
BARE_BYTES = 4096  # about those of a question's commit
ANSWER = "The keeper read, mended the lamp, and wrote down the weather, which he had no reason to trust. " * 20


class InstantModel(ModelDefaults):
    """Answers at once, and records the times of the request and of the end."""

    id, label, context_tokens = "instant", "Instant", None

    def __init__(self) -> None:
        self.requested: dict[str, float] = {}  # by question
        self.ended: dict[str, float] = {}

    # `chatapp.models.ChatModel` has the docstrings.
    async def stream(  # noqa: D102
        self,
        messages: Sequence[Message],
        parameters: GenerationParameters,  # noqa: ARG002  # of the interface
    ) -> AsyncGenerator[ModelEvent]:
        question = messages[-1].content
        self.requested[question] = time.monotonic()
        yield TextDelta(ANSWER)
        yield Finish(FinishReason.STOP)
        self.ended[question] = time.monotonic()

    async def status(self) -> ModelStatus:  # noqa: D102
        return ModelStatus(ModelState.READY)

    async def start(self) -> None:  # noqa: D102
        pass

    async def aclose(self) -> None:  # noqa: D102
        pass


async def main() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    model = InstantModel()
    cloud = FirestoreStore(PROJECT, "(default)")
    journal = Path(sys.argv[1]) / "journal.db"
    store = await JournaledStore.open(journal, cloud, destination="the emulator", drain_seconds=0)
    turns = TurnRunner(store, Catalog([model]))
    gc.freeze()  # as the chat does once it has started: see `chatapp.__main__`
    with (Path(sys.argv[1]) / "bare").open("ab", buffering=0) as bare:
        await asyncio.gather(*(_talk(turns, model, f"probe-{i}", ended, bare) for i in range(TALKS)))
    await turns.aclose()
    await store.aclose()


async def _talk(turns: TurnRunner, model: InstantModel, user: str, ended: asyncio.Event, bare: FileIO) -> None:
    conversation_id, number, seen = "", 0, None
    while not ended.is_set():
        question = f"{user} {number}"
        before = time.monotonic()
        await asyncio.to_thread(_write, bare)
        began = time.monotonic()
        try:
            answer = AnswerRequest(model=model.id, parameters=GenerationParameters())
            request = TurnRequest(text=question, answers=[answer], conversation_id=conversation_id, seen=seen)
            conversation_id = (await turns.start(user, request)).id
            async with aclosing(turns.watch(user, conversation_id)) as answers:
                async for message in answers:
                    seen = Seen(message.id, message.revision)  # as a page names it
        except ChatError as error:
            print(began, "refused", type(error).__name__, flush=True)
            conversation_id, seen = "", None
        else:
            over = time.monotonic()
            start, end = model.requested.pop(question) - began, over - model.ended.pop(question, over)
            print(began, start, end, began - before, flush=True)
        number += 1
        if number % MAX_TURNS == 0:
            conversation_id, seen = "", None
        try:
            async with asyncio.timeout(random.uniform(*PAUSE_SECONDS)):
                await ended.wait()
        except TimeoutError:
            pass


def _write(bare: FileIO) -> None:
    bare.write(bytes(BARE_BYTES))
    os.fsync(bare.fileno())


if __name__ == "__main__":
    configure_logs("text")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    asyncio.run(main())
