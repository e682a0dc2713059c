"""The parser of a streamed chat completion, from bytes to the events of an answer: no network, no clock."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import FinishReason, Usage
from chatapp.domain.sentences import Sentence
from chatapp.models import Finish, TextDelta
from chatapp.models.openai.error_response import error_of_response, status_of
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chatapp.models import ModelEvent
    from chatapp.models.failure import Failure
    from chatapp.models.openai.errors import ServerErrors

MAX_EVENT_BYTES = 1 << 20  # an event holds about one token; a stream without line ends must not fill the memory
_LINE_END = re.compile(rb"\r\n|\n|\r")
_HIGH_SURROGATES = ("\ud800", "\udbff")
# Finish reasons with which vLLM ends a stream that its engine has aborted: the answer is not complete.
_FAILED = frozenset({"abort", "error"})


class EventTooLong(Exception):
    """An event of the stream is longer than `MAX_EVENT_BYTES`."""


class EventStream:
    """Incremental parser of server-sent events that keeps only their data.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation, with one
    addition: `end` returns an event that has no blank line after it because the stream ended.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False
        self._lines: list[bytes] = []
        self._at_start = True

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Parse the next bytes, cut anywhere, and yield the data of each event that they complete.

        Raises:
            EventTooLong: an event has no end.
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
        """Yield the data of an event that has no blank line after it."""
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
    """Parses the stream of one chat completion into the events of an answer.

    Attributes:
        tokens_seen: grows with every token, of text and of reasoning, which is not shown.
        finished: the answer is complete; only usage may follow.
        done: nothing follows.
    """

    def __init__(self, errors: ServerErrors, *, context_tokens: int | None = None) -> None:
        self.tokens_seen = 0
        self.finished = False
        self.done = False
        self._errors = errors
        self._context_tokens = context_tokens
        self._events = EventStream()
        self._seen_chunk = False
        self._held_back = ""
        self._usage: Usage | None = None

    def feed(self, chunk: bytes) -> Iterator[ModelEvent]:
        """Yield the events of the next bytes.

        Raises:
            Failure: the server reports an error, or the stream is no chat completion.
        """
        try:
            for event in self._events.feed(chunk):
                if not self.done:
                    yield from self._take(event)
        except EventTooLong:
            raise self._errors.not_compatible("an event without an end") from None

    def end(self) -> Iterator[ModelEvent]:
        """Yield the last events at the end of the stream.

        Raises:
            Failure: it ended before the answer did.
        """
        for event in self._events.end():
            if not self.done:
                yield from self._take(event)
        if not self._seen_chunk and not self.done:
            raise self._errors.not_compatible("no events")
        if not (self.finished or self.done):
            yield from self._text("", last=True)
            raise self._errors.interrupted()
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
            raise self._errors.not_compatible("an event that is not JSON") from None
        if not isinstance(chunk, dict):
            raise self._errors.not_compatible("an event that is not an object")
        if chunk.get("error"):
            yield from self._text("", last=True)
            raise self._reported(chunk["error"])
        self._seen_chunk = True
        if isinstance(usage := chunk.get("usage"), dict):
            # Some servers send it with every chunk, so the last one counts; most send it alone, without choices.
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
            content = delta.get("content")  # null or "" in the first chunk, which only has the role
            if content or delta.get("reasoning") or delta.get("reasoning_content"):
                self.tokens_seen += 1
            if isinstance(content, str) and content and not self.finished:
                yield from self._text(content)
        reason = choice.get("finish_reason")
        if not reason or not isinstance(reason, str) or self.finished:
            return
        yield from self._text("", last=True)
        if reason in _FAILED:
            raise self._errors.interrupted(Sentence("the server cancelled it"), detail=f"finish_reason={reason}")
        if reason == "content_filter":
            raise self._errors.filtered()
        self.finished = True
        yield Finish(FinishReason.LENGTH if reason == "length" else FinishReason.STOP)

    def _text(self, text: str, *, last: bool = False) -> Iterator[TextDelta]:
        text = self._held_back + text
        self._held_back = ""
        # A character beyond U+FFFF can arrive as two deltas, each half of a surrogate pair: wait for the second half.
        if text and not last and _HIGH_SURROGATES[0] <= text[-1] <= _HIGH_SURROGATES[1]:
            text, self._held_back = text[:-1], text[-1]
        if text:
            yield TextDelta(clean_text(text))

    def _reported(self, error: object) -> Failure:
        error = error if isinstance(error, dict) else {}
        streaming = self.tokens_seen > 0
        return error_of_response(
            self._errors, status_of(error), error, {}, context_tokens=self._context_tokens, streaming=streaming
        )


def joined(events: Iterable[ModelEvent]) -> Iterator[ModelEvent]:
    """Yield the events with consecutive texts joined; text that precedes an error is yielded before it is raised."""
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
