"""Turns are started, streamed, stopped, and always stored."""

import asyncio
import dataclasses
import time
from unittest.mock import AsyncMock

import pytest

from chatapp.domain.conversation import FinishReason, MessageStatus, Role
from chatapp.domain.errors import (
    ConversationBusy,
    ConversationNotFound,
    InvalidMessage,
    ModelUnavailable,
    NothingToContinue,
    RateLimited,
    StoreUnavailable,
    TooManyTurns,
    UnknownModel,
)
from chatapp.generation.queue import TurnLimits
from chatapp.models import ModelState, ModelStatus, Waiting
from chatapp.models.catalog import UnconfiguredModel
from tests.chatapp.generation.running import answer_request, turn_request
from tests.clocks import LoopClock
from tests.fakes.models import ScriptedModel


async def finished(runner, user, conversation_id):
    async for answer in runner.watch(user, conversation_id):
        last = answer
    return last


async def stored_answer(store, user, conversation_id, condition):
    """Return the last message once it meets a condition."""
    async with asyncio.timeout(30):
        while not condition(answer := (await store.messages(user, conversation_id))[-1]):
            await asyncio.sleep(0.01)
    return answer


async def test_answer_is_streamed_and_stored_with_its_metadata(chat, store):
    runner = await chat(ScriptedModel("Hel", "lo", seconds_between=0.02))
    conversation = await runner.start("ann", turn_request("Hi there"))
    seen = [answer.content async for answer in runner.watch("ann", conversation.id)]
    assert seen[-1] == "Hello"
    assert all("Hello".startswith(text) for text in seen)
    question, answer = await store.messages("ann", conversation.id)
    assert (question.role, question.content) == (Role.USER, "Hi there")
    assert (answer.role, answer.content, answer.status) == (Role.ASSISTANT, "Hello", MessageStatus.COMPLETE)
    assert (answer.model, answer.finish_reason) == ("scripted", FinishReason.STOP)
    assert answer.usage.completion_tokens == 2
    assert answer.seconds_to_first_token >= 0.02
    assert question.turn_id == answer.turn_id


@pytest.mark.slow
async def test_answer_that_waits_for_its_model_says_why_and_does_not_use_up_its_time(chat, store, monkeypatch):
    monkeypatch.setattr("chatapp.generation.generator.max_seconds", lambda _: 0.2)
    waits = [Waiting("Gemma: it is waking up.")] * 8
    runner = await chat(ScriptedModel(*waits, Waiting(), "Hello", seconds_between=0.05))
    LoopClock()
    began = time.monotonic()
    conversation = await runner.start("ann", turn_request("Hi there"))
    (answer,) = runner.current("ann", conversation.id).answers
    reasons = {answer.waits_for async for _ in runner.watch("ann", conversation.id)}
    assert reasons == {"Gemma: it is waking up.", ""}
    _, stored = await store.messages("ann", conversation.id)
    assert (stored.content, stored.status) == ("Hello", MessageStatus.COMPLETE)
    waited = len(waits) * 0.05
    assert stored.seconds_to_first_token < time.monotonic() - began - waited, "counted from when the model was asked"


async def test_question_that_is_stopped_while_its_model_wakes_costs_nothing(chat, store):
    model = ScriptedModel(Waiting("Gemma: it is waking up."), "late", gate_at=1)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("Hi there"))
    (answer,) = runner.current("ann", conversation.id).answers
    async for _ in runner.watch("ann", conversation.id):
        if answer.waits_for:
            break
    await runner.stop("ann", conversation.id)
    assert answer.sent_at is None
    _, stored = await store.messages("ann", conversation.id)
    assert (stored.status, stored.usage) == (MessageStatus.STOPPED, None)


async def test_question_is_stored_before_the_model_is_called(chat, store):
    model = ScriptedModel("late", gate_at=0)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("Is anyone there?"))
    question, answer = await store.messages("ann", conversation.id)
    assert question.content == "Is anyone there?"
    assert answer.status is MessageStatus.STREAMING
    model.gate.set()


