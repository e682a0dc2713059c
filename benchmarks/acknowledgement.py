"""Acknowledgement benchmark: what waiting for Firestore before a message counts as sent costs.

Run: ``python -m benchmarks.acknowledgement [--turns 40]``. For each latency of the Firestore emulator and each value of
CHAT_ACKNOWLEDGE, it prints the times from Send until the message counts as sent, and until the first text of the
answer, from a model that takes 250 ms to its first token, and from one that takes none.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from benchmarks import percentile
from benchmarks.fault_parts.processes import SECRET, Chat, Emulator, missing_program, settings_of
from benchmarks.fault_parts.proxy import REFUSE, Fault, Proxy
from benchmarks.fault_parts.users import COOKIE
from chatapp.auth.anonymous import AnonymousAuthenticator
from tests.fakes.openai_server import FakeOpenAIServer, Reply
from tests.page_client import PARAMETERS, SAME_ORIGIN, events

TURNS = 40
LATENCIES = (0.0, 0.02, 0.2, None)  # seconds in each direction; None: Firestore refuses connections
FIRST_TOKEN_S = (0.0, 0.25)


async def main(turns: int) -> None:
    print(
        f"{'Firestore':>12} {'waits for':>10} {'model':>7} {'sent (p50, p95)':>18} {'first text (p50, p95)':>22}   ms"
    )
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        emulator = await stack.enter_async_context(Emulator(folder))
        proxy = await stack.enter_async_context(Proxy(emulator.port))
        model = await stack.enter_async_context(FakeOpenAIServer())
        for acknowledge in ("local", "cloud"):
            place = folder / acknowledge
            place.mkdir()
            settings = settings_of(model.url, proxy.host, drain_seconds=1) | {"CHAT_ACKNOWLEDGE": acknowledge}
            async with Chat(place, settings) as chat:
                await chat.start()
                await ask(chat.url, 5)  # connects
                for latency in LATENCIES:
                    await proxy.set(REFUSE if latency is None else Fault(seconds_late=(latency, latency)))
                    for seconds in FIRST_TOKEN_S:
                        model.script = [Reply(seconds_to_first_token=seconds)] * turns
                        sent, first = zip(*await ask(chat.url, turns), strict=True)
                        name = "is away" if latency is None else f"{latency * 2000:.0f} ms"
                        line = f"{name:>12} {acknowledge:>10} {seconds * 1000:>4.0f} ms"
                        print(f"{line} {shown(sent):>18} {shown(first):>22}", flush=True)
                await proxy.set(Fault())


async def ask(url: str, turns: int) -> list[tuple[float, float]]:
    """Ask one question after the other; return the seconds until each was acknowledged, and until its first text."""
    cookies = {COOKIE: AnonymousAuthenticator(SECRET, secure=False).new_user()[1]}
    times = []
    async with aiohttp.ClientSession(cookies=cookies, headers=SAME_ORIGIN, read_bufsize=1 << 24) as http:
        for number in range(turns):
            sent = first = 0.0
            began = time.monotonic()
            body = {"text": f"Question {number}", "model": "gemma", **PARAMETERS}
            async with http.post(f"{url}/conversations", json=body) as stream:
                async for event in events(stream):
                    if "started" in event:
                        sent = time.monotonic() - began
                    elif not first and has_text(event):
                        first = time.monotonic() - began
                        break
            times.append((sent, first))
    return times


def has_text(event: dict) -> bool:
    """Return whether an event brings text of an answer."""
    messages = event.get("messages") or [event.get("message", {})]
    return bool(event.get("text")) or any(one.get("role") == "assistant" and one["text"] for one in messages)


def shown(seconds: tuple[float, ...]) -> str:
    return ", ".join(f"{percentile(seconds, share) * 1000:.0f}" for share in (50, 95))


if __name__ == "__main__":
    if sentence := missing_program():
        print(sentence)
        sys.exit(0)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.acknowledgement", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--turns", type=int, default=TURNS, help=f"for each line: {TURNS}")
    asyncio.run(main(parser.parse_args().turns))
