"""The settings of a Gemma that sleeps, and what the app makes of them."""

import asyncio

import pytest

from chatapp.config.settings import InvalidSettings, Settings, load_settings
from chatapp.domain.office_hours import OfficeHours
from chatapp.models import ModelState, ModelStatus
from chatapp.models.kubernetes.sleeping_model import SleepingModel
from chatapp.models.openai.model import OpenAICompatibleModel
from chatapp.server.catalog import open_catalog

CLUSTER = {
    "gemma_url": "http://127.0.0.1:9",
    "gemma_pods": "chat/app=gemma",
    "gemma_deployment": "gemma-deployment",
    "embedded_model": False,
}


@pytest.mark.parametrize(("minutes", "kind"), [(0, OpenAICompatibleModel), (30, SleepingModel)])
async def test_gemma_sleeps_only_where_that_is_set(tmp_path, minutes, kind):
    settings = Settings(data_dir=tmp_path, gemma_idle_minutes=minutes, **CLUSTER)
    catalog, _ = open_catalog(settings)
    assert type(catalog.get("gemma")) is kind
    await catalog.aclose()


@pytest.mark.parametrize("minutes", [0, 30])
async def test_change_that_a_watch_shows_reaches_the_page(tmp_path, monkeypatch, minutes):
    catalog, _ = open_catalog(Settings(data_dir=tmp_path, gemma_idle_minutes=minutes, **CLUSTER))
    gemma = catalog.get("gemma")
    while isinstance(gemma, SleepingModel):
        gemma = gemma.wrapped
    status = ModelStatus(ModelState.WAITING, "a machine with GPUs is being started for it")

    async def now():
        return status

    monkeypatch.setattr(gemma, "status", now)
    await catalog.check("gemma")
    catalog.status("gemma")
    status = ModelStatus(ModelState.LOADING, "its container image is being downloaded")
    for changed in gemma._pods.on_change:
        changed()
    await asyncio.gather(*catalog._checks.values())
    assert catalog.statuses()["gemma"] == status
    await catalog.aclose()


async def test_gemma_has_its_office_hours(tmp_path):
    hours = "Sun-Thu 08:00-18:00 Asia/Jerusalem"
    settings = Settings(data_dir=tmp_path, gemma_idle_minutes=30, gemma_office_hours=f" {hours} ", **CLUSTER)
    catalog, _ = open_catalog(settings)
    gemma = catalog.get("gemma")
    assert isinstance(gemma, SleepingModel)
    assert gemma._sleeper._hours == OfficeHours.parse(hours)
    await catalog.aclose()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"CHAT_GEMMA_IDLE_MINUTES": "4"}, "CHAT_GEMMA_IDLE_MINUTES is '4': it must be 0 or at least 5"),
        ({"CHAT_GEMMA_OFFICE_HOURS": "Mon-Fri 08:00-18:00 Europe/Berlin"}, "it needs CHAT_GEMMA_IDLE_MINUTES"),
        ({"CHAT_GEMMA_OFFICE_HOURS": "Mon-Fri 08:00-18:00"}, "days, hours and a time zone are needed"),
        ({"CHAT_GEMMA_IDLE_MINUTES": "30"}, "it needs CHAT_GEMMA_URL, CHAT_GEMMA_PODS and CHAT_GEMMA_DEPLOYMENT"),
    ],
)
def test_idle_minutes_without_what_they_need_are_refused(tmp_path, monkeypatch, variables, words):
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings, match=words):
        load_settings()
