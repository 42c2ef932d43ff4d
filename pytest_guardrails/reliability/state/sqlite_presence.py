"""The mark by which other processes know that a database is in use here, whatever else this process does to the file.

SQLite marks it by a lock of the process, and the kernel drops such locks when the process closes *any* descriptor of
that file: a copy of it for a backup, a look at its first bytes, another store object that is closed. The next process
to close the database then takes itself for the last one, and removes the log from under those who go on writing to it;
what they commit is lost. So the same bytes are locked once more, by an open file description, which keeps its lock
until it is closed itself. Such locks are Linux's; elsewhere this is a descriptor that stays open.

Read `sqlite_connections.py` for who is here.
"""

import os
import sys
from contextlib import suppress

from pytest_guardrails.hints import final

if sys.platform == "linux":
    import fcntl

__all__ = ["Presence"]

# SQLite's "shared" bytes (its file format, section 5.2 of "lockingv3"): who wants to remove the log must have them.
_FIRST, _COUNT = 0x40000002, 510
_READING, _NOTHING = 0, 2  # F_RDLCK and F_UNLCK of `struct flock`, as all 64-bit Linux systems lay it out


@final
class Presence:
    """An open database file; made and ended under the store's lock.

    Attributes:
        identity: which file it is, whatever name it has by now.

    Raises:
        OSError: the file can't be opened.
    """

    __slots__ = ("_descriptor", "identity")

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_BINARY", 0))
        status = os.fstat(self._descriptor)
        self.identity = (status.st_dev, status.st_ino)
        self._mark(_READING)

    def content(self) -> bytes:
        """The file's bytes, read without a descriptor that would have to be closed."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        with open(self._descriptor, "rb", closefd=False) as file:
            return file.read()

    def end(self, *, is_ours: bool = True) -> None:
        """Nobody is here any more; to be followed by closing the database.

        Args:
            is_ours: False in a forked child, whose parent keeps the mark.
        """
        if self._descriptor >= 0:
            if is_ours:
                self._mark(_NOTHING)  # explicitly, since a child process may have inherited the descriptor
            with suppress(OSError):  # somebody else closed it, as programs do that become daemons
                os.close(self._descriptor)
            self._descriptor = -1

    def _mark(self, kind: int) -> None:
        if sys.platform == "linux":
            order = sys.byteorder
            lock = kind.to_bytes(8, order) if order == "little" else kind.to_bytes(2, order) + bytes(6)
            with suppress(OSError):  # no such locks here: then it is as SQLite itself leaves it
                fcntl.fcntl(
                    self._descriptor,
                    fcntl.F_OFD_SETLK,
                    lock + _FIRST.to_bytes(8, order) + _COUNT.to_bytes(8, order) + bytes(8),
                )