async def test_a_question_that_is_stored_is_answered_although_its_choice_of_a_model_cannot_be(chat, store, monkeypatch):
    runner = await chat(ScriptedModel("one", id="gemma"), ScriptedModel("two", id="gemini"))
    conversation = await runner.start("ann", turn_request("first", model="gemma"))
    await finished(runner, "ann", conversation.id)
    monkeypatch.setattr(type(store), "update", AsyncMock(side_effect=StoreUnavailable("The disk is full.")))
    await runner.start("ann", turn_request("second", conversation.id, model="gemini"))
    await finished(runner, "ann", conversation.id)
    contents = [message.content for message in await store.messages("ann", conversation.id)]
    assert contents == ["first", "one", "second", "two"]


async def test_another_model_gets_the_whole_conversation(chat):
    gemma, gemini = ScriptedModel("from gemma", id="gemma"), ScriptedModel("from gemini", id="gemini")
    runner = await chat(gemma, gemini)
    conversation = await runner.start("ann", turn_request("first", model="gemma"))
    await finished(runner, "ann", conversation.id)
    await runner.start("ann", turn_request("second", conversation.id, model="gemini"))
    await finished(runner, "ann", conversation.id)
    assert [message.content for message in gemini.asked[0][0]] == ["first", "from gemma", "second"]


async def test_answer_without_subscribers_is_completed(chat, store):
    runner = await chat(ScriptedModel("a", "b", "c", seconds_between=0.01))
    conversation = await runner.start("ann", turn_request("go"))
    watching = runner.watch("ann", conversation.id)
    await anext(watching)
    await watching.aclose()
    while runner.is_busy("ann", conversation.id):
        await asyncio.sleep(0.01)
    assert (await store.messages("ann", conversation.id))[-1].content == "abc"


async def test_first_text_and_end_are_announced_at_once(chat):
    model = ScriptedModel("first", " last", gate_at=1)
    runner = await chat(model, batch_seconds=3600)
    conversation = await runner.start("ann", turn_request("go"))
    async with asyncio.timeout(60):  # of the hour
        async for answer in runner.watch("ann", conversation.id):
            if answer.content == "first":
                model.gate.set()
    assert answer.content == "first last"


async def test_two_subscribers_see_the_same_end(chat):
    model = ScriptedModel("a", "b", gate_at=1)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("go"))
    watchers = [asyncio.create_task(finished(runner, "ann", conversation.id)) for _ in range(2)]
    await model.writing.wait()
    model.gate.set()
    ends = await asyncio.gather(*watchers)
    assert [end.content for end in ends] == ["ab", "ab"]
    assert {end.status for end in ends} == {MessageStatus.COMPLETE}


async def test_stop_closes_the_request_and_keeps_the_text(chat, store):
    model = ScriptedModel("kept", "never", gate_at=1)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("go"))
    await model.writing.wait()
    await runner.stop("ann", conversation.id)
    assert model.closed == 1
    answer = (await store.messages("ann", conversation.id))[-1]
    assert (answer.content, answer.status) == ("kept", MessageStatus.STOPPED)


async def test_stop_right_after_send_ends_the_turn(chat, store):
    runner = await chat(ScriptedModel("never", gate_at=0))
    conversation = await runner.start("ann", turn_request("go"))
    async with asyncio.timeout(30):
        await runner.stop("ann", conversation.id)
    assert (await store.messages("ann", conversation.id))[-1].status is MessageStatus.STOPPED


async def test_stop_while_the_question_is_being_stored_ends_the_turn(chat, store, monkeypatch):
    model = ScriptedModel("never", gate_at=0)
    runner = await chat(model)
    create, may_store = store.create, asyncio.Event()

    async def slow_create(*arguments):
        await may_store.wait()
        await create(*arguments)

    monkeypatch.setattr(store, "create", slow_create)
    starting = asyncio.create_task(runner.start("ann", turn_request("go", question_id="0" * 32)))
    while not runner._reservations:
        await asyncio.sleep(0)
    ((_, conversation_id),) = runner._reservations
    stopping = asyncio.create_task(runner.stop("ann", conversation_id))
    await asyncio.sleep(0)
    may_store.set()
    async with asyncio.timeout(30):
        assert await stopping
    await starting
    assert (await store.messages("ann", conversation_id))[-1].status is MessageStatus.STOPPED
    assert model.asked == []


