"""The formats of exports, each a module that recognizes its conversations by their content and converts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from chatapp.imports.formats import chatgpt, claude, gemini, librechat, open_webui, own

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chatapp.imports.parsed import Parsed


class Format(Protocol):
    """A format of conversations."""

    NAME: str

    def recognizes(self, value: object) -> bool:
        """Return whether a value is a conversation of this format."""

    def convert(self, value: Mapping[str, Any]) -> Iterator[Parsed]:
        """Yield the conversation."""


FORMATS: tuple[Format, ...] = (chatgpt, claude, open_webui, librechat, gemini)
NAMES = {
    "own": own.NAME,
    "chatgpt": chatgpt.NAME,
    "claude": claude.NAME,
    "open-webui": open_webui.NAME,
    "librechat": librechat.NAME,
    "gemini": gemini.NAME,
    "gemini-workspace": gemini.NAME,
}


def format_of(value: object) -> Format | None:
    """Return the format of a conversation; None if there is none."""
    return next((one for one in FORMATS if one.recognizes(value)), None)
