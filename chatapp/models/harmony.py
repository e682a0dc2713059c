"""The format of gpt-oss ("harmony"), as servers pass it on that do not parse it: messages in channels.

``<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...<|return|>``. See
https://cookbook.openai.com/articles/openai-harmony
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from chatapp.models import TextDelta, ThinkingDelta
from chatapp.models.partial_tags import before_partial_tag

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGINNINGS: Final = ("<|start|>", "<|channel|>")
"""An answer that begins with one of these is in this format."""

_NAMES: Final = ("start", "channel", "constrain", "message", "end", "return", "call")
_MARK: Final = re.compile(rf"<\|({'|'.join(_NAMES)})\|>")
_MARKS: Final = tuple(f"<|{name}|>" for name in _NAMES)
_LONGEST: Final = max(map(len, _MARKS))


class HarmonyParser:
    """Tells the final channel, which is text, from the others, which are thinking."""

    def __init__(self) -> None:
        self._rest = ""  # perhaps the beginning of a mark
        self._mark = ""  # the last one
        self._header = ""  # what the message's header says so far, behind the name of the role
        self._channel = ""
        self._is_first = True  # what comes next, after a mark
        self._has_thought = False

    def feed(self, text: str) -> Iterator[TextDelta | ThinkingDelta]:
        """Yield the next piece."""
        text, self._rest = self._rest + text, ""
        done = 0
        for mark in _MARK.finditer(text):
            yield from self._take(text[done : mark.start()])
            self._begin(mark[1])
            done = mark.end()
        text = text[done:]
        cut = before_partial_tag(text, _MARKS, longest=_LONGEST)
        self._rest = text[cut:]
        yield from self._take(text[:cut])

    def end(self) -> Iterator[TextDelta | ThinkingDelta]:
        """Yield what was held back: nothing follows."""
        rest, self._rest = self._rest, ""
        yield from self._take(rest)

    def _begin(self, mark: str) -> None:
        self._is_first = True
        if mark == "message":
            self._channel, self._header = self._header.strip().partition(" ")[0], ""
        elif mark in {"start", "channel"}:
            self._header = ""
        self._mark = mark

    def _take(self, text: str) -> Iterator[TextDelta | ThinkingDelta]:
        if self._mark in {"start", "constrain"}:
            return  # the name of the role, and the format of a call
        if self._mark == "channel":
            self._header += text
            return
        if self._is_first:
            text = text.lstrip()
        if not text:
            return
        if self._mark == "message" and self._channel not in {"", "final"}:
            if self._is_first and self._has_thought:
                yield ThinkingDelta("\n\n")
            self._has_thought = True
            yield ThinkingDelta(text)
        else:  # of the final channel, or of none
            yield TextDelta(text)
        self._is_first = False
