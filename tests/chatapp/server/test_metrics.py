"""The Prometheus metrics: what they count, where they are served, and that they hold no personal data."""

import asyncio
import platform
import re
import signal
import socket
from importlib.metadata import version
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chatapp.app import create_app
from chatapp.config.settings import InvalidSettings, load_settings
from chatapp.domain.conversation import Message, MessageStatus, Role, Usage
from chatapp.models import ModelState, ModelStatus, Price
from chatapp.server.metrics import JournalMetrics, Metrics, serve_metrics
from chatapp.store import StoreStatus
from chatapp.store.quota import StorageLimits, StorageQuota
from tests.page_client import open_page
from tests.serving import ChatProcess, free_port, serving

OPERATE = Path(__file__).parents[3] / "docs" / "operate.md"
LABELS = {"model", "status", "limit", "le", "source", "python", "gradio"}


def metrics(*models, status=None, running=0, waiting=0, prices=None):
    return Metrics(
        models or ["gemma"],
        running=lambda: running,
        waiting=lambda: waiting,
        journal=status and JournalMetrics(status, most_writes=100, most_bytes=1000),
        price=(prices or {}).get,
    )


def answer(status=MessageStatus.COMPLETE, **changes):
    return Message(id="m", turn_id="t", role=Role.ASSISTANT, content="", created_ms=1, status=status, **changes)


