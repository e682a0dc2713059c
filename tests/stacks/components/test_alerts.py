"""Alerts and dashboard name only metrics that exist, and each alert has its line in the operator's documentation."""

from __future__ import annotations

import functools
import json
import re

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chatapp.domain.conversation import Message, MessageStatus, Role, Usage
from chatapp.models import ModelState, ModelStatus, Price
from chatapp.server.metrics import JournalMetrics, Metrics
from chatapp.store import StoreStatus
from stacks.components.alerts import CHAT_ALERTS, COST_ALERT, GEMMA_ALERTS
from stacks.settings import InvalidSettings, Settings
from tests.stacks.deployments import GCP, KUBERNETES, PUBLIC_HTTP
from tests.stacks.recording import ROOT, Deployed, deploy, seen

EMAIL = {"alertEmail": "ops@example.org"}
# What Google's collector adds to each series: https://cloud.google.com/stackdriver/docs/managed-prometheus/setup-managed
TARGET = {"cluster", "namespace", "pod"}


@functools.cache
def chat_samples() -> dict[str, set[str]]:
    """Return each sample of the chat's /metrics, with its labels."""
    status = StoreStatus(waiting_writes=5, waiting_bytes=600, waiting_seconds=70.5, reachable=False, full=True)
    journal = JournalMetrics(lambda: status, most_writes=100, most_bytes=1000)
    price = Price(0.3, 2.5)
    metrics = Metrics(["gemma"], running=lambda: 0, waiting=lambda: 0, journal=journal, price=lambda _: price)
    metrics.watch_gemma(lambda: ModelStatus(ModelState.READY))
    answer = Message(
        id="m",
        turn_id="t",
        role=Role.ASSISTANT,
        content="",
        created_ms=1,
        status=MessageStatus.COMPLETE,
        model="gemma",
        usage=Usage(prompt_tokens=1, completion_tokens=1),
    )
    metrics.count_turn(answer, 1.0)
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    samples: dict[str, set[str]] = {}
    for family in families:
        for sample in family.samples:
            samples.setdefault(sample.name, set()).update(sample.labels)
    return samples


@functools.cache  # 0.4 s of CPU to parse
def vllm_metrics() -> set[str]:
    data = yaml.safe_load((ROOT / "tests/stacks/data/vllm_metrics.yaml").read_text(encoding="utf-8"))
    return set(data["metrics"])


def queries(run: Deployed) -> dict[str, str]:
    """Return title -> query, of alerts and charts."""
    alerts = {
        policy["displayName"]: policy["conditions.0.conditionPrometheusQueryLanguage.query"]
        for policy in run.of_type("monitoring/alertPolicy:AlertPolicy")
    }
    (dashboard,) = run.of_type("monitoring/dashboard:Dashboard")
    charts = {
        tile["widget"]["title"]: tile["widget"]["xyChart"]["dataSets"][0]["timeSeriesQuery"]["prometheusQuery"]
        for tile in json.loads(dashboard["dashboardJson"])["mosaicLayout"]["tiles"]
    }
    return alerts | charts


def unknown_names(query: str) -> set[str]:
    """Return the metrics and labels of a query that no program has."""
    chat, vllm = chat_samples(), vllm_metrics()
    wrong: set[str] = set()
    for name, labels in re.findall(r"((?:hybrid_chat_|vllm:)\w+)\{([^}]*)\}", query):
        if name not in chat and name not in vllm:
            wrong.add(name)
        own = set(re.findall(r"(\w+)=", labels)) - TARGET
        wrong |= {f"{name}: {label}" for label in own - chat.get(name, set())}
    for grouped in re.findall(r"by \(([^)]*)\)", query):
        every = set().union(*chat.values()) | TARGET
        wrong |= set(re.split(r",\s*", grouped)) - every
    return wrong


@pytest.fixture(scope="module")
def run() -> Deployed:
    return deploy(GCP | EMAIL | {"exposure": "private", "allCostPerDay": "5"})


