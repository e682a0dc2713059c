"""The parser of a chat completion, streamed or not, from bytes to the events of an answer: no network, no clock."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from chatapp.domain.conversation import FinishReason, Usage
from chatapp.domain.sentences import Sentence
from chatapp.models import Finish, TextDelta, ThinkingDelta
from chatapp.models.openai.answer_end import EARLY_ENDS, AnswerEnd, end_of
from chatapp.models.openai.content import may_hold_picture, parts_of
from chatapp.models.openai.error_response import error_in_stream
from chatapp.models.openai.sse import ErrorEvent, EventStream, EventTooLong
from chatapp.models.prompt import clean_text
from chatapp.models.thinking import ThinkingParser

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chatapp.models import ModelEvent
    from chatapp.models.failure import Failure
    from chatapp.models.openai.content import Part
    from chatapp.models.openai.errors import ServerErrors

_HIGH_SURROGATES = ("\ud800", "\udbff")
_INVALID: Final = re.compile("[\0\ud800-\udfff]")  # what `clean_text` replaces
_USUAL_FIELDS: Final = frozenset({"content", "role"})
_DONE: Final = "[DONE]"
_LONGEST_DONE: Final = 16  # with white space, or as a JSON string
_NOT_JSON: Final = object()


class AnswerParser:
    """Parses one chat completion into the events of an answer.

    The end of the stream ends the answer, and not a finish reason: gateways write one into every chunk.

    Args:
        errors: makes the errors of this server.
        model: the name in the request.
        context_tokens: the size of the context, if it is known.

    Attributes:
        tokens_seen: grows with every token, of text and of thinking.
        done: the stream says that nothing follows.
    """

    def __init__(self, errors: ServerErrors, *, model: str = "", context_tokens: int | None = None) -> None:
        self.tokens_seen = 0
        self.done = False
        self._errors = errors
        self._model = model
        self._context_tokens = context_tokens
        self._events = EventStream()
        self._seen_choices = False
        self._text = _Channel()
        self._thinking = _Channel()
        self._tags = ThinkingParser()
        self._usage: Usage | None = None
        self._end = AnswerEnd.UNKNOWN
        self._reason = ""  # for the log
        self._index: object = None  # of the choice that is the answer; servers may send several
        self._called_tool = False  # and wrote no text since
        self._pieces: list[str] = []  # the text of deltas
        self._unfinished_chunks = 0  # with tokens and without a finish reason
        self._went_on = False  # tokens followed a finish reason

    @property
    def is_complete(self) -> bool:
        """Whether nothing but usage is likely to follow: a finish reason after all tokens, and not with each of them.

        An answer that was lost after this point has all its text.
        """
        return self.done or (self._has_ended and self._unfinished_chunks > 0 and not self._went_on)

    @property
    def _has_ended(self) -> bool:
        return self._end is not AnswerEnd.UNKNOWN

    def feed(self, chunk: bytes) -> Iterator[ModelEvent]:
        """Yield the events of the next bytes.

        Raises:
            Failure: the server reports an error, or the stream is no chat completion.
        """
        texts: list[str] = []
        too_long = False
        try:
            for event in self._events.feed(chunk):
                if self.done:
                    continue
                parsed = _parsed(event)
                if text := self._usual_text(event, parsed):
                    texts.append(text)
                    continue
                if texts:
                    yield TextDelta("".join(texts))
                    texts = []
                yield from self._take(event, parsed)
        except EventTooLong:
            too_long = True
        if texts:
            yield TextDelta("".join(texts))
        if too_long:
            raise self._errors.event_too_long()

    def end(self) -> Iterator[ModelEvent]:
        """Yield the last events at the end of the stream.

        Raises:
            Failure: it ended before the answer did, or the server ended it early.
        """
        for event in self._events.end():
            if not self.done:
                yield from self._take(event, _parsed(event))
        if not self._seen_choices and not self.done:
            raise self._errors.not_compatible("no events")
        yield from self._held_back()
        failure = self._early_end()
        if self._has_ended and failure is None:
            yield Finish(FinishReason.LENGTH if self._end is AnswerEnd.LENGTH else FinishReason.STOP)
        if self._usage:
            yield self._usage
        if failure:
            raise failure

    def _early_end(self) -> Failure | None:
        match self._end:
            case AnswerEnd.FAILED:
                return self._errors.interrupted(
                    Sentence("the server cancelled it"), detail=f"finish_reason={self._reason}"
                )
            case AnswerEnd.FILTERED:
                return self._errors.filtered()
        if not (self._has_ended or self.done):
            return self._errors.interrupted()
        return self._errors.called_tool() if self._called_tool else None

    def _usual_text(self, event: str, chunk: Any) -> str:  # noqa: ANN401  # any JSON value
        """Take an event with nothing but text, as almost all are, and return the text; "": it is another one.

        A shortcut past the generators of `_take`, which would yield the same: they cost 10 µs a token.
        """
        try:
            (choice,) = chunk["choices"]
            delta = choice["delta"]
            content = delta["content"]
            if (
                type(content) is not str
                or not content
                or choice.get("finish_reason") is not None
                or choice.get("error")
                or chunk.get("error")
                or chunk.get("usage") is not None
                or choice.get("index", 0) != self._index
                or not (len(delta) == 1 or delta.keys() <= _USUAL_FIELDS)
            ):
                return ""
        except (KeyError, TypeError, ValueError, AttributeError):
            return ""
        if isinstance(event, ErrorEvent) or self._has_ended or may_hold_picture(content):
            return ""
        if not (self._text.is_clean(content) and self._tags.is_text(content)):
            return ""
        self._seen_choices, self._called_tool = True, False
        self._pieces.append(content)
        self.tokens_seen += 1
        self._unfinished_chunks += 1
        return content

    def _take(self, event: str, chunk: Any) -> Iterator[ModelEvent]:  # noqa: ANN401  # any JSON value
        if len(event) < _LONGEST_DONE and event.strip(' "\t').upper() == _DONE:
            self.done = True
            return
        if chunk is _NOT_JSON:
            yield from self._odd(event)
            return
        is_usual = isinstance(chunk, dict) and "choices" in chunk and not chunk.get("error")
        if isinstance(event, ErrorEvent) or (not is_usual and _is_error(chunk)):
            yield from self._held_back()
            raise self._reported(chunk)
        if not isinstance(chunk, dict):
            raise self._errors.not_compatible("an event that is not an object")
        if isinstance(usage := chunk.get("usage"), dict):
            # Some servers send it with every chunk, so the last one counts; most send it alone, without choices.
            self._usage = Usage(
                prompt_tokens=_count(usage.get("prompt_tokens")),
                completion_tokens=_count(usage.get("completion_tokens")),
            )
        choices = chunk.get("choices")
        if isinstance(choices, list):
            self._seen_choices = True
            if (choice := self._answer(choices)) is not None:
                yield from self._choice(choice)

    def _odd(self, event: str) -> Iterator[ModelEvent]:
        """Take an event that is not JSON.

        Raises:
            Failure: it is an error, or nothing that a server of this API sends.
        """
        if isinstance(event, ErrorEvent):
            raise self._reported({"error": {"message": event}})
        # Some gateways write "data:" twice, or no blank line between events.
        lines = [line.removeprefix("data:").strip() for line in event.split("\n")]
        if lines != [event.strip()]:
            for line in filter(None, lines):
                if not self.done:
                    yield from self._take(line, _parsed(line))
            return
        if self._seen_choices:  # the stream broke off within an event, or a proxy wrote into it
            yield from self._held_back()
            raise self._errors.interrupted(detail="an event that is not JSON")
        raise self._errors.not_compatible("an event that is not JSON")

    def _answer(self, choices: list[Any]) -> dict[str, Any] | None:
        """Return the choice that is the answer: the one with the first index that came."""
        found = [choice for choice in choices if isinstance(choice, dict)]
        if self._index is None and found:
            self._index = min((_index(choice) for choice in found), default=0)
        return next((choice for choice in found if _index(choice) == self._index), None)

    def _choice(self, choice: dict[str, Any]) -> Iterator[ModelEvent]:
        has_tokens = False
        for part in self._parts(choice):
            has_tokens = True
            yield from self._part(part)
        self._called_tool = _calls_tool(choice) or (self._called_tool and not has_tokens)
        end = end_of(choice.get("finish_reason"))
        if has_tokens:
            self.tokens_seen += 1
            self._went_on = self._went_on or self._has_ended
            self._unfinished_chunks += end is AnswerEnd.UNKNOWN
        if end is not AnswerEnd.UNKNOWN and self._end not in EARLY_ENDS:
            self._end, self._reason = end, str(choice["finish_reason"])[:40]
        if isinstance(error := choice.get("error"), (dict, str)) and error:  # OpenRouter
            yield from self._held_back()
            raise self._reported({"error": error})

    def _parts(self, choice: dict[str, Any]) -> list[Part]:
        """Return what a choice holds: in its delta, else in a message (a plain answer, and chunks of some gateways)."""
        delta = choice.get("delta")
        if isinstance(delta, str):
            delta = {"content": delta}
        if isinstance(delta, dict) and (parts := list(parts_of(delta))):
            self._pieces += [part.text for part in parts if isinstance(part, TextDelta)]
            return parts
        message = choice.get("message")
        parts = list(parts_of(message if isinstance(message, dict) else {"content": choice.get("text")}))
        if self._pieces and parts:
            text = "".join(part.text for part in parts if isinstance(part, TextDelta))
            if text == "".join(self._pieces):
                return []  # the whole answer once more, at its end
        return parts

    def _part(self, part: Part) -> Iterator[ModelEvent]:
        if isinstance(part, TextDelta):
            if text := self._text.cleaned(part.text):
                yield from self._tags.feed(text)
        elif isinstance(part, ThinkingDelta):
            if text := self._thinking.cleaned(part.text):
                yield ThinkingDelta(text)
        else:
            yield part

    def _held_back(self) -> Iterator[ModelEvent]:
        if thinking := self._thinking.end():
            yield ThinkingDelta(thinking)
        if text := self._text.end():
            yield from self._tags.feed(text)
        yield from self._tags.end()

    def _reported(self, body: object) -> Failure:
        return error_in_stream(
            self._errors, body, model=self._model, context_tokens=self._context_tokens, started=self.tokens_seen > 0
        )


class _Channel:
    """Joins characters beyond U+FFFF that arrive as two deltas, each half of a surrogate pair."""

    def __init__(self) -> None:
        self._half = ""

    def is_clean(self, text: str) -> bool:
        """Return whether the next text stays as it is."""
        return not (self._half or _INVALID.search(text))

    def cleaned(self, text: str) -> str:
        """Return valid text, without a first half at its end, which waits for the second."""
        if self.is_clean(text):
            return text
        text, self._half = self._half + text, ""
        if text and _HIGH_SURROGATES[0] <= text[-1] <= _HIGH_SURROGATES[1]:
            text, self._half = text[:-1], text[-1]
        return clean_text(text)

    def end(self) -> str:
        """Return what is left."""
        half, self._half = self._half, ""
        return clean_text(half)


def joined(events: Iterable[ModelEvent]) -> Iterator[ModelEvent]:
    """Yield the events with consecutive texts joined, and thinking, too; what precedes an error comes before it."""
    kind: type[TextDelta | ThinkingDelta] = TextDelta
    texts: list[str] = []
    try:
        for event in events:
            if isinstance(event, (TextDelta, ThinkingDelta)):
                if texts and type(event) is not kind:
                    yield kind("".join(texts))
                    texts = []
                kind = type(event)
                texts.append(event.text)
                continue
            if texts:
                yield kind("".join(texts))
                texts = []
            yield event
    except Exception:
        if texts:
            yield kind("".join(texts))
        raise
    if texts:
        yield kind("".join(texts))


def _parsed(event: str) -> Any:  # noqa: ANN401  # any JSON value
    try:
        return orjson.loads(event)
    except ValueError:
        pass
    try:
        return json.loads(event)  # takes more: NaN, and halves of surrogate pairs
    except (ValueError, RecursionError):
        return _NOT_JSON


def _index(choice: dict[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _calls_tool(choice: dict[str, Any]) -> bool:
    """Return whether the model asks the chat to call a function."""
    parts = [part for part in (choice.get("delta"), choice.get("message")) if isinstance(part, dict)]
    return any(part.get("tool_calls") or part.get("function_call") for part in parts)


def _is_error(chunk: object) -> bool:
    """Return whether an event reports an error; some do it without "error", and then they have no choices."""
    if isinstance(chunk, list):
        return bool(chunk) and isinstance(chunk[0], dict) and bool(chunk[0].get("error"))  # Gemini
    if not isinstance(chunk, dict):
        return False
    if chunk.get("error"):
        return True
    if "choices" in chunk or "usage" in chunk:
        return False
    return chunk.get("object") == "error" or chunk.get("type") == "error" or _has_message(chunk)


def _has_message(chunk: dict[str, Any]) -> bool:
    return any(isinstance(chunk.get(name), str) and chunk[name] for name in ("message", "detail", "error_msg"))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
