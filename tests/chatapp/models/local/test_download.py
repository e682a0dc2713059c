"""A download goes on where it ended, and what it leaves is the right file or nothing."""

import asyncio
import random

import pytest

from chatapp.models.local import download as downloading
from chatapp.models.local import hub as hubs
from chatapp.models.local.download import arrived, download
from chatapp.models.local.hub import DownloadFailed, Hub
from tests.fakes.hub import COMMIT, FakeHub

PATH = "owner/model/tiny.gguf"
CONTENT = random.Random(1).randbytes(300_000)


@pytest.fixture
async def hub():
    async with FakeHub({PATH: CONTENT}) as server:
        yield server


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(downloading, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(downloading, "_BLOCK", 50_000)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "models" / "tiny.gguf"


async def fetch(hub, target, *, token="", **changes):
    seen = []
    await download(Hub(hub.url, token), hub.file(PATH, **changes), target, seen.append)
    return seen


async def fails(hub, target, words, **changes):
    """Return what is left of a download that fails with these words."""
    with pytest.raises(DownloadFailed, match=words):
        await fetch(hub, target, **changes)
    assert not target.exists()
    return arrived(target)


def names(folder):
    return [path.name for path in folder.iterdir()]


def ranges(hub):
    return [headers.get("Range") for _, path, headers in hub.requests if path.startswith("/storage")]


async def test_a_file_is_downloaded_once(hub, target):
    seen = await fetch(hub, target)
    assert target.read_bytes() == CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == len(CONTENT)
    assert names(target.parent) == ["tiny.gguf"]
    requests = len(hub.requests)
    assert await fetch(hub, target) == [len(CONTENT)]
    assert len(hub.requests) == requests


async def test_a_broken_download_goes_on_where_it_ended(hub, target):
    hub.storage = [100_000, 50_000, 1]
    await fetch(hub, target)
    assert target.read_bytes() == CONTENT
    assert ranges(hub) == [None, "bytes=100000-", "bytes=150000-", "bytes=150001-"]
    assert hub.sent == len(CONTENT)


async def test_a_download_that_was_ended_goes_on_with_the_next_one(hub, target):
    hub.bytes_per_second = 400_000
    first = asyncio.create_task(fetch(hub, target))
    async with asyncio.timeout(30):
        while hub.sent < 60_000:
            await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    kept = arrived(target)
    assert 0 < kept < len(CONTENT)
    hub.bytes_per_second = None
    seen = await fetch(hub, target)
    assert seen[0] == kept
    assert ranges(hub)[-1] == f"bytes={kept}-"
    assert target.read_bytes() == CONTENT


async def test_a_download_that_is_ended_at_any_moment_goes_on(hub, target, monkeypatch):
    monkeypatch.setattr(downloading, "_BLOCK", 3000)  # most of the time, a thread writes
    moments = random.Random(3)
    for _ in range(100):
        task = asyncio.create_task(fetch(hub, target))
        await asyncio.sleep(moments.random() * 0.02)
        task.cancel()
        await asyncio.wait([task])
        if target.exists():
            break
    await fetch(hub, target)
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["tiny.gguf"]


async def test_more_breaks_than_retries_are_survived_as_long_as_something_arrives(hub, target):
    hub.storage = [10_000] * (2 * downloading.RETRIES)
    await fetch(hub, target)
    assert target.read_bytes() == CONTENT


async def test_a_connection_that_is_always_lost_is_reported_and_the_part_is_kept(hub, target):
    hub.storage = [100_000] + [0] * 50
    assert await fails(hub, target, "cannot be reached") == 100_000


@pytest.mark.slow
async def test_a_silent_connection_is_lost(hub, target, monkeypatch):
    monkeypatch.setattr(hubs, "STALL_SECONDS", 0.2)
    monkeypatch.setattr(downloading, "RETRIES", 1)
    hub.storage = ["silent", "silent"]
    await fails(hub, target, "cannot be reached")


async def test_a_hub_that_is_not_there_is_reported(target, tmp_path):
    async with FakeHub({PATH: CONTENT}) as hub:
        pass
    await fails(hub, target, "127.0.0.1 cannot be reached.*HTTPS_PROXY")


@pytest.mark.parametrize("action", ["no ranges", "wrong range", (416, {})])
async def test_a_server_without_ranges_is_asked_for_the_whole_file(hub, target, action):
    hub.storage = [100_000, action]
    await fetch(hub, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("action", ["corrupt", "longer"])
async def test_another_content_is_removed(hub, target, action):
    hub.storage = [action]
    assert await fails(hub, target, "its checksum is wrong. It was removed") == 0
    assert names(target.parent) == []
    await fetch(hub, target)
    assert target.read_bytes() == CONTENT


async def test_a_part_that_was_changed_on_the_disk_is_noticed(hub, target):
    hub.storage = [100_000] + [0] * 50
    await fails(hub, target, "cannot be reached")
    (part,) = target.parent.iterdir()
    part.write_bytes(b"x" + part.read_bytes()[1:])
    hub.storage = []
    await fails(hub, target, "its checksum is wrong")
    await fetch(hub, target)
    assert target.read_bytes() == CONTENT


async def test_busy_hub_is_asked_again_after_the_time_that_it_names(hub, target, monkeypatch):
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(downloading, "_pause", pause)
    hub.refusals = [(429, {"Retry-After": "7"}), (503, {}), (429, {"Retry-After": "99999"})]
    await fetch(hub, target)
    assert target.read_bytes() == CONTENT
    assert pauses[0] == 7
    assert pauses[1] < 1
    assert pauses[2] == hubs.LONGEST_WAIT_SECONDS


async def test_a_hub_that_stays_busy_is_reported(hub, target):
    hub.refusals = [(429, {})] * 50
    await fails(hub, target, "busy. Try again in 1 minute|busy. Try again in 60 seconds")


@pytest.mark.parametrize(
    ("status", "token", "words"),
    [
        (401, "", "needs an account.*/owner/model.*HF_TOKEN"),
        (403, "", "needs an account"),
        (403, "hf_secret", "The account of HF_TOKEN may not"),
        (404, "", "does not have this file"),
        (400, "", r"refused the download \(400\)"),
    ],
)
async def test_a_refusal_is_reported_at_once(hub, target, status, token, words):
    hub.refusals = [(status, {})] * 50
    await fails(hub, target, words, token=token)
    assert len(hub.requests) == 1


async def test_the_storage_may_refuse_too(hub, target):
    hub.storage = [(403, {})]
    await fails(hub, target, "needs an account")


async def test_a_token_is_for_the_hub_and_not_for_its_storage(hub, target):
    await fetch(hub, target, token="hf_secret")
    sent = {path.startswith("/storage"): headers.get("Authorization") for _, path, headers in hub.requests}
    assert sent == {False: "Bearer hf_secret", True: None}


def test_a_token_is_not_sent_without_encryption():
    assert "Authorization" not in Hub("http://mirror.example", "hf_secret")._headers
    assert "Authorization" in Hub("https://mirror.example", "hf_secret")._headers


async def test_another_file_under_the_name_is_not_downloaded(hub, target):
    await fails(hub, target, "another file under this name", sha256="0" * 64)
    await fails(hub, target, "another file under this name", size=1)
    assert ranges(hub) == []


async def test_a_file_without_a_checksum_in_the_catalogue_is_checked_against_the_hubs(hub, target):
    hub.storage = ["corrupt"]
    await fails(hub, target, "its checksum is wrong", sha256="", size=1, revision="main")
    await fetch(hub, target, sha256="", size=1, revision="main")
    assert target.read_bytes() == CONTENT
    storage = [path for _, path, _ in hub.requests if "/resolve/" in path]
    assert f"/owner/model/resolve/{COMMIT}/tiny.gguf" in storage  # the commit, not the branch


async def test_a_checksum_that_nobody_states_is_no_checksum(hub, target):
    hub.states = False
    await fails(hub, target, "does not state", sha256="")
    await fetch(hub, target)  # with the catalogue's
    assert target.read_bytes() == CONTENT


async def test_a_renamed_repository_is_found(hub, target):
    hub.renamed = {"old/model": "owner/model"}
    await fetch(hub, target, repository="old/model")
    assert target.read_bytes() == CONTENT


async def test_the_disk_is_checked_before(hub, target, monkeypatch):
    monkeypatch.setattr(downloading, "free_disk", lambda _folder: 100_000_000)
    await fails(hub, target, r"needs 0\.5 GB, and the disk of .* has 0\.1 GB free")
    assert ranges(hub) == []


async def test_a_folder_that_cannot_be_written_is_reported(hub, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DownloadFailed, match=r"cannot be written.*CHAT_MODELS_DIR"):
        await fetch(hub, tmp_path / "file" / "tiny.gguf")


async def test_a_part_of_another_revision_is_not_mixed_in(hub, target):
    hub.storage = [100_000] + [0] * 50
    await fails(hub, target, "cannot be reached")
    hub.storage, hub.files[PATH] = [], CONTENT[::-1]
    await fetch(hub, target)
    assert target.read_bytes() == CONTENT[::-1]
    assert names(target.parent) == ["tiny.gguf"]


async def test_a_proxy_of_the_environment_is_used(hub, target, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    away = Hub("http://hub.invalid")
    hub._storage_url = f"{hub.url}/storage"
    await download(away, hub.file(PATH), target, lambda _bytes: None)
    assert target.read_bytes() == CONTENT
