"""The catalogue of models, and when it checks their status."""

import asyncio

import pytest

from chatapp.domain.errors import UnknownModel
from chatapp.models import ModelState, ModelStatus
from chatapp.models.catalog import Catalog, UnconfiguredModel
from tests.fakes.models import ScriptedModel

READY = ModelStatus(ModelState.READY)
DOWN = ModelStatus(ModelState.UNAVAILABLE, "nothing answers")


class CountingModel(ScriptedModel):
    """Counts its status requests, and delays them on demand."""

    def __init__(self, *, status=READY, seconds=0.0, **options):
        super().__init__(status=status, **options)
        self.asked_status = 0
        self.seconds = seconds

    async def status(self):
        self.asked_status += 1
        await asyncio.sleep(self.seconds)
        return await super().status()


async def test_all_models_are_checked_in_parallel():
    all_asked = asyncio.Barrier(10)

    class TogetherModel(ScriptedModel):
        async def status(self):
            await all_asked.wait()
            return READY

    catalog = Catalog([TogetherModel(id=f"m{number}") for number in range(10)])
    statuses = await catalog.check()
    assert [status.state for status in statuses.values()] == [ModelState.READY] * 10
    await catalog.aclose()


async def test_statuses_return_at_once_and_are_refreshed_in_the_background():
    model = CountingModel(seconds=0.05)
    catalog = Catalog([model])
    assert catalog.statuses()["scripted"].state is ModelState.LOADING
    for _ in range(20):
        catalog.statuses()
    await asyncio.gather(*catalog._checks.values())
    assert catalog.statuses()["scripted"] == READY
    assert model.asked_status == 1
    await catalog.aclose()


async def test_status_that_changes_is_checked_at_once_while_it_is_read():
    model = CountingModel(status=DOWN)
    catalog = Catalog([model])
    catalog.statuses()
    await asyncio.gather(*catalog._checks.values())
    model._status = READY
    catalog.changed("scripted")
    await asyncio.gather(*catalog._checks.values())
    assert catalog._statuses["scripted"] == READY
    assert model.asked_status == 2
    await catalog.aclose()


async def test_status_that_changes_during_a_check_is_checked_once_more(monkeypatch):
    model = CountingModel(seconds=0.05)
    catalog = Catalog([model])
    catalog.statuses()
    for _ in range(3):
        catalog.changed("scripted")
    while catalog._checks:
        await asyncio.gather(*catalog._checks.values())
    assert model.asked_status == 2
    await catalog.aclose()


async def test_status_that_changes_is_not_checked_while_it_is_not_read(monkeypatch):
    model = CountingModel(status=DOWN)
    catalog = Catalog([model])
    catalog.changed("scripted")
    assert catalog._checks == {}
    catalog.statuses()
    await asyncio.gather(*catalog._checks.values())
    monkeypatch.setattr("chatapp.models.catalog.READ_SECONDS", -1.0)
    catalog.changed("scripted")
    assert catalog._checks == {}
    monkeypatch.undo()
    assert catalog.status("scripted") == DOWN
    assert catalog._checks, "but at the next read, though it is fresh"
    await catalog.aclose()


async def test_change_of_a_catalogue_that_closes_starts_no_check():
    model = CountingModel(seconds=3600)
    catalog = Catalog([model])
    catalog.statuses()
    catalog.changed("scripted")
    await asyncio.sleep(0)
    await catalog.aclose()
    assert (model.asked_status, catalog._checks) == (1, {})


async def test_no_model_is_checked_while_no_status_is_read(monkeypatch):
    monkeypatch.setattr("chatapp.models.catalog.READY_SECONDS", 0.01)
    model = CountingModel()
    catalog = Catalog([model])
    await catalog.check()
    await asyncio.sleep(0.1)
    assert model.asked_status == 1
    await catalog.aclose()


async def test_failed_answer_expires_the_status():
    model = CountingModel()
    catalog = Catalog([model])
    await catalog.check()
    catalog.expire("scripted")
    catalog.statuses()
    await asyncio.gather(*catalog._checks.values())
    assert model.asked_status == 2
    await catalog.aclose()


async def test_status_that_times_out_is_unavailable(monkeypatch):
    monkeypatch.setattr("chatapp.models.catalog.STATUS_TIMEOUT_SECONDS", 0.05)
    catalog = Catalog([CountingModel(id="slow", seconds=60), CountingModel(id="quick")])
    statuses = await catalog.check()
    assert statuses["slow"].state is ModelState.UNAVAILABLE
    assert statuses["quick"] == READY
    await catalog.aclose()


@pytest.mark.parametrize("model_id", ["gpt", "", None, 7, [], {}])
def test_unknown_model_is_refused(model_id):
    with pytest.raises(UnknownModel, match="Choose another model"):
        Catalog([ScriptedModel()]).get(model_id)


async def test_first_choice_is_the_default_else_a_ready_model_else_one_that_is_set_up():
    empty = UnconfiguredModel("gemma", "Gemma", fix="set CHAT_GEMMA_URL")
    down, ready = ScriptedModel(id="down", status=DOWN), ScriptedModel(id="ready")
    catalog = Catalog([empty, down, ready])
    await catalog.check()
    assert catalog.first_choice() is ready
    without_ready = Catalog([empty, down])
    await without_ready.check()
    assert without_ready.first_choice() is down
    assert Catalog([empty]).first_choice() is empty
    assert Catalog([empty, down, ready], default="down").first_choice() is down


def test_unknown_default_model_is_refused_with_the_list_of_models():
    with pytest.raises(UnknownModel, match=r"no model 'gpt'; there are a, b"):
        Catalog([ScriptedModel(id="a"), ScriptedModel(id="b")], default="gpt")


def test_label_of_a_removed_model_is_its_id():
    assert Catalog([ScriptedModel(id="a")]).label("retired") == "retired"
