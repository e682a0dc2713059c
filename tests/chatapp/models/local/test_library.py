"""The models that can be downloaded: what is offered, one download at a time, and what stays on the disk."""

import dataclasses
import random

import pytest

from chatapp.models.local import download as downloading
from chatapp.models.local import library as libraries
from chatapp.models.local.catalogue import CATALOGUE, Licence, LocalEntry
from chatapp.models.local.hub import Hub
from chatapp.models.local.library import LocalModelRefused, LocalModels, LocalState
from tests.fakes.hub import FakeHub
from tests.waiting import until

TINY, EYES, OTHER = "owner/tiny/tiny.gguf", "owner/tiny/eyes.gguf", "owner/other/other.gguf"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(downloading, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
async def hub():
    content = random.Random(2).randbytes
    async with FakeHub({TINY: content(200_000), EYES: content(50_000), OTHER: content(1000)}) as server:
        yield server


@pytest.fixture
async def local(hub, tmp_path):
    events = []

    async def removed(entry):
        events.append(("removed", entry.id))

    models = LocalModels(
        tmp_path / "models",
        Hub(hub.url),
        entries(hub),
        on_downloaded=lambda entry: events.append(("downloaded", entry.id)),
        on_removed=removed,
    )
    models.events = events
    yield models
    await models.aclose()


def entries(hub):
    shared = {"licence": Licence("Terms", "https://example.org"), "context_tokens": 8192, "cache_bytes": 1}
    return (
        LocalEntry(
            id="tiny", label="Tiny", file=hub.file(TINY), projector=hub.file(EYES), memory_bytes=1_000_000, **shared
        ),
        LocalEntry(id="other", label="Other", file=hub.file(OTHER), memory_bytes=2_000_000, **shared),
    )


async def downloaded(local, model_id):
    local.accept_licence(model_id)
    local.start(model_id)
    await local.wait()
    return local.offer(model_id)


async def test_a_model_is_offered_downloaded_and_removed(local, hub):
    assert [(offer.entry.id, offer.state) for offer in local.offers()] == [
        ("tiny", LocalState.AVAILABLE),
        ("other", LocalState.AVAILABLE),
    ]
    assert local.recommended().id == "other"  # the one that needs most, and fits
    offer = await downloaded(local, "tiny")
    assert (offer.state, offer.arrived) == (LocalState.DOWNLOADED, 250_000)
    assert [entry.id for entry in local.downloaded()] == ["tiny"]
    assert local.path(offer.entry, "eyes.gguf").read_bytes() == hub.files[EYES]
    assert local.recommended() is None
    await local.remove("tiny")
    assert local.offer("tiny").state is LocalState.AVAILABLE
    assert not local.path(offer.entry).parent.exists()
    assert local.events == [("downloaded", "tiny"), ("removed", "tiny")]
    await local.remove("tiny")  # again


async def test_a_licence_is_accepted_first_and_once(local):
    with pytest.raises(LocalModelRefused, match="Accept the licence of Tiny first: Terms"):
        local.start("tiny")
    assert not local.is_wanted("tiny")
    local.accept_licence("tiny")
    assert local.is_wanted("tiny")
    text = local.path(local.find("tiny"), "licence-accepted.txt").read_text()
    assert text.startswith("Terms, https://example.org\naccepted 20")
    local.start("tiny")
    await local.wait()
    assert not local.is_wanted("tiny")


@pytest.mark.slow
async def test_progress_has_speed_and_time_left(local, hub, monkeypatch):
    monkeypatch.setattr(libraries, "SPEED_SECONDS", 60)
    hub.bytes_per_second = 100_000
    local.accept_licence("tiny")
    local.start("tiny")
    await until(lambda: local.offer("tiny").speed)
    offer = local.offer("tiny")
    assert offer.state is LocalState.DOWNLOADING
    assert 1000 < offer.speed < 200_000
    assert offer.seconds_left == (250_000 - offer.arrived) / offer.speed


async def test_a_cancelled_download_is_kept_and_goes_on(local, hub):
    hub.bytes_per_second = 400_000
    local.accept_licence("tiny")
    local.start("tiny")
    await until(lambda: local.offer("tiny").arrived > 50_000)
    await local.cancel("tiny")
    offer = local.offer("tiny")
    assert offer.state is LocalState.PARTIAL
    assert 50_000 < offer.arrived < 250_000
    hub.bytes_per_second, hub.sent = None, 0
    local.start("tiny")
    await local.wait()
    assert local.offer("tiny").state is LocalState.DOWNLOADED
    assert hub.sent == 250_000 - offer.arrived


async def test_one_download_runs_at_a_time(local, hub):
    hub.bytes_per_second = 400_000
    for model_id in ("tiny", "other"):
        local.accept_licence(model_id)
    local.start("tiny")
    local.start("tiny")  # a second click
    with pytest.raises(LocalModelRefused, match="Tiny is being downloaded"):
        local.start("other")
    await local.remove("tiny")  # in the middle of it
    assert local.offer("tiny").arrived == 0
    local.accept_licence("other")
    local.start("other")
    await local.wait()
    assert local.offer("other").state is LocalState.DOWNLOADED


async def test_why_a_download_failed_is_kept_until_the_next_one(local, hub):
    hub.refusals = [(404, {})]
    offer = await downloaded(local, "tiny")
    assert offer.state is LocalState.AVAILABLE
    assert offer.error == "127.0.0.1 does not have this file."
    assert (await downloaded(local, "tiny")).error is None


async def test_what_this_computer_cannot_run_is_said_and_not_recommended(local, monkeypatch):
    monkeypatch.setattr(libraries, "free_memory", lambda: 1_500_000)
    problems = {offer.entry.id: offer.problem for offer in local.offers()}
    assert problems["tiny"] is None
    assert problems["other"].startswith("It needs 0.0 GB of memory")
    assert local.recommended().id == "tiny"
    monkeypatch.setattr(libraries, "free_disk", lambda _folder: 100_000_000)
    assert local.offer("tiny").problem == "It needs 0.5 GB of disk, and 0.1 GB are free."
    assert local.recommended() is None
    monkeypatch.setattr(libraries, "free_memory", lambda: 0)  # a system that does not say
    monkeypatch.setattr(libraries, "free_disk", lambda _folder: 10**12)
    assert local.offer("other").problem is None


async def test_a_model_that_would_be_slow_here_is_not_recommended(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(libraries, "free_memory", lambda: 32_000_000_000)
    monkeypatch.setattr(libraries, "free_disk", lambda _folder: 10**12)
    local = LocalModels(tmp_path / "models", Hub(hub.url), CATALOGUE)
    monkeypatch.setattr(libraries.sys, "platform", "linux")
    assert local.recommended().id == "gemma-4-e4b"
    monkeypatch.setattr(libraries.sys, "platform", "darwin")
    assert local.recommended().id == "gemma-4-12b"
    monkeypatch.setattr(libraries, "free_memory", lambda: 2_000_000_000)
    assert local.recommended().id == "gemma-3-1b"


async def test_an_unknown_model_is_refused(local):
    for act in (local.start, local.accept_licence, local.offer):
        with pytest.raises(LocalModelRefused, match="not in the list"):
            act("../../etc")
    with pytest.raises(LocalModelRefused, match="not in the list"):
        await local.remove("../..")


async def test_a_folder_that_cannot_be_written_is_reported(hub, tmp_path):
    (tmp_path / "file").write_text("")
    local = LocalModels(tmp_path / "file", Hub(hub.url), entries(hub))
    with pytest.raises(LocalModelRefused, match="cannot be written"):
        local.accept_licence("tiny")


def test_the_catalogue_is_pinned_and_complete():
    assert len({entry.id for entry in CATALOGUE}) == len(CATALOGUE)
    for entry in CATALOGUE:
        assert entry.memory_bytes > entry.size
        assert entry.licence.url.startswith("https://")
        for file in entry.files:
            is_pinned = len(file.sha256) == 64 and len(file.revision) == 40
            assert is_pinned or (file.sha256, file.revision) == ("", "main")
            assert file.name.endswith(".gguf")
    unpinned = [entry.id for entry in CATALOGUE if not all(file.sha256 for file in entry.files)]
    assert unpinned == ["gemma-4-12b"]
    assert dataclasses.asdict(CATALOGUE[0])
