"""The part that fake OpenAI-compatible servers of benchmarks share: connections, routes and the end of the process.

It costs little: no framework. The fake of the tests (`tests.fakes.openai_server`) behaves like the real servers in
every corner, for ten times the time per token.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONTEXT_TOKENS = 1 << 20  # more than any conversation of a benchmark, so that nothing is left out of a prompt
MODEL = "fake"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


async def run_server(stream: Callable[[asyncio.StreamWriter, dict, int], Awaitable[None]]) -> None:
    """Print the port, and serve until the standard input ends.

    Args:
        stream: writes the response to a streaming chat completion; it gets the request and its size in bytes.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                request = json.loads(await reader.readexactly(length) or b"{}")
                if b"/chat/completions" not in head.partition(b"\r\n")[0]:
                    entry = {"id": MODEL, "owned_by": "benchmarks", "max_model_len": CONTEXT_TOKENS}
                    _write_json(writer, {"object": "list", "data": [entry]})
                elif not request.get("stream"):
                    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
                    _write_json(writer, {"choices": [choice]})
                else:
                    await stream(writer, request, length)
        writer.close()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    os._exit(0)  # without waiting for open streams: their clients have ended too


def write_event(writer: asyncio.StreamWriter, event: dict) -> None:
    """Write a server-sent event as one chunk."""
    chunk = b"data: %b\n\n" % json.dumps(event).encode()
    writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))


def _write_json(writer: asyncio.StreamWriter, body: object) -> None:
    content = json.dumps(body).encode()
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(content), content)
    )
