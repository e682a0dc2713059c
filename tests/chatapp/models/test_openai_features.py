"""Images, parameters, place and price of an OpenAI-compatible model."""

import base64
import dataclasses

import pytest

from chatapp.domain.conversation import GenerationParameters, Image, Message, Place, Role
from chatapp.domain.errors import CannotSee, ModelUnavailable, TooManyImages
from chatapp.models import ModelState
from chatapp.models.context_window import ContextWindow
from chatapp.models.images import OMITTED_IMAGE
from chatapp.models.openai.model import OpenAICompatibleModel
from tests.chatapp.models.answers import text_of
from tests.fakes.openai_server import FakeOpenAIServer, Reply

IMAGE = Image(id="p", media_type="image/png", width=1, height=1, data=b"\x89PNG")
IMAGE_PART = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{base64.b64encode(IMAGE.data).decode()}"},
}


def message(role, content, *images):
    return Message(id=f"{content}{len(images)}", turn_id="t", role=role, content=content, created_ms=1, images=images)


async def answer(model, *messages, **parameters):
    """Return the text of an answer, requested as by a turn."""
    messages = messages or (message(Role.USER, "Hi"),)
    window = ContextWindow(model)
    events = [event async for event in window.stream(messages, GenerationParameters(**parameters))]
    return text_of(events)


async def test_images_precede_the_text_of_their_message(connect):
    async with FakeOpenAIServer() as server:
        await answer(
            connect(server, images=True),
            message(Role.USER, " ", IMAGE),
            message(Role.ASSISTANT, "A dot."),
            message(Role.USER, "And these?", IMAGE, IMAGE),
        )
    assert server.requests[0]["messages"] == [
        {"role": "user", "content": [IMAGE_PART]},
        {"role": "assistant", "content": "A dot."},
        {"role": "user", "content": [IMAGE_PART, IMAGE_PART, {"type": "text", "text": "And these?"}]},
    ]


@pytest.mark.parametrize(
    "words",
    [
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "SmolLM is not a multimodal model",
        "At most 0 image(s) may be provided in one prompt.",
        "this model is missing data required for image input",
    ],
)
async def test_refused_images_are_remembered(connect, words):
    refusal = Reply(status=500, body={"error": {"code": 500, "message": words, "type": "server_error"}})
    async with FakeOpenAIServer(script=[refusal]) as server:
        model = connect(server, images=True)
        with pytest.raises(CannotSee, match=r"Gemma does not support images\. Choose a model that does"):
            await answer(model, message(Role.USER, "Look", IMAGE))
        assert model.supports_images is False
        await answer(
            model, message(Role.USER, "Look", IMAGE), message(Role.ASSISTANT, "No."), message(Role.USER, "Hm.")
        )
    assert server.requests[-1]["messages"][0]["content"] == f"{OMITTED_IMAGE}\nLook"


async def test_image_limit_of_a_server_is_respected(connect):
    refusal = Reply(
        status=400, body={"error": {"message": "At most 1 image(s) may be provided in one prompt.", "code": 400}}
    )
    conversation = message(Role.USER, "One", IMAGE), message(Role.ASSISTANT, "Yes."), message(Role.USER, "Two", IMAGE)
    async with FakeOpenAIServer(script=[refusal, Reply(), refusal], context_tokens=32_000) as server:
        model = connect(server, images=True)
        assert await answer(model, *conversation) == "Hello from the fake."
        first, _, last = server.requests[-1]["messages"]
        assert (first["content"], last["content"][0]) == (f"{OMITTED_IMAGE}\nOne", IMAGE_PART)
        with pytest.raises(TooManyImages, match=r"Too many images: Gemma accepts at most 1\."):
            await answer(model, message(Role.USER, "Both", IMAGE, dataclasses.replace(IMAGE, id="q")))


