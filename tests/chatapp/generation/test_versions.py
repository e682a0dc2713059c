"""Edited questions, regenerated answers, comparisons of two answers, fallback and metadata."""

import asyncio
import dataclasses

import pytest

from chatapp.domain.conversation import GenerationParameters, MessageStatus, Place
from chatapp.domain.errors import (
    ConversationBusy,
    ConversationNotFound,
    InvalidParameters,
    MessageNotFound,
    NothingToContinue,
    RateLimited,
    TooManyTurns,
    UnknownModel,
)
from chatapp.domain.message_tree import MessageTree
from chatapp.generation.queue import TurnLimits
from chatapp.models import ModelState, ModelStatus, Price
from tests.chatapp.generation.running import PARAMETERS, answer_request, ended, turn_request
from tests.fakes.models import ScriptedModel

NAME = "0123456789abcdef" * 2


class Talk:
    """A conversation of Ann with a model."""

    def __init__(self, runner, store, model="scripted"):
        self.runner = runner
        self.store = store
        self.model = model
        self.id = ""

    async def ask(self, text, **options):
        request = turn_request(text, self.id, **{"model": self.model, **options})
        self.id = (await self.runner.start("ann", request)).id
        await ended(self.runner, "ann", self.id)

    async def again(self, question, **options):
        model = options.pop("model", self.model)
        await self.runner.regenerate("ann", self.id, question, answer_request(model), **options)
        await ended(self.runner, "ann", self.id)

    async def messages(self):
        return await self.store.messages("ann", self.id)

    async def branch(self):
        return (await self.store.conversation("ann", self.id)).branch

    async def shown(self):
        """Return the texts of the messages that are shown."""
        return [message.content for message, _ in MessageTree(await self.messages()).shown(await self.branch())]

    async def id_of(self, text):
        """Return the id of the last message with this text."""
        return [message.id for message in await self.messages() if message.content == text][-1]

    async def switch(self, text):
        conversation = await self.store.conversation("ann", self.id)
        await self.store.update("ann", dataclasses.replace(conversation, branch=await self.id_of(text)))


class Echo(ScriptedModel):
    """Answers with the number of its request and the questions that it was sent."""

    async def stream(self, messages, parameters):
        self._pieces = [f"{len(self.asked)}:" + "/".join(one.content for one in messages)]
        async for event in super().stream(messages, parameters):
            yield event


async def test_edited_question_is_another_version(chat, store):
    talk = Talk(await chat(Echo()), store)
    await talk.ask("a")
    await talk.ask("b")
    await talk.ask("c", follows=await talk.id_of("0:a"))
    assert await talk.shown() == ["a", "0:a", "c", "2:a/0:a/c"]  # the model gets only this branch
    tree = MessageTree(await talk.messages())
    b, c = await talk.id_of("b"), await talk.id_of("c")
    assert tree.versions(b) == tree.versions(c) == [b, c]


async def test_first_question_can_be_edited(chat, store):
    talk = Talk(await chat(Echo()), store)
    await talk.ask("a")
    await talk.ask("b", follows="")
    assert await talk.shown() == ["b", "1:b"]
    await talk.switch("a")
    assert await talk.shown() == ["a", "0:a"]


async def test_regenerated_answer_is_another_version(chat, store):
    model = Echo()
    talk = Talk(await chat(model), store)
    await talk.ask("a")
    await talk.again(await talk.id_of("a"))
    assert await talk.shown() == ["a", "1:a"]
    assert [message.content for message in model.asked[1][0]] == ["a"]
    tree = MessageTree(await talk.messages())
    assert tree.versions(await talk.id_of("1:a")) == [await talk.id_of("0:a"), await talk.id_of("1:a")]


