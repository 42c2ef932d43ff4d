"""The default backend: one SQLite database in WAL mode, every write behind the store's own lock.

**Files** of a store at PATH: `PATH` and SQLite's `-wal` and `-shm`; `PATH.lock` and its `.turn` (never removed);
`PATH.witness`; `PATH.good`, the last good generation, refreshed when a store is closed and every so many commits;
`PATH.quarantine/`.

**Guarantees.** A commit that returned survives what its durability names (`synchronous` FULL for "power", NORMAL for
"process"); one that raised will not appear later. Damage is found on opening (all current values) and on reading (that
value); then the files go to quarantine and the last good generation takes their place, with the later changes that can
still be read and proven.
Damage in a value that is no longer current is found when that is asked for, and told; nothing is set aside for it.
**Does not** say whether such a value is the one that stood there.
**On crash** SQLite's log is replayed; nothing is to be cleaned up.
**Threads and processes.** Any number. Commits, checkpoints, opening and closing take the lock, so SQLite's own
unfair waiting is never met, nor the defect in resetting its log that its versions up to 3.51.2 have. A process that was
forked in the middle of a transaction can read it when it opens it anew, but not write.

Read `sqlite_rows.py` for the tables, `recovery.py` for what becomes of damage.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pytest_guardrails.errors import ConfigurationError, CorruptionError, NewerFormatError, StorageError
from pytest_guardrails.hints import TypeVar, final
from pytest_guardrails.reliability.durability import DurabilityUnknownError, FileLock, sync_directory, write_atomic
from pytest_guardrails.reliability.durability.locks import resolved
from pytest_guardrails.reliability.durability.times import wall_time
from pytest_guardrails.reliability.state import sqlite_log as log
from pytest_guardrails.reliability.state import sqlite_rows as rows
from pytest_guardrails.reliability.state.backend import MOST_TOGETHER, BackendSettings, PastCell, Session, wait_for
from pytest_guardrails.reliability.state.kinds import check_kind
from pytest_guardrails.reliability.state.model import (
    Cell,
    Damage,
    Draft,
    Incident,
    StoreCorruptedError,
    TransactionRecord,
    TransactionStatus,
)
from pytest_guardrails.reliability.state.nesting import Stay, alone, check_no_session
from pytest_guardrails.reliability.state.quarantine import incidents_of
from pytest_guardrails.reliability.state.recovery import Recovery
from pytest_guardrails.reliability.state.retention import RETENTION, parse_promises
from pytest_guardrails.reliability.state.salvage import lift, replay_later_changes, version_of
from pytest_guardrails.reliability.state.sqlite_connections import (
    Connections,
    check_not_forked_inside,
    close_lost,
    is_forked_inside,
)
from pytest_guardrails.reliability.state.witness import Witness, note_for, transaction_under_way, with_what_is_under_way

__all__ = ["SqliteBackend"]

_Value = TypeVar("_Value")
_NOT_READ = rows.Last(-1, 0, "")
_TOLD = (Damage, *rows.ERRORS)  # what `SqliteBackend.told` puts into the store's words
_SWEEP_ROWS = 64  # forgotten rows are removed in lots, so that few commits touch their pages
_GOOD_COMMITS = 1000  # copies of the whole are at least this many commits apart, and as many as there are keys
_CLOSE_COMMITS = 64  # a store that is opened for one commit only should not be copied each time


@final
class _SqliteSession:
    """See `Session`. What the caller's own block raises is none of its business.

    Its methods stand on the way of every commit, so each catches SQLite's errors itself instead of by `guarded`.
    """

    def __init__(self, backend: "SqliteBackend", connections: Connections, waited_s: float) -> None:
        self._backend = backend
        self._connections = connections
        self.waited_s = waited_s
        self.last = _NOT_READ  # committed
        self._staged: rows.Last | None = None
        self._entries: rows.Entries = {}  # nobody else writes while this lives

    def get(self, key: str) -> Cell | None:
        try:
            return rows.current(self._connections.writer, key, self._entries)
        except _TOLD as error:
            raise self._backend.told(self._connections, error) from error

    def keys(self, prefix: str) -> list[str]:
        try:
            return _keys(self._connections.writer, prefix)
        except _TOLD as error:
            raise self._backend.told(self._connections, error) from error

    def schema(self, key: str) -> int:
        try:
            return rows.schema(self._connections.writer, key, self._entries)
        except _TOLD as error:
            raise self._backend.told(self._connections, error) from error

    def stage(self, drafts: Sequence[Draft], transaction: str) -> int:
        last = self._staged or self.last
        try:
            self._staged = self._backend.stage(self._connections, drafts, last, transaction, self.last, self._entries)
        except _TOLD as error:
            raise self._backend.told(self._connections, error) from error
        return self._staged.version

    def flush(self) -> None:
        if self._staged is None:
            return
        try:
            self._backend.flush(self._connections.writer, self._staged.transaction, self.last)
        except _TOLD as error:
            raise self._backend.told(self._connections, error) from error
        self.last, self._staged = self._staged, None
        self._connections.committed()


@final
class SqliteBackend:
    """See the module and `Backend`.

    Args:
        path: the database file; made, with its directory, when missing.
        settings: see there.

    Raises:
        StoreCorruptedError: the files were damaged, and there was no good generation.
        CorruptionError: `path` is no database, and never was this store's; it was left alone.
        NewerFormatError: a later version made it; it was left alone.
    """

    def __init__(self, path: str | os.PathLike[str], settings: BackendSettings | None = None) -> None:
        self.path = resolved(path)
        self._settings = settings or BackendSettings()
        self._lock = FileLock.beside(self.path, deadline_s=self._settings.deadline_s, clock=self._settings.clock)
        self._witness = Witness(self.path + ".witness")
        self._good = self.path + ".good"
        others = [self.path + "-wal", self.path + "-shm"]
        self._recovery = Recovery(self.path, others, self._good, self._settings)
        self._connections: Connections | None = None
        self._copied_version = -1  # where the store was when it was last copied, or opened by this object
        self._ready()

    @contextmanager
    def session(self, transaction: str) -> Iterator[Session]:
        """See `Backend.session`."""
        check_no_session(self.path)
        check_not_forked_inside(self.path)
        stay = Stay(self.path, self._lock)
        try:
            stay.begin()
            try:
                waited_s = wait_for(self._lock)
            except StorageError:
                close_lost(self.path)  # before anything else gets their numbers
                raise
            stay.holding = self._lock.taken()
            connections = self._ready_inside()
            session = _SqliteSession(self, connections, waited_s)
            connections.busy = True
            connections.rolled_back()
            try:
                try:
                    connections.writer.execute("BEGIN IMMEDIATE")
                    session.last = self._take_over(connections)
                except _TOLD as error:
                    raise self.told(connections, error) from error
                connections.left = None
                signed = note_for(transaction)
                self._sign(signed)
                yield session
                connections.left = (signed, session.last)
                self._copy_when_due(connections, session.last.version)
            finally:
                try:
                    self._settle(connections, session.last, transaction)
                except BaseException:  # an interruption, which may come before anything was done
                    self._settle(connections, session.last, transaction)
                    raise
        finally:
            try:
                stay.end()
            except BaseException:  # an interruption, which may come before anything was done
                stay.end()
                raise

    def _settle(self, connections: Connections, last: rows.Last, transaction: str) -> None:
        """End a session where it committed last; what else was staged is gone. May be repeated; under the lock."""
        connections.busy = False
        if not (connections.closed or connections.orphaned):
            _rollback(connections.writer)
            if last is not _NOT_READ:
                self._witness.write(last.version, transaction)

    @contextmanager
    def guarded(self, connections: Connections) -> Iterator[sqlite3.Connection]:
        """What SQLite says inside the block becomes an error of the store's; damage is dealt with. Under the lock."""
        try:
            yield connections.writer
        except _TOLD as error:
            raise self.told(connections, error) from error

    def told(self, connections: Connections, error: Damage | sqlite3.Error | UnicodeDecodeError) -> Exception:
        """What an error of SQLite's, or found damage, becomes; damage is dealt with."""
        if isinstance(error, Damage) or rows.is_damage(error):
            return self._recover(str(error))
        if not connections.closed:
            _rollback(connections.writer)
        return StorageError(f"{self.path} can't be used: {error}")

    def stage(
        self,
        connections: Connections,
        drafts: Sequence[Draft],
        last: rows.Last,
        transaction: str,
        before: rows.Last,
        entries: rows.Entries,
    ) -> rows.Last:
        """For a session; see `Session.stage`. `before` is where the store is."""
        settings, connection = self._settings, connections.writer
        try:
            if not connection.in_transaction:
                connection.execute("BEGIN IMMEDIATE")
            at = wall_time(settings.clock)
            made, expired = rows.write(connection, drafts, last, transaction, at, settings.keep_versions, entries)
            connections.staged(expired, swept=_sweep(connection, connections.expired))
        except sqlite3.Error as error:
            if rows.is_damage(error):
                raise
            self._undo(connection, before.version, transaction, error)  # if it can: without a COMMIT nothing is there
            raise StorageError(f"{self.path} refused a change ({error}); the state before it stands") from error
        return made

    def flush(self, connection: sqlite3.Connection, transaction: str, before: rows.Last) -> None:
        """Commit for a session; see `Session.flush`."""
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if rows.is_damage(error):
                raise
            raise self._refused(connection, transaction, before, error) from error

    def _refused(
        self, connection: sqlite3.Connection, transaction: str, before: rows.Last, error: sqlite3.Error
    ) -> Exception:
        """What an error of a COMMIT becomes; nothing that was staged is there afterwards."""
        if not self._undo(connection, before.version, transaction, error):
            return DurabilityUnknownError(
                f"{self.path}: the disk did not confirm a commit ({error}) and refused to take it back; until the "
                "next successful write a restart may find it, or not"
            )
        return StorageError(f"{self.path} refused a commit ({error}); the state before it stands")

    def get(self, key: str) -> Cell | None:
        """See `Reader.get`."""
        return self._read(lambda connections: rows.current(connections.reader, key))

    def keys(self, prefix: str) -> list[str]:
        """See `Reader.keys`."""
        return self._read(lambda connections: _keys(connections.reader, prefix))

    def stamp(self) -> object:
        """See `Backend.stamp`."""
        return self._read(_stamp)

    def version(self) -> int:
        """See `Backend.version`."""
        return self._read(lambda connections: rows.last(connections.reader).version)

    def history(self, key: str) -> list[PastCell]:
        """See `Backend.history`."""
        return self._read(lambda connections: log.past(connections.reader, key))

    def transactions(self, limit: int) -> list[TransactionRecord]:
        """See `Backend.transactions`."""
        lines = self._read(lambda connections: log.log_lines(connections.reader, limit))
        holder = self._lock.holder()
        note, wall = holder.note if holder else "", wall_time(self._settings.clock)
        return with_what_is_under_way(lines, note, self._witness.read(), wall)[:limit]

    def note(self, transaction: str, status: TransactionStatus, reason: str) -> None:
        """See `Backend.note`."""
        check_not_forked_inside(self.path)
        with alone(self.path, self._lock, "log"):
            connections = self._ready_inside()
            with self.guarded(connections) as connection:
                _rollback(connection)
                version = rows.last(connection).version
                wall = wall_time(self._settings.clock)
                log.note_outcome(connection, version, transaction, wall, status.value, reason)

    def prune(self, keep_versions: int, older_than_s: float | None, *, even_promised: bool = False) -> int:
        """See `Backend.prune`."""
        check_not_forked_inside(self.path)
        before = None if older_than_s is None else wall_time(self._settings.clock) - older_than_s
        with alone(self.path, self._lock, None):
            self._sign("prune")
            connections = self._ready_inside()
            with self.guarded(connections) as connection:
                connection.execute("BEGIN IMMEDIATE")
                promises = {} if even_promised else parse_promises(rows.current(connection, RETENTION))
                removed = log.prune(connection, keep_versions, before, promises)
                connection.execute("COMMIT")
                return removed

    def incidents(self) -> list[Incident]:
        """See `Backend.incidents`."""
        return incidents_of(self.path)

    def close(self) -> None:
        """See `Backend.close`."""
        if self._connections is None or self._connections.closed or self._connections.orphaned:
            return
        with alone(self.path, self._lock, "close"):
            connections = self._connections
            try:
                if connections.usable() and not is_forked_inside(self.path):
                    with self.guarded(connections) as connection:
                        self._tidy(connections, rows.last(connection).version)
            finally:
                connections.close()
                self._witness.close()

    def _read(self, query: Callable[[Connections], _Value]) -> _Value:
        while True:
            connections = self._ready()
            with connections.mutex:
                if connections.closed:
                    continue
                try:
                    return query(connections)
                except Damage as damage:
                    reason = str(damage)
                except CorruptionError as error:  # of what is no longer current
                    raise CorruptionError(f"{self.path}: {error}") from None
                except rows.ERRORS as error:
                    if not connections.usable():  # closed by whoever interrupted this
                        continue
                    if not rows.is_damage(error):
                        raise StorageError(f"{self.path} can't be read: {error}") from error
                    reason = str(error)
            with alone(self.path, self._lock, "recovery"):
                if connections is self._connections and connections.usable():  # else somebody was faster
                    raise self._recover(reason)

    def _ready(self) -> Connections:
        connections = self._connections
        if connections is not None and connections.orphaned:
            check_not_forked_inside(self.path)
        if connections is not None and connections.usable():
            return connections
        close_lost(self.path)  # before anything else gets their numbers
        with alone(self.path, self._lock, "open"):
            return self._ready_inside()

    # What follows runs under the lock.

    def _ready_inside(self) -> Connections:
        connections = self._connections
        if connections is not None:
            if connections.usable():
                return connections
            connections.close()
        self._witness.look_again()
        return self._open()

    def _open(self) -> Connections:
        found = self._witness.read()
        witnessed = found.version if found else 0
        try:
            if self._recovery.is_missing() or (found and not _has_content(self.path)):
                raise Damage("the database is missing or empty")
            self._connections = self._connect(is_ours=found is not None or os.path.lexists(self._good))
            version = self._check(self._connections.writer)
            if version < witnessed and version_of(self._good) > version:
                raise Damage("an older copy stood in its place")
        except Damage as damage:
            error = self._recover(str(damage))
            if error.incident.restored_version is None or self._connections is None:
                raise error from damage
            return self._connections
        if version < witnessed:
            self._sign("open")
            lift(self._connections.writer, witnessed, wall_time(self._settings.clock))
            self._recovery.report("committed changes are missing at its end", version, witnessed)
            version = rows.last(self._connections.writer).version
        if found is None or found.version != version:
            self._witness.write(version, "")
        if self._copied_version < 0:
            self._copied_version = version
        return self._connections

    def _connect(self, *, is_ours: bool) -> Connections:
        synchronous = "FULL" if self._settings.durability == "power" else "NORMAL"
        try:
            is_new = not os.path.lexists(self.path)
            connections = Connections(self.path, self._lock, synchronous, self._settings.deadline_s)
            if is_new:
                sync_directory(os.path.dirname(self.path))
        except (*rows.ERRORS, OSError) as error:
            if isinstance(error, rows.ERRORS) and rows.is_damage_at_opening(error, self.path):
                raise self._damage(str(error), is_ours=is_ours) from error
            raise StorageError(f"{self.path} can't be opened: {error}") from error
        try:
            if not rows.check_format(connections.writer):
                if is_ours:
                    raise Damage("its tables are gone")
                rows.create(connections.writer)
        except BaseException as error:
            connections.close()
            if isinstance(error, NewerFormatError):
                raise NewerFormatError(f"{self.path}: {error}") from None
            damaged = isinstance(error, rows.ERRORS) and rows.is_damage_at_opening(error, self.path)
            if damaged or isinstance(error, ConfigurationError):
                raise self._damage(str(error), is_ours=is_ours) from error
            if isinstance(error, sqlite3.Error):
                raise StorageError(f"{self.path} can't be opened: {error}") from error
            raise
        return connections

    def _damage(self, reason: str, *, is_ours: bool) -> Exception:
        """Ours is set aside and restored; a file that never was ours is not touched."""
        if not os.path.lexists(self._good):
            check_kind(self.path, "sqlite")
        if is_ours:
            return Damage(reason)
        return CorruptionError(f"{self.path} is not a store ({reason}); it was left alone: name another path")

    def _check(self, connection: sqlite3.Connection) -> int:
        try:
            return rows.check_all(connection)
        except rows.ERRORS as error:
            if rows.is_damage_at_opening(error, self.path):
                raise Damage(str(error)) from error
            raise StorageError(f"{self.path} can't be read: {error}") from error

    def _recover(self, reason: str) -> StoreCorruptedError:
        if self._connections is not None:
            self._connections.close()
            self._connections = None
        found = self._witness.read()
        incident = self._recovery.run(reason, found.version if found else 0, self._adopt)
        return StoreCorruptedError(self.path, incident)

    def _adopt(self, folder: str, witnessed: int) -> int:
        connections = self._connect(is_ours=True)
        try:
            self._check(connections.writer)
            damaged = os.path.join(folder, os.path.basename(self.path))
            version = replay_later_changes(connections.writer, damaged)
            if version < witnessed:
                lift(connections.writer, witnessed, wall_time(self._settings.clock))
            top = rows.last(connections.writer).version
        except BaseException:
            connections.close()
            raise
        self._witness.write(top, "")
        self._connections = connections
        return version

    def _take_over(self, connections: Connections) -> rows.Last:
        """See what the last writer left: a dead one's transaction is logged, a store behind its witness is damaged."""
        signed = self._lock.last_note()
        if connections.left is not None and signed == connections.left[0]:
            return connections.left[1]  # it was this process, and it ended well
        connection = connections.writer
        last, found = rows.last(connection), self._witness.read()
        if found is not None and found.version > last.version:
            raise Damage("committed changes are missing at its end")
        began = transaction_under_way(signed, found)
        if began and began != last.transaction and not log.is_recent(connection, began, last.version - MOST_TOGETHER):
            wall = wall_time(self._settings.clock)
            status, reason = TransactionStatus.FAILED.value, "its process ended in the middle"
            connection.execute("ROLLBACK")
            log.note_outcome(connection, last.version, began, wall, status, reason)
            connection.execute("BEGIN IMMEDIATE")
        return last

    def _sign(self, note: str) -> None:
        """Whoever changes what others may remember signs for it first; if the disk refuses that, nothing is changed."""
        if not self._lock.sign(note):
            raise StorageError(
                f"{self._lock.path} can't be written, so the store can't: is the disk full, or are too many files open?"
            )

    def _undo(self, connection: sqlite3.Connection, version: int, transaction: str, error: sqlite3.Error) -> bool:
        """Make sure that a commit that failed late, at its sync, is not found in the log by a later start.

        Its frames may be in the file, complete. The line in the log is written over their beginning.

        Returns:
            Whether that was possible; a later write of anybody does the same.
        """
        _rollback(connection)
        try:
            wall = wall_time(self._settings.clock)
            log.note_outcome(connection, version, transaction, wall, TransactionStatus.FAILED.value, str(error))
        except (sqlite3.Error, ConfigurationError):  # or the clock tells no time
            _rollback(connection)
            return False
        return True

    def _tidy(self, connections: Connections, version: int) -> None:
        """Before closing, when many commits were made since the last copy, perhaps by many processes: sweep, copy."""
        is_old = version - self._copied_version >= _CLOSE_COMMITS or version - version_of(self._good) >= _CLOSE_COMMITS
        if version and (is_old or not os.path.lexists(self._good)):
            connections.writer.execute("BEGIN IMMEDIATE")
            log.sweep(connections.writer)
            connections.writer.execute("COMMIT")
            connections.expired = []
            self._copy(connections, version)

    def _copy_when_due(self, connections: Connections, version: int) -> None:
        if version - self._copied_version >= _GOOD_COMMITS:
            with self.guarded(connections) as connection:
                _rollback(connection)
                count = connection.execute("SELECT count(*) FROM entry").fetchone()[0]
                if version - self._copied_version >= count:
                    self._copy(connections, version)

    def _copy(self, connections: Connections, version: int) -> None:
        """Make the present state the last good generation; where that fails, what was committed holds all the same."""
        busy = connections.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            return  # a reader of another process is in the middle; the next time then
        self._check(connections.writer)
        try:
            write_atomic(self._good, connections.presence.content(), durability=self._settings.durability)
        except (OSError, StorageError):  # no room: the one before stays, and this is tried again after some commits
            self._copied_version += _CLOSE_COMMITS
            return
        self._copied_version = version
        connections.emptied()


def _stamp(connections: Connections) -> object:
    return connections.serial, connections.reader.execute("PRAGMA data_version").fetchone()[0]


def _rollback(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _sweep(connection: sqlite3.Connection, expired: list[int]) -> bool:
    """Remove expired rows in the open transaction, if they are many; whether they were."""
    if len(expired) < _SWEEP_ROWS:
        return False
    connection.executemany("DELETE FROM change WHERE id = ?", [(number,) for number in expired])
    return True


def _has_content(path: str) -> bool:
    try:
        return os.path.getsize(path) > 0
    except FileNotFoundError:
        return False


def _keys(connection: sqlite3.Connection, prefix: str) -> list[str]:
    found = connection.execute(
        "SELECT e.key FROM entry e JOIN change c ON c.id = e.change"
        " WHERE e.key >= ? AND substr(e.key, 1, ?) = ? AND c.text IS NOT NULL ORDER BY e.key",
        (prefix, len(prefix), prefix),
    )
    return [key for (key,) in found]
