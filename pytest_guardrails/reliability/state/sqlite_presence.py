"""The mark by which other processes know that a database is in use here, whatever else this process does to the file.

SQLite marks it by a lock of the process, and the kernel drops such locks when the process closes *any* descriptor of
that file: a copy of it for a backup, a look at its first bytes, another store object that is closed. The next process
to close the database then takes itself for the last one, and removes the log from under those who go on writing to it;
what they commit is lost. So the same bytes are locked once more, by an open file description, which keeps its lock
until it is closed itself. Such locks are Linux's; elsewhere this is a descriptor that stays open.

It also tells whether the descriptors of this process still are the store's. A program may close all it has, as those do
that become daemons, and open other files under the same numbers; SQLite goes by the numbers, would wait ten seconds for
locks that it can't have, and write its pages into those files. The mark has the lowest number of all that belong to an
open database, and a file that a program opens gets the lowest that is free: so while nobody else has the mark's, nobody
has SQLite's.

Read `sqlite_connections.py` for who is here.
"""

import os
import sys
from contextlib import suppress

from pytest_guardrails.hints import final
from pytest_guardrails.reliability.durability.open_files import link_of, open_identity, read_link

if sys.platform == "linux":
    import fcntl

__all__ = ["Presence"]

# SQLite's "shared" bytes (its file format, section 5.2 of "lockingv3"): who wants to remove the log must have them.
_FIRST, _COUNT = 0x40000002, 510
_READING, _NOTHING = 0, 2  # F_RDLCK and F_UNLCK of `struct flock`, as all 64-bit Linux systems lay it out


@final
class Presence:
    """An open database file; made and ended under the store's lock.

    Args:
        path: the database.
        place: an open descriptor, which this takes over together with its number.

    Raises:
        OSError: the file can't be opened.
    """

    __slots__ = ("_descriptor", "_identity", "_link", "_path")

    def __init__(self, path: str, place: int) -> None:
        self._path = path
        self._descriptor = place
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_BINARY", 0))
        try:
            os.dup2(opened, place, inheritable=False)
        finally:
            os.close(opened)
        self._identity = open_identity(place)
        self._link = link_of(place, path)
        self._mark(_READING)

    def stands(self) -> bool:
        """Whether the file still has its path, and its descriptor.

        The open file's own path tells both by one call; where that is not to be had, two others do.
        """
        if self._link and read_link(self._link) == self._path:
            return True
        try:
            status = os.stat(self._path)
        except OSError:  # gone with its folder, or not to be reached: the next opening says which
            return False
        return (status.st_dev, status.st_ino) == self._identity == open_identity(self._descriptor)

    def is_lost(self) -> bool:
        """Whether somebody else closed the descriptor."""
        return open_identity(self._descriptor) != self._identity

    def is_taken(self) -> bool:
        """Whether its number is another file's by now."""
        return open_identity(self._descriptor) not in (None, self._identity)

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
        if not self.is_lost():
            if is_ours:
                self._mark(_NOTHING)  # explicitly, since a child process may have inherited the descriptor
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
