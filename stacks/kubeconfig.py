"""The current context of the person's kubeconfig, as kubectl reads it."""

from __future__ import annotations

import os
from pathlib import Path

import yaml


def current_context(content: str = "") -> str:
    """Return the name of the current context; empty: there is none.

    Args:
        content: a kubeconfig; empty: the files of KUBECONFIG, or ``~/.kube/config``.
    """
    if content:
        return _context(content)
    paths = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    for path in paths or [str(Path.home() / ".kube/config")]:
        try:
            context = _context(Path(path).expanduser().read_text(encoding="utf-8"))
        except OSError:
            continue
        if context:  # the first file that has one decides, as in kubectl
            return context
    return ""


def _context(content: str) -> str:
    try:
        config = yaml.safe_load(content)
    except yaml.YAMLError:
        return ""
    return str(config.get("current-context") or "") if isinstance(config, dict) else ""