async def test_turn_that_is_cancelled_before_its_first_step_is_stored(chat, store, monkeypatch):
    model = ScriptedModel("never", gate_at=0)
    runner = await chat(model)
    run = runner._generator.run

    async def run_cancelled(turn):
        turn.cancelled_as = MessageStatus.STOPPED
        await run(turn)

    monkeypatch.setattr(runner._generator, "run", run_cancelled)
    conversation = await runner.start("ann", turn_request("go"))
    await runner.finish(60)
    assert (await store.messages("ann", conversation.id))[-1].status is MessageStatus.STOPPED
    assert model.asked == []


async def test_exception_at_the_end_of_one_answer_does_not_keep_the_other_from_being_stored(chat, store):
    def fail(answer, _seconds):
        if answer.model == "first":
            raise ZeroDivisionError

    second = ScriptedModel("so far", "never", id="second", gate_at=1)
    runner = await chat(ScriptedModel("whole", id="first"), second, on_end=fail)
    request = turn_request("go", answers=[answer_request("first"), answer_request("second")])
    conversation = await runner.start("ann", request)
    turn = runner.current("ann", conversation.id)
    with pytest.raises(ExceptionGroup):
        await turn.task
    assert not runner.is_busy("ann", conversation.id)
    answers = (await store.messages("ann", conversation.id))[1:]
    assert {answer.model: answer.status for answer in answers} == {
        "first": MessageStatus.COMPLETE,
        "second": MessageStatus.INTERRUPTED,
    }


async def test_stopping_another_users_answer_does_nothing(chat):
    model = ScriptedModel("a", gate_at=0)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("go"))
    await runner.stop("bob", conversation.id)
    assert runner.is_busy("ann", conversation.id)
    assert [answer async for answer in runner.watch("bob", conversation.id)] == []
    model.gate.set()


async def test_error_after_some_text_keeps_the_text(chat, store):
    runner = await chat(ScriptedModel("half an ans", error=RateLimited("The quota is used up.")))
    conversation = await runner.start("ann", turn_request("go"))
    await finished(runner, "ann", conversation.id)
    answer = (await store.messages("ann", conversation.id))[-1]
    assert (answer.content, answer.status, answer.error) == (
        "half an ans",
        MessageStatus.ERROR,
        "The quota is used up.",
    )


@pytest.mark.slow
async def test_unexpected_exception_is_shown_without_its_details(chat, store):
    runner = await chat(ScriptedModel(error=ZeroDivisionError("secret detail")))
    conversation = await runner.start("ann", turn_request("go"))
    answer = await finished(runner, "ann", conversation.id)
    assert answer.status is MessageStatus.ERROR
    assert "secret" not in answer.error
    assert "Send the message again" in answer.error


@pytest.mark.parametrize(
    ("finish", "words"), [(FinishReason.STOP, "empty answer"), (FinishReason.LENGTH, "Max tokens")]
)
async def test_answer_without_text_is_an_error_and_the_next_turn_works(chat, finish, words):
    model = ScriptedModel(finish=finish)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("one"))
    answer = await finished(runner, "ann", conversation.id)
    assert words in answer.error
    await runner.start("ann", turn_request("two", conversation.id))
    await finished(runner, "ann", conversation.id)
    assert [message.content for message in model.asked[-1][0]] == ["one", "", "two"]


@pytest.mark.parametrize("text", ["", "   \n\t", None, "x" * 101])
async def test_invalid_text_is_refused_and_not_stored(chat, store, text):
    runner = await chat(ScriptedModel("never"), max_message_chars=100)
    with pytest.raises(InvalidMessage):
        await runner.start("ann", turn_request(text))
    assert (await store.conversations("ann")).items == []


async def test_invalid_characters_of_a_message_are_replaced(chat, store):
    runner = await chat(ScriptedModel("ok"))
    conversation = await runner.start("ann", turn_request("a\0b\ud800c שלום"))
    await finished(runner, "ann", conversation.id)
    assert (await store.messages("ann", conversation.id))[0].content == "a\ufffdb\ufffdc שלום"


async def test_second_question_during_an_answer_is_refused(chat, store):
    model = ScriptedModel("a", gate_at=0)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("one"))
    with pytest.raises(ConversationBusy):
        await runner.start("ann", turn_request("two", conversation.id))
    model.gate.set()
    await finished(runner, "ann", conversation.id)
    assert [message.content for message in await store.messages("ann", conversation.id)] == ["one", "a"]


