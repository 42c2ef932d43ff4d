"""Kernel calls that the standard library lacks, through ctypes; each raises `OSError` as the library's own do.

Thin on purpose: no policy, no state. The signatures are those of the manual pages. Read `listener.py` next.
"""

import ctypes
import os
import platform
from typing import Final

from chaos.syscalls.tables import ARCHITECTURES

__all__ = [
    "duplicate_descriptor",
    "fallocate",
    "linkat",
    "openat2",
    "renameat2",
    "set_file_identity",
    "signal_thread",
    "syncfs",
]

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_get_errno = ctypes.get_errno
# The same, for calls that never wait: without giving up the interpreter lock, and without a copy of errno.
_quick_syscall = ctypes.PyDLL(None).syscall
_quick_syscall.restype = ctypes.c_long

_PIDFD_GETFD: Final = 438  # the same number on every architecture, as all calls since Linux 5.0
_OPENAT2: Final = 437
_PR_SET_DUMPABLE: Final = 4
_TGKILL: Final = {"x86_64": 234, "aarch64": 131}
_machine = platform.machine()
_numbers = ARCHITECTURES[_machine].numbers if _machine in ARCHITECTURES else {}


def _failed(name: str = "") -> OSError:
    number = _get_errno()
    return OSError(number, os.strerror(number), name or None)


def duplicate_descriptor(pidfd: int, descriptor: int) -> int:
    """A duplicate of another process's descriptor: the same open file description, close-on-exec.

    Raises:
        OSError: EBADF, it is not open there; ESRCH, the process is gone; EPERM, it may not be looked into.
    """
    result: int = _quick_syscall(_PIDFD_GETFD, pidfd, descriptor, 0)
    if result < 0:
        result = _syscall(_PIDFD_GETFD, pidfd, descriptor, 0)  # once more, to be told why
        if result < 0:
            raise _failed()
    return result


def renameat2(old_dir: int, old: str, new_dir: int, new: str, flags: int) -> None:
    """The system call `renameat2`."""
    number = _numbers["renameat2"]
    if _syscall(number, old_dir, os.fsencode(old), new_dir, os.fsencode(new), ctypes.c_ulong(flags)) < 0:
        raise _failed(new)


def linkat(old_dir: int, old: str, new_dir: int, new: str, flags: int) -> None:
    """The system call `linkat`."""
    if _syscall(_numbers["linkat"], old_dir, os.fsencode(old), new_dir, os.fsencode(new), ctypes.c_ulong(flags)) < 0:
        raise _failed(new)


def openat2(directory: int, path: str, how: bytes) -> int:
    """The system call `openat2`; `how` is the packed `struct open_how`."""
    descriptor: int = _syscall(_OPENAT2, directory, os.fsencode(path), how, ctypes.c_ulong(len(how)))
    if descriptor < 0:
        raise _failed(path)
    return descriptor


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """The system call `fallocate`, offset and length in bytes."""
    if _syscall(_numbers["fallocate"], descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length)) < 0:
        raise _failed()


def syncfs(descriptor: int) -> None:
    """The system call `syncfs`."""
    if _syscall(_numbers["syncfs"], descriptor) < 0:
        raise _failed()


def signal_thread(process: int, thread: int, signal: int) -> None:
    """The system call `tgkill`: a signal to one thread of one process."""
    if _syscall(_TGKILL[_machine], process, thread, signal) < 0:
        raise _failed()


def set_file_identity(user: int, group: int, groups: tuple[int, ...]) -> None:
    """Let the calling thread (it alone) create and access files as somebody else; root only.

    The library's `setgroups` would change all threads; the bare calls do not.
    """
    array = (ctypes.c_uint * max(len(groups), 1))(*groups)
    if _syscall(_numbers["setgroups"], len(groups), array) < 0:
        raise _failed()
    _syscall(_numbers["setfsgid"], group)
    _syscall(_numbers["setfsuid"], user)
    # The kernel takes a change of identity for a reason to hide the process; it is the harness, and hides nothing.
    _libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
