"""The child process of a model that runs inside of this chat: llama.cpp's server on a free port of this computer.

A separate process, because llama.cpp holds Python's global lock while it loads, uses every core it is given, and ends
the whole process when it crashes. Run by `LlamaCppModel` as ``python -m chatapp.models.llamacpp.server``:

    stdin   one JSON line, `Settings`; the process ends with it
    stdout  one JSON line, {"url": "http://127.0.0.1:PORT"}, once the server is ready
    stderr  llama.cpp's errors

The server needs a key, not only a loopback address, which every user and every web page on this computer can reach.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict

if TYPE_CHECKING:
    from typing import BinaryIO

_BAD_MODEL: Final = 3
_PARENT_CHECK_SECONDS = 1.0


class Settings(TypedDict):
    """How to run a model.

    Attributes:
        model: path of the GGUF file.
        api_key: what requests must have.
        context_tokens: of prompt and answer together, per answer.
        parallel: answers at the same time.
        threads: of the processor.
        projector: path of the GGUF file that turns pictures into tokens.
        gpu_layers: how many layers run on the GPU; -1 for as many as fit.
        sampling: fields of ``xllamacpp.CommonParamsSampling`` that a request does not set.
    """

    model: str
    api_key: str
    context_tokens: int
    parallel: int
    threads: int
    projector: NotRequired[str]
    gpu_layers: NotRequired[int]
    sampling: NotRequired[dict[str, float]]


def main() -> int:
    """Serve until stdin or the parent ends; return the exit status."""
    # Ctrl-C in a terminal reaches the whole process group; the parent may want to finish an answer first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = _private_stdout()
    settings: Settings | None = json.loads(sys.stdin.buffer.readline() or b"null")
    if not settings:
        return 0  # the parent has ended
    threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        server = _start(settings)
    except RuntimeError as error:  # a bad file and a lack of memory raise the same
        print(f"llama.cpp: {error}", file=sys.stderr)  # noqa: T201  # stderr is this program's log
        return _BAD_MODEL
    with output:
        output.write(json.dumps({"url": server.listening_address}).encode() + b"\n")
    threading.Event().wait()
    return 0


def _start(settings: Settings) -> Any:  # noqa: ANN401  # xllamacpp has no types
    import xllamacpp  # noqa: PLC0415  # its import can fail, which must not happen before stdin is read

    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.port = 0
    params.api_keys = [settings["api_key"]]
    params.n_parallel = settings["parallel"]
    params.n_ctx = settings["context_tokens"] * settings["parallel"]  # shared by the answers
    # Finds out how many layers fit on a GPU; without one, that takes 0.1 s for nothing.
    params.fit_params = settings.get("gpu_layers", 0) < 0
    params.n_gpu_layers = settings.get("gpu_layers", 0)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    if projector := settings.get("projector"):
        params.mmproj.path = projector
    for name, value in settings.get("sampling", {}).items():
        setattr(params.sampling, name, value)
    params.n_threads_http = 16  # a queued answer holds one, and /v1/models must still be served
    params.cache_ram_mib = 0  # default 8192: prompts of finished conversations, kept in memory
    params.ui = False
    params.endpoint_slots = False  # shows the prompts of others
    params.cors_origins = ""  # default *: every web page
    params.verbosity = 1  # errors
    return xllamacpp.Server(params)


def threads() -> int:
    """Return a number that leaves a core to the app: two busy threads on two cores fall from 90 to 3-12 tokens/s."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 2
    return max(1, cores - 1)


def _private_stdout() -> BinaryIO:
    """Return stdout, and redirect what libraries print to stderr."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def _exit_with_parent(parent: int) -> None:
    """End the process when stdin ends, as it does when the parent ends in any way, kill -9 included.

    Also checks the parent's id: a process that the parent has forked keeps its end of the pipe open.
    """
    stdin = sys.stdin.fileno()
    while os.getppid() == parent:
        if select.select([stdin], [], [], _PARENT_CHECK_SECONDS)[0] and not os.read(stdin, 1024):
            break
    os._exit(0)  # no clean-up: it would wait for answers without a reader


if __name__ == "__main__":
    sys.exit(main())
