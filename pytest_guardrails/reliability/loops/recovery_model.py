"""A recovery as data: where an item stands, what a handler is given, what was done. Read `recovery.py` next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, final

from pytest_guardrails.errors import ConflictError, GuardrailsError
from pytest_guardrails.reliability.loops.error_classes import ErrorClass
from pytest_guardrails.reliability.loops.strategies import Strategy
from pytest_guardrails.reliability.telemetry.formats import known_format

__all__ = [
    "FORMAT",
    "Attempt",
    "AuditEntry",
    "Handler",
    "Recovery",
    "RecoveryBusyError",
    "RecoveryFailedError",
    "RecoveryState",
    "parse_recovery",
]

FORMAT = 1


@final
class RecoveryState(str, Enum):
    """Where an item stands."""

    OPEN = "open"  # known, and nobody is at it
    ACTING = "acting"
    RECOVERED = "recovered"
    SKIPPED = "skipped"
    ESCALATED = "escalated"
    TERMINATED = "terminated"

    @property
    def final(self) -> bool:
        """This recovery has ended."""
        return self not in (RecoveryState.OPEN, RecoveryState.ACTING)


@final
class RecoveryBusyError(ConflictError):
    """A living process is at this item: leave it to that one."""


@final
class RecoveryFailedError(GuardrailsError):
    """An item was not recovered; the error that began it is the cause."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a handler is given.

    Attributes:
        item: which.
        strategy: what it is to carry out.
        error_class: of the error.
        error: its words.
        number: how often this strategy was tried in this recovery, this time included.
        key: names this attempt, for systems that know idempotency keys.
    """

    item: str
    strategy: Strategy
    error_class: ErrorClass
    error: str
    number: int
    key: str


Handler = Callable[[Attempt], Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """A recovery as it stands.

    Attributes:
        item: which.
        incident: number of the recovery of this item, from 1.
        state: where it stands.
        error_class: of the last error.
        error: its words.
        strategy: what was tried last; None when nothing was.
        used: by strategy, how often it was tried.
        value: what the last handler returned, in the process that called it.
    """

    item: str
    incident: int
    state: RecoveryState
    error_class: ErrorClass
    error: str
    strategy: Strategy | None
    used: Mapping[str, int]
    value: Any = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that was done.

    Attributes:
        at: by the wall clock; for people.
        incident: of which recovery.
        what: "begun", "tried", "failed", "ended".
        strategy: which; "" where there is none.
        message: for a person.
    """

    at: float
    incident: int
    what: str
    strategy: str
    message: str

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> "AuditEntry":
        """The entry that a stored record tells of.

        Raises:
            NewerFormatError: as `parse_recovery`.
        """
        known_format(plain, FORMAT, "an audit entry")
        return cls(**{name: plain[name] for name in cls.__slots__})


def parse_recovery(plain: Mapping[str, Any]) -> Recovery:
    """The recovery that a stored record tells of.

    Raises:
        NewerFormatError: a later version wrote it in a form that this one does not know.
    """
    known_format(plain, FORMAT, f"the recovery of {plain.get('item')!r}")
    return Recovery(
        item=plain["item"],
        incident=plain["incident"],
        state=RecoveryState(plain["state"]),
        error_class=ErrorClass(plain["error_class"]),
        error=plain["error"],
        strategy=Strategy(plain["strategy"]) if plain["strategy"] else None,
        used=dict(plain["used"]),
    )
