"""An answer of vLLM whose server is lost in the middle, and goes on at another one."""

from __future__ import annotations

import json
from contextlib import aclosing

import pytest

from chatapp.domain.conversation import GenerationParameters, Usage
from chatapp.domain.errors import ModelUnavailable
from chatapp.models import Finish, ThinkingDelta
from chatapp.models.openai import model as openai_compatible
from tests.chatapp.models.answers import question, text_of
from tests.fakes.openai_server import FakeOpenAIServer, Reply

WHOLE = ["Hello", " from", " the", " fake", "."]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(openai_compatible, "RETRY_SECONDS", 0.01)


async def ask(model, **parameters):
    """Return the events of an answer, and the error that ended it."""
    events = []
    try:
        async with aclosing(model.stream(question("Who?"), GenerationParameters(**parameters))) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401  # those before an error, too
    except ModelUnavailable as error:
        return events, error
    return events, None


def chunk(delta, finish_reason=None):
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return f"data: {json.dumps({'choices': choices})}\n\n".encode()


ROLE, HELLO_FR = chunk({"role": "assistant", "content": ""}), chunk({"content": "Hello fr"})
LOST = {
    "closed": Reply(raw=[ROLE, HELLO_FR], ending="cut"),
    "aborted": Reply(raw=[ROLE, HELLO_FR, chunk({}, "abort")]),
}


@pytest.mark.parametrize("lost", LOST.values(), ids=list(LOST))
async def test_a_lost_answer_goes_on_at_its_last_letter(connect, lost):
    async with FakeOpenAIServer(answer=WHOLE, script=[lost]) as server:
        events, error = await ask(connect(server), max_tokens=100, system_prompt="Be brief.")
        first, second = server.chats
    assert error is None
    assert text_of(events) == "Hello from the fake."
    assert sum(isinstance(event, Finish) for event in events) == 1
    assert second["messages"] == [*first["messages"], {"role": "assistant", "content": "Hello fr"}]
    assert (second["continue_final_message"], second["add_generation_prompt"]) == (True, False)
    assert (first["max_tokens"], second["max_tokens"]) == (100, 99)


async def test_the_usage_is_that_of_both_requests(connect):
    async with FakeOpenAIServer(answer=WHOLE, script=[Reply(pieces=WHOLE[:2], ending="cut")]) as server:
        model = connect(server)
        resumed, _ = await ask(model)
        whole, _ = await ask(model)
    assert [event for event in resumed if isinstance(event, Usage)] == [
        event for event in whole if isinstance(event, Usage)
    ]


@pytest.mark.parametrize("ending", ["reset", "cut"])
@pytest.mark.parametrize("answer", [["One", " ", "two"], ["One", "\n\n", "two"], ["One", "\n", "\n", "two"]])
async def test_white_space_where_the_answer_was_lost_is_not_doubled(connect, answer, ending):
    async with FakeOpenAIServer(answer=answer, script=[Reply(pieces=answer[:2], ending=ending)]) as server:
        assert text_of((await ask(connect(server)))[0]) == "".join(answer)


async def test_an_answer_lost_before_its_first_token_is_asked_for_again(connect):
    async with FakeOpenAIServer(answer=WHOLE, script=[Reply(raw=[ROLE], ending="cut")]) as server:
        events, error = await ask(connect(server))
        first, second = server.chats
    assert (text_of(events), error) == ("".join(WHOLE), None)
    assert first == second


async def test_a_question_that_ends_every_server_gets_two_of_them(connect):
    script = [Reply(raw=[ROLE, HELLO_FR], ending="cut"), *[Reply(raw=[ROLE], ending="cut")] * 5]
    async with FakeOpenAIServer(script=script) as server:
        events, error = await ask(connect(server))
        assert len(server.chats) == 2
    assert text_of(events) == "Hello fr"
    assert "stopped in the middle of the answer: the connection was lost" in str(error)


async def test_an_answer_is_asked_for_three_times_at_most(connect):
    script = [Reply(pieces=[piece], ending="cut") for piece in "abcdef"]
    async with FakeOpenAIServer(script=script) as server:
        events, error = await ask(connect(server))
        assert len(server.chats) == 3
    assert text_of(events) == "abc"
    assert error


async def test_the_error_names_the_loss_where_no_other_server_is_there(connect):
    away = Reply(status=503, body={"error": {"message": "no healthy upstream"}})
    async with FakeOpenAIServer(script=[LOST["closed"], away, away, away]) as server:
        events, error = await ask(connect(server))
    assert text_of(events) == "Hello fr"
    assert "the connection was lost" in str(error)


async def test_thinking_is_not_continued(connect):
    lost = Reply(raw=[ROLE, chunk({"reasoning": "Hm"}), HELLO_FR], ending="cut")
    async with FakeOpenAIServer(script=[lost]) as server:
        events, error = await ask(connect(server))
        assert len(server.chats) == 1
    assert ThinkingDelta("Hm") in events
    assert error