async def test_regenerating_an_earlier_answer_keeps_the_messages_after_the_former_one(chat, store):
    talk = Talk(await chat(Echo()), store)
    await talk.ask("a")
    await talk.ask("b")
    await talk.again(await talk.id_of("a"))
    assert await talk.shown() == ["a", "2:a"]
    await talk.switch("0:a")
    assert await talk.shown() == ["a", "0:a", "b", "1:a/0:a/b"]


async def test_next_question_follows_the_selected_version(chat, store):
    talk = Talk(await chat(Echo()), store)
    await talk.ask("a")
    await talk.again(await talk.id_of("a"))
    await talk.switch("0:a")
    await talk.ask("b")
    assert await talk.shown() == ["a", "0:a", "b", "2:a/0:a/b"]
    assert await talk.branch() == await talk.id_of("0:a")


async def test_new_answer_is_shown_whatever_version_was_selected(chat, store):
    talk = Talk(await chat(Echo()), store)
    await talk.ask("a")
    await talk.ask("b", follows="")
    await talk.switch("a")
    await talk.again(await talk.id_of("b"))
    assert await talk.shown() == ["b", "2:b"]
    assert await talk.branch() == ""


async def test_only_an_answer_of_the_same_conversation_can_be_followed(chat, store):
    runner = await chat(Echo())
    talk, other = Talk(runner, store), Talk(runner, store)
    await talk.ask("a")
    await other.ask("x")
    before = await talk.messages()
    for follows in (await other.id_of("1:x"), await talk.id_of("a"), "nobody", "\0"):
        with pytest.raises(MessageNotFound):
            await talk.ask("b", follows=follows)
    for question in (await other.id_of("x"), await talk.id_of("0:a"), "nobody", ""):
        with pytest.raises(MessageNotFound):
            await talk.again(question)
    with pytest.raises(ConversationNotFound):
        await runner.regenerate("bob", talk.id, before[0].id, answer_request())
    assert await talk.messages() == before
    assert not runner.is_busy("ann", talk.id)


async def test_retry_with_the_same_answer_id_is_stored_once(chat, store):
    talk = Talk(await chat(Echo(seconds_between=0.02)), store)
    await talk.ask("a")
    question = await talk.id_of("a")
    for again in (False, True):
        await talk.runner.regenerate("ann", talk.id, question, answer_request(), answer_id=NAME, is_retry=again)
    await ended(talk.runner, "ann", talk.id)
    await talk.runner.regenerate("ann", talk.id, question, answer_request(), answer_id=NAME, is_retry=True)
    assert [message.content for message in await talk.messages()] == ["a", "0:a", "1:a"]


async def test_retry_of_an_edit_is_stored_once(chat, store):
    talk = Talk(await chat(Echo()), store)
    await talk.ask("a")
    for again in (False, True):
        await talk.ask("b", follows="", question_id=NAME, is_retry=again)
    assert [message.content for message in await talk.messages()] == ["a", "0:a", "b", "1:b"]


async def test_version_that_ended_early_is_continued_only_while_it_is_shown(chat, store):
    runner = await chat(Echo(), ScriptedModel("half", id="broken", error=RateLimited("No.")))
    talk = Talk(runner, store)
    await talk.ask("a", model="broken")
    await talk.again(await talk.id_of("a"))
    half = await talk.id_of("half")
    with pytest.raises(NothingToContinue):
        await runner.continue_answer("ann", talk.id, half, answer_request())
    await talk.switch("half")
    await runner.continue_answer("ann", talk.id, half, answer_request())
    await ended(runner, "ann", talk.id)
    assert (await talk.shown())[1].startswith("half1:a/half/")


# Comparisons of two answers


