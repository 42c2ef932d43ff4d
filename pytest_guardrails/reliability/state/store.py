"""`StateStore`: the one transactional, versioned store on which everything that must survive stands.

**Guarantees.** A transaction's writes are all there or none. A commit that returned holds on disk as its durability
says; one that raised changed nothing, and what `after_commit` calls can't make one that holds raise. Versions only
grow. Values come out as they went in, and finite; nobody can
change them in place. A cached read is never older than the last commit of any process of this host.
**Does not** span several stores, or hosts.
**On crash** the state is that of the last commit; the transaction in progress is logged as failed.
**Threads and processes.** Any number; writers take turns, readers wait for nobody. Every wait has a deadline.

    with open_store("state.db") as store:
        with store.transaction() as transaction:
            transaction.put("runs", {**transaction.get("runs", {}), "r7": "started"})
        store.update("count", lambda count: count + 1, default=0)

Read `transaction.py` for what can be done inside, `opening.py` for how a store is opened, `sqlite.py` and
`json_file.py` for where it goes.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from types import TracebackType

from pytest_guardrails.errors import ConfigurationError, GuardrailsError, check_whole
from pytest_guardrails.hints import Any, final
from pytest_guardrails.reliability.durability.finite_json import printable
from pytest_guardrails.reliability.durability.locks import DEADLINE_S
from pytest_guardrails.reliability.state.backend import Backend
from pytest_guardrails.reliability.state.combining import Combiner
from pytest_guardrails.reliability.state.model import (
    Cell,
    HistoryEntry,
    Incident,
    TransactionError,
    TransactionRecord,
    TransactionStatus,
    VersionConflictError,
)
from pytest_guardrails.reliability.state.nesting import check_no_session
from pytest_guardrails.reliability.state.pressure import PRESSURE, Pressure, PressureGauge, parse_pressure
from pytest_guardrails.reliability.state.transaction import Conflict, Merge, Transaction
from pytest_guardrails.reliability.state.values import RESERVED, UNKNOWN_FIELDS, Migration, Values, check_key, is_text

__all__ = ["StateStore"]

_REASON_CHARACTERS = 200


_MOST_LINES = 1_000_000_000


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.now: list[Transaction] = []  # that it is inside of


@final
class StateStore:
    """See the module.

    Args:
        backend: where the state lives.
        schema: the application's number for the form of its values; stored with each, and a larger one is refused.
        migrations: for each older number the function (key, value) -> value in the form of the next number.
        cache: whether reads are answered from memory while nothing was committed.
        deadline_s: how long a thread waits for other threads of this process that write, in seconds.

    Attributes:
        backend: see above.
        after_commit: called with the store after each commit of this object's, in this order, by the thread that
            committed. What one raises is no word on the commit, which holds: it goes into the log `pytest_guardrails`
            and is counted, and the others are called. An interruption (KeyboardInterrupt, SystemExit) comes out when
            all were called.
        after_commit_failures: how often one of them raised.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        schema: int = 1,
        migrations: Mapping[int, Migration] | None = None,
        cache: bool = True,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.backend = backend
        self._values = Values(schema, migrations or {}, remember=cache)
        self._cache = cache
        self._seen: tuple[object, dict[str, Cell | None]] = (None, {})  # a stamp, and cells that were read after it
        self._inside = _OfThread()
        self._gauge = PressureGauge()
        self._combiner = Combiner(backend, self._values, self._gauge, deadline_s)
        self.after_commit: list[Callable[[StateStore], None]] = []
        self.after_commit_failures = 0

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Read and write several keys, all or nothing, alone.

        Commits when the block ends. An exception in the block rolls back, is logged, and comes out unchanged.

        Raises:
            StorageError: the commit was refused; nothing was changed.
            LockDeadlineError: others wrote until the deadline.
            TransactionError: this thread is inside a transaction of this store already.
        """
        self._check_outside()
        number, process = os.urandom(12).hex(), os.getpid()
        rolled_back, inside = False, self._inside.now  # of the thread that begins: another one may end it
        try:
            with self.backend.session(number) as session:
                if session.waited_s:
                    self._gauge.waited(session.waited_s)
                transaction = Transaction(session, self._values, number)
                try:
                    inside.append(transaction)
                    yield transaction
                    inside.clear()
                    committed = transaction.stage(self._gauge)
                    session.flush()
                except BaseException:
                    inside.clear()
                    rolled_back = not transaction.over
                    transaction.abandon()
                    raise
        except BaseException as error:
            if rolled_back:
                self._note_rolled_back(number, error, process)
            raise
        if committed is not None:
            self._tell()

    def get(self, key: str, default: Any = None) -> Any:
        """The key's value as of the last commit, frozen; `default` when it is not there.

        Raises:
            NewerFormatError: a later version of the application wrote it.
            StoreCorruptedError: it was damaged; see there.
        """
        check_key(key)
        cell = self._cell(key)
        return default if cell is None else self._values.of(key, cell, default)

    def version(self, key: str | None = None) -> int:
        """A key's version, 0 when it is not there; without a key the store's."""
        if key is None:
            return self.backend.version()
        check_key(key)
        cell = self._cell(key)
        return 0 if cell is None or cell.text is None else cell.version

    def keys(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, sorted."""
        if not is_text(prefix):
            return []
        return [key for key in self.backend.keys(prefix) if not key.startswith(RESERVED)]

    def put(
        self,
        key: str,
        value: Any,
        *,
        expected_version: int | None = None,
        on_conflict: Conflict | Merge = Conflict.REJECT,
    ) -> int:
        """Set one key in a transaction of its own; see `Transaction.put`.

        Returns:
            The key's new version.
        """
        return self._write(
            lambda transaction: transaction.put(key, value, expected_version=expected_version, on_conflict=on_conflict)
        ).committed

    def delete(self, key: str, *, expected_version: int | None = None) -> None:
        """Remove one key in a transaction of its own; see `Transaction.delete`."""
        self._write(lambda transaction: transaction.delete(key, expected_version=expected_version))

    def update(self, key: str, change: Callable[[Any], Any], *, default: Any = None, attempts: int = 0) -> Any:
        """Set a key to what `change` makes of its value; no update of anybody is lost.

        Args:
            key: which.
            change: gets the frozen value or `default`, returns the new one; must do nothing else, it may be called
                several times.
            default: stands in for a key that is not there.
            attempts: how often to call `change` while nobody waits for it, and to write only if the key is still the
                same (for a slow `change`); after that, and at once when 0, it is called while others wait.

        Returns:
            The new value, as stored.
        """
        for _ in range(attempts):
            cell = self.backend.get(key)
            found = 0 if cell is None or cell.text is None else cell.version
            value = change(default if cell is None else self._values.of(key, cell, default))
            with suppress(VersionConflictError):
                self.put(key, value, expected_version=found)
                return value

        wanted: Any = None

        def change_it(transaction: Transaction) -> None:
            nonlocal wanted
            wanted = change(transaction.get(key, default))
            transaction.put(key, wanted)

        self._write(change_it)
        return wanted

    def history(self, key: str) -> list[HistoryEntry]:
        """The values that are remembered of a key, oldest first, the current one last."""
        check_key(key)
        return [
            HistoryEntry(
                version=past.cell.version,
                value=None if past.cell.text is None else self._values.decode_old(key, past.cell),
                deleted=past.cell.text is None,
                at=past.at,
                transaction=past.transaction,
            )
            for past in self.backend.history(key)
        ]

    def restore(self, key: str, version: int) -> int:
        """Set a key to the value that it had at a version; a deletion is restored as well.

        Returns:
            The key's new version; the old one when it already was as wanted.

        Raises:
            ConfigurationError: that version is not remembered.
        """
        wanted = next((entry for entry in self.history(key) if entry.version == version), None)
        if wanted is None:
            known = ", ".join(str(entry.version) for entry in self.history(key)) or "none"
            raise ConfigurationError(f"{key!r} has no version {version}; remembered are {known}")
        with self.transaction() as transaction:
            if wanted.deleted:
                transaction.delete(key)
            else:
                transaction.put(key, wanted.value)
        return transaction.committed or self.version(key)

    def transactions(self, limit: int = 100) -> list[TransactionRecord]:
        """The newest lines of the transaction log, newest first; `limit` from 0."""
        check_whole("limit", limit, 0)
        limit = min(limit, _MOST_LINES)
        return self.backend.transactions(limit)

    def prune(self, *, keep_versions: int = 1, older_than_s: float | None = None, even_promised: bool = False) -> int:
        """Forget old values, log lines and deleted keys; never a current value, nor what is promised to be kept.

        A part of the program that keeps something in the history of keys, such as the checkpoints of a run, promises
        how much (`Transaction.promise`); it has ways of its own to forget.

        Args:
            keep_versions: how many values of each key stay whatever their age.
            older_than_s: forget only what is older by the wall clock, in seconds; None forgets whatever its age.
            even_promised: forget that as well.

        Returns:
            How many values were forgotten.
        """
        check_whole("keep_versions", keep_versions, 1)
        if older_than_s is not None and not 0 <= older_than_s < 1e12:
            raise ConfigurationError(f"older_than_s must be None or from 0 to 1e12 seconds, not {older_than_s}")
        return self.backend.prune(keep_versions, older_than_s, even_promised=even_promised)

    @contextmanager
    def snapshot(self) -> Iterator[Mapping[str, tuple[Cell, Any]]]:
        """All present keys with their cells and values, of one moment; nobody writes during the block."""
        with self.backend.session(os.urandom(12).hex()) as session:
            found: dict[str, tuple[Cell, Any]] = {}
            for key in session.keys(""):
                cell = session.get(key)
                if cell is not None and not key.startswith(RESERVED):
                    found[key] = (cell, self._values.of(key, cell))
            yield found

    def unknown_fields(self) -> Mapping[str, Any]:
        """What an import brought along that this version does not know; for the export."""
        cell = self.backend.get(UNKNOWN_FIELDS)
        found: Mapping[str, Any] = {} if cell is None or cell.text is None else json.loads(cell.text)
        return found

    def pressure(self) -> Pressure:
        """How long writers of all processes waited for each other, ever, and how many at a time.

        Of other processes the last few waits may be missing.
        """
        return parse_pressure(self.backend.get(PRESSURE)) + self._gauge.pending

    def incidents(self) -> list[Incident]:
        """What was ever found damaged here, and what was restored; oldest first."""
        return self.backend.incidents()

    def clear_cache(self) -> None:
        """Read everything from the disk again."""
        self._seen = (None, {})
        self._values.clear()

    def close(self) -> None:
        """Release files; the store opens itself again when it is used."""
        self.backend.close()
        self._seen = (None, {})  # what told whether something was committed meanwhile is closed, too

    def __enter__(self) -> "StateStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _note_rolled_back(self, number: str, error: BaseException, process: int) -> None:
        if process != os.getpid():  # a child that was forked in the middle: the transaction is its parent's
            return
        try:
            text = printable(str(error))
        except Exception:  # noqa: BLE001 - an error that can't say what it is; it comes out all the same
            text = "it can't be put into words"
        reason = f"{type(error).__name__}: {text}"[:_REASON_CHARACTERS]
        with suppress(GuardrailsError):  # the caller's own error is the one to tell
            self.backend.note(number, TransactionStatus.ROLLED_BACK, reason)

    def _check_outside(self) -> None:
        if self._inside.now:
            raise TransactionError("transactions do not nest: hand the outer one to the code that wants to write")

    def _write(self, work: Callable[[Transaction], None]) -> Transaction:
        """Some work in a transaction of its own, made durable together with that of other threads."""
        self._check_outside()
        check_no_session(self.backend.path)  # before it stands in the queue, where the one in the middle may be leader

        def done_inside(transaction: Transaction) -> None:
            inside = self._inside.now  # of the thread that does it, for itself or for another one
            try:
                inside.append(transaction)
                work(transaction)
            finally:
                inside.clear()

        process = os.getpid()
        request = self._combiner.run(done_inside)
        transaction = request.transaction
        if request.error is not None:
            if request.rolled_back:
                self._note_rolled_back(request.id, request.error, process)
            raise request.error
        assert transaction is not None
        if transaction.committed:
            self._tell()
        return transaction

    def _tell(self) -> None:
        interruption: BaseException | None = None
        for call in tuple(self.after_commit):
            try:
                call(self)
            except Exception as error:  # noqa: PERF203 - the commit holds, and whoever made it must not be told otherwise
                self.after_commit_failures += 1
                log = import_module("logging").getLogger("pytest_guardrails")
                log.error("%s: the commit holds, but %r failed after it", self.backend.path, call, exc_info=error)
            except BaseException as error:  # noqa: BLE001 - raised below
                interruption = error
        if interruption is not None:
            raise interruption

    def _cell(self, key: str) -> Cell | None:
        if not self._cache:
            return self.backend.get(key)
        stamp = self.backend.stamp()
        known, cells = self._seen
        if stamp != known:
            cells = {}
            self._seen = (stamp, cells)
        elif key in cells:
            return cells[key]
        # Read after the stamp: what is read may be newer than the stamp says, and is then merely read again.
        cell = cells[key] = self.backend.get(key)
        return cell
