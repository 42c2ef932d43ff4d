"""Has the kernel copy, as it forks, the pages of memory that the child is going to write anyway.

Memory shared by a fork is copied a page at a time when one of the two first writes there, and the other one is
interrupted as well when its turn comes: about 1 us each, beside the copying. But a page that hardware may write to at
any moment, such as a registered buffer of io_uring, can't be shared, so `fork` copies it at once. Registering the
pages that nearly every child writes saves all of those interruptions (measured: a fifth of the time of a small
child). Nothing is ever read or written by way of the ring.

A target must not see any of this: neither a descriptor more (another process keeps the ring open, `take`), nor a module
that it did not load. So the C library is called by what `ctypes` stands on, loaded before any target is: the package
itself would bring a hundred more pages to each fork, or be a target's own module of that name.

Linux, where io_uring may be used; elsewhere forks go on as they did. Standard library only. Read
`chaos/explore/hot_pages.py` next, which finds the pages.
"""

import os
import sys
from collections.abc import Sequence

try:
    from _ctypes import call_function, dlopen, dlsym

    _syscall = dlsym(dlopen(None, 0), "syscall")  # type: ignore[arg-type]  # None: this process
except (ImportError, OSError):  # an interpreter built without it
    _syscall = 0

__all__ = ["can_pin", "pin", "take"]

_SETUP, _REGISTER, _TAKE = 425, 427, 438  # system calls that have the same number on each kind of machine that we know
_BUFFERS = 0  # what is registered
_ENTRIES = 1
_PARAMETERS_BYTES = 120
_WORD_BYTES = 8
_MOST_RANGES = 1024  # the most buffers that older kernels take
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def can_pin() -> bool:
    """Whether memory can be pinned here; found out in a fork, as a sandbox may kill whoever asks."""
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        code = 1
        try:
            some = bytes(_PAGE_BYTES)
            code = int(pin([(id(some) // _PAGE_BYTES * _PAGE_BYTES, _PAGE_BYTES)]) < 0)
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def pin(ranges: Sequence[tuple[int, int]]) -> int:
    """Have each fork of this process copy some memory at once, from now on until the ring is closed everywhere.

    Args:
        ranges: addresses and lengths in bytes.

    Returns:
        The ring's descriptor; -1 if it can't be done, and then everything is as it was.
    """
    if not 0 < len(ranges) <= _MOST_RANGES:
        return -1
    ring = _call(_SETUP, _ENTRIES, bytes(_PARAMETERS_BYTES))  # the kernel writes there; nobody else has these bytes
    if ring < 0:
        return -1
    buffers = b"".join(number.to_bytes(_WORD_BYTES, sys.byteorder) for one in ranges for number in one)
    if _call(_REGISTER, ring, _BUFFERS, buffers, len(ranges)) == 0:
        return ring
    os.close(ring)
    return -1


def take(process: int, descriptor: int) -> int:
    """A duplicate of another process's descriptor, so that it can close its own; -1 if that may not be."""
    try:
        handle = os.pidfd_open(process)
    except OSError:
        return -1
    try:
        return _call(_TAKE, handle, descriptor, 0)
    finally:
        os.close(handle)


def _call(*arguments: int | bytes) -> int:
    """A system call: what it returns, or -1."""
    return int(call_function(_syscall, arguments)) if _syscall else -1
