"""Controls when a fake model writes: the test releases pieces by number, so that no test depends on time."""


class Gate:
    """Holds an answer after its first ``pieces``, until the test releases more.

    gemma.gate = Gate(3)      # of each answer that begins now
    ...                       # three pieces are shown
    gemma.gate.release(2)     # two more
    gemma.gate.open()         # the rest
    """

    def __init__(self, pieces: int = 0) -> None:
        self._released = pieces
        self._is_open = False

    def release(self, pieces: int = 1) -> None:
        """Release more pieces."""
        self._released += pieces

    def open(self) -> None:
        """Release all remaining pieces."""
        self._is_open = True

    def lets_pass(self, index: int) -> bool:
        """Return whether the piece of an answer with this index may be written."""
        return self._is_open or index < self._released
