"""Sets the clock of a process with this folder in its ``PYTHONPATH``: Python imports this module at its start.

The file that ``FAULTS_CLOCK`` names holds the nanoseconds to add to the day's clock, as 8 bytes, and can be changed at
any time. The monotonic clock stays as it is, as it does when a real clock is set. So does ``time.time``, which the chat
does not use: gRPC computes deadlines from it, and compares them with the system's clock, which cannot be set here.
"""

import mmap
import os
import struct
import time

if path := os.environ.get("FAULTS_CLOCK"):
    with open(path, "rb") as file:  # noqa: PTH123  # pathlib would cost every start a few milliseconds
        offset = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    time_ns = time.time_ns

    def set_time_ns() -> int:
        return time_ns() + struct.unpack("q", offset)[0]

    time.time_ns = set_time_ns