async def test_question_during_the_final_save_waits_for_it(chat, store, monkeypatch):
    runner = await chat(ScriptedModel("a"))
    append, may_store = store.append, asyncio.Event()

    async def slow_append(user, conversation_id, *messages):
        await may_store.wait()
        return await append(user, conversation_id, *messages)

    monkeypatch.setattr(store, "append", slow_append)
    conversation = await runner.start("ann", turn_request("one"))
    async with asyncio.timeout(30):
        while not runner.current("ann", conversation.id).is_written:
            await asyncio.sleep(0.01)
    second = asyncio.create_task(runner.start("ann", turn_request("two", conversation.id)))
    await asyncio.sleep(0.01)
    may_store.set()
    await second
    await finished(runner, "ann", conversation.id)
    texts = [message.content for message in await store.messages("ann", conversation.id)]
    assert texts == ["one", "a", "two", "a"]


async def test_of_concurrent_questions_in_one_conversation_one_is_accepted(chat, store):
    runner = await chat(ScriptedModel("a", seconds_between=0.05))
    conversation = await runner.start("ann", turn_request("one"))
    await finished(runner, "ann", conversation.id)
    results = await asyncio.gather(
        *(runner.start("ann", turn_request(f"two {n}", conversation.id)) for n in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, ConversationBusy) for result in results) == 9
    await finished(runner, "ann", conversation.id)
    assert len(await store.messages("ann", conversation.id)) == 4


@pytest.mark.parametrize("conversation_id", ["nobody", "", "' OR 1=1 --", "\0", "ann's"])
async def test_conversation_of_another_user_is_not_found(chat, store, conversation_id):
    runner = await chat(ScriptedModel("a"))
    anns = await runner.start("ann", turn_request("private"))
    await finished(runner, "ann", anns.id)
    with pytest.raises(ConversationNotFound):
        await runner.start("bob", turn_request("let me in", conversation_id or anns.id))
    assert len(await store.messages("ann", anns.id)) == 2
    assert (await store.conversations("bob")).items == []


async def test_unavailable_models_are_refused_before_anything_is_stored(chat, store):
    runner = await chat(ScriptedModel("a"), UnconfiguredModel("gemma", "Gemma", fix="set CHAT_GEMMA_URL"))
    with pytest.raises(UnknownModel):
        await runner.start("ann", turn_request("hi", model="gpt"))
    with pytest.raises(ModelUnavailable, match="set CHAT_GEMMA_URL"):
        await runner.start("ann", turn_request("hi", model="gemma"))
    assert (await store.conversations("ann")).items == []


async def test_model_with_an_unavailable_status_is_still_called(chat):
    down = ScriptedModel("back again", status=ModelStatus(ModelState.UNAVAILABLE, "down"))
    runner = await chat(down)
    conversation = await runner.start("ann", turn_request("hi"))
    assert (await finished(runner, "ann", conversation.id)).content == "back again"


async def test_shutdown_stores_running_answers_as_interrupted_and_refuses_new_ones(chat, store):
    model = ScriptedModel("so far", "never", gate_at=1)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("go"))
    await model.writing.wait()
    await runner.aclose()
    answer = (await store.messages("ann", conversation.id))[-1]
    assert (answer.content, answer.status) == ("so far", MessageStatus.INTERRUPTED)
    with pytest.raises(ModelUnavailable, match="restarting"):
        await runner.start("ann", turn_request("more"))


async def test_growing_answer_is_checkpointed(chat, store):
    model = ScriptedModel("a", "b", "c", gate_at=2, seconds_between=0.01)
    runner = await chat(model, checkpoint_seconds=0.01)
    conversation = await runner.start("ann", turn_request("go"))
    await model.writing.wait()
    answer = await stored_answer(store, "ann", conversation.id, lambda answer: answer.content == "ab")
    assert answer.status is MessageStatus.STREAMING
    model.gate.set()


async def test_text_never_waits_for_a_checkpoint(chat, store, monkeypatch):
    stuck = asyncio.Event()
    append = store.append

    async def slow_append(user, conversation_id, *messages):
        if messages[-1].status is MessageStatus.STREAMING and messages[-1].content:
            await stuck.wait()
        await append(user, conversation_id, *messages)

    monkeypatch.setattr(store, "append", slow_append)
    runner = await chat(ScriptedModel("a", "b", "c", seconds_between=0.03), checkpoint_seconds=0.01)
    conversation = await runner.start("ann", turn_request("go"))
    assert (await finished(runner, "ann", conversation.id)).content == "abc"
    stuck.set()
    assert (await store.messages("ann", conversation.id))[-1].status is MessageStatus.COMPLETE


