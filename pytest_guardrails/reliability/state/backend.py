"""What a backend must do: keep cells, commit drafts all or nothing, remember. All else is the store's.

A backend knows bytes, locks and versions; it knows nothing of values, caches, policies or schemas. Every
implementation passes the one suite in `tests/reliability/state/conformance.py`. Read `sqlite.py` or `json_file.py` for
one, `store.py` for the user of both.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.durability import Durability
from pytest_guardrails.reliability.state.model import Cell, Draft, Incident, TransactionRecord, TransactionStatus

__all__ = ["MOST_TOGETHER", "Backend", "BackendSettings", "PastCell", "Reader", "Session"]


@final
class PastCell(NamedTuple):
    """A cell that a key had, with when and by which transaction."""

    cell: Cell
    at: float
    transaction: str


MOST_TOGETHER = 64  # transactions in one commit: it stays short enough for other processes, which wait for it


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """What every backend is told.

    Attributes:
        durability: what a commit survives once it returned.
        deadline_s: how long any lock is waited for, in seconds.
        keep_versions: how many values of each key are remembered, the current one included.
        clock: wall time for records.
        listener: told of each incident; it must not use the store.
    """

    durability: Durability = "power"
    deadline_s: float = 30.0
    keep_versions: int = 10
    clock: Clock = field(default_factory=SystemClock)
    listener: Callable[[Incident], None] = lambda incident: None  # noqa: ARG005 - nobody listens

    def __post_init__(self) -> None:
        if self.durability not in ("power", "process"):
            raise ConfigurationError(f'durability must be "power" or "process", not {self.durability!r}')
        if self.keep_versions < 1:
            raise ConfigurationError(f"keep_versions must be at least 1, not {self.keep_versions}")
        if not 0 < self.deadline_s < 1e9:
            raise ConfigurationError(f"deadline_s must be above 0 and finite, not {self.deadline_s}")


class Reader(Protocol):
    """Reads one consistent state."""

    def get(self, key: str) -> Cell | None:
        """The key's cell, of a deleted key too; None when it was never there."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """The keys that start with `prefix` and are not deleted, sorted by code point."""
        ...


class Session(Reader, Protocol):
    """The one writer of the store at this moment; it reads what it staged."""

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

    def prune(self, keep_versions: int, older_than_s: float | None) -> int:
        """Forget old values, log lines and deleted keys, never a current value.

        Args:
            keep_versions: how many values of each key stay whatever their age, the current one included.
            older_than_s: forget only what is older by the wall clock, in seconds; None forgets whatever its age.

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
