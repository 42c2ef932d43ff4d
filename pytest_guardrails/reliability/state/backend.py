"""What a backend must do: keep cells, commit drafts all or nothing, remember. All else is the store's.

A backend knows bytes, locks and versions; it knows nothing of values, caches, policies or schemas. Every
implementation passes the one suite in `tests/reliability/state/conformance.py`. Read `sqlite.py` or `json_file.py` for
one, `store.py` for the user of both.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from time import monotonic

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, check_whole
from pytest_guardrails.hints import NoReturn, Protocol, final
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.durability import Durability, FileLock, LockDeadlineError
from pytest_guardrails.reliability.state.model import Cell, Draft, Incident, TransactionRecord, TransactionStatus

__all__ = ["MOST_TOGETHER", "Backend", "BackendSettings", "PastCell", "Reader", "Session", "wait_for"]


@final
class PastCell(Record):
    """A cell that a key had, with when and by which transaction."""

    cell: Cell
    at: float
    transaction: str


MOST_TOGETHER = 64  # transactions in one commit: it stays short enough for other processes, which wait for it


@final
class BackendSettings:
    """What every backend is told; checked, and never changed afterwards.

    Written out, since `dataclasses` would cost a short-lived program more than all its work with the store.

    Args:
        durability: what a commit survives once it returned.
        deadline_s: how long any lock is waited for, in seconds.
        keep_versions: how many values of each key are remembered, the current one included.
        clock: wall time for records; the machine's when None.
        listener: told of each incident; it must not use the store.
    """

    __slots__ = ("clock", "deadline_s", "durability", "keep_versions", "listener")
    durability: Durability
    deadline_s: float
    keep_versions: int
    clock: Clock
    listener: Callable[[Incident], None]

    def __init__(
        self,
        *,
        durability: Durability = "power",
        deadline_s: float = 30.0,
        keep_versions: int = 10,
        clock: Clock | None = None,
        listener: Callable[[Incident], None] = lambda incident: None,  # noqa: ARG005 - nobody listens
    ) -> None:
        if durability not in ("power", "process"):
            raise ConfigurationError(f'durability must be "power" or "process", not {durability!r}')
        check_whole("keep_versions", keep_versions, 1)
        if not 0 < deadline_s < 1e9:
            raise ConfigurationError(f"deadline_s must be above 0 and finite, not {deadline_s}")
        values = (clock or SystemClock(), deadline_s, durability, keep_versions, listener)
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, _value: object) -> NoReturn:
        raise AttributeError(f"{name} is fixed: make other BackendSettings")


def wait_for(lock: FileLock) -> float:
    """Take a writer's lock.

    Returns:
        How long that took, in seconds; 0.0 when it was free.

    Raises:
        LockDeadlineError: it was not free until its own deadline.
    """
    try:
        lock.acquire(deadline_s=0.0, note=None)
        return 0.0
    except LockDeadlineError:
        began_s = monotonic()
    lock.acquire(note=None)
    return monotonic() - began_s


class Reader(Protocol):
    """Reads one consistent state."""

    def get(self, key: str) -> Cell | None:
        """The key's cell, of a deleted key too; None when it was never there."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """The keys that start with `prefix` and are not deleted, sorted by code point."""
        ...


class Session(Reader, Protocol):
    """The one writer of the store at this moment; it reads what it staged.

    Attributes:
        waited_s: how long it had to wait for other writers, in seconds; 0.0 when it had not.
    """

    waited_s: float

    def schema(self, key: str) -> int:
        """The schema number that stands at a key's present value, not checked for damage; 0 when there is no value."""
        ...

    def stage(self, drafts: Sequence[Draft], transaction: str) -> int:
        """Take in the changes of a transaction, after those staged before.

        Args:
            drafts: what it changes.
            transaction: its id, for the log.

        Returns:
            The store's version that it makes.
        """
        ...

    def flush(self) -> None:
        """Make all that was staged durable at once.

        Raises:
            StorageError: nothing of it was made, and nothing will appear later.
        """
        ...


class Backend(Reader, Protocol):
    """Keeps the cells of one store, for all threads and processes of a host. Reads outside a session see commits.

    Attributes:
        path: the main file.
    """

    path: str

    def session(self, transaction: str) -> AbstractContextManager[Session]:
        """Be the only writer during the block; nothing is changed but by `Session.flush`.

        Args:
            transaction: the id of the first one, for the log.

        Raises:
            LockDeadlineError: others wrote until the deadline.
        """
        ...

    def stamp(self) -> object:
        """Compares equal to an earlier stamp only if nothing was committed in between, by whomever."""
        ...

    def version(self) -> int:
        """The store's version."""
        ...

    def history(self, key: str) -> list[PastCell]:
        """What is remembered of a key, oldest first."""
        ...

    def transactions(self, limit: int) -> list[TransactionRecord]:
        """The newest lines of the transaction log, newest first."""
        ...

    def note(self, transaction: str, status: TransactionStatus, reason: str) -> None:
        """Log a transaction that did not commit."""
        ...

    def prune(self, keep_versions: int, older_than_s: float | None, *, even_promised: bool = False) -> int:
        """Forget old values, log lines and deleted keys, never a current value.

        Args:
            keep_versions: how many values of each key stay whatever their age, the current one included.
            older_than_s: forget only what is older by the wall clock, in seconds; None forgets whatever its age.
            even_promised: whether what is promised in `retention.py` is no reason to keep more.

        Returns:
            How many values were forgotten.
        """
        ...

    def incidents(self) -> list[Incident]:
        """What was found damaged here, ever, oldest first."""
        ...

    def close(self) -> None:
        """Release files and connections; a closed backend opens itself again when it is used."""
        ...
