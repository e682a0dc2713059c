"""A fake OpenAI-compatible server with a timer and a write for each token.

``python -m benchmarks.load_parts.backend`` prints its port and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks.load_parts.answers import first_token, last_token, next_token, tokens_of
from benchmarks.load_parts.openai_server import MODEL, STREAM_END, STREAM_HEAD, run_server, write_event

TOKENS_PER_SECOND = 50.0
FIRST_TOKEN_SECONDS = 0.02  # from the question to its first token
BYTES_PER_TOKEN = 4


async def _stream(writer: asyncio.StreamWriter, request: dict, length: int) -> None:
    await _Streaming(writer, request, prompt_tokens=length // BYTES_PER_TOKEN).done


class _Streaming:
    """An answer; ``done`` when it is written, or when the client has closed the connection."""

    def __init__(self, writer: asyncio.StreamWriter, request: dict, *, prompt_tokens: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.done = self._loop.create_future()
        self._writer = writer
        self._messages = len(request["messages"])
        self._question = request["messages"][-1]["content"]
        self._tokens = tokens_of(self._question)
        self._prompt_tokens = prompt_tokens
        self._text = ""
        self._written = 0
        self._first = 0.0
        writer.write(STREAM_HEAD)
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
        self._writer.write(STREAM_END)
        self.done.set_result(None)

    def _write(self, delta: dict | None, *, finish_reason: str | None = None) -> None:
        """Write an event as vLLM does; without a delta, the usage."""
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
        write_event(self._writer, event)


if __name__ == "__main__":
    asyncio.run(run_server(_stream))
