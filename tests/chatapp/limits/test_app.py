"""Limits over HTTP: status, Retry-After, and a translatable sentence."""

import re
from contextlib import AsyncExitStack

import pytest
from prometheus_client import generate_latest

from chatapp.app import _usage_limits, create_app
from chatapp.domain.conversation import Usage
from chatapp.limits import NoLimits, Quota
from chatapp.limits.daily_totals import DailyTotals
from chatapp.limits.usage import UsageLimits
from tests.page_client import PARAMETERS, Refused, open_page
from tests.serving import serving


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"messages_per_minute": 2, "metrics_port": 1})


async def test_refusal_has_status_429_and_says_when_to_retry(settings):
    app = await create_app(settings, with_page=False)
    async with serving(app) as url, open_page(url) as page:
        for text in ("one", "two"):
            await page.messages(await page.send(text, model="gemma"))
        with pytest.raises(Refused) as refused:
            await page.send("three", model="gemma")
        assert refused.value.status == 429
        said = refused.value.error["values"]
        assert said["most"] == 2
        assert 50 < said["when"]["seconds"] <= 60
        asked = {"text": "three", "model": "gemma", **PARAMETERS}
        async with page._http.post(f"{url}/conversations", json=asked) as response:
            assert 50 < int(response.headers["retry-after"]) <= 60
        assert await page.listed() == ["two", "one"]
        assert re.search(r'refused_total{limit="messages"} 2\.0', generate_latest(app.state.metrics.registry).decode())


async def test_todays_tokens_count_after_a_restart(settings):
    used = await DailyTotals.open(settings.data_dir / "limits.db")
    UsageLimits(Quota(tokens_per_day=5), Quota(), used).count(Usage(prompt_tokens=5), None, "local")
    await used.aclose()
    settings = settings.model_copy(update={"tokens_per_day": 5, "identity": "local"})
    async with serving(await create_app(settings, with_page=False)) as url, open_page(url) as page:
        with pytest.raises(Refused, match="daily limit of"):
            await page.send("one", model="gemma")
        assert await page.listed() == []


async def test_a_local_chat_has_no_limits_and_no_file_of_totals(settings):
    local = settings.model_copy(update={"identity": "local", "messages_per_minute": None})
    async with AsyncExitStack() as opened:
        assert isinstance(await _usage_limits(local, opened, print), NoLimits)
    assert not local.data_dir.exists()
