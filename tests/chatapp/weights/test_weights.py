"""The Job that copies weights from the hub to a bucket, against a hub and a Cloud Storage on loopback."""

import asyncio
import hashlib
import random
import re

import pytest

from chatapp.weights.__main__ import main
from chatapp.weights.bucket import UNIT
from chatapp.weights.copy import ATTEMPTS, Copier
from chatapp.weights.errors import EXIT_PERMANENT
from tests.fakes.hub import COMMIT, FakeHub
from tests.fakes.storage import FakeStorage

REPOSITORY = "google/tiny"
SIZES = {"model-1.safetensors": 5 * UNIT + 123, "model-2.safetensors": 2 * UNIT, "config.json": 700, "empty.txt": 0}
FILES = {
    **{f"{REPOSITORY}/{name}": random.Random(name).randbytes(size) for name, size in SIZES.items()},
    f"{REPOSITORY}/model.gguf": b"another format",
    f"{REPOSITORY}/README.md": b"# Tiny",
}
WANTED = {f"{REPOSITORY}/{COMMIT}/{name}": FILES[f"{REPOSITORY}/{name}"] for name in SIZES}


class Job:
    """Runs the program; the waits between its tries take no time."""

    def __init__(self, hub, storage, monkeypatch, capsys):
        self.hub, self.storage, self.monkeypatch, self.capsys = hub, storage, monkeypatch, capsys
        self.waited = []

        async def sleep(seconds):
            self.waited.append(seconds)

        monkeypatch.setattr("chatapp.weights.__main__.Copier", self._copier(sleep))
        self.variables = {
            "WEIGHTS_MODEL": REPOSITORY,
            "WEIGHTS_REVISION": COMMIT,
            "WEIGHTS_BUCKET": storage.bucket,
            "HF_TOKEN": "hf_abcdefgh",
            "HF_ENDPOINT": hub.url,
            "STORAGE_EMULATOR_HOST": storage.url,
        }

    @staticmethod
    def _copier(sleep):
        return lambda *given, **named: Copier(*given, **named, sleep=sleep, piece=2 * UNIT)

    async def run(self, status=0, **variables):
        """Return what the program prints on stdout and stderr."""
        for name, value in {**self.variables, **variables}.items():
            self.monkeypatch.setenv(name, value)
        self.capsys.readouterr()
        result = await asyncio.to_thread(main)
        output = self.capsys.readouterr()
        assert result == status, output.out + output.err
        return output

    def sent(self):
        """Return the number of bytes that uploads were asked to store."""
        return sum(
            int(headers.get("Content-Length", 0)) for method, _, headers in self.storage.requests if method == "PUT"
        )


@pytest.fixture
async def job(monkeypatch, capsys):
    async with FakeHub(dict(FILES)) as hub, FakeStorage() as storage:
        yield Job(hub, storage, monkeypatch, capsys)


async def test_what_vllm_reads_is_copied_with_its_checksums(job):
    output = await job.run()
    assert job.storage.objects == WANTED
    sha256 = hashlib.sha256(FILES[f"{REPOSITORY}/model-1.safetensors"]).hexdigest()
    assert job.storage.metadata[f"{REPOSITORY}/{COMMIT}/model-1.safetensors"] == {"checksum": f"sha256:{sha256}"}
    assert re.match(r"git-sha1:[0-9a-f]{40}$", job.storage.metadata[f"{REPOSITORY}/{COMMIT}/config.json"]["checksum"])
    assert f"complete: gs://weights/{REPOSITORY}/{COMMIT}/" in output.out
    assert "100 %" in output.out
    assert output.err == ""


async def test_the_token_goes_to_the_hub_alone(job):
    output = await job.run()
    storage = [headers for method, path, headers in job.hub.requests if path.startswith("/storage/")]
    others = [headers for method, path, headers in job.hub.requests if not path.startswith("/storage/")]
    assert storage
    assert not any("Authorization" in headers for headers in storage), "the hub's storage has another host name"
    assert all(headers["Authorization"] == "Bearer hf_abcdefgh" for headers in others)
    assert not any("hf_" in str(headers) for _, _, headers in job.storage.requests)
    assert "hf_abcdefgh" not in output.out + output.err


async def test_what_is_there_is_skipped(job):
    await job.run()
    job.storage.requests.clear()
    output = await job.run()
    assert "4 of 4 files are there; 0.00 GB to copy" in output.out
    assert {method for method, _, _ in job.storage.requests} == {"GET"}


async def test_after_a_killed_pod_complete_files_are_kept_and_a_half_one_is_copied_again(job):
    job.storage.faults = [("PUT", None)] * 5 + [("PUT", (403, "killed here"))]
    await job.run(status=1)
    there = dict(job.storage.objects)
    assert there
    assert len(there) < len(WANTED)
    await job.run()
    assert job.storage.objects == WANTED
    started = [path for method, path, _ in job.storage.requests if method == "POST"]
    assert len(started) == len(WANTED) + 1, "only the half one twice"


