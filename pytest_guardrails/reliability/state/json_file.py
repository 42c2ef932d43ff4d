"""The json backend: one file that people can read, written whole at each commit. For small states.

**Files** of a store at PATH: `PATH`; `PATH.previous`, the generation before it; `PATH.lock` and its `.turn`;
`PATH.witness`; `PATH.quarantine/`. The format is described in `json_document.py`.

**Guarantees.** As the sqlite backend's; any changed byte is noticed, in what is no longer current too.
**Does not** scale: a commit costs as much as the whole file.
**On crash** the file is the old generation or the new one.
**Threads and processes.** Any number. Readers take no lock: a file is replaced in one step and never changed.

A person may read the file, but not edit it: a changed file no longer fits its checksum, and is set aside. Use
`export_state` and `import_state`. Read `backend.py` for the contract.
"""

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from pytest_guardrails.errors import CorruptionError, NewerFormatError, StorageError
from pytest_guardrails.hints import final
from pytest_guardrails.reliability.durability import DurabilityUnknownError, FileLock, sync_directory, write_atomic
from pytest_guardrails.reliability.durability.forking import renew_in_children
from pytest_guardrails.reliability.durability.locks import resolved
from pytest_guardrails.reliability.durability.open_files import close_own
from pytest_guardrails.reliability.durability.times import wall_time
from pytest_guardrails.reliability.state import json_document as documents
from pytest_guardrails.reliability.state.backend import MOST_TOGETHER, BackendSettings, PastCell, Session, wait_for
from pytest_guardrails.reliability.state.json_document import Document
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
from pytest_guardrails.reliability.state.nesting import (
    Stay,
    alone,
    check_no_session,
    refuse_forked,
)
from pytest_guardrails.reliability.state.quarantine import incidents_of
from pytest_guardrails.reliability.state.recovery import Recovery
from pytest_guardrails.reliability.state.retention import RETENTION, parse_promises
from pytest_guardrails.reliability.state.witness import Witness, note_for, transaction_under_way, with_what_is_under_way

__all__ = ["JsonBackend"]

_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a named pipe would wait for its other end, for good


@final
class _Loaded:
    """A generation as it was read.

    The file stays open for as long as anybody has this: its inode number can't come to mean another file, so equal
    identities are equal files.
    """

    __slots__ = ("_descriptor", "_file", "document", "identity")

    def __init__(self, path: str, document: Document | None = None) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | _NO_WAIT)
        status = os.fstat(self._descriptor)
        self._file = (status.st_dev, status.st_ino)
        if not stat.S_ISREG(status.st_mode):
            what = "Is a directory" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"
            raise StorageError(f"{path} can't be read: {what}; name another path")
        self.identity = _identity(status)
        if document is None:
            with open(self._descriptor, "rb", closefd=False) as file:
                document = documents.load(file.read())
        self.document = document

    def __del__(self) -> None:
        if hasattr(self, "_file"):  # it was opened
            close_own(self._descriptor, self._file)


@final
class _JsonSession:
    """See `Session`; lives inside the lock."""

    def __init__(self, backend: "JsonBackend", document: Document, waited_s: float) -> None:
        self._backend = backend
        self.waited_s = waited_s
        self.document = document  # as it is on the disk
        self._staged = document
        self._process = os.getpid()

    def get(self, key: str) -> Cell | None:
        return documents.cell_of(self._staged, key)

    def keys(self, prefix: str) -> list[str]:
        return documents.live_keys(self._staged, prefix)

    def schema(self, key: str) -> int:
        cell = self.get(key)
        return 0 if cell is None or cell.text is None else cell.schema

    def stage(self, drafts: Sequence[Draft], transaction: str) -> int:
        if self._process != os.getpid():
            refuse_forked(self._backend.path)
        self._staged = self._backend.changed(self._staged, drafts, transaction)
        version: int = self._staged["version"]
        return version

    def flush(self) -> None:
        if self._process != os.getpid():
            refuse_forked(self._backend.path)
        if self._staged is not self.document:
            self._backend.replace(self._staged)
            self.document = self._staged


