"""The child process of the embedded model: llama.cpp's server on a free port of this computer.

A process of its own, because llama.cpp holds Python's lock while it loads, takes every core it is given, and takes the
whole process with it when it crashes. Run by `LlamaCppModel` as ``python -m chatapp.models.llamacpp.server``:

    stdin   one JSON line, {"model": path, "api_key": key}; its end, however it comes about, ends the process
    stdout  one JSON line, {"url": "http://127.0.0.1:PORT"}, as soon as questions are answered
    stderr  llama.cpp's errors

A key guards the server, not only the loopback address: every user and every page in a browser here can reach that.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing import BinaryIO

CONTEXT_TOKENS: Final = 4096
"""Per answer. The model was trained with 8192 (``llama.context_length`` in the file), which would double the memory of
the cache (23 KiB a token) and let a prompt take a minute on a small processor."""

PARALLEL_ANSWERS: Final = 2
"""One for a person, one for whoever comes beside: a second tab, a comparison, the proof that the model generates."""

_BAD_MODEL: Final = 3
_PARENT_CHECK_SECONDS = 1.0


def main() -> int:
    """Serve until the parent ends or asks for it; return the exit status."""
    # Ctrl-C in a terminal reaches the whole process group. The parent decides: it may want to end an answer first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer_on = _private_stdout()
    settings = json.loads(sys.stdin.buffer.readline() or b"null")
    if not settings:
        return 0  # the parent ended before it said anything
    threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        server = _start(settings["model"], settings["api_key"])
    except RuntimeError as error:  # a bad file and a lack of memory look the same
        print(f"llama.cpp: {error}", file=sys.stderr)  # noqa: T201  # stderr is this program's log
        return _BAD_MODEL
    with answer_on:
        answer_on.write(json.dumps({"url": server.listening_address}).encode() + b"\n")
    threading.Event().wait()
    return 0


def _start(model: str, api_key: str) -> Any:  # noqa: ANN401  # xllamacpp has no types
    import xllamacpp  # noqa: PLC0415  # nothing may fail on its import before stdin is watched

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.port = 0
    params.api_keys = [api_key]
    params.n_parallel = PARALLEL_ANSWERS
    params.n_ctx = CONTEXT_TOKENS * PARALLEL_ANSWERS  # divided among the answers
    params.fit_params = False  # no probing of devices and memory: 0.1 s for a model that fits everywhere
    params.n_gpu_layers = 0  # the processor is fast enough, and a driver is one more thing that can fail
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    params.n_threads_http = 16  # an answer that waits in the queue holds one, and /v1/models must still get through
    params.cache_ram_mib = 0  # default 8192: prompts of finished conversations, kept in memory
    params.ui = False
    params.endpoint_slots = False  # shows what others ask
    params.cors_origins = ""  # default *: any page in a browser here
    params.verbosity = 1  # errors
    return xllamacpp.Server(params)


def _threads() -> int:
    """Leave one core to the app: two busy threads on two cores fall from 90 to 3-12 tokens a second.

    At most 4: in a model this small more of them mostly wait for one another, and the computer is a person's.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 2
    return min(4, max(1, cores - 1))


def _private_stdout() -> BinaryIO:
    """Return stdout, and let everything that prints to it, such as a library, print to stderr instead."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def _exit_with_parent(parent: int) -> None:
    """End the process when stdin ends, which happens when the parent ends in any way, kill -9 included.

    Looks at the parent's id as well: a process that the parent has forked keeps its end of the pipe open.
    """
    stdin = sys.stdin.fileno()
    while os.getppid() == parent:
        if select.select([stdin], [], [], _PARENT_CHECK_SECONDS)[0] and not os.read(stdin, 1024):
            break
    os._exit(0)  # no clean-up: it would wait for answers that nobody reads any more


if __name__ == "__main__":
    sys.exit(main())
