"""Print the results of checks."""

import sys


class Report:
    """Prints what checks find, and remembers whether something is missing.

    Args:
        detailed: print everything, as a list (doctor); else only what is missing, to standard error, and the notes.
    """

    def __init__(self, *, detailed: bool) -> None:
        self.is_complete = True
        self._detailed = detailed

    def ok(self, sentence: str) -> None:
        """Report something that is in order."""
        if self._detailed:
            print(f"  ok       {sentence}", flush=True)

    def later(self, sentence: str) -> None:
        """Report something that a verb of the Makefile does by itself."""
        if self._detailed:
            print(f"  later    {sentence}", flush=True)

    def note(self, sentence: str) -> None:
        """Report something that a person should know."""
        print(f"  note     {sentence}" if self._detailed else sentence, flush=True)

    def missing(self, sentence: str) -> None:
        """Report something that is missing or wrong: the verb must not run."""
        self.is_complete = False
        if self._detailed:
            print(f"  missing  {sentence}", flush=True)
        else:
            print(sentence, file=sys.stderr, flush=True)
