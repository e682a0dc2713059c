"""The page. Importing this package prepares Gradio's own import."""

from __future__ import annotations

import os
import sys

# Measured: Gradio tries `import matplotlib` again on every update of every stream, a fifth of its cost (gradio 6.31,
# `utils.py`). Only gr.Plot needs it.
sys.modules.setdefault("matplotlib", None)  # type: ignore[arg-type]  # None makes the import fail at once
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# How many events pass before Gradio computes statistics over all of them with pandas, which nobody here reads.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
