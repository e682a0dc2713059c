"""Any text, for Hypothesis."""

import hypothesis.strategies as st

_CHARACTERS = st.characters(exclude_categories=["Cs"])


def any_text(**sizes):
    """Return `st.text` with its default alphabet, of all that UTF-8 encodes.

    To get that, Hypothesis encodes each of a million characters: 1.7 s of CPU in each process of a fresh clone.
    """
    return st.text(_CHARACTERS, **sizes)
