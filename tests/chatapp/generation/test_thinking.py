"""What turns do with thinking, pictures, and answers that do not end."""

import asyncio
import base64
import io

import pytest
from PIL import Image as Picture

from chatapp.domain.conversation import FinishReason, GenerationParameters, MessageStatus
from chatapp.domain.errors import RateLimited
from chatapp.generation import bounds, titles
from chatapp.models import PictureDelta, TextWasThinking, ThinkingDelta
from chatapp.models.images import DRAWN_PICTURE
from tests.chatapp.generation.running import answer_request, ended, turn_request
from tests.fakes.models import ScriptedModel


def picture(side=8):
    """Return a PNG file in base64."""
    file = io.BytesIO()
    Picture.new("RGB", (side, side), "red").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def answered(chat, store):
    """Return a function that sends a question and returns the stored answer and the conversation."""

    async def send(model, text="Why?", conversation_id="", **options):
        runner = await chat(model, **options.pop("runner", {}))
        conversation = await runner.start("ann", turn_request(text, conversation_id, **options))
        turn = runner.current("ann", conversation.id)
        await ended(runner, "ann", conversation.id)
        if turn and turn.title:
            await turn.title
        return (await store.messages("ann", conversation.id))[-1], conversation

    return send


THINKS = (ThinkingDelta("First "), ThinkingDelta("I think.\n"), "Because", ".")


async def test_thinking_is_stored_apart_from_the_text(answered, store):
    answer, _ = await answered(ScriptedModel(*THINKS))
    assert (answer.thinking, answer.content) == ("First I think.", "Because.")
    assert answer.status is MessageStatus.COMPLETE
    assert (await store.search("ann", "think")).items == []
    assert len((await store.search("ann", "because")).items) == 1


async def test_thinking_is_never_sent_back(answered):
    model = ScriptedModel(*THINKS)
    _, conversation = await answered(model)
    await answered(model, "And then?", conversation.id)
    assert [message.content for message in model.asked[-1][0]] == ["Why?", "Because.", "And then?"]
    assert all(message.content != "First I think." for message in model.asked[-1][0])


async def test_text_before_a_closing_tag_becomes_thinking(answered):
    answer, _ = await answered(ScriptedModel("I ", "think.", TextWasThinking(), "Because."))
    assert (answer.thinking, answer.content) == ("I think.", "Because.")


async def test_text_of_the_answer_that_is_continued_stays_text(chat, store):
    model = ScriptedModel(ThinkingDelta("One"), "Half", error=RateLimited("No."))
    runner = await chat(model)
    conversation = await runner.start("ann", turn_request("Why?"))
    await ended(runner, "ann", conversation.id)
    half = (await store.messages("ann", conversation.id))[-1]
    model._error, model._pieces = None, ("Two", TextWasThinking(), " whole.")
    await runner.continue_answer("ann", conversation.id, half.id, answer_request())
    await ended(runner, "ann", conversation.id)
    whole = (await store.messages("ann", conversation.id))[-1]
    assert (whole.thinking, whole.content) == ("One\n\nTwo", "Half whole.")


async def test_title_is_not_made_of_thinking(answered, store):
    class Titled(ScriptedModel):
        async def stream(self, messages, parameters):
            if messages[-1].content.startswith("Write a title"):
                self.asked.append((list(messages), parameters))
                for event in (ThinkingDelta("A title ..."), *self._pieces[:2], TextWasThinking()):
                    yield event
                async for event in ScriptedModel("A fine title").stream(messages, parameters):
                    yield event
                return
            async for event in super().stream(messages, parameters):
                yield event

    model = Titled(*THINKS)
    _, conversation = await answered(model, runner={"titles": True})
    assert (await store.conversation("ann", conversation.id)).title == "A fine title"
    messages, parameters = model.asked[-1]
    assert "I think" not in messages[-1].content
    assert parameters.max_tokens == 1024  # room for the thinking


# --- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", ["word " * 40, ThinkingDelta("hmm " * 40_000)])
async def test_answer_of_a_server_that_ignores_max_tokens_is_cut_off_and_kept(answered, piece):
    model = ScriptedModel(*[piece] * 10_000)
    request = answer_request(parameters=GenerationParameters(max_tokens=100))
    answer, _ = await answered(model, answers=[request])
    assert answer.status is MessageStatus.ERROR
    assert "wrote far more than Max tokens (100) allows, so it was cut off" in answer.error
    size = len(answer.content) + len(answer.thinking)
    assert 100 < size < 340_000
    assert model.closed == 1


