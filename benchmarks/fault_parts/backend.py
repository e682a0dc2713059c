"""A fake OpenAI-compatible server whose answers contain the time at which they were sent and a checksum.

``python -m benchmarks.fault_parts.backend`` prints its port and ends when its standard input does. Most answers take
milliseconds, because the benchmark looks for losses between turns, not between tokens. Long ones take seconds, so that
faults happen in the middle of them.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks.fault_parts.answers import WrongText, is_long, question_name, remaining_tokens, tokens_of
from benchmarks.load_parts.openai_server import MODEL, STREAM_END, STREAM_HEAD, run_server, write_event

FIRST_TOKEN_SECONDS = 0.01
SECONDS_BETWEEN, LONG_SECONDS_BETWEEN = 0.004, 0.05


async def _stream(writer: asyncio.StreamWriter, request: dict, _length: int) -> None:
    question, beginning = _question(request["messages"])
    writer.write(STREAM_HEAD)
    _write_delta(writer, {"role": "assistant", "content": ""})
    await asyncio.sleep(FIRST_TOKEN_SECONDS)
    seconds = LONG_SECONDS_BETWEEN if is_long(question) else SECONDS_BETWEEN
    for token in remaining_tokens(question, beginning) if beginning else tokens_of(question, time.monotonic()):
        _write_delta(writer, {"content": token})
        await writer.drain()  # raises ConnectionError if the client has closed the connection
        await asyncio.sleep(seconds)
    _write_delta(writer, {}, finish_reason="stop")
    writer.write(STREAM_END)


def _question(messages: list[dict[str, str]]) -> tuple[str, str]:
    """Return the question, and the beginning of its answer if the request continues that.

    A question without an answer is in one message with the next question: roles in the chat's prompts alternate.
    """
    *_, last = messages
    question = last["content"].rpartition("\n\n")[2]
    try:
        question_name(question)
    except WrongText:
        return messages[-3]["content"].rpartition("\n\n")[2], messages[-2]["content"]
    return question, ""


def _write_delta(writer: asyncio.StreamWriter, delta: dict[str, str], finish_reason: str | None = None) -> None:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    write_event(writer, {"choices": [choice], "model": MODEL})


if __name__ == "__main__":
    asyncio.run(run_server(_stream))
