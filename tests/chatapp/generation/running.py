"""Turns in a test: a runner over models that it made up, and the ends of answers."""

import contextlib

from chatapp.domain.conversation import GenerationParameters
from chatapp.generation.runner import TurnRunner
from chatapp.models.catalog import Catalog

PARAMETERS = GenerationParameters()


@contextlib.asynccontextmanager
async def made_runner(store):
    """Yield a function that makes a runner over models; every runner is closed at the end."""
    made = []

    async def make(*models, **options):
        catalog = Catalog(models)
        await catalog.check()
        runner = TurnRunner(store, catalog, **{"batch_seconds": 0.01, **options})
        made.append((runner, catalog))
        return runner

    yield make
    for runner, catalog in made:
        await runner.aclose()
        await catalog.aclose()


async def ended(runner, user, conversation_id):
    """Wait until nothing is being written in a conversation."""
    if turn := runner.current(user, conversation_id):
        await turn.finished.wait()
