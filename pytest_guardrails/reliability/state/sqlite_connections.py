"""The SQLite connections of one store in one process: opened together, closed under the store's lock, never forked.

SQLite must not be carried over a fork: its file locks stay with the parent while the child believes that it has them.
So connections are closed before a fork and opened again when next used; where a transaction is in progress
they can't be, and the child is told so when it touches the store. Whoever forgets to close a store has it closed
when the interpreter ends, under the lock as well.

A program may close their descriptors, as those do that become daemons. Such connections are closed as soon as that is
seen; where the numbers are other files' by then, they are left alone for good. Read `sqlite.py` next.
"""

import atexit
import os
import sqlite3
import threading
from contextlib import suppress
from importlib import import_module
from itertools import count

from pytest_guardrails.errors import GuardrailsError, StorageError
from pytest_guardrails.hints import TYPE_CHECKING, Any, final
from pytest_guardrails.reliability.durability import FileLock
from pytest_guardrails.reliability.state.nesting import is_in_session, refuse_forked
from pytest_guardrails.reliability.state.sqlite_presence import Presence

if TYPE_CHECKING:
    from pytest_guardrails.reliability.state.sqlite_rows import Last

__all__ = ["Connections", "check_not_forked_inside", "close_lost", "is_forked_inside"]

_PARK_S = 5.0  # a fork or an exit waits no longer for other writers
_LONG_LIVED_COMMITS = 32  # who commits more often than this goes on doing so
_LOG_BYTES = 32 + 1000 * (24 + 4096)  # what the log grows to before SQLite empties it: header, frames of one page each
_ZEROS = bytes(1 << 16)
_serial = count()
_open: "set[Connections]" = set()
_not_ours: dict[str, list[object]] = {}
_taken: set[str] = set()  # databases whose descriptors' numbers are other files' by now
_ADVICE = "open the store anew to read it; to write, spawn the process, or fork it outside of transactions"


