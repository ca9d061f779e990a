"""Time slices of threads: a short one for those that hand tokens on, a long one for those that compute them.

llama.cpp keeps every core busy, waiting for work included. Linux then lets a thread that wakes up wait until the
running one's slice is over, up to milliseconds, unless its own is shorter: so would the threads of llama.cpp's server
wait that send what has been computed. Between two that wait it takes the one whose slice would end first: with equal
slices often the thread of llama.cpp that the shim had just interrupted, and not the client that the shim has written
to. No slice gives anyone more or less of the processor, as a lower priority would: another busy program then all but
stops llama.cpp, whose threads wait for each other.

Source: sched_setattr(2), `sched_runtime` under SCHED_OTHER; Linux 6.12 and later, elsewhere nothing happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import sys
import time
from pathlib import Path

#: Nanoseconds; what the shim does for a token takes less.
SHORT_NS = 200_000
#: Of the processor's time: llama.cpp's threads that help to compute use some 15 ms for each time they are called.
_HARDLY_NS = 2_000_000
#: The numbers of the system calls, to set and to get.
_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
#: size, policy, flags, nice, priority, runtime, deadline, period.
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_RESET_ON_FORK = 1


def shorten_slice() -> None:
    """For the calling thread; what it starts, llama.cpp's workers among it, has the usual one.

    Nothing happens to whoever was given a higher priority: workers would lose it.
    """
    if _may_shorten():
        _set(SHORT_NS, _RESET_ON_FORK)


def shorten_waiting() -> None:
    """For those of the process's threads that have hardly used the processor yet, and for what they start.

    Once llama.cpp's server has loaded a model, the others are who will compute.
    """
    if not _may_shorten():
        return
    for thread in [int(task.name) for task in Path("/proc/self/task").iterdir()]:
        with contextlib.suppress(OSError):  # it has ended
            if _used_ns(thread) < _HARDLY_NS:
                _set(SHORT_NS, 0, thread)


def lengthen_slice() -> None:
    """Four times as long as it is, for the calling thread and what it starts from now on: with twice as long a one its
    slice often ends before that of a client that is woken beside it."""
    if usual := slice_ns():
        _set(4 * usual, 0)


def slice_ns(thread: int = 0) -> int:
    """Nanoseconds of a thread's slice, by its system-wide number, 0 for the calling one's; 0 where it can't be told."""
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return 0
    if os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK != os.SCHED_OTHER:
        return 0
    found = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if ctypes.CDLL(None).syscall(_CALLS[platform.machine()][1], thread, found, _ATTRIBUTES.size, 0) != 0:
        return 0
    return int(_ATTRIBUTES.unpack(found.raw)[5])


def _may_shorten() -> bool:
    return slice_ns() > 0 and os.getpriority(os.PRIO_PROCESS, 0) >= 0


def _used_ns(thread: int) -> int:
    """Of the processor's time, by one of this process's threads. Source: the clock of pthread_getcpuclockid(3), which
    Linux numbers so; /proc's schedstat tells 0 of all where the kernel does not count there."""
    return time.clock_gettime_ns(~thread << 3 | 6)


def _set(nanoseconds: int, flags: int, thread: int = 0) -> None:
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, flags, nice, 0, nanoseconds, 0, 0)
    ctypes.CDLL(None).syscall(_CALLS[platform.machine()][0], thread, wanted, 0)  # refused: it stays as it is
