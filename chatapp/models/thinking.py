"""Thinking inside the text of an answer (``<think>...</think>``): told apart from the answer while it streams.

Servers without a reasoning parser pass the tags of the model through. A template that ends the prompt with ``<think>``
(DeepSeek R1, QwQ) leaves only the closing tag in the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from chatapp.models import TextDelta, TextWasThinking, ThinkingDelta
from chatapp.models.harmony import BEGINNINGS, HarmonyParser
from chatapp.models.partial_tags import before_partial_tag, tags_or_beginnings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    Event = TextDelta | ThinkingDelta | TextWasThinking

THINKING_TAGS: Final = {
    "<think>": "</think>",  # DeepSeek, Qwen, GLM, MiniMax
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<thoughts>": "</thoughts>",
    "<scratchpad>": "</scratchpad>",
    "<|begin_of_thought|>": "<|end_of_thought|>",  # Sky-T1
    "<|start_thinking|>": "<|end_thinking|>",  # Command A
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    "<|channel>thought": "<channel|>",  # Gemma 4
    "<|channel|>analysis<|message|>": "<|end|><|start|>assistant<|channel|>final<|message|>",  # gpt-oss
    "<seed:think>": "</seed:think>",
    "[think]": "[/think]",  # Magistral
    "\u25c1think\u25b7": "\u25c1/think\u25b7",  # Kimi
}
"""The tags of models, in lower case: opening and closing."""

WRAPPERS: Final = {
    "<answer>": "</answer>",  # GLM, Hunyuan
    "<response>": "</response>",  # ERNIE
    "<output>": "</output>",  # Marco
    "<|begin_of_solution|>": "<|end_of_solution|>",
    "<|start_response|>": "<|end_response|>",
}
"""Around the answer after thinking."""

# gpt-oss where a server leaves out the tokens of its format and keeps the words between them.
_BARE_OPEN, _BARE_CLOSE = "analysis", "assistantfinal"
_BARE = re.compile(rf"{_BARE_OPEN}(?=[^\sa-z.,:;!?'\u2019()*_`-])")

_CLOSING = {close: opening for opening, close in THINKING_TAGS.items()}
_TAGS = (*THINKING_TAGS, *_CLOSING)
_LONGEST = max(map(len, _TAGS))
_FIRST = re.compile(f"[{re.escape(''.join({tag[0] for tag in _TAGS}))}]")
_MAYBE_TAG = tags_or_beginnings((*_TAGS, *WRAPPERS.values()))
_TAG = re.compile("|".join(map(re.escape, sorted(_TAGS, key=len, reverse=True))), re.IGNORECASE | re.ASCII)
_CLOSE = {
    close: re.compile(re.escape(close), re.IGNORECASE | re.ASCII)
    for close in (*_CLOSING, *WRAPPERS.values(), _BARE_CLOSE)
}
# Within an answer, only this one opens further thinking: the others may be XML that the person wants.
_INTERLEAVED = "<think>"
_QUOTES = tuple("`\"'“‘«")
_MAX_BLANK = 1000  # characters of white space at the start that are held back, because thinking may follow
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)


class ThinkingParser:
    """Tells thinking from text; the result does not depend on how the text is cut.

    Thinking begins with an opening tag at the start of the answer, after other thinking, or (``<think>`` alone) at the
    start of a line outside of code. A closing tag without an opening one makes all text before it thinking. A tag that
    is quoted is text.
    """

    def __init__(self) -> None:
        self._close = ""  # the tag that ends the thinking; "" in the answer
        self._rest = ""  # the end of the last piece: perhaps the beginning of a tag
        self._last = ""  # the last character before `_rest`
        self._code = _CodeFences()
        self._mentioned: set[str] = set()  # opening tags that are text
        self._is_start = True  # of the answer, or right after thinking
        self._skips_space = False
        self._has_thought = False  # a tag was found
        self._wrapper = ""  # the tag that ends the answer; "" for none
        self._harmony: HarmonyParser | None = None
        self._thought = False  # between tags was text
        self._inner: list[str] = []  # the thinking since its opening tag
        self._unclosed = 0  # further opening tags in it, whose closing tags are yet to come
        self._has_text = False  # was shown before the thinking

    def is_text(self, text: str) -> bool:
        """Return whether the next piece is nothing but text of the answer, which then counts as fed."""
        if self._close or self._rest or self._is_start or not text:
            return False
        if _FIRST.search(text) and _MAYBE_TAG.search(text):
            return False
        self._last = text[-1]
        self._skips_space = False
        self._code.add(text)
        return True

    def feed(self, text: str) -> Iterator[Event]:
        """Yield the next piece, without what may be the beginning of a tag."""
        if self.is_text(text):
            yield TextDelta(text)
            return
        buffer, self._rest = self._rest + text, ""
        while buffer:
            if self._harmony:
                yield from self._harmony.feed(buffer)
                return
            buffer = yield from (self._thinking(buffer) if self._close else self._unwrapped(buffer))

    def end(self) -> Iterator[TextDelta | ThinkingDelta]:
        """Yield what was held back: nothing follows."""
        rest, self._rest = self._rest, ""
        if self._harmony:
            yield from self._harmony.end()
        else:
            yield from self._think(rest) if self._close else self._show(rest)

    def _thinking(self, buffer: str) -> Generator[Event, None, str]:
        """Yield thinking; return what follows its closing tag."""
        if self._skips_space:
            buffer = buffer.lstrip()
        for tag in _CLOSE[self._close].finditer(buffer):
            if not self._is_quoted(buffer, tag.start()):
                yield from self._think(buffer[: tag.start()])
                self._note_nested()
                self._close, self._last = "", ""
                self._is_start = self._skips_space = True
                return buffer[tag.end() :]
        cut = before_partial_tag(buffer, (self._close,), longest=_LONGEST)
        yield from self._think(buffer[:cut])
        self._rest = buffer[cut:]
        return ""

    def _unwrapped(self, buffer: str) -> Generator[Event, None, str]:
        """Yield text of the answer without the tags around it; return what follows a tag."""
        if self._skips_space:
            buffer = buffer.lstrip()
        if self._is_start and (rest := self._beginning(buffer)) is not None:
            return rest
        if not (self._wrapper and (end := _CLOSE[self._wrapper].search(buffer))):
            return (yield from self._answer(buffer))
        self._wrapper = ""
        rest = yield from self._answer(buffer[: end.start()])
        held, self._rest = self._rest, ""
        return rest + held + buffer[end.end() :]

    def _answer(self, buffer: str) -> Generator[Event, None, str]:
        """Yield text of the answer; return what follows a tag."""
        for tag in _TAG.finditer(buffer):
            name, before = tag[0].lower(), buffer[: tag.start()]
            if name in THINKING_TAGS:
                if not self._opens(name, before):
                    self._mentioned.add(name)
                    continue
                if not self._is_blank_start(before):
                    yield from self._show(before)
                if self._thought:
                    yield ThinkingDelta("\n\n")  # between two blocks
                self._close = THINKING_TAGS[name]
                self._has_text = self._has_text or bool(before.strip()) or not self._is_start
            else:
                if not self._closes(name, before):
                    continue
                if not self._is_blank_start(before):
                    yield from self._show(before)
                    yield TextWasThinking()
                self._unclosed = max(0, self._unclosed - 1)
            self._last = ""
            self._is_start = self._skips_space = self._has_thought = True
            return buffer[tag.end() :]
        tags = (*_TAGS, self._wrapper) if self._wrapper else _TAGS
        cut = before_partial_tag(buffer, tags, longest=_LONGEST)
        if self._is_blank_start(buffer[:cut]):
            cut = 0
        yield from self._show(buffer[:cut])
        self._rest = buffer[cut:]
        return ""

    def _beginning(self, buffer: str) -> str | None:
        """Take what only begins an answer; return what follows, and None if there is none."""
        head = buffer.lstrip()
        if not self._is_blank_start(buffer[: len(buffer) - len(head)]) or not head:
            return None
        if head.startswith(BEGINNINGS):
            self._harmony = HarmonyParser()
            return head
        if not self._has_thought and _BARE.match(head):
            self._close, self._has_thought, self._skips_space = _BARE_CLOSE, True, True
            return head[len(_BARE_OPEN) :]
        if self._has_thought and not self._wrapper:
            for opening, closing in WRAPPERS.items():
                if head[: len(opening)].lower() == opening:
                    self._wrapper, self._skips_space = closing, True
                    return head[len(opening) :]
        beginnings = (*BEGINNINGS, *WRAPPERS) if self._has_thought else (*BEGINNINGS, _BARE_OPEN)
        if any(beginning.startswith(head.lower()) for beginning in beginnings):
            self._rest = buffer
            return ""
        return None

    def _opens(self, name: str, before: str) -> bool:
        if self._is_blank_start(before):
            return True
        if name != _INTERLEAVED or (before[-1:] or self._last) != "\n":
            return False
        return not self._code.is_open_after(before)

    def _closes(self, name: str, before: str) -> bool:
        if self._is_blank_start(before):
            return True
        if _CLOSING[name] in self._mentioned or (before[-1:] or self._last) in _QUOTES:
            return False
        if self._has_thought and not (self._unclosed and not self._has_text):
            return False
        return not self._code.is_open_after(before)

    def _is_blank_start(self, before: str) -> bool:
        return self._is_start and not before.strip() and len(before) < _MAX_BLANK

    def _is_quoted(self, buffer: str, start: int) -> bool:
        return (buffer[start - 1] if start else self._last) in _QUOTES

    def _note_nested(self) -> None:
        """Count the opening tags within the thinking that ends: a model may repeat the one that its template wrote."""
        opening = _CLOSING.get(self._close)
        if opening == _INTERLEAVED:
            tags = re.findall(rf"(.?){re.escape(opening)}", "".join(self._inner), re.IGNORECASE | re.DOTALL)
            self._unclosed += sum(before not in _QUOTES for before in tags)
        self._inner = []

    def _think(self, text: str) -> Iterator[ThinkingDelta]:
        if text:
            self._inner.append(text)
            self._last, self._skips_space, self._thought = text[-1], False, True
            yield ThinkingDelta(text)

    def _show(self, text: str) -> Iterator[TextDelta]:
        if text:
            self._last, self._skips_space, self._is_start = text[-1], False, False
            self._code.add(text)
            yield TextDelta(text)


class _CodeFences:
    """Whether a block of code is open, read a line at a time and only when it is asked for."""

    def __init__(self) -> None:
        self._unread: list[str] = []
        self._fence = ""

    def add(self, text: str) -> None:
        self._unread.append(text)

    def is_open_after(self, more: str) -> bool:
        """Return whether it is open after the text so far and ``more``, which is not added."""
        lines, end, rest = "".join(self._unread).rpartition("\n")
        self._fence = _fence_after(lines + end, self._fence)
        self._unread = [rest]
        return bool(_fence_after(rest + more, self._fence))


def _fence_after(text: str, fence: str) -> str:
    """Return the code fence that is open at the end of whole lines, "" for none; ``fence`` is open at their start."""
    for mark in _FENCE.findall(text):
        if not fence:
            fence = mark
        elif mark.startswith(fence):
            fence = ""
    return fence
