"""How much writers get in each other's way: waits for the store's lock, and how many stood in its queue.

What is counted lies in the store under one reserved key, added up over all processes, and is written along with a
change that is committed anyway, never for its own sake: a writer that had not to wait writes nothing of this.
**On crash** the last `LAG` waits of a process may not be counted. Read `telemetry/metrics.py` for who tells of it.
"""

import json
import os
from collections.abc import Mapping

from pytest_guardrails.errors import NewerFormatError
from pytest_guardrails.hints import Any, final
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.state.backend import Reader
from pytest_guardrails.reliability.state.model import Cell, Draft
from pytest_guardrails.reliability.state.values import RESERVED

__all__ = ["BUCKETS", "LAG", "PRESSURE", "Distribution", "Pressure", "PressureGauge", "parse_pressure"]

BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 3600.0)
LAG = 16  # waits that are written together, after the first
PRESSURE = RESERVED + "pressure"
_FORMAT = 1


@final
class Distribution(Record):
    """Values, sorted into buckets.

    Attributes:
        total: their sum.
        counts: how many were at most `BUCKETS`, one each, and all in the last.
    """

    total: float = 0.0
    counts: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)

    def with_value(self, value: float) -> "Distribution":
        """One more; finite."""
        at_most = [*(value <= bound for bound in BUCKETS), True]
        return Distribution(self.total + value, tuple(map(int.__add__, self.counts, at_most)))

    def __add__(self, other: "Distribution") -> "Distribution":  # type: ignore[override]
        return Distribution(self.total + other.total, tuple(map(int.__add__, self.counts, other.counts)))


@final
class Pressure(Record):
    """What writers went through.

    Attributes:
        lock_waits: seconds that a commit waited for the lock, of those that had to.
        depths: how many changes were made durable together or still stood in the queue, where it was more than one.
        deepest: the largest of `depths`.
        unknown: fields that a newer program wrote.
    """

    lock_waits: Distribution = Distribution()
    depths: Distribution = Distribution()
    deepest: int = 0
    unknown: Mapping[str, Any] = {}

    def __add__(self, other: "Pressure") -> "Pressure":  # type: ignore[override]
        deepest, unknown = max(self.deepest, other.deepest), {**self.unknown, **other.unknown}
        return Pressure(self.lock_waits + other.lock_waits, self.depths + other.depths, deepest, unknown)

    def text(self) -> str:
        """As it is stored."""
        known = {"format": _FORMAT, "lock_waits": self.lock_waits, "depths": self.depths, "deepest": self.deepest}
        return json.dumps({**self.unknown, **known}, separators=(",", ":"))


def parse_pressure(cell: Cell | None) -> Pressure:
    """What was stored; nothing where there is nothing.

    Raises:
        NewerFormatError: a later version wrote it.
    """
    plain = {} if cell is None or cell.text is None else json.loads(cell.text)
    found = plain.pop("format", _FORMAT)
    if found > _FORMAT:
        raise NewerFormatError(f"the store's own counts have format {found}; this program knows {_FORMAT}: update it")
    waits, depths = (
        Distribution(total, tuple(counts))
        for total, counts in (plain.pop(name, Distribution()) for name in ("lock_waits", "depths"))
    )
    return Pressure(waits, depths, plain.pop("deepest", 0), plain)


@final
class PressureGauge:
    """What one store object counted and has not written yet; used by one thread at a time, the one that commits.

    Attributes:
        pending: what it counted.
        due: enough to be written.
    """

    __slots__ = ("_count", "_process", "_wanted", "due", "pending")

    def __init__(self) -> None:
        self.pending, self.due = Pressure(), False
        self._count, self._wanted, self._process = 0, 1, os.getpid()

    def waited(self, duration_s: float) -> None:
        """A commit got the lock after so long."""
        self._add(Pressure(lock_waits=Distribution().with_value(duration_s)))

    def queued(self, depth: int) -> None:
        """So many changes stood in the queue."""
        self._add(Pressure(depths=Distribution().with_value(depth), deepest=depth))

    def draft(self, session: Reader) -> Draft | None:
        """What is to be written along, if anything."""
        if self._process != os.getpid():  # a fork: what is pending is the parent's, who writes it
            self._begin(wanted=1)
            return None
        try:
            whole = parse_pressure(session.get(PRESSURE)) + self.pending
        except NewerFormatError:  # of no change's business; left to the newer program
            return None
        self._begin(wanted=LAG)
        return Draft(PRESSURE, 1, whole.text(), 1)

    def _add(self, more: Pressure) -> None:
        if self._process != os.getpid():
            self._begin(wanted=1)
        self.pending += more
        self._count += 1
        self.due = self._count >= self._wanted

    def _begin(self, wanted: int) -> None:
        self.pending, self.due = Pressure(), False
        self._count, self._wanted, self._process = 0, wanted, os.getpid()
