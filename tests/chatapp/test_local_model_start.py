"""``CHAT_LOCAL_MODEL`` in the terminal: the licence, the progress, Ctrl-C in the middle, and on again."""

import json
import signal

import pytest

from chatapp.models.llamacpp.setup import model_file
from tests.fakes.hub import ITEM, PATH, FakeHub
from tests.serving import ChatProcess
from tests.waiting import until

pytestmark = pytest.mark.slow


async def test_the_terminal_downloads_the_model_goes_on_after_ctrl_c_and_preselects_it(tmp_path):
    async with FakeHub({PATH: model_file().read_bytes()}) as hub:
        settings = {
            "HF_ENDPOINT": hub.url,
            "CHAT_LOCAL_CATALOGUE": json.dumps([ITEM]),
            "CHAT_LOCAL_MODEL": "smol",
        }
        first = await ChatProcess(tmp_path, **settings).start()
        await until(lambda: "Ctrl-C" in first.output)
        assert "has to be accepted first: Apache-2.0 (https://example.org/licence)" in first.output
        assert await first.end(signal.SIGINT) == 0
        assert hub.requests == []

        hub.bytes_per_second = 1_000_000  # 100 s: what follows may take long on a busy machine
        settings["CHAT_LOCAL_MODEL_LICENCE"] = "accepted"
        second = await ChatProcess(tmp_path, **settings).start()
        await until(lambda: hub.sent > 3_000_000)
        assert await second.end(signal.SIGINT) == 0
        assert "Downloading Smol: 0 % of 0.1 GB" in second.output
        assert "Traceback" not in second.output
        del settings["CHAT_LOCAL_MODEL_LICENCE"]  # accepted once

        hub.bytes_per_second, hub.sent = None, 0
        third = await ChatProcess(tmp_path, **settings).start()
        await until(lambda: "Smol is ready." in third.output)
        assert await third.end(signal.SIGINT) == 0
        assert hub.sent < ITEM["size"]

        requests = len(hub.requests)
        fourth = await ChatProcess(tmp_path, **settings).start()
        await until(lambda: "Ctrl-C" in fourth.output)
        assert await fourth.end(signal.SIGINT) == 0
        lines = [line.split("  ")[1] for line in fourth.output.splitlines() if line.startswith("  ")]
        assert "Smol" in lines[lines.index("SmolLM2 (small demo)") - 1]
        assert len(hub.requests) == requests
