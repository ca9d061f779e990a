"""A short time slice for the shim's own thread, so that a token need not wait for a processor.

llama.cpp keeps every core busy, waiting for work included. Linux then lets a thread that wakes up wait until the
running one's slice is over, up to milliseconds; it comes sooner where its own slice is shorter. It gets no more of the
processor by that. Source: sched_setattr(2), `sched_runtime` under SCHED_OTHER; Linux 6.12 and later.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

#: Nanoseconds; what the shim does for a token takes less.
SLICE_NS = 200_000
#: The number of the system call.
_SET = {"x86_64": 314, "aarch64": 274}
#: size, policy, flags, nice, priority, runtime, deadline, period.
ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_RESET_ON_FORK = 1


def shorten_slice() -> None:
    """For the calling thread; what it starts, llama.cpp's workers among it, has the usual one.

    Nothing happens where the system has no such thing, and to whoever was given another policy or a higher priority:
    workers would lose it.
    """
    if sys.platform != "linux" or platform.machine() not in _SET:
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if nice < 0 or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    wanted = ATTRIBUTES.pack(ATTRIBUTES.size, os.SCHED_OTHER, _RESET_ON_FORK, nice, 0, SLICE_NS, 0, 0)
    ctypes.CDLL(None).syscall(_SET[platform.machine()], 0, wanted, 0)  # an older system refuses or does not care
