"""Print the results of checks, for a person or for a program."""

import json
import sys
from typing import Literal

Status = Literal["pass", "later", "note", "fail"]
_WORDS: dict[Status, str] = {"pass": "ok", "later": "later", "note": "note", "fail": "missing"}


class Report:
    """Prints what checks find, and remembers whether something is missing.

    Args:
        detailed: print everything, as a list (doctor); else only what is missing, to standard error, and the notes.
        in_json: print nothing until `print_json`.
    """

    def __init__(self, *, detailed: bool, in_json: bool = False) -> None:
        self.is_complete = True
        self._detailed, self._in_json = detailed, in_json
        self._part = ""
        self._checks: list[dict[str, str]] = []

    def begin(self, part: str) -> None:
        """Begin a part of the list."""
        self._part = part
        if not self._in_json:
            print(part, flush=True)

    def ok(self, sentence: str) -> None:
        """Report something that is in order."""
        self.add("pass", sentence)

    def later(self, sentence: str) -> None:
        """Report something that a verb of the Makefile does by itself, or that cannot be read."""
        self.add("later", sentence)

    def note(self, sentence: str) -> None:
        """Report something that a person should know."""
        self.add("note", sentence)

    def missing(self, sentence: str) -> None:
        """Report something that is missing or wrong: the verb must not run."""
        self.add("fail", sentence)

    def print_json(self) -> None:
        """Print all results: ``{"complete": bool, "checks": [{"part", "status", "text"}]}``.

        The status is ``pass``, ``later`` (a verb does it by itself, or it cannot be read), ``note`` or ``fail``; the
        text of the last two ends with the command that mends it, where there is one.
        """
        print(json.dumps({"complete": self.is_complete, "checks": self._checks}, indent=2, ensure_ascii=False))

    def add(self, status: Status, sentence: str) -> None:
        """Report a result."""
        if status == "fail":
            self.is_complete = False
        self._checks.append({"part": self._part, "status": status, "text": sentence})
        if self._in_json:
            return
        if self._detailed:
            print(f"  {_WORDS[status]:8} {sentence}", flush=True)
        elif status == "fail":
            print(sentence, file=sys.stderr, flush=True)
        elif status == "note":
            print(sentence, flush=True)
