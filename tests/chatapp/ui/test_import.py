"""Gradio is imported without what costs time and serves nobody."""

import subprocess
import sys

import pytest

CHECK = """
import ast, sys
ast.get_source_segment = None  # what Gradio cuts the source of its components into editor stubs with
import chatapp.ui
import gradio, inspect
assert inspect.getfile(gradio.Textbox).endswith("textbox.py")  # and afterwards all is as it was
try:
    import matplotlib
except ImportError:
    print("fine")
"""


@pytest.mark.slow
def test_the_import_parses_no_components_and_finds_no_matplotlib():
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("fine\n", "")
