"""``make gemma``: serve Gemma on this computer's NVIDIA GPU, where `make run` finds it.

``python -m gemma check`` says whether that is possible, before anything is installed; ``python -m gemma serve`` serves.
Both need only the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gemma.arguments import PRIVACY, SERVED_NAME, vllm_arguments
from gemma.memory import WEIGHTS
from gemma.profiles import REVISIONS
from gemma.workstation import NoFit, chosen, gpus

if TYPE_CHECKING:
    from gemma.profiles import GpuProfile
    from gemma.workstation import Gpu

HOST: Final = "127.0.0.1"
PORT: Final = 8000
VENV: Final = Path(".venv-vllm")
INSTALL_GB: Final = 16.0
"""Of disk: 11 GB in the virtual environment (estimated from the sizes of its wheels, of which torch and CUDA are 6 GB),
and the wheels themselves while it is installed."""

STOP_SECONDS: Final = 30  # for answers in progress, after Ctrl-C
_OTHER_WAY = "Without it, models run on llama.cpp: make run offers those that fit, or set CHAT_LOCAL_MODEL=gemma-3-4b."
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


class CannotServe(Exception):
    """Gemma cannot be served now; the message says why and what to do."""


def main() -> int:
    """Check, or serve until Ctrl-C; return the exit status."""
    parser = argparse.ArgumentParser(prog="make gemma", description="Serve Gemma on this computer's NVIDIA GPU.")
    parser.add_argument("step", choices=("check", "serve"))
    parser.add_argument("--port", type=int, default=PORT, help="(default: %(default)s, where make run looks)")
    options = parser.parse_args()
    try:
        gpu, profile = chosen(gpus(), has_token=any(os.environ.get(name) for name in _TOKENS))
        _check_port(options.port)
        _check_disk(profile)
        if options.step == "check":
            print(f"{gpu.name}: {profile.model}, {profile.max_model_len:,} tokens of context.", flush=True)
            return 0
        return _serve(gpu, profile, options.port)
    except NoFit as error:
        print(f"{error}\n{_OTHER_WAY}", file=sys.stderr)
    except CannotServe as error:
        print(error, file=sys.stderr)
    return 1


def _serve(gpu: Gpu, profile: GpuProfile, port: int) -> int:
    arguments = vllm_arguments(profile, host=HOST, port=port, shutdown_seconds=STOP_SECONDS)
    environment = os.environ | PRIVACY | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu.index)}
    where = "make run" if port == PORT else f"CHAT_GEMMA_URL=http://{HOST}:{port} make run"
    print(f"Serving {profile.model} on {HOST}:{port}; {where} finds it. Stop with Ctrl-C.", flush=True)
    # Ctrl-C reaches the whole process group: this process waits for vLLM, which shuts down by itself.
    stopped: list[int] = []
    server: subprocess.Popen[bytes] | None = None

    def stop(number: int, _frame: object) -> None:
        stopped.append(number)
        if server and (number != signal.SIGINT or len(stopped) > 1):
            server.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    server = subprocess.Popen([VENV / "bin/vllm", "serve", *arguments], env=environment)
    if stopped:  # before vLLM was there to be stopped
        server.terminate()
    status = server.wait()
    return 0 if stopped else status


def _check_port(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except (OSError, OverflowError):
            if _serves_gemma(port):
                raise CannotServe(f"Gemma is served on port {port} already: make run finds it.") from None
            raise CannotServe(
                f"Port {port} cannot be used: another program has it. Stop that program, or choose another port: "
                f"make gemma ARGS='--port {PORT + 1}', and then CHAT_GEMMA_URL=http://{HOST}:{PORT + 1} make run."
            ) from None


def _serves_gemma(port: int) -> bool:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{HOST}:{port}/v1/models", timeout=2) as response:
            listed = json.loads(response.read(1 << 20))["data"]
        return any(entry.get("owned_by") == "vllm" and entry.get("id") == SERVED_NAME for entry in listed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _check_disk(profile: GpuProfile) -> None:
    needed: dict[int, tuple[Path, float]] = {}  # by disk
    for folder, gigabytes in _missing(profile):
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        disk = existing.stat().st_dev
        needed[disk] = (existing, gigabytes + needed.get(disk, (existing, 0.0))[1])
    for folder, gigabytes in needed.values():
        free = shutil.disk_usage(folder).free / 1e9
        if free < gigabytes:
            raise CannotServe(
                f"vLLM and the weights need {gigabytes:.0f} GB more on the disk of {folder}, and {free:.0f} GB are "
                "free. Free some space, or set HF_HOME to a folder on another disk for the weights."
            )


def _missing(profile: GpuProfile) -> list[tuple[Path, float]]:
    """Return the folders in which something is still to be stored, with its GB."""
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or cache / "hub")
    snapshot = hub / f"models--{profile.model.replace('/', '--')}" / "snapshots" / REVISIONS[profile.model]
    missing = [] if (VENV / ".pins").exists() else [(VENV, INSTALL_GB)]
    if not snapshot.exists():
        missing.append((hub, WEIGHTS[profile.model].gib * 1.08))  # GiB to GB, and a little
    return missing


if __name__ == "__main__":
    sys.exit(main())