async def test_two_answers_are_generated_in_parallel_for_one_question(chat, store):
    one, two = ScriptedModel("one", gate_at=0, id="one"), ScriptedModel("two", gate_at=0, id="two")
    runner = await chat(one, two)
    warm = dataclasses.replace(PARAMETERS, temperature=1.0)
    conversation = await runner.start(
        "ann", turn_request("a", answers=[answer_request("one"), answer_request("two", warm)])
    )
    await asyncio.gather(one.writing.wait(), two.writing.wait())
    assert runner.running_count == 2
    one.gate.set()
    two.gate.set()
    await ended(runner, "ann", conversation.id)
    question, first, second = await store.messages("ann", conversation.id)
    assert {first.follows, second.follows} == {question.id}
    assert {question.turn_id, first.turn_id, second.turn_id} == {question.turn_id}
    assert [(m.model, m.content, m.temperature) for m in (first, second)] == [("one", "one", 0.9), ("two", "two", 1.0)]
    shown = MessageTree([question, first, second]).shown()
    assert [column for _, column in shown] == [0, 1, 2]


async def test_one_model_can_give_both_answers(chat, store):
    runner = await chat(Echo())
    conversation = await runner.start("ann", turn_request("a", answers=[answer_request(), answer_request()]))
    await ended(runner, "ann", conversation.id)
    assert len(await store.messages("ann", conversation.id)) == 3


async def test_stop_ends_both_answers(chat, store):
    one, two = ScriptedModel("one ", "x", gate_at=1, id="one"), ScriptedModel("two ", "x", gate_at=1, id="two")
    runner = await chat(one, two)
    conversation = await runner.start("ann", turn_request("a", answers=[answer_request("one"), answer_request("two")]))
    await asyncio.gather(one.writing.wait(), two.writing.wait())
    await runner.stop("ann", conversation.id)
    answers = (await store.messages("ann", conversation.id))[1:]
    assert [(m.content, m.status) for m in answers] == [
        ("one ", MessageStatus.STOPPED),
        ("two ", MessageStatus.STOPPED),
    ]
    assert (one.closed, two.closed, runner.is_busy("ann", conversation.id)) == (1, 1, False)


async def test_one_answer_of_two_can_fail_alone(chat, store):
    broken, whole = ScriptedModel("x", id="broken", error=RateLimited("No.")), ScriptedModel("y", gate_at=0, id="whole")
    runner = await chat(broken, whole)
    conversation = await runner.start(
        "ann", turn_request("a", answers=[answer_request("broken"), answer_request("whole")])
    )
    await whole.writing.wait()
    async with asyncio.timeout(30):
        while (await store.messages("ann", conversation.id))[1].status is not MessageStatus.ERROR:
            await asyncio.sleep(0.01)
    assert runner.is_busy("ann", conversation.id)
    with pytest.raises(ConversationBusy):
        await runner.start("ann", turn_request("b", conversation.id, model="whole"))
    whole.gate.set()
    await ended(runner, "ann", conversation.id)
    assert (await store.messages("ann", conversation.id))[2].status is MessageStatus.COMPLETE


async def test_both_answers_count_in_the_limits(chat, store):
    model = ScriptedModel("a", gate_at=0)
    runner = await chat(model, limits=TurnLimits(per_user=2, at_once=3, waiting=2))
    both = [answer_request(), answer_request()]
    await runner.start("ann", turn_request("1", answers=both))
    bobs = await runner.start("bob", turn_request("1", answers=both))
    async with asyncio.timeout(30):
        while runner.running_count + runner.waiting_count < 4:
            await asyncio.sleep(0.01)
    assert (runner.running_count, runner.waiting_count) == (3, 1)
    assert [answer.queue_position for answer in runner.current("bob", bobs.id).answers] == [0, 1]
    with pytest.raises(TooManyTurns):
        await runner.start("cyd", turn_request("1", answers=both))
    await runner.start("cyd", turn_request("1"))
    assert len((await store.conversations("cyd")).items) == 1
    model.gate.set()
    await runner.finish(60)
    assert (runner.running_count, runner.waiting_count) == (0, 0)


