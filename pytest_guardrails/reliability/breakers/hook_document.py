"""The documented file as the store itself, with `state_backend: json`: `{"hooks": {...}, "global_stats": {...}}`.

A person may edit it at any time: what differs from what was written last is taken in by the next operation, whoever
does that. A file that is torn, or says what no hook can be, is moved to quarantine, and what it said last is written
anew; so no hook that was disabled comes free by damage.

What the shape can't hold (permits, epochs, operators' words, events), and what the file said last, lies in a state
store beside it. One operation: lock; read the file; take in what was edited; change; commit the store, together with
the digests of the file before and after; replace the file. A crash between the last two leaves a file with the digest
*before*: it is written again, not taken for an edit.

**Guarantees.** As the store's; an operation that returned is in the file, unless the disk refused that alone, and then
the next one writes it. Reading costs one `stat` while nobody wrote.
**Does not** know what an editor had read: whoever saves an old copy says what it says; but for the very last one,
which is taken for a crash.
**Threads and processes.** Any number. The file's lock is taken first, then the store's.

Read `document.py` for what is in the file, `hook_state.py` for the operations.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, StorageError
from pytest_guardrails.hints import Any, final
from pytest_guardrails.reliability.breakers.commands import PREFIX
from pytest_guardrails.reliability.breakers.document import bytes_of, document_in, parse_document, take_in
from pytest_guardrails.reliability.breakers.hook_state import HookState, telling
from pytest_guardrails.reliability.breakers.record import parse
from pytest_guardrails.reliability.durability import Durability, FileLock, write_atomic
from pytest_guardrails.reliability.durability.digests import digest_of
from pytest_guardrails.reliability.state.model import Incident
from pytest_guardrails.reliability.state.quarantine import incidents_of, open_quarantine, set_aside, write_incident
from pytest_guardrails.reliability.state.transaction import Transaction

__all__ = ["HookDocument"]

_DIGESTS = "document"  # the store's key for those of the file
_NONE: Mapping[str, Any] = {"before": "", "after": ""}


@final
class HookDocument:
    """See the module, and `hook_state.Document`.

    Args:
        path: the file; made when it is missing.
        listener: told of each incident.
        clock: see `Clock`.
        durability: what the file survives.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        listener: Callable[[Incident], None],
        clock: Clock | None = None,
        durability: Durability = "power",
    ) -> None:
        self.path = os.path.realpath(path)
        self._listener = listener
        self._clock = clock or SystemClock()
        self._durability = durability
        self._lock = FileLock.beside(self.path, clock=self._clock)
        self._known: tuple[int, ...] | None = None  # the file that says what the store does

    @contextmanager
    def transaction(self, state: HookState) -> Iterator[Transaction]:
        """See `Document.transaction`."""
        with self._lock.exclusive(note="hooks"):
            with state.store.transaction() as transaction:
                content = self._read()
                told = self._take_in(state, transaction, content)
                yield transaction
                fresh = bytes_of(document_in(state, transaction))
                digests = {"before": _digest(content), "after": _digest(fresh)}
                if digests["after"] != transaction.get(_DIGESTS, _NONE)["after"]:
                    transaction.put(_DIGESTS, digests, keep_versions=1)
            if told is not None:
                self._listener(told)
            self._known = None
            with suppress(StorageError):  # what was done is committed: the next one to come writes the file
                if fresh != content:
                    write_atomic(self.path, fresh, durability=self._durability)
                self._known = self._identity()

    def look(self, state: HookState) -> None:
        """See `Document.look`."""
        identity = self._identity()
        if identity == self._known:
            return
        if self._known is not None and state.store.get(_DIGESTS, _NONE)["after"] == _digest(self._read()):
            self._known = identity  # another process wrote it
            return
        with self.transaction(state):  # the first look also makes up for what a crash has left undone
            pass

    def incidents(self) -> tuple[Incident, ...]:
        """See `Document.incidents`."""
        return tuple(incidents_of(self.path))

    def _take_in(self, state: HookState, transaction: Transaction, content: bytes | None) -> Incident | None:
        digests, found = transaction.get(_DIGESTS, _NONE), _digest(content)
        if found in (digests["after"], digests["before"]):
            return None  # as it was written last, or a crash came before it was written: that is made up for
        if content is None:
            return self._set_aside(state, transaction, "the file is missing")
        try:
            document = parse_document(content, self.path)
        except ConfigurationError as error:
            return self._set_aside(state, transaction, str(error))
        if not digests["after"]:
            # A new store: the file may be an old copy, and the book of disabled hooks knows better.
            for record in state.hooks_in(transaction):
                state.put_record(transaction, record)
                document["hooks"].pop(record.command, None)
            take_in(state, transaction, document, self.path, {}, replace=False)
            return None
        # Compared with what the file said last, not with the book, which may be ahead of it.
        known = (parse(transaction.get(key)) for key in transaction.keys(PREFIX))
        take_in(state, transaction, document, self.path, {record.command: record for record in known}, replace=True)
        return None

    def _set_aside(self, state: HookState, transaction: Transaction, reason: str) -> Incident:
        version = state.store.version()
        incident = Incident(
            reason=reason,
            quarantine=open_quarantine(self.path),
            restored_version=version,
            witnessed_version=version,
            at=self._clock.wall(),
        )
        write_incident(incident)
        set_aside(incident.quarantine, [self.path])
        telling().tell_document_damage(state.store, transaction, incident)
        return incident

    def _read(self) -> bytes | None:
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.path} can't be read: {error}") from error

    def _identity(self) -> tuple[int, ...]:
        try:
            found = os.stat(self.path)
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(content: bytes | None) -> str:
    return "" if content is None else digest_of(content, 16).hex()