@pytest.mark.parametrize(
    ("models", "sees"),
    [
        ([{"id": "google/gemma-3-12b-it"}], True),
        ([{"id": "gemma3:1b"}], False),
        ([{"id": "gemma-3-270m-it"}], False),
        ([{"id": "gemma3n:e4b"}], False),
        ([{"id": "google/gemma-4-12B-it-qat-w4a16-ct"}], True),
        ([{"id": "qwen3-vl:8b"}], True),
        ([{"id": "qwen3:8b"}], False),
        ([{"id": "gemma"}], False),
        ([{"id": "gemma-3-12b", "capabilities": ["completion"]}], False),
        ([{"id": "anything", "capabilities": ["completion", "multimodal"]}], True),
        ([{"id": "anything", "capabilities": {"vision": True}}], True),
        ([{"id": "pixtral", "capabilities": {"vision": False}}], False),
        ([{"id": "x/y", "architecture": {"input_modalities": ["text", "image"]}}], True),
        ([{"id": "x/vision", "architecture": {"input_modalities": ["text"]}}], False),
    ],
)
async def test_image_support_comes_from_the_list_of_models_else_from_the_name(connect, models, sees):
    async with FakeOpenAIServer(models=[model["id"] for model in models]) as server:
        server.models_reply = Reply(body={"data": models})
        model = connect(server)
        await model.status()
        assert model.supports_images is sees
        for told in (True, False):
            assert connect(server, images=told).supports_images is told


async def test_capabilities_come_from_the_second_list_of_llama_cpp_and_the_size_from_the_first(connect):
    listed = {
        "models": [{"name": "gemma-3-12b", "model": "gemma-3-12b", "capabilities": ["completion"]}],
        "data": [{"id": "gemma-3-12b", "owned_by": "llamacpp", "meta": {"n_ctx": 4096, "n_params": 268_098_176}}],
    }
    async with FakeOpenAIServer(flavor="llama.cpp", models=["gemma-3-12b"]) as server:
        server.models_reply = Reply(body=listed)
        model = connect(server)
        assert not model.is_small
        await model.status()
        assert model.supports_images is False
        assert model.is_small


def unsupported(name, code):
    return Reply(status=400, body={"error": {"message": f"Unsupported: {name!r}", "param": name, "code": code}})


async def test_unsupported_parameters_are_omitted_in_a_retry(connect):
    script = [
        unsupported("max_tokens", "unsupported_parameter"),
        unsupported("temperature", "unsupported_value"),
        unsupported("top_p", "unsupported_parameter"),
    ]
    async with FakeOpenAIServer(script=script) as server:
        model = connect(server)
        assert await answer(model, max_tokens=5) == "Hello from the fake."
        assert not {"temperature", "top_p", "max_tokens"} & server.requests[-1].keys()
        assert server.requests[-1]["max_completion_tokens"] == 5
        assert len(server.requests) == 4
        await answer(model)
        assert len(server.requests) == 5  # it is remembered
        assert model.unsupported == {"temperature": "Gemma uses a fixed value.", "top_p": "Gemma uses a fixed value."}


async def test_probe_omits_unsupported_parameters(connect):
    async with FakeOpenAIServer(script=[unsupported("max_tokens", "unsupported_parameter")]) as server:
        assert (await connect(server).status()).state is ModelState.READY


async def test_repeated_refusal_of_a_parameter_is_an_error(connect):
    async with FakeOpenAIServer(script=[unsupported("messages", "unsupported_value")]) as server:
        with pytest.raises(ModelUnavailable, match="the server does not accept messages"):
            await answer(connect(server))
        assert len(server.requests) == 1


async def test_ignored_parameters_are_never_sent(connect):
    async with FakeOpenAIServer() as server:
        model = connect(server, ignores=["temperature"])
        await answer(model, temperature=0.3, top_p=0.4)
    assert "temperature" not in server.requests[0]
    assert server.requests[0]["top_p"] == 0.4
    assert set(model.unsupported) == {"temperature"}


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://localhost:11434", Place.THIS_COMPUTER),
        ("http://127.0.0.1:8000/v1", Place.THIS_COMPUTER),
        ("http://[::1]:8000", Place.THIS_COMPUTER),
        ("http://host.docker.internal:11434", Place.THIS_COMPUTER),
        ("http://192.168.1.7:8000", Place.OTHER_SERVER),
        ("http://gemma-service.chat.svc.cluster.local:8000", Place.OTHER_SERVER),
        ("https://localhost.example.org", Place.OTHER_SERVER),
    ],
)
def test_place_follows_from_the_address(url, place):
    assert OpenAICompatibleModel("x", "X", url).place is place
    assert OpenAICompatibleModel("x", "X", url, place=Place.OWN_GPUS).place is Place.OWN_GPUS