async def test_answer_that_waits_for_its_first_token_stores_heartbeats(chat, store, monkeypatch):
    monkeypatch.setattr("chatapp.generation.generator.HEARTBEAT_SECONDS", 0)
    model = ScriptedModel("late", gate_at=0)
    runner = await chat(model, checkpoint_seconds=0.01)
    conversation = await runner.start("ann", turn_request("go"))
    assert (await stored_answer(store, "ann", conversation.id, lambda answer: answer.revision > 1)).content == ""
    model.gate.set()


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (ScriptedModel("Once upon", error=RateLimited("The quota is used up.")), MessageStatus.ERROR),
        (ScriptedModel("Once upon", finish=FinishReason.LENGTH), MessageStatus.COMPLETE),
    ],
)
async def test_answer_that_ended_early_is_continued_in_the_same_message(chat, store, first, status):
    second = ScriptedModel(" a time", id="second")
    runner = await chat(first, second)
    conversation = await runner.start("ann", turn_request("Tell me a story"))
    await finished(runner, "ann", conversation.id)
    answer = (await store.messages("ann", conversation.id))[-1]
    assert (answer.content, answer.status) == ("Once upon", status)
    await runner.continue_answer("ann", conversation.id, answer.id, answer_request("second"))
    seen = [seen.content async for seen in runner.watch("ann", conversation.id)]
    assert all(text.startswith("Once upon") for text in seen)
    question, whole = await store.messages("ann", conversation.id)
    assert (whole.content, whole.status, whole.error) == ("Once upon a time", MessageStatus.COMPLETE, "")
    assert (whole.id, whole.model, whole.finish_reason) == (answer.id, "second", FinishReason.STOP)
    prompt = second.asked[0][0]
    assert [message.content for message in prompt[:2]] == ["Tell me a story", "Once upon"]
    assert (prompt[2].role, "cut off" in prompt[2].content) == (Role.USER, True)
    assert question.content == "Tell me a story"


async def test_continuing_an_answer_without_text_repeats_the_question(chat, store):
    model = ScriptedModel("never", gate_at=0)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("go"))
    await runner.stop("ann", conversation.id)
    model.gate.set()
    answer = (await store.messages("ann", conversation.id))[-1]
    await runner.continue_answer("ann", conversation.id, answer.id, answer_request())
    assert (await finished(runner, "ann", conversation.id)).content == "never"
    assert [message.content for message in model.asked[-1][0]] == ["go"]


async def test_only_the_last_answer_is_continued_and_only_if_it_ended_early(chat, store):
    runner = await chat(ScriptedModel("whole"), ScriptedModel("half", id="broken", error=RateLimited("No.")))
    conversation = await runner.start("ann", turn_request("one", model="broken"))
    await finished(runner, "ann", conversation.id)
    early = (await store.messages("ann", conversation.id))[-1]
    with pytest.raises(ConversationNotFound):
        await runner.continue_answer("bob", conversation.id, early.id, answer_request())
    await runner.start("ann", turn_request("two", conversation.id))
    await finished(runner, "ann", conversation.id)
    before = await store.messages("ann", conversation.id)
    for message in before:
        with pytest.raises(NothingToContinue):
            await runner.continue_answer("ann", conversation.id, message.id, answer_request())
    assert await store.messages("ann", conversation.id) == before


async def test_of_concurrent_continuations_one_is_accepted(chat, store):
    runner = await chat(
        ScriptedModel("half", id="broken", error=RateLimited("No.")), ScriptedModel(" b", seconds_between=0.05)
    )
    conversation = await runner.start("ann", turn_request("one", model="broken"))
    answer = await finished(runner, "ann", conversation.id)
    results = await asyncio.gather(
        *(runner.continue_answer("ann", conversation.id, answer.id, answer_request()) for _ in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, ConversationBusy) for result in results) == 4
    assert (await finished(runner, "ann", conversation.id)).content == "half b"