def values(text):
    """Return {(name, label values by the labels' names...): value} of all samples."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def exposed(metrics):
    return values(generate_latest(metrics.registry).decode())


async def scraped(url):
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        assert response.status == 200
        return await response.text()


class TestTurns:
    def test_turns_are_counted_by_model_and_status(self):
        seen = metrics("gemma", "gemini")
        seen.count_turn(answer(model="gemma"), 2.0)
        seen.count_turn(answer(model="gemma"), 3.0)
        seen.count_turn(answer(MessageStatus.ERROR, model="gemini"), 0.1)
        found = exposed(seen)
        assert found["hybrid_chat_turns_total", "gemma", "complete"] == 2
        assert found["hybrid_chat_turns_total", "gemini", "error"] == 1
        assert found["hybrid_chat_turn_seconds_sum", "gemma"] == 5
        assert found["hybrid_chat_turn_seconds_count", "gemini"] == 1

    @pytest.mark.parametrize("status", ["complete", "stopped", "interrupted", "error"])
    def test_every_status_has_a_series_from_the_start(self, status):
        assert exposed(metrics("gemma"))["hybrid_chat_turns_total", "gemma", status] == 0

    def test_time_to_first_token_is_observed_only_if_there_was_one(self):
        seen = metrics()
        seen.count_turn(answer(MessageStatus.ERROR, model="gemma"), 120.0)
        assert exposed(seen)["hybrid_chat_first_token_seconds_count", "gemma"] == 0
        seen.count_turn(answer(model="gemma", seconds_to_first_token=0.3), 4.0)
        found = exposed(seen)
        assert found["hybrid_chat_first_token_seconds_sum", "gemma"] == 0.3
        assert (
            found["hybrid_chat_first_token_seconds_bucket", "0.25", "gemma"],
            found["hybrid_chat_first_token_seconds_bucket", "0.5", "gemma"],
        ) == (0, 1)

    def test_tokens_are_added_up(self):
        seen = metrics()
        for usage in (Usage(prompt_tokens=100, completion_tokens=20), Usage(completion_tokens=3), None):
            seen.count_turn(answer(model="gemma", usage=usage), 1.0)
        found = exposed(seen)
        assert found["hybrid_chat_prompt_tokens_total", "gemma"] == 100
        assert found["hybrid_chat_completion_tokens_total", "gemma"] == 23

    def test_running_and_waiting_turns_are_read_at_each_scrape(self):
        found = exposed(metrics(running=3, waiting=7))
        assert (found["hybrid_chat_turns_running",], found["hybrid_chat_turns_waiting",]) == (3, 7)


class TestCost:
    def test_tokens_of_a_model_with_a_price_are_added_up_in_dollars(self):
        seen = metrics("gemma", "gemini", prices={"gemini": Price(0.30, 2.50)})
        assert exposed(seen)["hybrid_chat_cost_dollars_total", "gemini"] == 0
        for _ in range(2):
            for model in ("gemini", "gemma", "gone"):
                usage = Usage(prompt_tokens=1_000_000, completion_tokens=100_000)
                seen.count_turn(answer(model=model, usage=usage), 1.0)
        found = exposed(seen)
        assert found["hybrid_chat_cost_dollars_total", "gemini"] == pytest.approx(2 * (0.30 + 0.25))
        assert [model for name, *model in found if name == "hybrid_chat_cost_dollars_total"] == [["gemini"]]

    def test_an_answer_whose_tokens_were_not_counted_costs_nothing_that_is_known(self):
        seen = metrics("gemini", prices={"gemini": Price(1, 1)})
        for usage in (None, Usage(completion_tokens=5)):
            seen.count_turn(answer(model="gemini", usage=usage), 1.0)
        assert exposed(seen)["hybrid_chat_cost_dollars_total", "gemini"] == 0


class TestGemma:
    @pytest.fixture
    def clock(self, monkeypatch):
        """Return a clock that stands still, ``clock[0]`` in seconds."""
        now = [1_780_000_000.0]
        monkeypatch.setattr("chatapp.server.metrics.time.time", lambda: now[0])
        return now

    @staticmethod
    def seconds(seen):
        return exposed(seen)["hybrid_chat_gemma_not_ready_seconds",]

    def test_the_time_without_gemma_goes_on_from_one_state_to_the_next(self, clock):
        state = ModelState.LOADING
        seen = metrics()
        seen.watch_gemma(lambda: ModelStatus(state))
        found = []
        for state in (ModelState.LOADING, ModelState.WAITING, ModelState.UNAVAILABLE, ModelState.READY):  # noqa: B007
            found.append(self.seconds(seen))
            clock[0] += 700
        state = ModelState.WAITING
        assert [*found, self.seconds(seen)] == [0, 700, 1400, 0, 0]

    @pytest.mark.parametrize("state", [ModelState.ASLEEP, ModelState.NOT_SET_UP, ModelState.READY])
    def test_no_one_waits_for_a_gemma_that_sleeps(self, clock, state):
        seen = metrics()
        seen.watch_gemma(lambda: ModelStatus(state, since_ms=1))
        clock[0] += 4000
        assert self.seconds(seen) == 0

    def test_a_new_replica_knows_since_when_from_the_cluster(self, clock):
        seen = metrics()
        seen.watch_gemma(lambda: ModelStatus(ModelState.WAITING, since_ms=round((clock[0] - 1900) * 1000)))
        assert self.seconds(seen) == 1900

    async def test_gemma_is_watched_only_where_the_chat_sees_its_pods(self, settings):
        settings = settings.model_copy(update={"metrics_port": 1})
        app = await create_app(settings, with_page=False)
        async with app.router.lifespan_context(app):
            assert not [name for name, *_ in exposed(app.state.metrics) if "not_ready" in name]
        update = {"gemma_pods": "chat/app=gemma", "gemma_url": "http://127.0.0.1:9"}
        app = await create_app(settings.model_copy(update=update), with_page=False)
        async with app.router.lifespan_context(app):
            assert [name for name, *_ in exposed(app.state.metrics) if "not_ready" in name]


class TestRefusals:
    def test_refusals_are_counted_by_limit(self):
        seen = metrics()
        assert exposed(seen)["hybrid_chat_refused_total", "all_cost"] == 0
        seen.count_refusal("all_cost")
        assert exposed(seen)["hybrid_chat_refused_total", "all_cost"] == 1


class TestJournal:
    def test_shows_waiting_writes_and_their_limits(self):
        status = StoreStatus(waiting_writes=5, waiting_bytes=600, waiting_seconds=70.5, reachable=False, full=True)
        found = exposed(metrics(status=lambda: status))
        assert {name: value for (name, *_), value in found.items() if "journal" in name or "cloud" in name} == {
            "hybrid_chat_journal_writes": 5,
            "hybrid_chat_journal_bytes": 600,
            "hybrid_chat_journal_age_seconds": 70.5,
            "hybrid_chat_journal_writes_limit": 100,
            "hybrid_chat_journal_bytes_limit": 1000,
            "hybrid_chat_journal_full": 1,
            "hybrid_chat_cloud_reachable": 0,
        }

    def test_status_is_read_once_per_scrape(self):
        asked = []
        watched = metrics(status=lambda: asked.append(1) or StoreStatus())
        exposed(watched)
        exposed(watched)
        assert len(asked) == 2

    def test_is_absent_without_a_journal(self):
        assert not [name for name, *_ in exposed(metrics()) if "journal" in name or "cloud" in name]


class TestNames:
    @staticmethod
    def found():
        seen = metrics(status=StoreStatus)
        seen.watch_storage(StorageQuota(None, StorageLimits()))
        seen.watch_gemma(lambda: ModelStatus(ModelState.READY))
        return generate_latest(seen.registry).decode()

    def test_follow_prometheus_conventions(self):
        for family in text_string_to_metric_families(self.found()):
            assert re.fullmatch(r"(hybrid_chat|process)(_[a-z]+)+", family.name)
            assert family.documentation.endswith(".")
            if family.type == "counter":
                assert all(sample.name.endswith("_total") for sample in family.samples)
            if family.type == "histogram":
                assert family.name.endswith("_seconds")

    def test_are_exactly_those_that_the_documentation_explains(self):
        exposed = {name for name in re.findall(r"^# TYPE (\w+) ", self.found(), re.MULTILINE) if "hybrid" in name}
        assert set(re.findall(r"hybrid_chat_[a-z_]+", OPERATE.read_text())) - {"hybrid_chat_"} == exposed


def test_two_apps_in_one_process_have_separate_metrics():
    one, other = metrics(), metrics()
    one.count_turn(answer(model="gemma"), 1.0)
    assert exposed(one)["hybrid_chat_turns_total", "gemma", "complete"] == 1
    assert exposed(other)["hybrid_chat_turns_total", "gemma", "complete"] == 0


def test_build_info_has_a_digest_of_the_source():
    (build,) = [labels for name, *labels in exposed(metrics()) if name == "hybrid_chat_build_info"]
    gradio, python, source = build
    assert re.fullmatch(r"[0-9a-f]{12}", source)
    assert (gradio, python) == (version("gradio"), platform.python_version())


class TestServed:
    async def test_is_served_at_its_path_only(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with serve_metrics(metrics(running=2), listener):
                assert values(await scraped(f"{url}/metrics"))["hybrid_chat_turns_running",] == 2
                async with aiohttp.ClientSession() as http, http.get(url) as response:
                    assert response.status == 404

    async def test_ends_although_a_client_keeps_its_connection_open(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            async with serve_metrics(metrics(), listener):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b"200 OK" in await reader.readline()
        while await reader.read(65536):
            pass
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


class TestTheApp:
    @pytest.fixture
    def settings(self, settings):
        return settings.model_copy(update={"metrics_port": 1})  # nobody listens there: `served` does that

    async def test_counts_its_turns_without_personal_data(self, settings):
        app = await create_app(settings, with_page=False)
        async with serving(app) as url, open_page(url) as page:
            conversation = await page.send("Something SECRET", model="gemma")
            await page.messages(conversation)
            while not (found := exposed(app.state.metrics))["hybrid_chat_turns_total", "gemma", "complete"]:
                await asyncio.sleep(0.01)
            assert found["hybrid_chat_turn_seconds_count", "gemma"] == 1
            assert found["hybrid_chat_first_token_seconds_count", "gemma"] == 1
            assert found["hybrid_chat_turns_running",] == 0
            text = generate_latest(app.state.metrics.registry).decode()
        assert not [word for word in (conversation, "SECRET", "Hello") if word in text]
        families = list(text_string_to_metric_families(text))
        assert {label for family in families for sample in family.samples for label in sample.labels} <= LABELS

    async def test_has_no_metrics_by_default(self, settings):
        app = await create_app(settings.model_copy(update={"metrics_port": None}), with_page=False)
        async with app.router.lifespan_context(app):
            assert app.state.metrics is None


def test_metrics_port_differs_from_the_public_port(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAT_PORT", "8000")
    monkeypatch.setenv("CHAT_METRICS_PORT", "8000")
    with pytest.raises(InvalidSettings, match="CHAT_METRICS_PORT is '8000': it must be another port than CHAT_PORT"):
        load_settings()
    monkeypatch.setenv("CHAT_METRICS_PORT", "9090")
    assert load_settings().metrics_port == 9090


@pytest.mark.slow
class TestTheProcess:
    @pytest.fixture
    async def chat(self, tmp_path):
        """Return a function that starts a chat with metrics at ``port``; it is killed at the end."""
        chats = []

        async def start(port, *, until_ready=True, **settings):
            settings = {"CHAT_EMBEDDED_MODEL": "false", "CHAT_METRICS_PORT": str(port)} | settings
            chats.append(await ChatProcess(tmp_path, **settings).start(until_ready=until_ready))
            return chats[-1]

        yield start
        for running in chats:
            await running.end(signal.SIGKILL)

    async def test_serves_metrics_on_their_port_and_ends_cleanly(self, chat):
        port = free_port()
        running = await chat(port)
        text = await scraped(f"http://127.0.0.1:{port}/metrics")
        assert values(text)["process_start_time_seconds",] > 0
        async with aiohttp.ClientSession() as http, http.get(f"{running.url}/metrics") as response:
            assert "hybrid_chat_" not in await response.text()
        assert await running.end() == 0
        assert "Traceback" not in running.output

    async def test_reports_that_the_metrics_port_is_taken(self, chat):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            running = await chat(port, until_ready=False)
            assert await running.ended() == 2
        assert f"Port {port} is taken" in running.output
        assert "make run CHAT_METRICS_PORT=" in running.output
        assert "Traceback" not in running.output

    async def test_serves_metrics_while_the_journal_drains(self, chat):
        port = free_port()
        running = await chat(
            port,
            CHAT_STORE="firestore",
            GOOGLE_CLOUD_PROJECT="demo-chat",
            FIRESTORE_EMULATOR_HOST="127.0.0.1:9",  # where nothing listens
            CHAT_GEMMA_URL="http://127.0.0.1:9",
            CHAT_LOG_FORMAT="json",
        )
        async with open_page(running.url) as page:
            await page.send("Something", model="gemma")
        ending = asyncio.create_task(running.end())
        async with asyncio.timeout(60):
            while "saving_what_waits" not in running.output:
                await asyncio.sleep(0.05)
        async with asyncio.timeout(60):
            while (found := values(await scraped(f"http://127.0.0.1:{port}/metrics")))["hybrid_chat_cloud_reachable",]:
                await asyncio.sleep(0.05)
        assert found["hybrid_chat_journal_writes",] > 0
        await running.end(signal.SIGKILL)
        await ending
