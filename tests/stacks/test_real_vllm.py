"""The stack's vLLM against a real one on the CPU: its parser, its streamer and its metrics.

``VLLM_SERVE="..." pytest -m vllm tests/stacks/test_real_vllm.py``, see `tests.vllm_command`. The virtual environment of
that vLLM has ``runai-model-streamer[gcs]``, as vLLM's image has. The weights go the whole way: the Job copies them from
a hub to a Cloud Storage, both on loopback, and vLLM streams them into its memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys

import aiohttp
import pytest
import pytest_asyncio
import yaml

from chatapp.domain.conversation import GenerationParameters, Usage
from chatapp.models import Finish
from chatapp.models.openai.model import OpenAICompatibleModel
from gemma.arguments import PRIVACY
from gemma.profiles import PROFILES
from stacks.components.model_pod import HEALTH
from tests.chatapp.models.answers import question, text_of
from tests.fakes.hub import COMMIT, FakeHub
from tests.fakes.storage import FakeStorage
from tests.serving import free_port
from tests.stacks.recording import ROOT
from tests.vllm_command import VARIABLE, command, given, model_folder, stack_arguments

pytestmark = [pytest.mark.vllm, pytest.mark.skipif(not given(), reason=f"{VARIABLE} is not set")]
REPOSITORY, BUCKET = "google/gemma", "weights"
WEIGHTS_URL = f"gs://{BUCKET}/{REPOSITORY}/{COMMIT}"
# Parses each list of arguments as `vllm serve` does, and makes the loader of its format.
PARSER = """
import json, sys
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.model_executor.model_loader import get_model_loader
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser, serve = FlexibleArgumentParser(), ServeSubcommand()
serve.subparser_init(parser.add_subparsers(dest="subparser"))
for arguments in json.load(sys.stdin):
    parsed = parser.parse_args(["serve", *arguments])
    serve.validate(parsed)
    engine = AsyncEngineArgs.from_cli_args(parsed)
    loader = get_model_loader(engine.create_load_config())
    limits = [engine.shutdown_timeout, engine.max_num_queued_reqs]
    place = [engine.nnodes, engine.node_rank, parsed.headless]
    print(json.dumps([parsed.model_tag, *limits, *place, type(loader).__name__]))
"""


def test_vllms_parser_takes_the_arguments_of_each_profile_from_the_hub_and_from_the_bucket():
    lists = [
        stack_arguments(name, weights_url=url, rank=rank)
        for name, profile in PROFILES.items()
        for rank in range(profile.machines)
        for url in (None, WEIGHTS_URL)
    ]
    done = subprocess.run(
        [given()[0], "-c", PARSER],
        check=False,
        input=json.dumps(lists),
        capture_output=True,
        text=True,
        env=os.environ | PRIVACY | {"HF_HUB_OFFLINE": "0"},  # else it looks for the model on the disk
    )
    assert done.returncode == 0, done.stderr[-2000:]
    parsed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    assert [model for model, *_ in parsed] == [model for model, *_ in lists]
    assert {(timeout, queued) for _, timeout, queued, *_ in parsed} == {(110, 64)}
    # Nodes, the rank of this one, and whether it has no API server.
    assert {tuple(each[3:6]) for each in parsed} == {(1, 0, False), (2, 0, False), (2, 1, True)}
    assert [loader for *_, loader in parsed] == ["DefaultModelLoader", "RunaiModelStreamerLoader"] * (len(lists) // 2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def storage():
    """A bucket with what the Job wrote."""
    files = {f"{REPOSITORY}/{path.name}": path.read_bytes() for path in model_folder().iterdir() if path.is_file()}
    async with FakeHub(files) as hub, FakeStorage(BUCKET) as storage:
        variables = {
            "WEIGHTS_MODEL": REPOSITORY,
            "WEIGHTS_REVISION": COMMIT,
            "WEIGHTS_BUCKET": BUCKET,
            "HF_ENDPOINT": hub.url,
            "STORAGE_EMULATOR_HOST": storage.url,
        }
        job = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chatapp.weights", env=os.environ | variables, cwd=ROOT
        )
        assert await job.wait() == 0
        yield storage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(storage, tmp_path_factory):
    """The address of a vLLM that streamed its weights from the bucket."""
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("vllm") / "log"
    variables = {
        **PRIVACY,
        "STORAGE_EMULATOR_HOST": storage.url,  # of Google's client for Python
        "CLOUD_STORAGE_EMULATOR_ENDPOINT": storage.url,  # of the one for C++
        "RUNAI_STREAMER_GCS_USE_ANONYMOUS_CREDENTIALS": "true",
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command(port, weights_url=WEIGHTS_URL), stdout=output, stderr=output, env=os.environ | variables
        )
    try:
        async with asyncio.timeout(600), aiohttp.ClientSession() as http:
            while not await _is_healthy(http, url):
                assert process.returncode is None, log.read_text()[-4000:]
                await asyncio.sleep(1)
        yield url
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _is_healthy(http, url):
    try:
        async with http.get(f"{url}{HEALTH}") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


@pytest.mark.asyncio(loop_scope="module")
async def test_vllm_answers_with_the_weights_that_the_job_wrote(storage, server):
    read = {path.partition("?")[0] for method, path, _ in storage.requests if method == "GET"}
    assert any(path.endswith(".safetensors") for path in read), "streamed from the bucket"
    assert f"/storage/v1/b/{BUCKET}" in read, "else roles/storage.objectViewer would do for Gemma's account"
    model = OpenAICompatibleModel("gemma", "Gemma", server)
    events = [
        event async for event in model.stream(question("The capital of France is"), GenerationParameters(max_tokens=8))
    ]
    await model.aclose()
    assert text_of(events).strip()
    assert {Finish, Usage} <= {type(event) for event in events}


@pytest.mark.asyncio(loop_scope="module")
async def test_each_metric_that_the_stack_names_is_one_of_vllms(server):
    async with aiohttp.ClientSession() as http, http.get(f"{server}/metrics") as response:
        text = await response.text()
    served = set(re.findall(r"^# TYPE (vllm:\w+) ", text, re.MULTILINE))
    known = yaml.safe_load((ROOT / "tests/stacks/data/vllm_metrics.yaml").read_text(encoding="utf-8"))["metrics"]
    used = {name for path in (ROOT / "stacks").rglob("*.py") for name in re.findall(r"vllm:\w+", path.read_text())}
    used |= {name for path in (ROOT / "manifests").iterdir() for name in re.findall(r"vllm:\w+", path.read_text())}
    assert used
    assert {name for name in used if not any(re.fullmatch(f"{name}(_total)?", one) for one in served)} == set()
    assert served - {f"{name}{end}" for name in known for end in ("", "_total", "_created")} == set()
