"""The words in which crash states are told: the state itself, what became of each operation, and how much was seen.

Pure data. Read `space.py` for where they come from and `recipes.py` for the text that names a state.
"""

from dataclasses import dataclass
from enum import Enum
from typing import final

__all__ = ["CrashState", "Description", "Fate", "OperationFate", "Statistics"]


@final
class Fate(str, Enum):
    """What became of one operation in a crash state."""

    DURABLE = "durable"  # a sync made it so; no crash takes it away
    KEPT = "kept"  # not synced, and there all the same
    REORDERED = "reordered"  # likewise, although an earlier operation is lost
    TORN = "torn"  # partly there
    LOST = "lost"  # not there


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFate:
    """One operation and what became of it.

    Attributes:
        seq: the operation's position in the trace.
        fate: what became of it.
        text: one line for a timeline, e.g. `write 4096 bytes at 0 of state.json: lost`.
        part: what of a torn operation is there or not, e.g. `only its first 8 bytes are there`; else "".
    """

    seq: int
    fate: Fate
    text: str
    part: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A crash state in words.

    Attributes:
        model: the persistence model's name.
        point: how many operations were issued before the crash.
        acked: how many acknowledgements had been made.
        fates: each operation that was issued, in order.
    """

    model: str
    point: int
    acked: int
    fates: tuple[OperationFate, ...]

    def with_fate(self, *fates: Fate) -> tuple[OperationFate, ...]:
        """The operations that met one of these fates."""
        return tuple(operation for operation in self.fates if operation.fate in fates)

    @property
    def damage(self) -> tuple[OperationFate, ...]:
        """What is not as it was issued: lost, torn and reordered operations."""
        return self.with_fate(Fate.LOST, Fate.TORN, Fate.REORDERED)


@final
@dataclass(frozen=True, slots=True)
class CrashState:
    """One file tree that the disk may legally hold after a crash.

    Attributes:
        recipe: canonical text; with the trace and the model it rebuilds the state.
        point: how many operations were issued before the crash; a torn one counts as issued.
        acked: how many of the trace's acknowledgements had been made.
        digest: of the tree, 16 bytes.
        lost: operations of which nothing is there, the latest 32 at most.
        torn: operations that are partly there, likewise.
    """

    recipe: str
    point: int
    acked: int
    digest: bytes
    lost: tuple[int, ...] = ()
    torn: tuple[int, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """How much of a state space was enumerated so far.

    Attributes:
        model: the persistence model's name.
        points: crash points in the trace, one before the first operation and one after each.
        visited: crash points whose states were all handed out.
        generated: states built, before removal of equals.
        distinct: states handed out: no two have equal tree and acknowledgements.
        exhaustive_points: of the visited points, how many had all their legal states built.
        largest_pending: the most micro-operations that were pending at one point.
        left_out: what was not built, one line each; empty when all was.
    """

    model: str
    points: int
    visited: int
    generated: int
    distinct: int
    exhaustive_points: int
    largest_pending: int
    left_out: tuple[str, ...]

    @property
    def exhaustive(self) -> bool:
        """Whether every legal state of every crash point was built."""
        return self.exhaustive_points == self.points and not self.left_out
