"""The source of the chat's image, and its hash, which is the image's tag."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DOCKERFILE = "chatapp/Dockerfile"


@dataclass(frozen=True)
class Source:
    """The files that ``.dockerignore`` includes, and the Dockerfile.

    Attributes:
        root: the folder of the build, with ``.dockerignore``.
        files: paths relative to it, sorted.
    """

    root: Path
    files: tuple[str, ...]

    @classmethod
    def of(cls, root: Path) -> Source:
        """Return the source in a folder.

        Raises:
            FileNotFoundError: there is no ``.dockerignore`` or no Dockerfile.
        """
        rules = _rules((root / ".dockerignore").read_text(encoding="utf-8"))
        tops = [root / rule.lstrip("!") for rule in rules if rule.startswith("!")]
        candidates = {path for top in tops for path in ([top] if top.is_file() else top.rglob("*")) if path.is_file()}
        names = {path.relative_to(root).as_posix() for path in candidates}
        files = {name for name in names if _is_included(name, rules)} | {DOCKERFILE}
        return cls(root, tuple(sorted(files)))

    @functools.cached_property
    def tag(self) -> str:
        """The hash of names and contents, 16 hex digits: same source, same tag."""
        digest = hashlib.sha256()
        for name in self.files:
            content = (self.root / name).read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()[:16]


def _rules(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _is_included(name: str, rules: Sequence[str]) -> bool:
    """Whether Docker would send the file: the last rule that matches it, or one of its parent folders, decides."""
    parts = _with_parents(name)
    for rule in reversed(rules):
        pattern = rule.lstrip("!")
        if any(_matches(part, pattern) for part in parts):
            return rule.startswith("!")
    return True


def _with_parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("**/"):  # at any depth
        return fnmatch.fnmatchcase(name.rpartition("/")[2], pattern[3:])
    return name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)
