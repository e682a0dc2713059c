"""Titles that models give to conversations."""

import asyncio
import dataclasses

import pytest

from chatapp.domain.errors import RateLimited
from chatapp.generation.titles import TITLE_CHARS, cleaned_title, first_words
from chatapp.models import TextDelta
from tests.chatapp.generation.running import answer_request, ended, made_runner, turn_request
from tests.fakes.models import ScriptedModel


class Titled(ScriptedModel):
    """Answers a request for a title with ``title``, or fails with it."""

    def __init__(self, *pieces, title="A fine title", **options):
        super().__init__(*pieces, **options)
        self.title = title
        self.titles = 0

    async def stream(self, messages, parameters):
        if not messages[-1].content.startswith("Write a title"):
            async for event in super().stream(messages, parameters):
                yield event
            return
        self.titles += 1
        if isinstance(self.title, Exception):
            raise self.title
        yield TextDelta(self.title)


@pytest.fixture
async def ask(store):
    """Return a function that sends a question and returns the conversation with its final title."""
    async with made_runner(store) as make:
        runners = {}

        async def send(model, text="How are you?", conversation_id="", **options):
            if model not in runners:
                runners[model] = await make(model, titles=True)
            runner = runners[model]
            conversation = await runner.start("ann", turn_request(text, conversation_id, model=model.id, **options))
            turn = runner.current("ann", conversation.id)
            await ended(runner, "ann", conversation.id)
            if turn and turn.title:
                await turn.title
            return await store.conversation("ann", conversation.id)

        yield send


async def test_model_generates_the_title_once(ask):
    model = Titled("Fine.")
    conversation = await ask(model)
    assert conversation.title == "A fine title"
    assert (await ask(model, "And now?", conversation.id)).title == "A fine title"
    assert model.titles == 1


async def test_renamed_conversation_keeps_its_title(ask, store, monkeypatch):
    model = Titled("Fine.")
    asking = asyncio.Event()
    stream = model.stream

    async def slow(messages, parameters):
        if messages[-1].content.startswith("Write a title"):
            (conversation,) = (await store.conversations("ann")).items
            await store.update("ann", dataclasses.replace(conversation, title="Mine"))
            asking.set()
        async for event in stream(messages, parameters):
            yield event

    monkeypatch.setattr(model, "stream", slow)
    assert (await ask(model)).title == "Mine"
    assert asking.is_set()


@pytest.mark.parametrize("title", [RateLimited("No."), ZeroDivisionError(), "", " \n ", '""'])
async def test_first_words_stay_where_the_model_has_no_title(ask, title):
    conversation = await ask(Titled("Fine.", title=title))
    assert conversation.title == "How are you?"


async def test_model_that_writes_no_titles_is_not_called(ask):
    model = Titled("Fine.")
    model.writes_titles = False
    assert (await ask(model)).title == "How are you?"
    assert model.titles == 0


async def test_title_is_generated_after_the_first_complete_answer(ask):
    model = Titled("Half", error=RateLimited("No."))
    conversation = await ask(model)
    assert (conversation.title, model.titles) == ("How are you?", 0)
    model._error = None
    assert (await ask(model, "Again", conversation.id)).title == "A fine title"


async def test_comparison_gets_one_title_and_a_temporary_chat_none(ask):
    model = Titled("Fine.")
    assert (await ask(model, answers=[answer_request(), answer_request()])).title == "A fine title"
    assert (await ask(model, is_temporary=True)).title == "How are you?"
    assert model.titles == 1


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("A lamp", "A lamp"),
        ('"A lamp in winter."\n', "A lamp in winter"),
        ("\n## Title: **A lamp**\nand more", "A lamp"),
        ("“מנורה בחורף”", "מנורה בחורף"),
        ("«مصباح»", "مصباح"),
        ("x" * 200, "x" * (TITLE_CHARS - 1) + "…"),
        ("a\0b", "a\ufffdb"),
    ],
)
def test_decoration_of_a_title_is_removed(written, title):
    assert cleaned_title(written) == title


def test_question_of_images_alone_has_a_title():
    assert first_words(" \n")
