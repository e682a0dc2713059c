"""The page. Importing this package imports Gradio, without what costs time and serves nobody here."""

from __future__ import annotations

import inspect
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _no_editor_stubs() -> Iterator[None]:
    """Keep Gradio from parsing the source of its components to write editor stubs, which it does at every import.

    Measured: half of the import (gradio 6.31, `component_meta.create_or_modify_pyi`). It lets be what has no file.
    """
    getfile = inspect.getfile

    def no_file_of_components(thing: Any) -> str:  # noqa: ANN401  # as inspect.getfile
        if inspect.isclass(thing) and thing.__module__.startswith("gradio."):
            raise OSError("no editor stubs")
        return getfile(thing)

    inspect.getfile = no_file_of_components  # type: ignore[assignment]  # the name of its parameter differs
    try:
        yield
    finally:
        inspect.getfile = getfile


# Measured: Gradio tries `import matplotlib` again on every update of every stream, a fifth of its cost (gradio 6.31,
# `utils.py`). Only gr.Plot needs it.
sys.modules.setdefault("matplotlib", None)  # type: ignore[arg-type]  # None makes the import fail at once
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# How many events pass before Gradio computes statistics over all of them with pandas, which nobody here reads.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")

with _no_editor_stubs():
    import gradio  # noqa: F401  # for its side effect: from here on it is there