@pytest.mark.slow
async def test_answers_beyond_the_limits_wait_in_a_queue_with_their_position(chat, store):
    model = ScriptedModel("a", gate_at=0)
    runner = await chat(model, limits=TurnLimits(at_once=2, per_user=2, waiting=10))
    conversations = [await runner.start(user, turn_request("go")) for user in "abcd"]
    async with asyncio.timeout(30):
        while runner.waiting_count < 2:
            await asyncio.sleep(0.01)
    places = [
        runner.current(user, one.id).answers[0].queue_position for user, one in zip("abcd", conversations, strict=True)
    ]
    assert (runner.running_count, places) == (2, [0, 0, 1, 2])
    await runner.stop("a", conversations[0].id)
    async with asyncio.timeout(30):
        while runner.current("d", conversations[3].id).answers[0].queue_position != 1:
            await asyncio.sleep(0.01)
    assert runner.current("c", conversations[2].id).answers[0].queue_position == 0
    model.gate.set()
    for user, one in zip("bcd", conversations[1:], strict=True):
        await stored_answer(store, user, one.id, lambda answer: answer.status is MessageStatus.COMPLETE)
    await runner.finish(60)
    assert (runner.running_count, runner.waiting_count) == (0, 0)


async def test_queued_answers_of_one_user_do_not_delay_other_users(chat):
    model = ScriptedModel("a", gate_at=0)
    runner = await chat(model, limits=TurnLimits(at_once=3, per_user=1, waiting=10))
    await runner.start("ann", turn_request("1"))
    second = await runner.start("ann", turn_request("2"))
    bobs = await runner.start("bob", turn_request("1"))
    async with asyncio.timeout(30):
        while runner.running_count < 2:
            await asyncio.sleep(0.01)
    assert runner.current("bob", bobs.id).answers[0].queue_position == 0
    assert runner.current("ann", second.id).answers[0].queue_position == 1
    with pytest.raises(TooManyTurns, match="Wait for one of them"):
        await runner.start("ann", turn_request("3"))
    model.gate.set()


async def test_full_queue_refuses_and_stores_nothing(chat, store):
    model = ScriptedModel("a", gate_at=0)
    runner = await chat(model, limits=TurnLimits(at_once=1, per_user=1, waiting=1))
    for user in "ab":
        await runner.start(user, turn_request("go"))
    async with asyncio.timeout(30):
        while not runner.waiting_count:
            await asyncio.sleep(0.01)
    with pytest.raises(TooManyTurns, match="queue is full"):
        await runner.start("c", turn_request("go"))
    assert (await store.conversations("c")).items == []
    model.gate.set()


async def test_stop_removes_a_waiting_answer_from_the_queue(chat, store):
    model = ScriptedModel("a", gate_at=0)
    runner = await chat(model, limits=TurnLimits(at_once=1))
    await runner.start("ann", turn_request("go"))
    waiting = await runner.start("bob", turn_request("go"))
    await runner.stop("bob", waiting.id)
    assert (await store.messages("bob", waiting.id))[-1].status is MessageStatus.STOPPED
    assert (runner.running_count, runner.waiting_count) == (1, 0)
    model.gate.set()


async def test_graceful_shutdown_lets_answers_end(chat, store):
    model = ScriptedModel("so far", " and on", gate_at=1)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("go"))
    await model.writing.wait()
    finishing = asyncio.create_task(runner.finish(60))
    await asyncio.sleep(0)
    with pytest.raises(ModelUnavailable, match="restarting"):
        await runner.start("ann", turn_request("more"))
    model.gate.set()
    await finishing
    answer = (await store.messages("ann", conversation.id))[-1]
    assert (answer.content, answer.status) == ("so far and on", MessageStatus.COMPLETE)


async def test_graceful_shutdown_ends_after_its_timeout(chat):
    model = ScriptedModel("so far", "never", gate_at=1)
    runner = await chat(model)
    await runner.start("ann", turn_request("go"))
    async with asyncio.timeout(30):
        await runner.finish(0.01)


class CountedToken(str):
    """A token that counts the characters of the texts that it was added to, each of which is a copy."""

    __slots__ = ()
    copied = 0

    def __radd__(self, text):
        CountedToken.copied += len(text)
        return f"{text}{self}"


async def test_token_is_added_without_copying_the_text_before_it(chat, store):
    runner = await chat(ScriptedModel(*[CountedToken("word ")] * 500))
    conversation = await runner.start("ann", turn_request("go"))
    await finished(runner, "ann", conversation.id)
    assert (await store.messages("ann", conversation.id))[-1].content == "word " * 500
    assert CountedToken.copied == 0


