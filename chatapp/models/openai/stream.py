"""From the bytes of a streamed chat completion to the events of an answer: no network, no clock."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import FinishReason, Usage
from chatapp.domain.sentences import Sentence
from chatapp.models import Finish, TextDelta
from chatapp.models.openai.refusals import refused
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chatapp.models import ModelEvent
    from chatapp.models.openai.errors import Problems, ServerProblem

MAX_EVENT_BYTES = 1 << 20  # an event holds about one token; without a bound a stream without line ends fills the memory
_LINE_END = re.compile(rb"\r\n|\n|\r")
_HIGH_SURROGATES = ("\ud800", "\udbff")
# vLLM ends a stream this way when its engine gave the request up; it is not the end of an answer.
_FAILED = frozenset({"abort", "error"})


class EventTooLong(Exception):
    """An event of the stream is longer than `MAX_EVENT_BYTES`."""


class EventStream:
    """Incremental parser of server-sent events that keeps only their data.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation, with one
    addition: `end` gives an event that the end of the stream cut off from its blank line.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False
        self._lines: list[bytes] = []
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Take the next bytes, however they are cut, and yield the data of each event they complete.

        Raises:
            EventTooLong: there is no end to an event.
        """
        if not chunk:
            return
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")  # the second half of a CRLF
        self._after_cr = chunk.endswith(b"\r")
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        for line in lines:
            yield from self._take(line)
        if len(self._rest) + sum(map(len, self._lines)) > MAX_EVENT_BYTES:
            raise EventTooLong

    def end(self) -> Iterator[str]:
        """Yield the data of an event that no blank line has ended."""
        rest, self._rest = self._rest, b""
        yield from self._take(rest)
        yield from self._take(b"")

    def _take(self, line: bytes) -> Iterator[str]:
        if self._at_start:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._at_start = False
        if line:
            field, _, value = line.partition(b":")
            if field == b"data":
                self._lines.append(value.removeprefix(b" "))
            return
        lines, self._lines = self._lines, []
        if any(lines):
            yield b"\n".join(lines).decode("utf-8", "replace")


class AnswerParser:
    """Turns the stream of one chat completion into the events of an answer.

    Attributes:
        tokens_seen: grows with every token, whether it is shown (text) or not (reasoning).
        finished: the answer is whole; only usage may follow.
        done: nothing more will follow.
    """

    def __init__(self, problems: Problems, *, context_tokens: int | None = None) -> None:
        self.tokens_seen = 0
        self.finished = False
        self.done = False
        self._problems = problems
        self._context_tokens = context_tokens
        self._events = EventStream()
        self._seen_chunk = False
        self._held_back = ""
        self._usage: Usage | None = None

    def feed(self, chunk: bytes) -> Iterator[ModelEvent]:
        """Yield what the next bytes of the stream say.

        Raises:
            ServerProblem: the server reports an error, or this is no chat completion.
        """
        try:
            for event in self._events.feed(chunk):
                if not self.done:
                    yield from self._take(event)
        except EventTooLong:
            raise self._problems.not_compatible("an event without an end") from None

    def end(self) -> Iterator[ModelEvent]:
        """Yield what is left when the stream has ended.

        Raises:
            ServerProblem: it ended in the middle.
        """
        for event in self._events.end():
            if not self.done:
                yield from self._take(event)
        if not self._seen_chunk and not self.done:
            raise self._problems.not_compatible("no events")
        if not (self.finished or self.done):
            yield from self._text("", last=True)
            raise self._problems.broken_off()
        yield from self._text("", last=True)
        if self._usage:
            yield self._usage

    def _take(self, event: str) -> Iterator[ModelEvent]:
        if event.strip() == "[DONE]":
            self.done = True
            return
        try:
            chunk = json.loads(event)
        except (ValueError, RecursionError):
            raise self._problems.not_compatible("an event that is not JSON") from None
        if not isinstance(chunk, dict):
            raise self._problems.not_compatible("an event that is not an object")
        if chunk.get("error"):
            yield from self._text("", last=True)
            raise self._reported(chunk["error"])
        self._seen_chunk = True
        if isinstance(usage := chunk.get("usage"), dict):
            # Some servers send it with every chunk, so the last one counts; most send it alone, with no choices.
            self._usage = Usage(
                prompt_tokens=_count(usage.get("prompt_tokens")),
                completion_tokens=_count(usage.get("completion_tokens")),
            )
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            yield from self._choice(choices[0])

    def _choice(self, choice: dict[str, Any]) -> Iterator[ModelEvent]:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            content = delta.get("content")  # null or "" in the first chunk, which only tells the role
            if content or delta.get("reasoning") or delta.get("reasoning_content"):
                self.tokens_seen += 1
            if isinstance(content, str) and content and not self.finished:
                yield from self._text(content)
        reason = choice.get("finish_reason")
        if not reason or not isinstance(reason, str) or self.finished:
            return
        yield from self._text("", last=True)
        if reason in _FAILED:
            raise self._problems.broken_off(Sentence("the server cancelled it"), detail=f"finish_reason={reason}")
        if reason == "content_filter":
            raise self._problems.filtered()
        self.finished = True
        yield Finish(FinishReason.LENGTH if reason == "length" else FinishReason.STOP)

    def _text(self, text: str, *, last: bool = False) -> Iterator[TextDelta]:
        text = self._held_back + text
        self._held_back = ""
        # A character beyond U+FFFF can arrive as two deltas, each half of a surrogate pair: wait for the second one.
        if text and not last and _HIGH_SURROGATES[0] <= text[-1] <= _HIGH_SURROGATES[1]:
            text, self._held_back = text[:-1], text[-1]
        if text:
            yield TextDelta(clean_text(text))

    def _reported(self, error: object) -> ServerProblem:
        known = error if isinstance(error, dict) else {}
        code = known.get("code")
        status = code if isinstance(code, int) and 400 <= code < 600 else 500
        streaming = self.tokens_seen > 0
        return refused(self._problems, status, known, {}, context_tokens=self._context_tokens, streaming=streaming)


def joined(events: Iterable[ModelEvent]) -> Iterator[ModelEvent]:
    """Yield the events with neighbouring texts as one; text before an error comes before it."""
    texts: list[str] = []
    try:
        for event in events:
            if isinstance(event, TextDelta):
                texts.append(event.text)
                continue
            if texts:
                yield TextDelta("".join(texts))
                texts = []
            yield event
    except Exception:
        if texts:
            yield TextDelta("".join(texts))
        raise
    if texts:
        yield TextDelta("".join(texts))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
