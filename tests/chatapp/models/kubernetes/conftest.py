"""The cluster of the tests of a sleeping Gemma: `@pytest.mark.parametrize("cluster", BOTH, indirect=True)` for both."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from chatapp.models.kubernetes import reflector
from chatapp.models.kubernetes import sleeper as sleeper_module
from tests.api_server import ApiServer, programs
from tests.chatapp.models.kubernetes.sleeping import Cluster
from tests.fakes.kubernetes_server import FakeKubernetes
from tests.real_kubernetes import RealKubernetes
from tests.stacks.deployments import KUBERNETES_GPUS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def cluster(request, tmp_path, monkeypatch):
    """A cluster whose API server is the fake, or the real one where the parameter is "real"."""
    opened, pace = (real, 10) if getattr(request, "param", "fake") == "real" else (fake, 1)
    monkeypatch.setattr(sleeper_module, "LOOK_SECONDS", 0.02 * pace)
    monkeypatch.setattr(sleeper_module, "WAKING_LOOK_SECONDS", 0.01 * pace)
    monkeypatch.setattr(sleeper_module, "LONGEST_PAUSE_SECONDS", 0.02 * pace)
    for name in ("PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "FIRST_RETRY_SECONDS", "LONGEST_RETRY_SECONDS"):
        monkeypatch.setattr(reflector, name, 0.02 * pace)
    async with opened(tmp_path) as kubernetes:
        yield Cluster(kubernetes, pace=pace)


@asynccontextmanager
async def fake(folder: Path) -> AsyncIterator[FakeKubernetes]:
    async with FakeKubernetes(folder, tls=False) as kubernetes:
        kubernetes.add_deployment(1)
        yield kubernetes


@asynccontextmanager
async def real(folder: Path) -> AsyncIterator[RealKubernetes]:
    from tests.stacks.recording import seen  # Pulumi's SDK: half a second of CPU

    stack = await asyncio.to_thread(seen, KUBERNETES_GPUS)  # Pulumi runs an event loop of its own
    objects = [each.inputs for each in stack.resources if each.type.startswith("kubernetes:")]
    async with (
        ApiServer(folder, programs()) as server,
        RealKubernetes(server, objects, folder) as kubernetes,
    ):
        yield kubernetes