async def test_on_end_is_called_for_every_answer(chat):
    ends = []
    runner = await chat(ScriptedModel("a"), on_end=lambda answer, seconds: ends.append((answer, seconds)))
    conversation = await runner.start("ann", turn_request("go"))
    await finished(runner, "ann", conversation.id)
    ((answer, seconds),) = ends
    assert (answer.status, answer.usage.completion_tokens) == (MessageStatus.COMPLETE, 1)
    assert seconds > 0


async def test_on_end_gets_only_the_tokens_of_a_continuation(chat, store):
    ends = []
    first = ScriptedModel("Once ", "upon", finish=FinishReason.LENGTH)
    runner = await chat(first, ScriptedModel(" a time", id="second"), on_end=lambda answer, _: ends.append(answer))
    conversation = await runner.start("ann", turn_request("go"))
    answer = await finished(runner, "ann", conversation.id)
    await runner.continue_answer("ann", conversation.id, answer.id, answer_request("second"))
    await runner.finish(60)
    assert [end.usage.completion_tokens for end in ends] == [2, 1]
    assert (await store.messages("ann", conversation.id))[-1].usage.completion_tokens == 3


async def test_question_is_refused_while_another_replica_generates_an_answer(chat, store):
    runner = await chat(ScriptedModel("a"))
    conversation = await runner.start("ann", turn_request("one"))
    await finished(runner, "ann", conversation.id)
    last = (await store.messages("ann", conversation.id))[-1]
    elsewhere = dataclasses.replace(last, status=MessageStatus.STREAMING, revision=last.revision + 1)
    await store.append("ann", conversation.id, elsewhere)
    with pytest.raises(ConversationBusy):
        await runner.start("ann", turn_request("two", conversation.id))
    ended = dataclasses.replace(elsewhere, status=MessageStatus.COMPLETE, revision=last.revision + 2)
    await store.append("ann", conversation.id, ended)
    await runner.start("ann", turn_request("two", conversation.id))


async def test_conversation_deleted_during_an_answer_stays_deleted(chat, store):
    model = ScriptedModel("a", "b", gate_at=1)
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("go"))
    await model.writing.wait()
    await runner.delete("ann", conversation.id)
    assert model.closed == 1
    assert (await store.conversations("ann")).items == []
    with pytest.raises(ConversationNotFound):
        await store.messages("ann", conversation.id)


async def test_messages_stay_in_order_when_the_clock_is_set_back(chat, store, monkeypatch):
    runner = await chat(ScriptedModel("a"))
    conversation = await runner.start("ann", turn_request("one"))
    await finished(runner, "ann", conversation.id)
    monkeypatch.setattr("chatapp.generation.prepare.now_ms", lambda: 1000)
    await runner.start("ann", turn_request("two", conversation.id))
    await finished(runner, "ann", conversation.id)
    assert [message.content for message in await store.messages("ann", conversation.id)] == ["one", "a", "two", "a"]


async def test_question_is_answered_though_its_client_disconnects(chat, store):
    runner = await chat(ScriptedModel("answered anyway"))
    sending = asyncio.create_task(runner.start("ann", turn_request("go")))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    async with asyncio.timeout(60):
        while not (conversations := (await store.conversations("ann")).items):
            await asyncio.sleep(0.01)
    await stored_answer(store, "ann", conversations[0].id, lambda answer: answer.status is MessageStatus.COMPLETE)
    messages = await store.messages("ann", conversations[0].id)
    assert [message.content for message in messages] == ["go", "answered anyway"]


async def test_title_is_the_first_question_in_one_short_line(chat):
    runner = await chat(ScriptedModel("a"))
    conversation = await runner.start("ann", turn_request("What\nis   the " + "very " * 40))
    assert conversation.title.startswith("What is the very")
    assert len(conversation.title) <= 60