async def test_invalid_second_answer_stores_nothing(chat, store):
    runner = await chat(ScriptedModel("a"))
    with pytest.raises(UnknownModel):
        await runner.start("ann", turn_request("a", answers=[answer_request(), answer_request("gpt")]))
    with pytest.raises(InvalidParameters):
        answer_request("scripted", GenerationParameters(temperature=7))
    assert (await store.conversations("ann")).items == []


async def test_one_of_two_answers_is_selected_and_followed(chat, store):
    runner = await chat(Echo(), ScriptedModel("two", id="two"))
    talk = Talk(runner, store)
    await talk.ask("a", answers=[answer_request(), answer_request("two")])
    assert await talk.shown() == ["a", "0:a", "two"]
    await talk.switch("0:a")
    assert await talk.shown() == ["a", "0:a"]
    await talk.ask("b")
    assert await talk.shown() == ["a", "0:a", "b", "1:a/0:a/b"]


async def test_shutdown_interrupts_both_answers(chat, store):
    model = ScriptedModel("so far", "never", gate_at=1)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("a", answers=[answer_request(), answer_request()]))
    await model.writing.wait()
    await runner.aclose()
    answers = (await store.messages("ann", conversation.id))[1:]
    assert {message.status for message in answers} == {MessageStatus.INTERRUPTED}


# Fallback


def not_ready(**options):
    return ScriptedModel("late", id="gemma", status=ModelStatus(ModelState.WAITING, "no GPUs yet"), **options)


async def test_fallback_answer_says_which_model_it_replaces(chat, store):
    runner = await chat(
        not_ready(), ScriptedModel("down", id="down", status=ModelStatus(ModelState.UNAVAILABLE)), Echo()
    )
    conversation = await runner.start("ann", turn_request("a", answers=[answer_request("gemma", allow_fallback=True)]))
    await ended(runner, "ann", conversation.id)
    answer = (await store.messages("ann", conversation.id))[1]
    assert (answer.model, answer.instead_of, answer.content) == ("scripted", "gemma", "0:a")
    assert conversation.model == "gemma"  # the chosen model stays


async def test_fallback_needs_consent_and_a_model_that_is_not_ready(chat, store):
    runner = await chat(not_ready(), Echo())
    for model, or_other in (("gemma", False), ("scripted", True)):
        conversation = await runner.start(
            "ann", turn_request("a", answers=[answer_request(model, allow_fallback=or_other)])
        )
        await ended(runner, "ann", conversation.id)
        answer = (await store.messages("ann", conversation.id))[1]
        assert (answer.model, answer.instead_of) == (model, "")


async def test_chosen_model_answers_without_a_ready_fallback(chat, store):
    runner = await chat(not_ready())
    conversation = await runner.start("ann", turn_request("a", answers=[answer_request("gemma", allow_fallback=True)]))
    await ended(runner, "ann", conversation.id)
    assert (await store.messages("ann", conversation.id))[1].content == "late"


async def test_model_that_has_become_ready_answers_itself(chat, store):
    model = not_ready()
    runner = await chat(model, Echo())
    model._status = ModelStatus(ModelState.READY)
    conversation = await runner.start("ann", turn_request("a", answers=[answer_request("gemma", allow_fallback=True)]))
    await ended(runner, "ann", conversation.id)
    assert (await store.messages("ann", conversation.id))[1].model == "gemma"


# Metadata


async def test_answer_is_stored_with_place_duration_and_cost(chat, store):
    model = ScriptedModel("one", "two", seconds_between=0.02)
    model.place, model.price = Place.OWN_GPUS, Price(input=1.0, output=2.0)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("a"))
    await ended(runner, "ann", conversation.id)
    answer = (await store.messages("ann", conversation.id))[1]
    assert (answer.place, answer.temperature) == (Place.OWN_GPUS, 0.9)
    assert answer.seconds > answer.seconds_to_first_token >= 0.02
    assert answer.cost == pytest.approx((answer.usage.prompt_tokens + 2 * 2) / 1e6)