@pytest.mark.slow
def test_every_metric_and_label_exists(run: Deployed) -> None:
    assert len(queries(run)) >= len(CHAT_ALERTS) + len(GEMMA_ALERTS) + 1 + 5
    for title, query in queries(run).items():
        assert re.search(r"hybrid_chat_|vllm:", query), title
        assert unknown_names(query) == set(), title


@pytest.mark.parametrize(
    "query",
    [
        "sum(hybrid_chat_turn_total{}) > 0",
        "sum(vllm:gpu_cache_usage_perc{}) > 0.9",
        'hybrid_chat_turns_total{state="error"} > 0',
        "sum by (replica) (hybrid_chat_turns_running{})",
    ],
)
def test_the_check_finds_what_does_not_exist(query: str) -> None:
    assert unknown_names(query) != set()


@pytest.mark.slow
def test_every_series_is_of_this_deployment_alone(run: Deployed) -> None:
    own = 'cluster="gradio-chat-cluster",namespace="hybrid-chat"'
    for title, query in queries(run).items():
        assert len(re.findall(r"(?:hybrid_chat_|vllm:)\w+", query)) == query.count(own), title
    other = queries(deploy(GCP | EMAIL | {"exposure": "private"}, stack="test"))
    assert all('namespace="hybrid-chat-test"' in query for query in other.values())


@pytest.mark.slow
def test_brackets_are_closed(run: Deployed) -> None:
    for query in queries(run).values():
        assert all(query.count(left) == query.count(right) for left, right in ("()", "[]", "{}"))


def test_each_alert_is_sent_to_the_address_with_what_to_do(run: Deployed) -> None:
    channel = run.one("monitoring/notificationChannel:NotificationChannel")
    assert channel["labels"] == {"email_address": "ops@example.org"}
    policies = run.of_type("monitoring/alertPolicy:AlertPolicy")
    assert len(policies) == len(CHAT_ALERTS) + len(GEMMA_ALERTS) + 1
    for policy in policies:
        assert policy["notificationChannels"] == ["projects/my-proj-1/notificationChannels/1"]
        assert "docs/operate.md, Alerts" in policy["documentation.content"]


@pytest.mark.parametrize("alert", [*CHAT_ALERTS, *GEMMA_ALERTS, COST_ALERT], ids=lambda alert: alert.title)
def test_the_runbook_has_a_line_for_each_alert(alert) -> None:
    runbook = (ROOT / "docs/operate.md").read_text(encoding="utf-8").partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert f"| {alert.title} |" in runbook


@pytest.mark.slow
def test_the_cost_of_a_day_is_compared_with_what_a_day_may_cost(run: Deployed) -> None:
    (query,) = (query for title, query in queries(run).items() if title.endswith(COST_ALERT.title))
    assert query.startswith("sum(increase(hybrid_chat_cost_dollars_total{")
    assert query.endswith("[24h])) > 4")
    assert not any(COST_ALERT.title in title for title in queries(seen(PUBLIC_HTTP))), "without a limit there is none"


@pytest.mark.slow
def test_without_gpus_of_its_own_there_are_no_alerts_about_gemma() -> None:
    titles = queries(seen(PUBLIC_HTTP))
    assert not any("vllm" in query or "gemma" in query for query in titles.values())
    assert len(seen(PUBLIC_HTTP).of_type("monitoring/alertPolicy:AlertPolicy")) == len(CHAT_ALERTS)


@pytest.mark.slow
def test_without_an_address_nothing_of_it_exists() -> None:
    assert not any(resource.type.startswith("gcp:monitoring") for resource in seen(GCP).resources)


@pytest.mark.parametrize("address", ["ops", "ops@", "a b@example.org"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidSettings, match="alertEmail"):
        Settings.checked(GCP | {"alertEmail": address})


def test_another_cluster_has_no_alerts() -> None:
    with pytest.raises(InvalidSettings, match="alertEmail has no effect on platform kubernetes"):
        Settings.checked(KUBERNETES | EMAIL)
