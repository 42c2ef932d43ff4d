"""Locks that a participant asks for: taken for it when they are free, so that nobody waits in the kernel.

Read `episode.py` for who asks.
"""

import fcntl
import os
import struct
from errno import EBADF

from chaos.syscalls.processes import Process

__all__ = ["control_lock_is_free", "flock_now", "waits_for_flock"]

_OFD_GETLK, _OFD_SETLKW = 36, 38
_LOCK_BYTES, _HOLDER_AT = 32, 24  # of struct flock, as 64-bit Linux has it


def waits_for_flock(operation: int) -> bool:
    """Whether a `flock` call may have to wait."""
    return not operation & (fcntl.LOCK_NB | fcntl.LOCK_UN)


def flock_now(process: Process, descriptor: int, operation: int) -> int | None:
    """Carry out `flock` on a descriptor of the process, which then has the lock.

    Returns:
        the call's result, negative = minus an error number; None when it would have to wait.

    Raises:
        ProcessGone: it ended.
        Unreadable: it may not be looked into.
    """
    ours = process.duplicate(descriptor)
    if ours < 0:
        return -EBADF
    try:
        fcntl.flock(ours, operation | fcntl.LOCK_NB)  # the lock belongs to the open file, which both share
    except BlockingIOError:
        return None
    except OSError as error:
        return -(error.errno or EBADF)
    finally:
        os.close(ours)
    return 0


def control_lock_is_free(process: Process, descriptor: int, command: int, address: int) -> bool:
    """Whether `fcntl(descriptor, command, address)` would go through without waiting.

    Raises:
        OSError: its arguments can't be read.
        ProcessGone: it ended.
        Unreadable: it may not be looked into.
    """
    if command not in (fcntl.F_SETLKW, _OFD_SETLKW):
        return True
    asked = process.read_exactly(address, _LOCK_BYTES)
    ours = process.duplicate(descriptor)
    if ours < 0:
        return True
    try:
        told = fcntl.fcntl(ours, fcntl.F_GETLK if command == fcntl.F_SETLKW else _OFD_GETLK, asked)
    except OSError:
        return True  # the kernel will say so to the caller
    finally:
        os.close(ours)
    kind, holder = struct.unpack_from("=h", told)[0], struct.unpack_from("=i", told, _HOLDER_AT)[0]
    return bool(kind == fcntl.F_UNLCK or holder == process.id)
