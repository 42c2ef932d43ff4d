"""What the store speaks of, as data: cells, changes, history, transactions, incidents; and what may go wrong.

*Version* is one number for everything: each commit raises the store's version by one, and a key's version is that of
the commit which changed it last. So versions of a key only grow, are never used twice, and tell which of two keys
changed later. After a restore from an older generation the numbers go on above all that may have been seen.
Read `backend.py` next.
"""

from enum import Enum

from pytest_guardrails.errors import ConflictError, CorruptionError, GuardrailsError
from pytest_guardrails.hints import Any, final
from pytest_guardrails.records import Record

__all__ = [
    "Cell",
    "Damage",
    "Draft",
    "HistoryEntry",
    "Incident",
    "StoreCorruptedError",
    "TransactionError",
    "TransactionRecord",
    "TransactionStatus",
    "VersionConflictError",
]


@final
class Cell(Record):
    """What a backend holds for a key.

    Attributes:
        version: of the commit that wrote it.
        schema: the application's own schema number of the value.
        text: the value as JSON; None when the key was deleted.
    """

    version: int
    schema: int
    text: str | None


@final
class Draft(Record):
    """A change that a commit is to make.

    Attributes:
        key: whose.
        schema: the application's number for the form of the value.
        text: the value as JSON; None deletes.
        keep: how many values of the key are remembered, this one included; None leaves it to the store's setting.
    """

    key: str
    schema: int
    text: str | None
    keep: int | None = None


@final
class HistoryEntry(Record):
    """One value that a key had.

    Attributes:
        version: of the commit that wrote it.
        value: the value, frozen; None when the key was deleted then.
        deleted: whether it was.
        at: when, in seconds since 1970-01-01 UTC by the wall clock; for people.
        transaction: its id.
    """

    version: int
    value: Any
    deleted: bool
    at: float
    transaction: str


@final
class TransactionStatus(str, Enum):
    """How a transaction stands."""

    PENDING = "pending"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"  # by an exception in its block
    FAILED = "failed"  # the disk refused, or its process died: nothing of it holds


@final
class TransactionRecord(Record):
    """One line of the transaction log.

    Attributes:
        id: unique.
        status: how it stands.
        version: the store's version that it made; None unless committed.
        at: when that was decided, in seconds since 1970-01-01 UTC by the wall clock; for people.
        keys: what a committed one changed.
        note: why, for one that did not commit.
    """

    id: str
    status: TransactionStatus
    version: int | None
    at: float
    keys: tuple[str, ...] = ()
    note: str = ""


@final
class Incident(Record):
    """Stored bytes were not what had been written.

    Attributes:
        reason: what was wrong.
        quarantine: the folder to which the damaged files were moved.
        restored_version: the version of the generation that stands now; None when there was none to restore.
        witnessed_version: the last version known to have been committed; what lies between is lost.
        at: when it was found, in seconds since 1970-01-01 UTC by the wall clock.
    """

    reason: str
    quarantine: str
    restored_version: int | None
    witnessed_version: int
    at: float

    @property
    def lost_commits(self) -> int | None:
        """How many commits the restored generation lacks; None when nothing was restored."""
        return None if self.restored_version is None else max(0, self.witnessed_version - self.restored_version)


@final
class VersionConflictError(ConflictError):
    """A key has not the version that was expected: read it again, then decide.

    Attributes:
        key: which.
        expected: the version that the caller named; 0 stands for "not there".
        found: the version that it has; 0 when it is not there.
    """

    def __init__(self, key: str, expected: int, found: int) -> None:
        super().__init__(key, expected, found)
        self.key, self.expected, self.found = key, expected, found

    def __str__(self) -> str:
        return f"{self.key!r} has version {self.found}, not {self.expected}: read it again, then decide"


@final
class TransactionError(GuardrailsError):
    """A transaction was used in a way that can't work, such as after its end or inside another one."""


@final
class StoreCorruptedError(CorruptionError):
    """The store's files were damaged; they were moved to quarantine.

    Attributes:
        incident: what was found and what stands now. When a generation was restored, the call may be repeated.
    """

    def __init__(self, path: str, incident: Incident) -> None:
        super().__init__(path, incident)
        self.path, self.incident = path, incident

    def __str__(self) -> str:
        found = self.incident
        if found.restored_version is None:
            then = (
                "there is no good generation to restore, so the store stays closed: put a backup in its place, or "
                "remove its .witness file to start empty"
            )
        else:
            then = f"version {found.restored_version} was restored, {found.lost_commits} commits are lost; try again"
        return f"{self.path} is damaged ({found.reason}); its files are in {found.quarantine}; {then}"


@final
class Damage(Exception):  # noqa: N818 - a message between a backend's parts, which never leaves it
    """Stored bytes are not what was written; handled where the files can be set aside."""