async def test_an_object_with_another_checksum_or_size_is_replaced(job):
    await job.run()
    name = f"{REPOSITORY}/{COMMIT}/config.json"
    for change in ("metadata", "content"):
        if change == "metadata":
            job.storage.metadata[name] = {"checksum": "git-sha1:0"}
        else:
            job.storage.objects[name] = b"short"
        await job.run()
        assert job.storage.objects == WANTED


async def test_a_lost_connection_to_the_hub_goes_on_where_it_was(job):
    job.hub.storage = [UNIT, 3 * UNIT, 10]
    await job.run()
    assert job.storage.objects == WANTED
    ranges = [headers["Range"] for _, path, headers in job.hub.requests if "Range" in headers]
    assert ranges, "it asks for the rest only"
    assert job.waited


async def test_a_hub_without_ranges_sends_the_file_again_and_it_is_still_right(job):
    job.hub.storage = [700, 2 * UNIT, "no ranges"]
    await job.run()
    assert job.storage.objects == WANTED


@pytest.mark.parametrize("fault", ["lost", "half", "answer lost", (503, "busy"), (429, "slow down")], ids=str)
async def test_a_lost_connection_to_the_bucket_sends_only_what_did_not_arrive(job, fault):
    job.storage.faults = [("PUT", None), ("PUT", None), ("PUT", fault), ("PUT", fault)]
    await job.run()
    assert job.storage.objects == WANTED
    places = [headers.get("Content-Range", "") for _, _, headers in job.storage.requests]
    assert any(place.startswith("bytes */") and place != "bytes */0" for place in places), "it asks what has arrived"


async def test_a_wrong_checksum_is_tried_once_more_and_never_stored(job):
    job.hub.storage = [None, None, "corrupt"]
    output = await job.run()
    assert "wrong checksum, once more" in output.out
    assert job.storage.objects == WANTED
    job.storage.objects.clear()
    job.hub.storage = ["corrupt"] * 2
    output = await job.run(status=1)
    assert "another checksum" in output.err
    assert job.storage.objects == {}


async def test_a_file_that_is_longer_than_stated_is_not_stored(job):
    job.hub.storage = ["longer"] * 2
    assert "another checksum" in (await job.run(status=1)).err
    assert job.storage.objects == {}


REFUSED = {
    "a refused token": ({}, [(401, {})], "The token may not read google/tiny: accept the terms at", EXIT_PERMANENT),
    "terms that were not accepted": ({}, [(403, {})], "The token may not read google/tiny", EXIT_PERMANENT),
    "no token": ({"HF_TOKEN": ""}, [(401, {})], "needs a token: accept the terms at", EXIT_PERMANENT),
    "no such revision": ({}, [(404, {})], f"There is no google/tiny at revision {COMMIT}", EXIT_PERMANENT),
    "a hub that stays busy": ({}, [(503, {})] * ATTEMPTS, "given up after 8 tries", 1),
    "no weights": ({"WEIGHTS_MODEL": "google/none"}, [], "has no weights in the format safetensors", EXIT_PERMANENT),
}


@pytest.mark.parametrize(("variables", "refusals", "told", "status"), REFUSED.values(), ids=REFUSED)
async def test_what_the_hub_refuses_is_said_in_one_line(job, variables, refusals, told, status):
    job.hub.refusals = list(refusals)
    output = await job.run(status=status, **variables)
    assert told in output.err
    assert output.err.count("\n") == 1
    assert job.storage.objects == {}


async def test_a_wrong_setting_ends_the_job_for_good(job):
    output = await job.run(status=EXIT_PERMANENT, WEIGHTS_REVISION="main")
    assert "WEIGHTS_REVISION" in output.err
    assert "hf_abcdefgh" not in output.err


async def test_a_hub_that_is_busy_for_a_while_is_waited_for(job):
    job.hub.refusals = [(429, {}), (503, {})]
    await job.run()
    assert job.waited[:2] == [2.0, 4.0]
    assert job.storage.objects == WANTED


FULL = {
    "no space": ((507, "Insufficient Storage"), "has no space left"),
    "a quota": ((403, '{"error": {"errors": [{"reason": "quotaExceeded"}]}}'), "has no space left"),
    "no right": (
        (403, '{"error": {"message": "does not have storage.objects.create access"}}'),
        "may not use the bucket",
    ),
    "no bucket": ((404, "The specified bucket does not exist."), "refuses a request (HTTP 404)"),
}


@pytest.mark.parametrize(("fault", "told"), FULL.values(), ids=FULL)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_what_the_bucket_refuses_is_said_in_one_line(job, method, fault, told):
    job.storage.faults = [(method, fault)]
    output = await job.run(status=1)
    assert told in output.err
    assert output.err.count("\n") == 1


async def test_the_bucket_gets_the_tokens_of_the_service_account(job):
    job.storage.faults = [("GET", "busy")]  # as in the first seconds of a pod
    job.monkeypatch.setattr("chatapp.weights.__main__.ENDPOINT", job.storage.url)
    await job.run(STORAGE_EMULATOR_HOST="", WEIGHTS_METADATA_SERVER=job.storage.url)
    assert job.storage.objects == WANTED
    assert job.storage.tokens == 1
    google = [headers for _, path, headers in job.storage.requests if "computeMetadata" not in path]
    assert all(headers["Authorization"] == "Bearer token-1" for headers in google)