@final
class _Orphan:
    """Stands where a connection was."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, _name: str) -> object:
        refuse_forked(self._path, _ADVICE)


@final
class Connections:
    """A writer and a reader.

    Args:
        path: the database; resolved.
        lock: the store's; held by the caller.
        synchronous: SQLite's level.
        busy_s: how long SQLite itself waits, in seconds; it never should, behind the lock.

    Raises:
        sqlite3.Error: SQLite can't open the file, or finds it damaged.
        StorageError: it can't keep its log there, or the numbers of its descriptors are other files' by now.
        OSError: it can't be opened a third time.

    Attributes:
        path: the database.
        serial: no other connections of this process have it; an address would be used again.
        mutex: guards the reader.
        presence: tells other processes that the database is in use.
        busy: a transaction is in progress.
        closed: opened no more.
        orphaned: came over a fork, and must not be touched.
        left: how the last session through these signed the lock, and where the store was when it ended well.
        expired: rows of this database that nobody remembers since a commit, to be removed.
    """

    def __init__(self, path: str, lock: FileLock, synchronous: str, busy_s: float) -> None:
        self.lock = lock
        self.serial = next(_serial)
        self.mutex = threading.RLock()
        self.busy = self.closed = self.orphaned = False
        self.left: tuple[str, Last] | None = None
        self.expired: list[int] = []
        self._expiring: list[int] = []  # by what was staged: a rollback brings those back
        self._swept = False
        self._commits = 0
        close_lost(path)  # else these would share what SQLite keeps of a file once a process, and wait in vain
        _check_not_taken(path)
        place = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)  # lower than all that SQLite opens
        try:
            self.writer = _connect(path, busy_s)
            self.reader = _connect(path, busy_s)
        except BaseException:
            os.close(place)
            raise
        try:
            self.writer.execute(f"PRAGMA synchronous = {synchronous}")
            # All rows, as the change is committed with the last one: else its failure is nobody's, and commits go
            # into a journal whose removal nothing brings to the disk. SQLite may also say that it keeps that journal.
            [(mode,)] = self.writer.execute("PRAGMA journal_mode = WAL").fetchall()
            if mode != "wal":
                raise StorageError(f"{path} can't be opened: SQLite keeps no log (WAL) there, but a journal ({mode})")
            self.writer.execute("PRAGMA cell_size_check = ON")
            self.reader.execute("PRAGMA query_only = ON")
            self.presence = Presence(path, place)
        except BaseException:
            os.close(place)
            self._close()
            raise
        self.path = path
        _open.add(self)

    def usable(self) -> bool:
        """Whether they still are connected to the file that has the store's name."""
        return not self.closed and self.presence.stands()

    def staged(self, expired: list[int], *, swept: bool) -> None:
        """Rows expire with the next commit, and with `swept` those that had expired before are gone by it."""
        self._expiring += expired
        self._swept = self._swept or swept

    def rolled_back(self) -> None:
        """What was staged never was. Under the store's lock."""
        self._expiring, self._swept = [], False

    def committed(self) -> None:
        """A commit was made: one of many is worth making room in the log. Under the store's lock."""
        self.expired = ([] if self._swept else self.expired) + self._expiring
        self.rolled_back()
        self._commits += 1
        if self._commits == _LONG_LIVED_COMMITS:
            self._make_room()

    def emptied(self) -> None:
        """The log was cut to nothing. Under the store's lock."""
        if self._commits >= _LONG_LIVED_COMMITS:
            self._make_room()

    def _make_room(self) -> None:
        """Lengthen the log by zeros, which SQLite passes over, to what it grows to anyway.

        A sync of a file whose length did not change is up to twice as quick on a journaling file system (measured on
        ext4).
        """
        with suppress(OSError), open(self.path + "-wal", "r+b", buffering=0) as file:
            end = size = file.seek(0, os.SEEK_END)
            try:
                while end < _LOG_BYTES:
                    end += file.write(_ZEROS[: _LOG_BYTES - end])
            except OSError:  # the disk is nearly full: others need the room more
                file.truncate(size)

    def close(self) -> None:
        """Close both; the last one of a host also empties the log into the database.

        Under the store's lock, but where somebody else closed their descriptors.
        """
        with self.mutex:
            _open.discard(self)
            if self.closed:
                return
            self.closed = True
            if self.presence.is_taken() or self.path in _taken:
                _taken.add(self.path)
                _keep_for_good(self.writer, self.reader)
            else:
                self.presence.end()
                self._close()

    def disown(self) -> None:
        """In a forked child: these are the parent's, whose transaction is in progress, and refuse to be used."""
        self.orphaned = True
        self.presence.end(is_ours=False)
        _not_ours.setdefault(self.path, []).append(
            (self.writer, self.reader)
        )  # kept for good: closing them would hurt the parent
        orphan: Any = _Orphan(self.path)
        self.writer = self.reader = orphan

    def _close(self) -> None:
        with suppress(sqlite3.Error):  # a damaged log can't be emptied; whoever opens next will see
            self.reader.close()
        with suppress(sqlite3.Error):
            self.writer.close()


def is_forked_inside(path: str) -> bool:
    """Whether this process was forked in the middle of a transaction of the store at `path`.

    SQLite then believes for good that this process is in the middle of it, and lets no other connection write.
    """
    return path in _not_ours


def check_not_forked_inside(path: str) -> None:
    """Refuse at once what SQLite would refuse after its time-out.

    Raises:
        ConfigurationError: as `is_forked_inside` says.
    """
    if path in _not_ours:
        refuse_forked(path, _ADVICE)


def close_lost(path: str) -> None:
    """Close the connections to `path` whose descriptors somebody else closed; there usually are none."""
    for connections in list(_open):
        is_idle = connections.path == path and not (connections.busy or connections.orphaned)
        if is_idle and connections.presence.is_lost():
            connections.close()


def _check_not_taken(path: str) -> None:
    if path in _taken:
        raise StorageError(
            f"{path} can't be used by this process any more: it closed the store's open files, as daemons do when they "
            "begin, and opened others in their place; do that before the store is used, or go on in a new process"
        )


def _keep_for_good(*connections: sqlite3.Connection) -> None:
    """At the interpreter's end, too: closed, they would be written to what has their numbers now."""
    ctypes = import_module("ctypes")
    for connection in connections:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _connect(path: str, busy_s: float) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)


def _close_idle() -> None:
    for connections in list(_open):
        if connections.busy or connections.orphaned or is_in_session(connections.path):
            continue
        close_lost(connections.path)
        with suppress(GuardrailsError), connections.lock.exclusive(deadline_s=_PARK_S):
            connections.close()


def _disown() -> None:
    for connections in _open:
        connections.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_idle, after_in_child=_disown)
atexit.register(_close_idle)
