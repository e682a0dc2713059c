"""What a deployment costs, against three configurations that are worked out by hand with the list prices."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stacks.cost.model import estimate
from stacks.cost.prices import UNVERIFIED, Prices, prices
from stacks.cost.report import as_json, table
from stacks.settings import Settings
from tests.stacks.deployments import (
    DEPLOYMENTS,
    GCP,
    INFERENCE_GATEWAY,
    KUBERNETES,
    MORE_DEPLOYMENTS,
    OTHER_GEMMA,
    SEVERAL_MACHINES,
    TOKEN,
)
from tests.stacks.recording import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 1024 * 1024  # in KiB
GEMINI = 1.5 * 0.30 + 0.4 * 2.50  # 1,000 questions: 1.5 million tokens in, 0.4 million out
SENT = 60_000 / GIB * (0.008 + 0.12)  # load balancer and internet
LOGS = 65_000 / GIB * 0.50
POD = 0.5 * 0.0445 + 1 * 0.0049225 + 2 * 0.0000548
NAM5 = (8 * 0.06 + 14 * 0.18) / 100 + 4_000 / GIB * 0.18
REGION = (8 * 0.03 + 14 * 0.09) / 100 + 4_000 / GIB * 0.15


def parsed(config: dict[str, str]) -> Settings:
    full = {key if ":" in key else f"hybrid-chat:{key}": value for key, value in config.items()}
    settings, problems = Settings.parse("hybrid-chat", full, full)
    assert not problems
    return settings


def test_the_default_costs_an_l4_day_and_night() -> None:
    cost = estimate(parsed(GCP))
    metrics = (2 * 160 + 500) * 120 / 1e6 * 0.06
    hour = 0.10 + 0.853624312 * 1.12 + 2 * POD + 0.025 + metrics
    assert cost.hour == pytest.approx(hour)
    assert cost.hour == pytest.approx(1.1415, abs=1e-4)
    disk, images, builds = 100 * 0.10, 10 * 0.25 * 0.10, 4 * 4 * 0.006 + 0.1 * 0.02
    assert cost.month_idle == pytest.approx(730 * hour + disk + images + builds)
    assert cost.thousand_questions == pytest.approx(SENT + NAM5 + LOGS + GEMINI)
    assert cost.month == pytest.approx(cost.month_idle + 10 * cost.thousand_questions)


def test_gemini_alone_on_private_nodes_costs_a_tenth() -> None:
    config = {
        "gemma": "none",
        "privateNodes": "true",
        "exposure": "private",
        "databaseLocation": "us-central1",
        "image": "docker",
        "chatReplicas": "1",
    }
    cost = estimate(parsed(GCP | config))
    metrics = 160 * 120 / 1e6 * 0.06
    hour = 0.10 + POD + 0.0014 * 1 + 0.005 + metrics
    assert cost.hour == pytest.approx(hour)
    assert cost.month_idle == pytest.approx(730 * hour + 10 * 0.25 * 0.10)
    assert cost.thousand_questions == pytest.approx(REGION + LOGS + GEMINI)


def test_an_a100_behind_cloud_armor_with_private_nodes() -> None:
    config = {"gemma": "a100", "cloudArmor": "true", "privateNodes": "true", "chatReplicas": "3"}
    config |= {"image": "example.org/chat:1", "geminiModel": "gemini-9-ultra"}
    cost = estimate(parsed(GCP | TOKEN | config))
    metrics = (3 * 160 + 500) * 120 / 1e6 * 0.06
    nat = 4 * 0.0014 + 0.005
    hour = 0.10 + 3.673385 * 1.12 + 3 * POD + 0.025 + nat + metrics
    assert cost.hour == pytest.approx(hour)
    armor, weights = 5 + 7 * 1, 4 * 10 * 0.045
    assert cost.month_idle == pytest.approx(730 * hour + 100 * 0.10 + armor + weights)
    # 30 requests a question; no price of that Gemini is known, which the estimate says.
    assert cost.thousand_questions == pytest.approx(SENT + NAM5 + LOGS + 0.03 * 0.75)
    assert "no price of gemini-9-ultra is in the table" in cost.parts[-1].note


def test_a_load_balancer_in_front_of_gemma_costs_its_proxies_and_the_picker() -> None:
    plain = {key: value for key, value in INFERENCE_GATEWAY.items() if key != "gemmaRouting"}
    settings = parsed(INFERENCE_GATEWAY)
    cost, before = estimate(settings), estimate(parsed(plain))
    picker = 0.5 * 0.0445 + 1 * 0.0049225 + 1 * 0.0000548
    assert cost.hour - before.hour == pytest.approx(3 * 0.025 + picker)
    assert cost.month_idle - before.month_idle == pytest.approx(730 * (3 * 0.025 + picker))
    (part,) = (part for part in cost.parts if part.name == "Gemma's load balancer")
    assert not part.is_verified


def test_a_model_on_two_machines_costs_both_and_the_controller() -> None:
    cost = estimate(parsed(SEVERAL_MACHINES))
    metrics = (2 * 160 + 500) * 120 / 1e6 * 0.06
    controller = 0.25 * 0.0445 + 1 * 0.0049225 + 1 * 0.0000548
    hour = 0.10 + 2 * 8 * 11.061250015 * 1.12 + controller + 2 * POD + metrics
    assert cost.hour == pytest.approx(hour)
    assert cost.month_idle == pytest.approx(730 * hour + 2 * 100 * 0.10 + 10 * 0.02)
    names = {part.name: part for part in cost.parts}
    assert "2 x a3-highgpu-8g" in names["Gemma: 16 nvidia-h100-80gb"].note
    assert not names["Gemma: 16 nvidia-h100-80gb"].is_verified
    assert "LeaderWorkerSet's controller" not in {part.name for part in estimate(parsed(GCP)).parts}


def test_embeddings_have_a_price_and_no_part_of_the_sum() -> None:
    before, settings = estimate(parsed(GCP)), parsed(GCP | {"embeddings": "gemini"})
    cost = estimate(settings)
    assert (cost.month, cost.thousand_questions) == (before.month, before.thousand_questions)
    (part,) = (part for part in cost.parts if part.name == "Embeddings (gemini-embedding-2)")
    assert part.note.startswith("$0.20 a million tokens of documents")
    assert part.note in "\n".join(table(cost, settings))
    (unknown,) = estimate(parsed(GCP | {"embeddings": "gemini", "embeddingsModel": "other"})).parts[-1:]
    assert "no price of other" in unknown.note


def test_on_another_cluster_only_the_tokens_are_known() -> None:
    assert estimate(parsed(KUBERNETES)).parts == ()
    settings = parsed(OTHER_GEMMA)
    cost = estimate(settings)
    assert (cost.hour, cost.thousand_questions) == (0, pytest.approx(GEMINI))
    assert "The cluster, with its GPUs, is not included" in "\n".join(table(cost, settings))


class Read(dict[str, Any]):
    """A table that remembers which prices were read."""

    def __init__(self, values: dict[str, Any], unread: set[str], path: str = "") -> None:
        super().__init__(values)
        self.unread, self.path = unread, path

    def __getitem__(self, key: str) -> Any:
        value, path = super().__getitem__(key), f"{self.path}/{key}"
        self.unread.discard(path)
        return Read(value, self.unread, path) if isinstance(value, dict) else value


def leaves(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}/{key}")
        else:
            yield f"{path}/{key}", value


def test_each_price_has_a_source_and_is_used_and_each_profile_has_its_prices() -> None:
    source = prices()
    unread = {path for path, _ in leaves(source.prices)}
    tracing = replace(source, prices=Read(source.prices, unread))
    every = [*DEPLOYMENTS.values(), *MORE_DEPLOYMENTS.values(), GCP | {"privateNodes": "true"}]
    every.append(GCP | {"databaseLocation": "europe-west4", "pointInTimeRecovery": "true", "backupDays": "7"})
    every.append(GCP | {"embeddings": "gemini", "vertexLocation": "europe-west4"})
    for config in every:
        assert estimate(parsed(config), tracing).month >= 0
    assert unread == set()
    used = {key for _, (_, key) in leaves(source.prices)}
    assert used == source.sources.keys()
    for path, (amount, key) in leaves(source.prices):
        assert amount > 0, path
        assert key == UNVERIFIED or "20" in source.sources[key] or "docs/" in source.sources[key], path


def test_a_part_with_a_price_from_memory_is_marked() -> None:
    settings = parsed(GCP)
    lines = list(table(estimate(settings), settings))
    marked = {line[:36].strip() for line in lines if line[36:38].strip() == "?"}
    assert "Gemma: 1 nvidia-l4" in marked
    assert "GKE cluster" not in marked
    assert prices().date in lines[0]


def test_prices_of_another_region_are_announced_as_such() -> None:
    settings = parsed(GCP | {"gcp:region": "europe-west4"})
    assert "those of europe-west4 are up to a third higher" in "\n".join(table(estimate(settings), settings))


def test_the_json_has_the_date_the_sources_and_each_part() -> None:
    document = json.loads(json.dumps(as_json(estimate(parsed(GCP)))))
    assert document["date"] == prices().date
    assert document["currency"] == "USD"
    assert "https://cloud.google.com/nat/pricing" in document["sources"]["nat"]
    assert sum(part["hour"] for part in document["parts"]) == pytest.approx(document["hour"], abs=1e-3)
    assert {part["verified"] for part in document["parts"]} == {True, False}


def test_a_cheaper_price_shows_in_the_estimate() -> None:
    source = prices()
    table_of_prices = Prices(source.date, source.sources, source.usage, source.prices | {"cluster_hour": [0.0, "gke"]})
    settings = parsed(GCP)
    assert estimate(settings, table_of_prices).hour == pytest.approx(estimate(settings).hour - 0.10)


def test_the_documentation_has_the_estimate_of_the_default() -> None:
    cost, text = estimate(parsed(GCP)), (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    assert f"| **${cost.hour:.2f}** | **${cost.month_idle:,.0f}** |" in text
    assert f"| ${cost.thousand_questions:.2f} |" in text
    assert f"`gemma none` leaves ${estimate(parsed(GCP | {'gemma': 'none'})).hour:.2f} an hour" in text


def test_each_copy_of_the_conversations_costs_storage_again() -> None:
    config = GCP | {"databaseLocation": "us-central1"}
    plain = estimate(parsed(config)).thousand_questions
    stored = 4 * 1000 / (1024 * 1024)
    recovery = estimate(parsed(config | {"pointInTimeRecovery": "true"})).thousand_questions
    backups = estimate(parsed(config | {"backupDays": "7"})).thousand_questions
    both = next(
        part
        for part in estimate(parsed(config | {"pointInTimeRecovery": "true", "backupDays": "7"})).parts
        if part.name == "Firestore: recovery and backups"
    )
    assert recovery - plain == pytest.approx(0.15 * stored)
    assert backups - plain == pytest.approx(0.03 * 7 * stored)
    assert both.thousand_questions == pytest.approx(recovery + backups - 2 * plain)
    assert both.is_verified
    assert not any(part.name == both.name for part in estimate(parsed(config)).parts)
