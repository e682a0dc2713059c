"""A fake OpenAI-compatible server that costs little: no framework, a timer and a write for each token.

``python -m benchmarks.load_parts.backend`` prints its port and ends when its standard input does. The fake of the tests
(`tests.fakes.openai_server`) behaves like the real servers in every corner, for ten times the time per token.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time

from benchmarks.load_parts.answers import first_token, last_token, next_token, tokens_of

TOKENS_PER_SECOND = 50.0
FIRST_TOKEN_SECONDS = 0.02  # from the question to its first token
CONTEXT_TOKENS = 1 << 20  # more than any conversation here: everything is always sent
BYTES_PER_TOKEN = 4
MODEL = "fake"


async def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    os._exit(0)  # whoever still reads an answer has gone, too


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request after the other on a connection."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            question = json.loads(await reader.readexactly(length) or b"{}")
            if b"/chat/completions" not in head.partition(b"\r\n")[0]:
                entry = {"id": MODEL, "owned_by": "load", "max_model_len": CONTEXT_TOKENS}
                _write_json(writer, {"object": "list", "data": [entry]})
            elif not question.get("stream"):
                choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
                _write_json(writer, {"choices": [choice]})
            else:
                await _Streaming(writer, question, prompt_tokens=length // BYTES_PER_TOKEN).done
    writer.close()


def _write_json(writer: asyncio.StreamWriter, answer: object) -> None:
    body = json.dumps(answer).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


class _Streaming:
    """One answer; ``done`` when it is written, or when nobody reads it any more."""

    def __init__(self, writer: asyncio.StreamWriter, question: dict, *, prompt_tokens: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.done = self._loop.create_future()
        self._writer = writer
        self._messages = len(question["messages"])
        self._question = question["messages"][-1]["content"]
        self._tokens = tokens_of(self._question)
        self._prompt_tokens = prompt_tokens
        self._text = ""
        self._written = 0
        self._first = 0.0
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        self._write({"role": "assistant", "content": ""})
        self._loop.call_later(FIRST_TOKEN_SECONDS, self._next)

    def _next(self) -> None:
        if self._writer.is_closing():
            self.done.set_result(None)
            return
        now = time.monotonic()
        if not self._written:
            self._first = now
            token = first_token(self._question, self._messages, now)
        elif self._written < self._tokens - 1:
            token = next_token(self._written, now - self._first)
        else:
            token = last_token(self._text)
        self._text += token
        self._written += 1
        self._write({"content": token})
        if self._written < self._tokens:
            self._loop.call_at(self._first + self._written / TOKENS_PER_SECOND, self._next)
            return
        self._write({}, finish_reason="stop")
        self._write(None)
        self._writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        self.done.set_result(None)

    def _write(self, delta: dict | None, *, finish_reason: str | None = None) -> None:
        """Write an event in vLLM's shape as a chunk of its own; the usage if there is no delta."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        event = {
            "id": "chatcmpl-c0ffee00c0ffee00c0ffee00c0ffee00",
            "object": "chat.completion.chunk",
            "created": 1_800_000_000,
            "model": MODEL,
            "choices": [] if delta is None else [choice],
        }
        if delta is None:
            total = self._prompt_tokens + self._written
            event["usage"] = {"prompt_tokens": self._prompt_tokens, "total_tokens": total}
            event["usage"]["completion_tokens"] = self._written
        chunk = b"data: %b\n\n" % json.dumps(event).encode()
        self._writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))


if __name__ == "__main__":
    asyncio.run(main())