async def test_answer_that_takes_too_long_is_cut_off_and_kept(answered, monkeypatch):
    monkeypatch.setattr(bounds, "SECONDS_FOR_PROMPT", -0.9)
    monkeypatch.setattr(bounds, "SECONDS_PER_TOKEN", 1.0)
    model = ScriptedModel("Half", "whole", gate_at=1)
    request = answer_request(parameters=GenerationParameters(max_tokens=1))
    answer, _ = await answered(model, answers=[request])
    assert (answer.content, answer.status) == ("Half", MessageStatus.ERROR)
    assert "was still writing after 0.1 seconds, so it was cut off" in answer.error


async def test_title_of_a_server_that_ignores_max_tokens_is_not_read_to_its_end(answered, store, monkeypatch):
    monkeypatch.setattr(titles, "MAX_CHARS", 100)

    class Endless(ScriptedModel):
        async def stream(self, messages, parameters):
            if not messages[-1].content.startswith("Write a title"):
                async for event in super().stream(messages, parameters):
                    yield event
                return
            yield ThinkingDelta("A title")
            while True:
                await asyncio.sleep(0)
                yield ThinkingDelta("and another one")

    async with asyncio.timeout(60):
        _, conversation = await answered(Endless("Yes."), runner={"titles": True})
    assert (await store.conversation("ann", conversation.id)).title == "Why?"


# --- no text -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "most", "advice"),
    [
        (1024, 32_768, "Raise Max tokens, up to 32,768, and send again."),
        (4096, 4096, "Max tokens cannot be raised further for this model."),
        (9000, 4096, "Max tokens cannot be raised further for this model."),  # 4096 were sent
    ],
)
async def test_advice_after_thinking_alone_can_be_followed(answered, now, most, advice):
    model = ScriptedModel(ThinkingDelta("hm"), finish=FinishReason.LENGTH)
    model.max_answer_tokens = most
    request = answer_request(parameters=GenerationParameters(max_tokens=now))
    answer, _ = await answered(model, answers=[request])
    assert answer.thinking == "hm"
    assert f"Scripted used all of Max tokens ({min(now, most):,}) for thinking. {advice}" in answer.error
    assert model.asked[-1][1].max_tokens == min(now, most)


async def test_conversation_that_leaves_no_room_is_named_as_the_reason(answered):
    model = ScriptedModel(ThinkingDelta("hm"), finish=FinishReason.LENGTH, context_tokens=1000, bytes_per_token=1)
    model.max_answer_tokens = 1000
    answer, _ = await answered(model, "x" * 700)
    assert "The conversation leaves Scripted too little room for an answer. Start a new chat" in answer.error


# --- pictures ------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_picture_of_the_model_is_stored_and_only_named_to_the_model_later(answered, store):
    model = ScriptedModel("Here:", PictureDelta(picture()), supports_images=True)
    answer, conversation = await answered(model)
    (image,) = answer.images
    assert (image.width, image.height, answer.unshown_pictures) == (8, 8, 0)
    assert (await store.image("ann", conversation.id, image.id)).data[:2] == b"\xff\xd8"
    await answered(model, "Another one", conversation.id)
    sent = model.asked[-1][0][1]
    assert (sent.content, sent.images) == (f"Here:\n{DRAWN_PICTURE}", ())


async def test_picture_alone_is_an_answer(answered):
    answer, _ = await answered(ScriptedModel(PictureDelta(picture())))
    assert (answer.status, len(answer.images)) == (MessageStatus.COMPLETE, 1)


@pytest.mark.slow
async def test_pictures_that_cannot_be_shown_are_counted(answered):
    pictures = [PictureDelta(""), PictureDelta("A" * 1000), *[PictureDelta(picture())] * (bounds.MAX_PICTURES + 1)]
    answer, _ = await answered(ScriptedModel("Here:", *pictures))
    assert (answer.content, len(answer.images), answer.unshown_pictures) == ("Here:", bounds.MAX_PICTURES, 3)