@pytest.mark.parametrize("is_new", [True, False])
async def test_retry_with_the_same_question_id_is_stored_once(chat, store, is_new):
    runner = await chat(ScriptedModel("a", seconds_between=0.02))
    conversation_id = ""
    if not is_new:
        conversation_id = (await runner.start("ann", turn_request("before"))).id
        await finished(runner, "ann", conversation_id)
    name = "0123456789abcdef" * 2

    async def send(*, again):
        return await runner.start("ann", turn_request("once", conversation_id, question_id=name, is_retry=again))

    first = await send(again=False)
    while_it_runs = await send(again=True)
    await finished(runner, "ann", first.id)
    afterwards = await send(again=True)
    assert first.id == while_it_runs.id == afterwards.id
    texts = [message.content for message in await store.messages("ann", first.id)]
    assert texts == (["once", "a"] if is_new else ["before", "a", "once", "a"])
    assert len((await store.conversations("ann")).items) == 1
    bobs = await runner.start("bob", turn_request("mine", question_id=name, is_retry=True))
    assert bobs.id != first.id


async def test_retry_waits_for_a_question_that_is_being_stored(chat, store, monkeypatch):
    runner = await chat(ScriptedModel("a"))
    create, may_store = store.create, asyncio.Event()

    async def slow_create(*arguments):
        await may_store.wait()
        await create(*arguments)

    monkeypatch.setattr(store, "create", slow_create)
    request = turn_request("once", question_id="0" * 32)
    first = asyncio.create_task(runner.start("ann", request))
    while not runner._reservations:
        await asyncio.sleep(0)
    retry = asyncio.create_task(runner.start("ann", dataclasses.replace(request, is_retry=True)))
    await asyncio.sleep(0)
    may_store.set()
    assert (await first).id == (await retry).id
    await runner.finish(60)
    assert len(await store.messages("ann", (await first).id)) == 2


async def test_retry_of_a_question_that_was_not_stored_stores_it(chat, store):
    runner = await chat(ScriptedModel("a"))
    sent = await runner.start("ann", turn_request("once", question_id="0" * 32, is_retry=True))
    await finished(runner, "ann", sent.id)
    assert [message.content for message in await store.messages("ann", sent.id)] == ["once", "a"]


async def test_final_save_is_retried_until_it_succeeds(chat, store, monkeypatch):
    monkeypatch.setattr("chatapp.generation.final_save.SAVE_ATTEMPTS", 1)
    monkeypatch.setattr("chatapp.generation.final_save.RETRY_SECONDS", 0.05)
    full, append = True, store.append

    async def append_if_there_is_room(user, conversation_id, *messages):
        if full:
            raise StoreUnavailable("The disk is full.")
        await append(user, conversation_id, *messages)

    runner = await chat(ScriptedModel("whole"))
    conversation = await runner.start("ann", turn_request("one"))
    monkeypatch.setattr(store, "append", append_if_there_is_room)
    answer = await finished(runner, "ann", conversation.id)
    assert (answer.content, "not saved yet" in answer.error) == ("whole", True)
    with pytest.raises(StoreUnavailable):
        await runner.start("ann", turn_request("two", conversation.id))
    full = False
    saved = await stored_answer(store, "ann", conversation.id, lambda answer: answer.status is MessageStatus.COMPLETE)
    assert saved.content == "whole"
    await runner.start("ann", turn_request("two", conversation.id))


async def test_pending_final_save_is_done_by_the_next_message_or_at_shutdown(chat, store, monkeypatch):
    monkeypatch.setattr("chatapp.generation.final_save.SAVE_ATTEMPTS", 1)
    full, append = True, store.append

    async def append_if_there_is_room(user, conversation_id, *messages):
        if full:
            raise StoreUnavailable("The disk is full.")
        await append(user, conversation_id, *messages)

    runner = await chat(ScriptedModel("whole"))
    conversations = [await runner.start(user, turn_request("one")) for user in ("ann", "bob")]
    monkeypatch.setattr(store, "append", append_if_there_is_room)
    await runner.finish(60)
    runner._closing = False
    full = False
    await runner.start("ann", turn_request("two", conversations[0].id))
    await runner.aclose()
    for user, conversation in zip(("ann", "bob"), conversations, strict=True):
        assert (await store.messages(user, conversation.id))[1].status is MessageStatus.COMPLETE


async def test_early_text_is_checkpointed_during_a_long_pause(chat, store):
    model = ScriptedModel("at once", " later", gate_at=1)
    runner = await chat(model, checkpoint_seconds=0.01)
    conversation = await runner.start("ann", turn_request("go"))
    await stored_answer(store, "ann", conversation.id, lambda answer: answer.content == "at once")
    model.gate.set()
