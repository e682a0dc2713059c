"""The chat forked from a process that has imported it: 0.6 s of CPU for a start instead of 3 s.

The child runs `chatapp.__main__.main` with the environment, folder, output, signals and exit status of
``python -m chatapp``. Only what happens while modules are imported differs; `tests.chatapp.test_start` covers that with
processes of their own.
"""

import asyncio
import multiprocessing
import os
import signal
import sys

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.forked", "chatapp.__main__", "chatapp.ui.mount"])


class ForkedChat:
    """A running chat, with the interface of `asyncio.subprocess.Process` that `tests.serving` uses."""

    @classmethod
    async def start(cls, folder, environment):
        """Fork the chat; its standard output and standard error are ``stdout``."""
        reader, writer = _CONTEXT.Pipe(duplex=False)
        self = cls()
        self._ended = None
        self._process = _CONTEXT.Process(target=_main, args=(str(folder), environment, writer), daemon=True)
        with writer:
            await asyncio.to_thread(self._process.start)  # the first one waits for the imports
        self.stdout = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(self.stdout)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, _file_of(reader))
        return self

    @property
    def pid(self):
        return self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    async def wait(self):
        """Wait for the end and return the exit status, negative for a signal."""
        if self._ended is None:  # one reader for all who wait: another one would replace it
            self._ended = asyncio.Event()
            asyncio.get_running_loop().add_reader(self._process.sentinel, self._notice_end)
        await self._ended.wait()
        return self.returncode

    def _notice_end(self):
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._ended.set()


def _file_of(connection):
    with connection:
        return os.fdopen(os.dup(connection.fileno()), "rb", buffering=0)


def _main(folder, environment, writer):
    from chatapp.__main__ import main  # the parent may run without it

    with writer:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(writer.fileno(), stream.fileno())
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["chatapp"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
