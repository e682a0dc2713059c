"""Quotas in turns: concurrent messages cannot exceed them, and every end of an answer counts."""

import asyncio

import pytest

from chatapp.domain.conversation import Image, Usage
from chatapp.domain.errors import ConversationBusy, LimitReached, ModelUnavailable, RateLimited
from chatapp.generation.queue import TurnLimits
from chatapp.generation.requests import LoadedFiles
from chatapp.limits import Quota
from chatapp.limits.daily_totals import DailyTotals
from chatapp.limits.usage import UsageLimits
from chatapp.models import Price, TextDelta
from tests.chatapp.generation.running import answer_request, ended, turn_request
from tests.fakes.models import ScriptedModel

NAME = "0123456789abcdef0123456789abcdef"


class Counted:
    """No limit; what was counted is in ``counts``."""

    has_shared_quota = True

    def __init__(self):
        self.admitted = []
        self.counts = []

    def admit(self, user, answers=1):
        self.admitted.append((user, answers))

    def count(self, usage, price, user=None):
        self.counts.append((usage, price, user))


class Silent(ScriptedModel):
    """Says nothing of tokens."""

    async def stream(self, messages, parameters):
        async for event in super().stream(messages, parameters):
            if not isinstance(event, Usage):
                yield event


def limits(shared=None, **user):
    return UsageLimits(Quota(**user), shared or Quota(), DailyTotals())


async def asked(runner, text="go", model="scripted", conversation="", **options):
    conversation = await runner.start("ann", turn_request(text, conversation, model=model, **options))
    await ended(runner, "ann", conversation.id)
    return conversation


async def test_concurrent_messages_do_not_exceed_the_limit(chat, store):
    model = ScriptedModel("a")
    many = TurnLimits(per_user=1000, at_once=1000)
    runner = await chat(model, usage_limits=limits(messages_per_minute=20), limits=many)
    results = await asyncio.gather(*(asked(runner, f"{number}") for number in range(100)), return_exceptions=True)
    assert sum(isinstance(result, LimitReached) for result in results) == 80
    assert len((await store.conversations("ann", limit=200)).items) == len(model.asked) == 20


async def test_refused_message_is_not_stored_and_can_be_sent_later(chat, store, limited, clock):
    runner = await chat(ScriptedModel("a"), usage_limits=limited(messages_per_minute=1))
    first = await asked(runner)
    for conversation in ("", first.id):
        with pytest.raises(LimitReached):
            await runner.start("ann", turn_request("again", conversation, question_id=NAME))
    assert [one.id for one in (await store.conversations("ann")).items] == [first.id]
    assert len(await store.messages("ann", first.id)) == 2
    assert not runner.is_busy("ann", first.id)
    clock.now += 60
    await asked(runner, "again", conversation=first.id, question_id=NAME, is_retry=True)
    assert [message.id for message in await store.messages("ann", first.id)][2] == NAME
    # Its reply was lost, the page asks again: it is taken once, and counted once.
    await runner.start("ann", turn_request("again", first.id, question_id=NAME, is_retry=True))
    assert len(await store.messages("ann", first.id)) == 4


async def test_regenerated_continued_and_parallel_answers_count(chat, store):
    counted = Counted()
    runner = await chat(
        ScriptedModel("half", id="broken", error=RateLimited("No.")), ScriptedModel("b"), usage_limits=counted
    )
    conversation = await asked(runner, model="broken")
    question, answer = await store.messages("ann", conversation.id)
    await runner.continue_answer("ann", conversation.id, answer.id, answer_request())
    await ended(runner, "ann", conversation.id)
    await runner.regenerate("ann", conversation.id, question.id, answer_request())
    await ended(runner, "ann", conversation.id)
    await asked(runner, answers=[answer_request(), answer_request()])
    assert counted.admitted == [("ann", 1), ("ann", 1), ("ann", 1), ("ann", 2)]
    assert len(counted.counts) == 5


async def test_message_refused_for_another_reason_is_not_counted(chat):
    counted = Counted()
    model = ScriptedModel("a", gate_at=0)
    runner = await chat(model, usage_limits=counted)
    conversation = await runner.start("ann", turn_request("go"))
    with pytest.raises(ConversationBusy):
        await runner.start("ann", turn_request("go", conversation.id))
    assert counted.admitted == [("ann", 1)]
    model.gate.set()


