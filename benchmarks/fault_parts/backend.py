"""A fake OpenAI-compatible server whose answers tell when they were sent and whether they are whole.

``python -m benchmarks.fault_parts.backend`` prints its port and ends when its standard input does. Most answers take
some milliseconds: what is looked for is lost between turns, not between tokens. Long ones take seconds, so that there
is something to be in the middle of.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time

from benchmarks.fault_parts.answers import WrongText, asked_in, is_long, rest_of, tokens_of

FIRST_TOKEN_SECONDS = 0.01
SECONDS_BETWEEN, LONG_SECONDS_BETWEEN = 0.004, 0.05
CONTEXT_TOKENS = 1 << 20  # more than any conversation here: everything is always sent
MODEL = "fake"


async def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    os._exit(0)  # whoever still reads an answer has gone, too


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request after the other on a connection."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            request = json.loads(await reader.readexactly(length) or b"{}")
            if b"/chat/completions" not in head.partition(b"\r\n")[0]:
                entry = {"id": MODEL, "owned_by": "faults", "max_model_len": CONTEXT_TOKENS}
                _write_json(writer, {"object": "list", "data": [entry]})
            elif not request.get("stream"):
                choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
                _write_json(writer, {"choices": [choice]})
            else:
                await _stream(writer, *_wanted(request["messages"]))
    writer.close()


def _write_json(writer: asyncio.StreamWriter, answer: object) -> None:
    body = json.dumps(answer).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def _wanted(messages: list[dict[str, str]]) -> tuple[str, str]:
    """Return the question, and what is there of its answer if that is to go on.

    A question without any answer is one text with the next: the chat's prompts alternate.
    """
    *_, last = messages
    question = last["content"].rpartition("\n\n")[2]
    try:
        asked_in(question)
    except WrongText:
        return messages[-3]["content"].rpartition("\n\n")[2], messages[-2]["content"]
    return question, ""


async def _stream(writer: asyncio.StreamWriter, question: str, before: str) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    _write_event(writer, {"role": "assistant", "content": ""})
    await asyncio.sleep(FIRST_TOKEN_SECONDS)
    seconds = LONG_SECONDS_BETWEEN if is_long(question) else SECONDS_BETWEEN
    for token in rest_of(question, before) if before else tokens_of(question, time.monotonic()):
        _write_event(writer, {"content": token})
        await writer.drain()  # which says that the reader has gone
        await asyncio.sleep(seconds)
    _write_event(writer, {}, finish_reason="stop")
    writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


def _write_event(writer: asyncio.StreamWriter, delta: dict[str, str], finish_reason: str | None = None) -> None:
    event = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], "model": MODEL}
    chunk = b"data: %b\n\n" % json.dumps(event).encode()
    writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))


if __name__ == "__main__":
    asyncio.run(main())