@final
class JsonBackend:
    """See the module and `Backend`.

    Args:
        path: the file; made, with its directory, when missing.
        settings: see there.

    Raises:
        StoreCorruptedError: the file was damaged, and there was no good generation.
        CorruptionError: `path` is no state file, and never was; it was left alone.
        NewerFormatError: a later version made it; it was left alone.
    """

    def __init__(self, path: str | os.PathLike[str], settings: BackendSettings | None = None) -> None:
        self.path = resolved(path)
        self._settings = settings or BackendSettings()
        self._lock = FileLock.beside(self.path, deadline_s=self._settings.deadline_s, clock=self._settings.clock)
        self._witness = Witness(self.path + ".witness")
        self._previous = self.path + ".previous"
        self._recovery = Recovery(self.path, [], self._previous, self._settings)
        self._mutex = threading.RLock()  # so that one thread loads for all; `_loaded` is changed in one step
        renew_in_children(self)
        self._loaded: _Loaded | None = None
        with alone(self.path, self._lock, "open"):
            self._open()

    @contextmanager
    def session(self, transaction: str) -> Iterator[Session]:
        """See `Backend.session`."""
        check_no_session(self.path)
        process = os.getpid()
        stay = Stay(self.path, self._lock)
        try:
            stay.begin()
            waited_s = wait_for(self._lock)
            stay.holding = self._lock.taken()
            self._witness.look_again()
            session = _JsonSession(self, self._take_over(), waited_s)
            self._lock.sign(note_for(transaction))
            try:
                yield session
            finally:
                if os.getpid() == process:
                    self._witness.write(session.document["version"], transaction)
        finally:
            try:
                stay.end()
            except BaseException:  # an interruption, which may come before anything was done
                stay.end()
                raise

    def changed(self, document: Document, drafts: Sequence[Draft], transaction: str) -> Document:
        """For a session; see `Session.stage`."""
        settings = self._settings
        return documents.changed(document, drafts, transaction, wall_time(settings.clock), settings.keep_versions)

    def get(self, key: str) -> Cell | None:
        """See `Reader.get`."""
        return documents.cell_of(self._read().document, key)

    def keys(self, prefix: str) -> list[str]:
        """See `Reader.keys`."""
        return documents.live_keys(self._read().document, prefix)

    def stamp(self) -> object:
        """See `Backend.stamp`."""
        return self._read().identity

    def version(self) -> int:
        """See `Backend.version`."""
        version: int = self._read().document["version"]
        return version

    def history(self, key: str) -> list[PastCell]:
        """See `Backend.history`."""
        return documents.past(self._read().document, key)

    def transactions(self, limit: int) -> list[TransactionRecord]:
        """See `Backend.transactions`."""
        lines = documents.log_lines(self._read().document, limit)
        holder = self._lock.holder()
        note, wall = holder.note if holder else "", wall_time(self._settings.clock)
        return with_what_is_under_way(lines, note, self._witness.read(), wall)[:limit]

    def note(self, transaction: str, status: TransactionStatus, reason: str) -> None:
        """See `Backend.note`."""
        with alone(self.path, self._lock, "log"):
            self.replace(documents.noted(self._current(), transaction, status, reason, wall_time(self._settings.clock)))

    def prune(self, keep_versions: int, older_than_s: float | None, *, even_promised: bool = False) -> int:
        """See `Backend.prune`."""
        before = float("inf") if older_than_s is None else wall_time(self._settings.clock) - older_than_s
        with alone(self.path, self._lock, "prune"):
            document = self._current()
            promises = {} if even_promised else parse_promises(documents.cell_of(document, RETENTION))
            document, removed = documents.pruned(document, keep_versions, before, promises)
            self.replace(document)
        return removed

    def incidents(self) -> list[Incident]:
        """See `Backend.incidents`."""
        return incidents_of(self.path)

    def close(self) -> None:
        """See `Backend.close`."""
        self._loaded = None
        self._witness.close()

    def _read(self) -> _Loaded:
        """The present generation, without the lock."""
        with suppress(Damage, CorruptionError, NewerFormatError, FileNotFoundError):
            return self._fresh()
        with alone(self.path, self._lock, "recovery"):
            self._current()
            return self._fresh()

    def _fresh(self) -> _Loaded:
        """The generation that has the store's name."""
        with self._mutex:
            loaded = self._loaded
            if loaded is None or loaded.identity != _identity_of(self.path):
                self._loaded = loaded = self._load()
            return loaded

    def _load(self) -> _Loaded:
        try:
            return _Loaded(self.path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"{self.path} can't be read: {error.strerror or error}") from error

    # What follows runs under the lock.

    def _open(self) -> None:
        if not os.path.lexists(self.path) and self._witness.read() is None and not self._recovery.is_missing():
            self._write_file(documents.empty())
        with suppress(FileNotFoundError):
            os.unlink(self._previous + ".new")  # of a process that died between two steps
        try:
            document = self._checked()
        except Damage as damage:
            error = self._recover(str(damage))
            if error.incident.restored_version is None:
                raise error from damage
            return
        found = self._witness.read()
        if found is not None and document["version"] < found.version:
            self._mend_older(document, found.version)
        version: int = self._checked()["version"]
        if found is None or found.version != version:
            self._witness.write(version, "")

    def _checked(self) -> Document:
        try:
            return self._fresh().document
        except FileNotFoundError:
            if not self._put_back():
                raise Damage("the file is missing") from None
            return self._fresh().document
        except NewerFormatError as error:
            raise NewerFormatError(f"{self.path}: {error}") from None
        except (CorruptionError, Damage) as error:
            if not os.path.lexists(self._previous):
                check_kind(self.path, "json")
            if self._witness.read() is None and not os.path.lexists(self._previous):
                raise CorruptionError(f"{self.path}: {error}; it was left alone: name another path") from None
            raise Damage(str(error)) from None

    def _current(self) -> Document:
        try:
            return self._checked()
        except Damage as damage:
            raise self._recover(str(damage)) from damage

    def _take_over(self) -> Document:
        """See what the last writer left: a dead one's transaction is logged, a file behind its witness is damaged."""
        document = self._current()
        found = self._witness.read()
        if found is not None and found.version > document["version"]:
            raise StoreCorruptedError(self.path, self._mend_older(document, found.version))
        began = transaction_under_way(self._lock.last_note(), found)
        if began and all(line.id != began for line in documents.log_lines(document, MOST_TOGETHER)):
            wall, failed = wall_time(self._settings.clock), TransactionStatus.FAILED
            document = documents.noted(document, began, failed, "its process ended in the middle", wall)
            self.replace(document)
        return document

    def replace(self, document: Document) -> None:
        """Keep the present generation as the previous one, and put a new one in its place. Under the lock."""
        fresh = self._previous + ".new"
        try:
            with suppress(FileNotFoundError):
                os.unlink(fresh)
            os.link(self.path, fresh)
            os.replace(fresh, self._previous)
            # The next step takes the file's name from this generation, and not every disk does that in one go: its
            # other name must be there before, and the witness that it was the last (see `_put_back`).
            self._sync_witness_and_directory()
        except OSError as error:
            raise StorageError(f"{self.path} was not written and is as before: {error}") from error
        try:
            self._write_file(document)
        except DurabilityUnknownError as error:
            # The new generation is in place but may not last: the old one is put back, so that what was refused
            # is not there either, nor after a power cut.
            try:
                os.link(self._previous, fresh)
                os.replace(fresh, self.path)
                sync_directory(os.path.dirname(self.path))
            except OSError:
                raise error from None
            raise StorageError(f"{self.path} is as before: {error}") from error

    def _put_back(self) -> bool:
        """Give the name back to the last generation, if the previous one is that; whether it was.

        A power cut in a rename may leave the old name gone and the new one not there yet (btrfs, POSIX): the disk is
        not damaged by that, and nothing was lost.
        """
        found, fresh = self._witness.read(), self._previous + ".new"
        try:
            with open(self._previous, "rb") as file:
                document = documents.load(file.read())
            if found is None or document["version"] < found.version:
                return False
            os.link(self._previous, fresh)
            os.replace(fresh, self.path)
            self._sync_witness_and_directory()
        except (OSError, CorruptionError, NewerFormatError, Damage):
            return False
        return True

    def _sync_witness_and_directory(self) -> None:
        if self._settings.durability == "power":
            self._witness.sync()
            sync_directory(os.path.dirname(self.path))

    def _write_file(self, document: Document) -> None:
        write_atomic(self.path, documents.serialise(document), durability=self._settings.durability)
        self._loaded = None
        with suppress(OSError):  # it is written: what can't be opened now is read when it is wanted
            self._loaded = _Loaded(self.path, document)

    def _recover(self, reason: str) -> StoreCorruptedError:
        self._loaded = None
        found = self._witness.read()
        incident = self._recovery.run(reason, found.version if found else 0, self._adopt)
        return StoreCorruptedError(self.path, incident)

    def _mend_older(self, document: Document, witnessed: int) -> Incident:
        """A whole file, but not the newest there was: the previous generation may be newer."""
        reason, version = "an older generation stood in its place", int(document["version"])
        with suppress(OSError, Damage, CorruptionError, NewerFormatError), open(self._previous, "rb") as file:
            if documents.load(file.read())["version"] > version:
                return self._recover(reason).incident
        self._write_file(documents.lifted(document, witnessed))
        self._witness.write(self._checked()["version"], "")
        return self._recovery.report(reason, version, witnessed)

    def _adopt(self, folder: str, witnessed: int) -> int:  # noqa: ARG002 - a damaged JSON file proves nothing of its parts
        try:
            document = self._checked()
        except NewerFormatError as error:
            raise Damage(str(error)) from error
        version: int = document["version"]
        if version < witnessed:
            document = documents.lifted(document, witnessed)
            self._write_file(document)
        self._witness.write(document["version"], "")
        return version


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _identity_of(path: str) -> tuple[int, ...]:
    try:
        return _identity(os.stat(path))
    except OSError:  # gone with its folder, or not to be reached: the next opening says which
        return ()
