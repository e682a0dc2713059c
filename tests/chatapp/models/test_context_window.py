"""Conversations that are longer than the context of their model, and their images."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.domain.conversation import GenerationParameters, Image, Message, Role, Usage
from chatapp.domain.errors import CannotSee, ContextTooLong, TooManyImages
from chatapp.models import Omitted, TextDelta, Waiting
from chatapp.models.context_window import ContextWindow, fit
from chatapp.models.images import OMITTED_IMAGE, StoredImages
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


async def test_all_messages_are_sent_while_they_fit():
    model = ScriptedModel("ok", context_tokens=4000)
    messages = conversation("one", "two", "three")
    events = await collect(ContextWindow(model), messages, GenerationParameters())
    assert model.asked[0][0] == messages
    assert not any(isinstance(event, Omitted) for event in events)


async def test_waiting_for_the_model_does_not_count_as_a_beginning_of_the_answer():
    class Waits(ScriptedModel):
        async def stream(self, messages, parameters):
            yield Waiting("it wakes up")
            yield Waiting()
            async for event in super().stream(messages, parameters):
                yield event

    model = Waits("ok", context_tokens=2048, bytes_per_token=1.0)
    model.hide_context()
    messages = conversation(*(f"{number} " + "word " * 60 for number in range(101)))
    events = await collect(ContextWindow(model), messages, GenerationParameters(max_tokens=500))
    kinds = [type(event) for event in events]
    assert kinds.index(Omitted) < kinds.index(TextDelta), "it was refused at first, and sent again with fewer messages"


@pytest.mark.parametrize("tells_numbers", [True, False])
@pytest.mark.parametrize("lists_context", [True, False])
@pytest.mark.parametrize("bytes_per_token", [4.0, 1.0])
async def test_oldest_messages_of_a_long_conversation_are_omitted(tells_numbers, lists_context, bytes_per_token):
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

    model.asked.clear()  # the estimate has learned: one refusal at most
    await collect(window, messages, GenerationParameters(max_tokens=512))
    assert len(model.asked) <= 2


async def test_single_message_that_is_too_long_is_refused():
    model = ScriptedModel("never", context_tokens=2048)
    with pytest.raises(ContextTooLong, match="too long"):
        await collect(ContextWindow(model), conversation("x" * 50_000), GenerationParameters())
    assert len(model.asked) < 8


async def test_long_question_reduces_the_tokens_of_the_answer():
    model = ScriptedModel("ok", context_tokens=2048, bytes_per_token=4)
    events = await collect(ContextWindow(model), conversation("x" * 6000), GenerationParameters(max_tokens=4096))
    assert TextDelta("ok") in events


async def test_estimate_learns_from_usage():
    model = ScriptedModel("ok", context_tokens=100_000, bytes_per_token=1)
    window = ContextWindow(model)
    messages = conversation("x" * 40_000, "y" * 40_000, "z" * 1000)
    for _ in range(4):
        events = await collect(window, messages, GenerationParameters(max_tokens=4096))
    assert any(isinstance(event, Usage) for event in events)
    assert len(fit(messages, GenerationParameters(), context_tokens=50_000, bytes_per_token=1).messages) == 1


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=41).filter(lambda sizes: len(sizes) % 2 == 1),
    context=st.integers(256, 20_000),
    max_tokens=st.integers(1, 4096),
    system=st.integers(0, 3000),
    bytes_per_token=st.floats(0.2, 8),
)
def test_question_is_always_sent_and_the_rest_fits(sizes, context, max_tokens, system, bytes_per_token):
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


PICTURE = Image(id="p", media_type="image/png", width=2, height=2)


def seen(message, *ids):
    return dataclasses.replace(message, images=tuple(dataclasses.replace(PICTURE, id=id_) for id_ in ids))


class Album:
    """Loads the data of images, and records for which messages."""

    def __init__(self):
        self.asked = []

    async def __call__(self, message):
        self.asked.append(message.id)
        images = tuple(dataclasses.replace(image, data=image.id.encode()) for image in message.images)
        return dataclasses.replace(message, images=images)


async def ask(window, messages):
    return [event async for event in window.stream(messages, GenerationParameters())]


async def test_images_are_loaded_once_and_only_for_messages_that_are_sent():
    model = ScriptedModel("ok", context_tokens=2048, bytes_per_token=1, supports_images=True, tokens_per_image=100)
    old, *rest, question = conversation(*("word " * 200 for _ in range(9)))
    album = Album()
    await ask(ContextWindow(StoredImages(model, album)), [seen(old, "old"), *rest, seen(question, "a", "b")])
    assert len(model.asked) > 1  # refused at first
    assert album.asked == [question.id]
    assert [image.data for image in model.asked[-1][0][-1].images] == [b"a", b"b"]


async def test_images_with_data_need_no_loading():
    model = ScriptedModel("ok", supports_images=True)
    question = await Album()(seen(conversation("Which colour?")[0], "a"))
    await ask(ContextWindow(StoredImages(model, None)), [question])
    assert model.asked[0][0] == [question]


async def test_question_with_images_is_refused_for_a_model_without_image_support():
    model, album = ScriptedModel("never"), Album()
    with pytest.raises(CannotSee, match=r"Scripted does not support images. Choose a model that does"):
        await ask(ContextWindow(StoredImages(model, album)), [seen(conversation("Which colour?")[0], "a")])
    assert (model.asked, album.asked) == ([], [])


async def test_earlier_images_are_omitted_for_a_model_without_image_support():
    model, album = ScriptedModel("ok"), Album()
    first, answer, question = conversation("", "Red.", "And now in French?")
    await ask(ContextWindow(StoredImages(model, album)), [seen(first, "a"), answer, question])
    sent = model.asked[0][0]
    assert [message.images for message in sent] == [(), (), ()]
    assert sent[0].content.startswith(OMITTED_IMAGE)
    assert album.asked == []


async def test_image_limit_of_a_server_is_learned_and_the_newest_are_sent():
    model, album = ScriptedModel("ok", supports_images=True, most_images=2), Album()
    window = ContextWindow(StoredImages(model, album))
    first, answer, question = conversation("These?", "Cats.", "And these?")
    messages = [seen(first, "a", "b", "c"), answer, seen(question, "d")]
    for _ in range(2):
        await ask(window, messages)
    assert len(model.asked) == 3
    shown = [[image.id for image in message.images] for message in model.asked[-1][0]]
    assert shown == [["c"], [], ["d"]]
    assert model.asked[-1][0][0].content == f"{OMITTED_IMAGE}\n{OMITTED_IMAGE}\nThese?"
    with pytest.raises(TooManyImages, match="Too many images: Scripted accepts at most 2"):
        await ask(window, [seen(question, "a", "b", "c")])


async def test_tokens_of_images_are_learned_from_usage():
    model = ScriptedModel("ok", context_tokens=4096, bytes_per_token=3, supports_images=True, tokens_per_image=10)
    model.real_tokens_per_image = 1000
    window = ContextWindow(StoredImages(model, Album()))
    await ask(window, [seen(conversation("One.")[0], "a")])
    model.asked.clear()
    messages = conversation(*("Which colour? " for _ in range(9)))
    await ask(window, [seen(message, f"{message.id}") for message in messages])
    assert len(model.asked) == 1  # 9 images do not fit: known without a refusal
    assert sum(len(message.images) for message in model.asked[0][0]) == 2  # those of answers are only named


async def test_oldest_images_are_omitted_after_a_refusal():
    model = ScriptedModel("ok", context_tokens=4096, supports_images=True, tokens_per_image=10)
    model.real_tokens_per_image = 1000
    messages = conversation(*("Which colour? " for _ in range(9)))
    events = await ask(
        ContextWindow(StoredImages(model, Album())), [seen(message, f"{message.id}") for message in messages]
    )
    assert TextDelta("ok") in events
    assert len(model.asked) <= 3


async def test_refusal_in_the_middle_of_an_answer_is_not_retried():
    model = ScriptedModel("Half", error=ContextTooLong("It is full."))
    events = ContextWindow(model).stream(conversation("Why?"), GenerationParameters())
    assert await anext(events) == TextDelta("Half")
    with pytest.raises(ContextTooLong):
        await anext(events)
    assert len(model.asked) == 1
