"""Turns in a test: a runner over scripted models, and the requests that start turns."""

import contextlib

from chatapp.domain.conversation import GenerationParameters
from chatapp.generation.requests import AnswerRequest, TurnRequest
from chatapp.generation.runner import TurnRunner
from chatapp.models.catalog import Catalog

PARAMETERS = GenerationParameters()


def answer_request(model="scripted", parameters=PARAMETERS, **options):
    """Return a request for an answer."""
    return AnswerRequest(model=model, parameters=parameters, **options)


def turn_request(text, conversation_id="", *, model="scripted", answers=None, **options):
    """Return a request for a turn, with one answer by default."""
    answers = answers or [answer_request(model)]
    return TurnRequest(text=text, conversation_id=conversation_id, answers=answers, **options)


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
    """Wait until the turn of a conversation has ended."""
    if turn := runner.current(user, conversation_id):
        await turn.finished.wait()
