"""`make gemma`: which profile fits a GPU, what is checked before an install, and a clean end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gemma.memory import fit
from gemma.profiles import GEMMA_3, GEMMA_4_QAT
from gemma.workstation import Gpu, NoFit, chosen, gpus
from tests.serving import free_port

ROOT = Path(__file__).parents[2]
VLLM = """#!/bin/sh
echo "vllm $*" "gpu=$CUDA_VISIBLE_DEVICES" "stats=$VLLM_NO_USAGE_STATS"
trap 'sleep 0.2; echo bye; exit 0' INT TERM
touch started
while :; do sleep 0.05; done
"""


def gpu(total, *, free=None, driver=580, capability=8.9, index=0):
    return Gpu(index, "NVIDIA X", total, total if free is None else free, driver, capability)


@pytest.mark.parametrize(
    ("memory", "has_token", "model", "context"),
    [
        (15.6, False, GEMMA_4_QAT, 32_768),  # 16 GB
        (22.4, False, GEMMA_4_QAT, 32_768),
        (31.4, True, GEMMA_4_QAT, 32_768),  # 32 GB: too small for the weights in 16 bits
        (47.4, True, GEMMA_3, 32_768),
        (47.4, False, GEMMA_4_QAT, 32_768),  # they need an account
        (94.9, True, GEMMA_3, 32_768),
    ],
)
def test_the_profile_is_chosen_by_memory_and_token(memory, has_token, model, context):
    _, profile = chosen([gpu(memory)], has_token=has_token)
    assert (profile.model, profile.max_model_len) == (model, context)
    assert fit(profile, memory).conversations >= 1


def test_a_small_gpu_gets_a_shorter_context():
    contexts = {}
    for twentieths in range(220, 450):
        try:
            _, profile = chosen([gpu(twentieths / 20)], has_token=False)
        except NoFit:
            continue
        contexts[twentieths / 20] = profile.max_model_len
    assert list(contexts.values()) == sorted(contexts.values())
    assert set(contexts.values()) == {8192, 16_384, 32_768}


def test_what_other_programs_use_is_left_to_them():
    _, profile = chosen([gpu(22.4, free=19.0)], has_token=False)
    assert profile.gpu_memory_utilization == pytest.approx(0.82)
    assert profile.gpu_memory_utilization * 22.4 < 19.0
    with pytest.raises(NoFit, match=r"3\.0 GiB of free memory, and Gemma needs a GPU with about 1\d GiB"):
        chosen([gpu(22.4, free=3.0)], has_token=False)


def test_the_gpu_with_the_most_free_memory_is_taken():
    taken, _ = chosen([gpu(22.4, free=4), gpu(22.4, index=1), gpu(7.6, index=2)], has_token=False)
    assert taken.index == 1


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (gpu(22.4, driver=570), "driver 570 is too old: vLLM needs 580"),
        (gpu(22.4, capability=7.5), "too old for vLLM's 4-bit weights"),
        (gpu(7.6), "7.6 GiB of free memory"),
    ],
)
def test_a_gpu_that_does_not_fit_is_refused_with_the_reason(found, words):
    with pytest.raises(NoFit, match=words):
        chosen([found], has_token=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a folder in which vLLM is "installed", with the programs that the test wants on its path."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_program(tmp_path / ".venv-vllm/bin/vllm", VLLM)
    (tmp_path / ".venv-vllm/.pins").touch()
    return tmp_path


def write_program(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)


def smi(project, output, *, status=0):
    write_program(project / "bin/nvidia-smi", f"#!/bin/sh\ncat <<'END'\n{output}\nEND\nexit {status}\n")


def start(project, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "gemma", *arguments],
        cwd=project,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def output_of(process, status):
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status, output
    return output


L4 = "0, NVIDIA L4, 23034, 22563, 580.65.06, 8.9"


def test_gpus_are_read_from_nvidia_smi(project):
    smi(project, f"{L4}\n1, NVIDIA GB10, [N/A], [N/A], 580.65.06, 12.1")
    assert gpus() == [Gpu(0, "NVIDIA L4", 23034 / 1024, 22563 / 1024, 580, 8.9)]


def test_without_a_gpu_one_sentence_says_so_and_names_the_other_way(project, monkeypatch):
    monkeypatch.setenv("PATH", str(project / "bin"))
    output = output_of(start(project, "check", "--port", str(free_port())), 1)
    assert "There is no NVIDIA GPU here" in output
    assert "CHAT_LOCAL_MODEL=gemma-3-4b" in output
    assert "Traceback" not in output
    smi(project, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", status=9)
    monkeypatch.setenv("PATH", f"{project / 'bin'}:/usr/bin:/bin")
    assert "couldn't communicate with the NVIDIA driver" in output_of(start(project, "check"), 1)


@pytest.mark.slow
def test_a_taken_port_and_a_full_disk_are_said_before_the_install(project, monkeypatch):
    smi(project, L4)
    with socket.create_server(("127.0.0.1", 0)) as other:
        output = output_of(start(project, "check", "--port", str(other.getsockname()[1])), 1)
    assert "another program has it" in output
    (project / ".venv-vllm/.pins").unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 10**9))
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["gemma", "check", "--port", str(free_port())])
    errors = []
    monkeypatch.setattr(sys, "stderr", type("E", (), {"write": lambda _, text: errors.append(text)})())
    from gemma.__main__ import main

    assert main() == 1
    assert "need 25 GB more" in "".join(errors)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_vllm_and_the_command_cleanly(project, number):
    smi(project, L4)
    port = free_port()
    process = start(project, "serve", "--port", str(port))
    deadline = time.monotonic() + 60
    while not (project / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    output = output_of(process, 0)
    assert f"vllm serve {GEMMA_4_QAT} --revision=" in output
    assert f"--host=127.0.0.1 --port={port}" in output
    assert "--max-model-len=32768" in output
    assert "gpu=0 stats=1" in output
    assert f"CHAT_GEMMA_URL=http://127.0.0.1:{port} make run finds it" in output
    assert output.endswith("bye\n")


SIGNALLED_IN_POPEN = """
import os, signal, subprocess

class Popen(subprocess.Popen):
    def __init__(self, command, **options):
        super().__init__(command, **options)
        if "serve" in command:
            os.kill(os.getpid(), signal.SIGTERM)

subprocess.Popen = Popen
"""


def test_a_signal_while_vllm_is_being_started_ends_it_too(project, monkeypatch):
    smi(project, L4)
    (project / "sitecustomize.py").write_text(SIGNALLED_IN_POPEN)
    monkeypatch.setenv("PYTHONPATH", f"{project}:{ROOT}")
    assert "Traceback" not in output_of(start(project, "serve", "--port", str(free_port())), 0)


def test_the_commands_own_failure_is_its_status(project):
    smi(project, L4)
    write_program(project / ".venv-vllm/bin/vllm", "#!/bin/sh\necho out of memory; exit 3\n")
    assert "out of memory" in output_of(start(project, "serve", "--port", str(free_port())), 3)
