"""Measures the Pulumi program without engine and cloud, and the import of its SDKs alone.

Run: ``python -m benchmarks.stack``. Each run is a new process, as for `pulumi preview`: it imports the SDKs, then runs
the program against the recording monitor of the tests. The goal is 1.5 s for both together.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 5
PLATFORMS = {
    "gcp": '{"gcp:project": "my-proj-1", "gemma": "l4x4", "huggingFaceToken": "hf_abcdefghij"}',
    "kubernetes": '{"platform": "kubernetes", "image": "example.org/chat:1"}',
}
SDK = """
import time; t = time.perf_counter()
import pulumi, pulumi_command, pulumi_docker, pulumi_gcp, pulumi_kubernetes, pulumi_random
from pulumi_gcp import artifactregistry, container, firebaserules, firestore, organizations, projects, serviceaccount
from pulumi_gcp import storage; from pulumi_kubernetes import apiextensions, apps, core, policy
artifactregistry.Repository, container.Cluster, firestore.Field, storage.Bucket, core.v1.Service, apps.v1.Deployment
print(time.perf_counter() - t, 0)
"""
PROGRAM = """
import time; t = time.perf_counter()
from tests.stacks.recording import deploy
run = deploy({config})
print(time.perf_counter() - t, len(run.resources))
"""


def measured(program: str) -> tuple[float, int]:
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    seconds, resources = done.stdout.split()
    return float(seconds), int(resources)


def main() -> None:
    print(f"Medians (and range) of {RUNS} processes each")
    programs = {f"the program, {platform}": PROGRAM.format(config=config) for platform, config in PLATFORMS.items()}
    for name, program in ({"the SDKs' imports alone": SDK} | programs).items():
        runs = [measured(program) for _ in range(RUNS)]
        seconds = [run[0] for run in runs]
        resources = f", {runs[0][1]} resources" if runs[0][1] else ""
        print(f"  {name}: {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}){resources}")


if __name__ == "__main__":
    main()
