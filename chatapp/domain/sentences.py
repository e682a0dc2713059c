"""Translatable sentences: written in English, shown in the reader's language."""

from __future__ import annotations

import math
from string import Formatter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Value = str | int | float


# Text between them has a direction of its own, as in an element ``bdi`` (Unicode Standard Annex 9).
ISOLATE, END_OF_ISOLATE = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"


class Sentence(str):
    """An English sentence that keeps its template and values, so that it can be translated.

    ``Sentence("{model} has {count} places.", model="Gemma", count=1200)`` is the text "Gemma has 1,200 places.". A
    value may be a sentence too. The template is the key of the translations (``ui/assets/locales``): write it as a
    literal with plain ``{names}``, and word it so that numbers need no plural.
    """

    template: str
    values: Mapping[str, Value]

    def __new__(cls, template: str, **values: Value) -> Sentence:
        """Return the sentence; numbers in it are grouped by thousands."""
        formatted = {name: value if isinstance(value, str) else f"{value:,}" for name, value in values.items()}
        sentence = super().__new__(cls, template.format(**formatted) if values else template)
        sentence.template = template
        sentence.values = values
        return sentence

    def filled(self, **facts: Value) -> Sentence:
        """Return the sentence with the facts that its template names, for templates in a table."""
        names = {name for _, name, _, _ in Formatter().parse(self.template) if name}
        return Sentence(self.template, **{name: facts[name] for name in names})

    def begun(self) -> Sentence:
        """Return a phrase as the beginning of a sentence: "try again" becomes "Try again".

        The catalogues have both, see tests/chatapp/ui/test_locales.py.
        """
        return Sentence(self.template[:1].upper() + self.template[1:], **self.values)


class Wait(str):
    """The time until an event, as a part of a sentence: "in 12 minutes", translated for the reader.

    Attributes:
        seconds: how long.
    """

    seconds: int

    def __new__(cls, seconds: int) -> Wait:
        """Return it in English, in the largest suitable unit."""
        unit, length = next((unit, length) for unit, length, most in _UNITS if seconds < most)
        count = -(-seconds // length)
        wait = super().__new__(cls, f"in {count} {unit}{'' if count == 1 else 's'}")
        wait.seconds = seconds
        return wait


class Duration(str):
    """A duration, as a part of a sentence: "5 minutes", translated for the reader.

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


class Names(str):
    """Names, such as those of files, as a part of a sentence: each keeps its own direction in a translation.

    Attributes:
        names: in order.
    """

    names: tuple[str, ...]

    def __new__(cls, names: Iterable[str]) -> Names:
        """Return them with commas between them."""
        parts = tuple(names)
        text = super().__new__(cls, ", ".join(parts))
        text.names = parts
        return text


_UNITS = (("second", 1, 60), ("minute", 60, 7200), ("hour", 3600, math.inf))  # the page has the same, in words.js
# For pages without a script, where no library forms the plurals of each language.
_SHORT = {
    "second": (Sentence("in {count} s"), Sentence("{count} s")),
    "minute": (Sentence("in {count} min"), Sentence("{count} min")),
    "hour": (Sentence("in {count} h"), Sentence("{count} h")),
}


def as_json(text: str) -> dict[str, Any]:
    """Return a text as JSON that the page can translate; plain text stays as it is."""
    if isinstance(text, Wait):
        return {"text": str(text), "seconds": text.seconds}
    if isinstance(text, Duration):
        return {"text": str(text), "duration": text.seconds}
    if isinstance(text, Names):
        return {"text": str(text), "names": list(text.names)}
    if not isinstance(text, Sentence):
        return {"text": text}
    values = {name: as_json(value) if isinstance(value, str) else value for name, value in text.values.items()}
    return {"text": str(text), "template": text.template, "values": values}


def from_json(value: Mapping[str, Any] | str) -> str:
    """Return the text from the JSON of `as_json`."""
    if isinstance(value, str):
        return value
    if "seconds" in value:
        return Wait(value["seconds"])
    if "duration" in value:
        return Duration(value["duration"])
    if "names" in value:
        return Names(value["names"])
    if "template" not in value:
        return str(value["text"])
    values = {name: from_json(item) if isinstance(item, dict) else item for name, item in value["values"].items()}
    return Sentence(value["template"], **values)


def translated(text: str, catalogue: Mapping[str, str]) -> str:
    """Return a sentence translated by a catalogue of templates; a text without a translation stays in English."""
    if isinstance(text, Wait | Duration) and catalogue:
        unit, length = next((unit, length) for unit, length, most in _UNITS if text.seconds < most)
        template = _SHORT[unit][0 if isinstance(text, Wait) else 1].template
        return catalogue.get(template, template).format(count=math.ceil(text.seconds / length))
    if not isinstance(text, Sentence):
        return text
    values = {
        name: _part(value, catalogue) if isinstance(value, str) else f"{value:,}" for name, value in text.values.items()
    }
    template = catalogue.get(text.template, text.template)
    return template.format(**values) if values else template


def _part(text: str, catalogue: Mapping[str, str]) -> str:
    """Return a part of a sentence; a name keeps its direction in a translation, and the sentence its own."""
    if isinstance(text, Names):
        return ", ".join(_part(name, catalogue) for name in text.names)
    is_name = not isinstance(text, Sentence | Wait | Duration)
    if is_name and catalogue and any(char.isalpha() for char in text):
        return f"{ISOLATE}{text}{END_OF_ISOLATE}"
    return translated(text, catalogue)
