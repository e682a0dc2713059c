"""The program of the child process: reads an image file from its input and writes the scaled image to its output.

Its memory, CPU time and files are limited before it reads anything. It ends after one image, so that what one person's
file does to it cannot touch the next person's. The output is a line of JSON, then the JPEG:
``{"width": ..., "height": ...}``, or ``{"refused": "damaged" | "large" | "detailed", "detail": ...}``.

Run by its path and isolated (``python -I``): it knows no setting and no key of the chat.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from scaling import TooDetailed, scaled  # type: ignore[import-not-found]  # the file beside this one

MEMORY_BYTES = 300_000_000  # beyond what Python and Pillow have at the start
CPU_SECONDS = 15


def main() -> None:
    """Scale the image at the input; the argument is how many pixels it may have."""
    _limit()
    file = sys.stdin.buffer.read()
    try:
        width, height, data = scaled(file, int(sys.argv[1]))
    except TooDetailed:
        _reply({"refused": "detailed"})
    except MemoryError:
        _reply({"refused": "large"})
    except Exception as error:  # noqa: BLE001  # what Pillow raises over damaged files has no common base
        _reply({"refused": "damaged", "detail": type(error).__name__})
    else:
        _reply({"width": width, "height": height}, data)


def _reply(head: dict[str, object], data: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + data)


def _limit() -> None:
    """Limit this process where the system can; the parent limits its time everywhere."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(
            "1000", encoding="ascii"
        )  # when memory ends, this process is killed
    with suppress(ImportError, AttributeError, OSError, ValueError):  # Windows and macOS lack some of it
        import resource  # noqa: PLC0415  # not on Windows

        os.nice(5)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main()