async def test_complete_answer_counts_the_servers_token_count(chat):
    counted = Counted()
    model = ScriptedModel("one", " two")
    model.price = Price(1, 2)
    await asked(await chat(model, usage_limits=counted), "four letters..")
    assert counted.counts == [(Usage(prompt_tokens=8, completion_tokens=2), Price(1, 2), "ann")]


@pytest.mark.parametrize(
    ("model", "stops", "prompt", "completion"),
    [
        pytest.param(lambda: Silent("wörd" * 6), False, 108, 10, id="no usage: estimated"),
        pytest.param(lambda: ScriptedModel("word" * 6, error=RateLimited("No.")), False, 108, 8, id="failed midway"),
        pytest.param(lambda: ScriptedModel("word" * 6, "", gate_at=1), True, 108, 8, id="stopped midway"),
        pytest.param(lambda: ScriptedModel("word", gate_at=0), True, 108, 0, id="stopped before the first word"),
    ],
)
async def test_answer_without_a_token_count_is_estimated(chat, model, stops, prompt, completion):
    counted, model = Counted(), model()
    runner = await chat(model, usage_limits=counted)
    conversation = await runner.start("ann", turn_request("a" * 300))
    if stops:
        await model.writing.wait()
        await runner.stop("ann", conversation.id)
    await ended(runner, "ann", conversation.id)
    ((usage, _, user),) = counted.counts
    assert (usage.prompt_tokens, usage.completion_tokens, user) == (prompt, completion, "ann")


async def test_image_is_estimated(chat):
    counted, model = Counted(), Silent("ok", supports_images=True, tokens_per_image=256)
    image = Image(id="i", media_type="image/png", width=1, height=1, data=b"x")
    await asked(await chat(model, usage_limits=counted), "a" * 300, images=LoadedFiles(image))
    assert counted.counts[0][0].prompt_tokens == 108 + 256


async def test_refusal_by_the_model_costs_nothing(chat):
    counted = Counted()
    await asked(await chat(ScriptedModel(error=ModelUnavailable("Away.")), usage_limits=counted))
    assert counted.counts == []


async def test_answer_stopped_in_the_queue_costs_nothing(chat):
    counted, model = Counted(), ScriptedModel("a", gate_at=0)
    runner = await chat(model, usage_limits=counted, limits=TurnLimits(at_once=1))
    await runner.start("ann", turn_request("go"))
    waiting = await runner.start("bob", turn_request("go"))
    await runner.stop("bob", waiting.id)
    assert counted.counts == []
    model.gate.set()


async def test_continued_answer_counts_only_what_it_adds(chat, store):
    counted = Counted()
    broken, whole = ScriptedModel("w" * 300, id="broken", error=RateLimited("No.")), Silent("word" * 6)
    runner = await chat(broken, whole, usage_limits=counted)
    conversation = await asked(runner, model="broken")
    answer = (await store.messages("ann", conversation.id))[-1]
    await runner.continue_answer("ann", conversation.id, answer.id, answer_request())
    await ended(runner, "ann", conversation.id)
    assert [usage.completion_tokens for usage, _, _ in counted.counts] == [100, 8]


class TestTitles:
    async def titled(self, chat, **options):
        model = ScriptedModel("Title")
        runner = await chat(model, titles=True, **options)
        conversation = await runner.start("ann", turn_request("go"))
        turn = runner.current("ann", conversation.id)
        await ended(runner, "ann", conversation.id)
        if turn.title:
            await turn.title
        return model

    async def test_count_for_the_shared_quota_only(self, chat):
        counted = Counted()
        model = await self.titled(chat, usage_limits=counted)
        assert [user for _, _, user in counted.counts] == ["ann", None]
        assert counted.counts[1][0].prompt_tokens > 30
        assert len(model.asked) == 2

    async def test_are_not_generated_when_the_shared_quota_is_used_up(self, chat):
        model = await self.titled(chat, usage_limits=limits(Quota(tokens_per_day=1)))
        assert len(model.asked) == 1

    async def test_are_estimated_without_a_token_count(self, chat):
        counted = Counted()

        class Model(ScriptedModel):
            async def stream(self, messages, parameters):
                yield TextDelta("a" * 30)

        runner = await chat(Model(), titles=True, usage_limits=counted)
        conversation = await runner.start("ann", turn_request("go"))
        turn = runner.current("ann", conversation.id)
        await ended(runner, "ann", conversation.id)
        await turn.title
        assert [usage.completion_tokens for usage, _, _ in counted.counts] == [10, 10]
