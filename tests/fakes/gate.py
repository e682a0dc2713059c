"""Decides when a fake model writes: a test lets its pieces pass by number, so that no test waits for a clock."""


class Gate:
    """Holds back an answer after its first ``pieces``, until a test lets more pass.

    gemma.gate = Gate(3)      # of each answer that begins now
    ...                       # three pieces are shown
    gemma.gate.release(2)     # two more
    gemma.gate.open()         # the rest
    """

    def __init__(self, pieces: int = 0) -> None:
        self._released = pieces
        self._is_open = False

    def release(self, pieces: int = 1) -> None:
        """Let as many more pieces pass."""
        self._released += pieces

    def open(self) -> None:
        """Let all the rest pass."""
        self._is_open = True

    def lets_pass(self, index: int) -> bool:
        """Return whether an answer's piece of this index may be written."""
        return self._is_open or index < self._released
