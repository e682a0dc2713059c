"""Sentences for people: English where they are written, and any language where they are read."""

from __future__ import annotations

import math
from string import Formatter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Value = str | int | float


class Sentence(str):
    """An English sentence that still knows what it was made of, so that it can be said in another language.

    ``Sentence("{model} has {count} places.", model="Gemma", count=1200)`` is the text "Gemma has 1,200 places.". A
    value may be a sentence too. The translations (``ui/assets/locales``) are found by the template: write it as a
    literal, with plain ``{names}``, and say numbers so that they need no plural.
    """

    template: str
    values: Mapping[str, Value]

    def __new__(cls, template: str, **values: Value) -> Sentence:
        """Return the sentence; numbers in it are grouped by thousands."""
        said = {name: value if isinstance(value, str) else f"{value:,}" for name, value in values.items()}
        sentence = super().__new__(cls, template.format(**said) if values else template)
        sentence.template = template
        sentence.values = values
        return sentence

    def filled(self, **facts: Value) -> Sentence:
        """Return the sentence with those of the facts that its template names, for templates kept in a table."""
        names = {name for _, name, _, _ in Formatter().parse(self.template) if name}
        return Sentence(self.template, **{name: facts[name] for name in names})

    def begun(self) -> Sentence:
        """Return a phrase as the beginning of a sentence: "try again" becomes "Try again".

        The catalogues have both, see tests/chatapp/ui/test_locales.py.
        """
        return Sentence(self.template[:1].upper() + self.template[1:], **self.values)


class Wait(str):
    """How long until something, as a part of a sentence: "in 12 minutes", or the like in the reader's language.

    Attributes:
        seconds: how long.
    """

    seconds: int

    def __new__(cls, seconds: int) -> Wait:
        """Return it in English, in a unit that tells something."""
        unit, length = next((unit, length) for unit, length, most in _UNITS if seconds < most)
        count = -(-seconds // length)
        wait = super().__new__(cls, f"in {count} {unit}{'' if count == 1 else 's'}")
        wait.seconds = seconds
        return wait


class Duration(str):
    """How long something takes, as a part of a sentence: "5 minutes", or the like in the reader's language.

    Attributes:
        seconds: how long.
    """

    seconds: float

    def __new__(cls, seconds: float) -> Duration:
        """Return it in English, without trailing zeros."""
        unit, length = next((unit, length) for unit, length, most in _UNITS if seconds < most)
        count = round(seconds / length, 3)
        duration = super().__new__(cls, f"{count:g} {unit}{'' if count == 1 else 's'}")
        duration.seconds = seconds
        return duration


_UNITS = (("second", 1, 60), ("minute", 60, 7200), ("hour", 3600, math.inf))  # the page has the same, in words.js
# What pages without a script say, where no library forms the plurals of each language.
_SHORT = {
    "second": (Sentence("in {count} s"), Sentence("{count} s")),
    "minute": (Sentence("in {count} min"), Sentence("{count} min")),
    "hour": (Sentence("in {count} h"), Sentence("{count} h")),
}


def as_json(text: str) -> dict[str, Any]:
    """Return what the page needs to say a text in its own language; plain text is said as it is."""
    if isinstance(text, Wait):
        return {"text": str(text), "seconds": text.seconds}
    if isinstance(text, Duration):
        return {"text": str(text), "duration": text.seconds}
    if not isinstance(text, Sentence):
        return {"text": text}
    values = {name: as_json(value) if isinstance(value, str) else value for name, value in text.values.items()}
    return {"text": str(text), "template": text.template, "values": values}


def from_json(said: Mapping[str, Any] | str) -> str:
    """Return the text that `as_json` was given."""
    if isinstance(said, str):
        return said
    if "seconds" in said:
        return Wait(said["seconds"])
    if "duration" in said:
        return Duration(said["duration"])
    if "template" not in said:
        return str(said["text"])
    values = {name: from_json(value) if isinstance(value, dict) else value for name, value in said["values"].items()}
    return Sentence(said["template"], **values)


def translated(text: str, catalogue: Mapping[str, str]) -> str:
    """Return a sentence in another language, by the translations of templates; what is in none of them stays."""
    if isinstance(text, Wait | Duration) and catalogue:
        unit, length = next((unit, length) for unit, length, most in _UNITS if text.seconds < most)
        template = _SHORT[unit][0 if isinstance(text, Wait) else 1].template
        return catalogue.get(template, template).format(count=math.ceil(text.seconds / length))
    if not isinstance(text, Sentence):
        return text
    values = {
        name: translated(value, catalogue) if isinstance(value, str) else f"{value:,}"
        for name, value in text.values.items()
    }
    template = catalogue.get(text.template, text.template)
    return template.format(**values) if values else template
