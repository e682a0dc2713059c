"""The program of the child process: reads a document's file from its input, and writes its text to its output.

Its memory, CPU time and files are limited before it reads anything, and it can open no file but Python's own, connect
to nothing and start nothing (as far as Python code goes: the libraries in other languages have no such functions). It
ends after one file. The output is one line of JSON: ``{"kind": ..., "pages": [[number, name, [[kind, text, level],
...]], ...]}``, or ``{"refused": ..., "facts": {...}, "detail": ...}``.

Run by its path and isolated (``python -I``): it knows no setting and no key of the chat.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from extraction.reading import read  # type: ignore[import-not-found]  # the folder beside this file
from extraction.shape import Reason, Refused  # type: ignore[import-not-found]

MEMORY_BYTES = 700_000_000  # of addresses, beyond what Python has at the start; in use are at most some 500 MB
CPU_SECONDS = 40
OPEN_FILES = 64
RECURSION = 2_000

_REFUSED_EVENTS = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "urllib.")
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")


def main() -> None:
    """Read the file at the input; the argument is its name."""
    limit_resources()
    file = sys.stdin.buffer.read()
    forbid_everything_else()
    try:
        kind, pages = read(file, sys.argv[1])
    except Refused as refused:
        reply = {"refused": refused.reason, "facts": refused.facts, "detail": refused.detail}
    except MemoryError:
        reply = {"refused": Reason.MEMORY, "facts": {}, "detail": "MemoryError"}
    except RecursionError:
        reply = {"refused": Reason.UNSAFE, "facts": {}, "detail": "RecursionError"}
    else:
        reply = {"kind": kind, "pages": [[page.number, page.name, page.blocks] for page in pages]}
    # Lone surrogates, which a damaged file may have, cannot be stored.
    text = json.dumps(reply, ensure_ascii=False).encode("utf-8", "replace")
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.buffer.flush()
    os._exit(0)  # the libraries' threads and destructors have nothing to do any more


def limit_resources() -> None:
    """Limit this process where the system can; the parent limits its time and output everywhere."""
    sys.setrecursionlimit(RECURSION)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")  # killed first when memory ends
    with suppress(ImportError, AttributeError, OSError, ValueError):  # Windows and macOS lack some of it
        import resource  # noqa: PLC0415  # not on Windows

        os.nice(5)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def forbid_everything_else() -> None:
    """Refuse connections, programs, changes of files, and reading files that are not Python's."""
    sys.dont_write_bytecode = True
    roots = tuple(
        os.path.realpath(path) + os.sep
        for path in {sys.prefix, sys.base_prefix, os.path.dirname(os.__file__), *sys.path}  # noqa: PTH120
        if path
    )

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith((*_REFUSED_EVENTS, *_CHANGES)):
            raise PermissionError(event)
        if event == "open":
            path, mode, flags = (*arguments, None, None, None)[:3]
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            if isinstance(path, int):
                return
            name = os.path.realpath(os.fsdecode(path))  # type: ignore[arg-type]  # text or bytes
            if writes or mode in {"w", "a", "x"} or not name.startswith(roots):
                raise PermissionError(event)

    sys.addaudithook(audit)


if __name__ == "__main__":
    main()
