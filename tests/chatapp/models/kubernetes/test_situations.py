"""What people read in each situation, in three languages."""

from __future__ import annotations

import json
from pathlib import Path

import kubernetes_validate
import pytest

from chatapp.domain.sentences import translated
from chatapp.models import ModelState
from chatapp.models.kubernetes.diagnosis import Observation, diagnose
from tests.chatapp.models.kubernetes.situations import SITUATIONS, pending
from tests.fakes.kubernetes_objects import event, pod, running
from tests.sentences import CHATAPP

EXPECTED = json.loads(Path(__file__).with_name("situations.json").read_text(encoding="utf-8"))
CATALOGUES = {
    "en": {},
    **{
        language: json.loads((CHATAPP / "ui/assets/locales" / f"{language}.json").read_text(encoding="utf-8"))
        for language in ("he", "ar")
    },
}


def words(seen):
    """Return the state and the sentence in each language, as a reader gets it: the reason, then what to do."""
    status = diagnose(seen).status
    sentences = {
        language: f"{translated(status.reason, catalogue)}; {translated(status.fix, catalogue)}"
        for language, catalogue in CATALOGUES.items()
    }
    return {"state": status.state.value, **sentences}


@pytest.mark.parametrize("name", SITUATIONS)
def test_situation_has_its_sentence_in_three_languages(name):
    assert words(SITUATIONS[name].seen) == EXPECTED[name]


def test_each_situation_has_a_source_and_there_are_more_than_thirty():
    assert list(SITUATIONS) == list(EXPECTED)
    assert len(SITUATIONS) > 30
    assert all(situation.source for situation in SITUATIONS.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", SITUATIONS)
def test_objects_of_the_situations_match_the_kubernetes_schema(name):
    for each in SITUATIONS[name].seen.pods:
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **each}, "1.37.0", strict=True)
    for each in SITUATIONS[name].seen.events:
        kubernetes_validate.validate(each, "1.37.0", strict=True)


def test_events_of_other_pods_do_not_count():
    other = event("FailedScaleUp", "Node scale up in zones a-1 failed: GCE quota exceeded.", name="gradio-chat-1")
    seen = pending(other).seen
    assert diagnose(seen).status.reason == "no node with free GPUs is available yet"


def test_newest_event_counts_whatever_their_order_and_format():
    old = event("FailedScaleUp", "Node scale up in zones a-1 failed: GCE out of resources.", at="2026-11-25T20:00:00Z")
    new = event("TriggeredScaleUp", "pod triggered scale-up")
    new |= {"lastTimestamp": None, "eventTime": "2026-11-25T21:00:00.000000Z"}
    for events in ([old, new], [new, old]):
        assert diagnose(pending(*events).seen).status.reason == "a machine with GPUs is being started for it"


def test_ready_pod_needs_no_sentence():
    assert diagnose(Observation([pod(running(ready=True))])) is None


def test_state_is_waiting_only_where_a_machine_is_missing():
    waiting = {name for name in SITUATIONS if diagnose(SITUATIONS[name].seen).status.state is ModelState.WAITING}
    assert waiting == {*list(SITUATIONS)[: list(SITUATIONS).index("new")]}
