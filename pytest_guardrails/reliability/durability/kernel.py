"""The one place that asks the kernel for a file lock: whole-file advisory locks of an open file.

The lock belongs to the *open file description*: two descriptors opened apart exclude each other even inside one
process, and it is gone when the last copy of the descriptor is closed, hence also at SIGKILL. On POSIX systems this
is flock(2), the very call that portalocker makes there, called directly since portalocker's checks cost nine times
the call; elsewhere it is portalocker. A file system that offers no locks gives an error, never a silent pretence.
Read `locks.py` for the lock that people use.
"""

import errno
import os
import sys

from pytest_guardrails.errors import StorageError
from pytest_guardrails.hints import Literal, final

__all__ = ["LockUnsupportedError", "Mode", "try_lock", "unlock", "wait_lock"]

Mode = Literal["exclusive", "shared"]

_NO_LOCKS_HERE = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})


@final
class LockUnsupportedError(StorageError):
    """The kernel or the file system offers no lock here; nothing was locked."""


if sys.platform == "win32":
    import portalocker

    _FLAGS = {"exclusive": portalocker.LockFlags.EXCLUSIVE, "shared": portalocker.LockFlags.SHARED}

    def _ask(descriptor: int, mode: Mode, *, block: bool) -> bool:
        flags = _FLAGS[mode] if block else _FLAGS[mode] | portalocker.LockFlags.NON_BLOCKING
        try:
            portalocker.lock(descriptor, flags)
        except portalocker.AlreadyLocked:
            return False
        except portalocker.LockException as error:
            raise LockUnsupportedError(f"no file lock can be had on descriptor {descriptor}: {error}") from error
        return True

    def _free(descriptor: int) -> None:
        portalocker.unlock(descriptor)

else:
    import fcntl

    _OPERATIONS = {"exclusive": fcntl.LOCK_EX, "shared": fcntl.LOCK_SH}

    def _ask(descriptor: int, mode: Mode, *, block: bool) -> bool:
        operation = _OPERATIONS[mode] if block else _OPERATIONS[mode] | fcntl.LOCK_NB
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _NO_LOCKS_HERE:
                raise LockUnsupportedError(
                    f"no file lock can be had on descriptor {descriptor}: {os.strerror(error.errno)}; "
                    "put the file on a file system with locks (a local one)"
                ) from error
            raise
        return True

    def _free(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def try_lock(descriptor: int, mode: Mode) -> bool:
    """Take the lock if it is free now.

    Returns:
        Whether it was taken.

    Raises:
        LockUnsupportedError: there are no locks here.
        OSError: the kernel refused for another reason.
    """
    return _ask(descriptor, mode, block=False)


def wait_lock(descriptor: int, mode: Mode) -> None:
    """Take the lock, however long it takes; the thread sleeps in the kernel meanwhile.

    Raises:
        LockUnsupportedError: there are no locks here.
        OSError: the kernel refused for another reason.
    """
    _ask(descriptor, mode, block=True)


def unlock(descriptor: int) -> None:
    """Give the lock back; the descriptor stays open."""
    _free(descriptor)
