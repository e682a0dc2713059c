"""Fallback to another model, and the base class of wrappers."""

import inspect

import pytest

from chatapp.domain.conversation import GenerationParameters, Place
from chatapp.models import ChatModel, ModelState, ModelStatus, Price, TextDelta
from chatapp.models.catalog import Catalog, UnconfiguredModel
from chatapp.models.fallback import FallbackModel
from chatapp.models.wrapper import ModelWrapper
from tests.chatapp.models.test_context_window import conversation
from tests.fakes.models import ScriptedModel

DOWN = ModelStatus(ModelState.UNAVAILABLE, "down")


async def selected(*models, **options):
    """Return the model that answers where the first of these was chosen."""
    catalog = Catalog(models)
    await catalog.check()
    try:
        return await FallbackModel.select(catalog, models[0], **options)
    finally:
        await catalog.aclose()


async def test_ready_model_answers_itself():
    model = await selected(ScriptedModel(id="a"), ScriptedModel(id="b"))
    assert (model.id, model.instead_of) == ("a", "")


@pytest.mark.parametrize("chosen", [ScriptedModel(id="a", status=DOWN), UnconfiguredModel("a", "A", fix="set it")])
async def test_first_ready_model_answers_instead_of_one_that_is_not_ready(chosen):
    model = await selected(chosen, ScriptedModel(id="b", status=DOWN), ScriptedModel(id="c"), ScriptedModel(id="d"))
    assert (model.id, model.instead_of) == ("c", "a")


async def test_question_with_images_falls_back_to_a_model_that_supports_them():
    models = ScriptedModel(id="a", status=DOWN), ScriptedModel(id="b"), ScriptedModel(id="c", supports_images=True)
    assert (await selected(*models, needs_images=True)).id == "c"


async def test_chosen_model_answers_where_no_other_one_is_ready():
    model = await selected(ScriptedModel(id="a", status=DOWN), ScriptedModel(id="b", status=DOWN))
    assert (model.id, model.instead_of) == ("a", "")


async def test_model_is_woken_only_where_another_one_answers_its_question():
    woken = []
    asleep, ready = ScriptedModel(id="a", status=ModelStatus(ModelState.ASLEEP, "asleep")), ScriptedModel(id="b")
    for model in (asleep, ready):
        model.wake = lambda model=model: woken.append(model.id)
    assert (await selected(ready, asleep)).id == "b"
    assert (await selected(asleep)).id == "a"  # its own stream wakes it
    assert woken == []
    assert (await selected(asleep, ready)).id == "b"
    assert woken == ["a"]


async def test_wrapper_delegates_every_member_of_the_protocol():
    model = ScriptedModel("ok", context_tokens=4096, supports_images=True)
    model.place, model.price, model.unsupported = Place.OWN_GPUS, Price(1, 2), {"top_p": "no"}
    model.writes_titles = False
    wrapper = ModelWrapper(model)
    names = {name for name, _ in inspect.getmembers(ChatModel) if not name.startswith("_")} | {"id", "label"}
    assert len(names) > 10
    for name in names - {"stream", "status", "start", "wake", "aclose", "read_context"}:
        assert getattr(wrapper, name) == getattr(model, name), name
    woken = []
    model.wake = lambda: woken.append(model.id)
    wrapper.wake()
    assert woken == ["scripted"]
    assert await wrapper.status() == ModelStatus(ModelState.READY)
    await wrapper.read_context()
    assert model.contexts_read == 1
    events = [event async for event in wrapper.stream(conversation("Hi"), GenerationParameters())]
    assert TextDelta("ok") in events
