"""A conversation that outgrows the model's context goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.conversation import GenerationParameters, Message, Role, Usage
from chatapp.errors import ContextTooLong
from chatapp.models import TextDelta
from chatapp.models.context import ContextWindow, Omitted, fit
from tests.fakes.models import ScriptedModel


def conversation(*texts):
    """Return alternating messages that end with a question (so an odd number of texts)."""
    return [
        Message(
            id=f"{number:03}",
            turn_id=f"{number // 2}",
            role=Role.ASSISTANT if number % 2 else Role.USER,
            content=text,
            created_ms=number,
        )
        for number, text in enumerate(texts)
    ]


async def collect(window, messages, parameters):
    return [event async for event in window.stream(messages, parameters)]


async def test_everything_is_sent_while_it_fits():
    model = ScriptedModel("ok", context_tokens=4000)
    messages = conversation("one", "two", "three")
    events = await collect(ContextWindow(model), messages, GenerationParameters())
    assert model.asked[0][0] == messages
    assert not any(isinstance(event, Omitted) for event in events)


@pytest.mark.parametrize("tells_numbers", [True, False])
@pytest.mark.parametrize("lists_context", [True, False])
@pytest.mark.parametrize("bytes_per_token", [4.0, 1.0])
async def test_a_longer_conversation_is_answered_without_its_oldest_turns(
    tells_numbers, lists_context, bytes_per_token
):
    model = ScriptedModel("ok", context_tokens=2048, bytes_per_token=bytes_per_token, tells_numbers=tells_numbers)
    if not lists_context:
        model.hide_context()
    messages = conversation(*(f"{number} " + "word " * 60 for number in range(101)))
    window = ContextWindow(model)
    events = await collect(window, messages, GenerationParameters(max_tokens=512))
    sent = model.asked[-1][0]
    assert events[0] == Omitted(len(messages) - len(sent))
    assert TextDelta("ok") in events
    assert sent[-1] == messages[-1]
    assert sent[0].role is Role.USER

    model.asked.clear()  # the next turn has learned: no more refusals than one
    await collect(window, messages, GenerationParameters(max_tokens=512))
    assert len(model.asked) <= 2


async def test_a_single_message_that_is_too_long_is_refused_with_the_servers_sentence():
    model = ScriptedModel("never", context_tokens=2048)
    with pytest.raises(ContextTooLong, match="too long"):
        await collect(ContextWindow(model), conversation("x" * 50_000), GenerationParameters())
    assert len(model.asked) < 8


async def test_a_long_question_that_just_fits_gets_a_shorter_answer_instead_of_a_refusal():
    model = ScriptedModel("ok", context_tokens=2048, bytes_per_token=4)
    events = await collect(ContextWindow(model), conversation("x" * 6000), GenerationParameters(max_tokens=4096))
    assert TextDelta("ok") in events


async def test_the_estimate_learns_from_what_the_server_counted():
    model = ScriptedModel("ok", context_tokens=100_000, bytes_per_token=1)
    window = ContextWindow(model)
    messages = conversation("x" * 40_000, "y" * 40_000, "z" * 1000)
    for _ in range(4):
        events = await collect(window, messages, GenerationParameters(max_tokens=4096))
    assert any(isinstance(event, Usage) for event in events)
    assert len(fit(messages, GenerationParameters(), context_tokens=50_000, bytes_per_token=1).messages) == 1


@given(
    sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=41).filter(lambda sizes: len(sizes) % 2 == 1),
    context=st.integers(256, 20_000),
    max_tokens=st.integers(1, 4096),
    system=st.integers(0, 3000),
    bytes_per_token=st.floats(0.2, 8),
)
def test_whatever_the_lengths_the_question_is_kept_and_the_rest_fits(
    sizes, context, max_tokens, system, bytes_per_token
):
    messages = conversation(*("x" * size for size in sizes))
    parameters = GenerationParameters(max_tokens=max_tokens, system_prompt="s" * system)
    found = fit(messages, parameters, context_tokens=context, bytes_per_token=bytes_per_token)
    assert found.messages[-1] == messages[-1]
    assert list(found.messages) == messages[found.omitted :]
    assert found.messages[0].role is Role.USER
    assert 1 <= found.max_tokens <= max_tokens
    if len(found.messages) > 1:
        used = sum(len(message.content) for message in found.messages) / bytes_per_token
        assert used + system / bytes_per_token + min(max_tokens, context // 2) <= context
