"""Crash coverage: at which operations, and so at which source lines, a crash was tried, and where it did harm.

An operation counts as tried when recovery ran on at least one state of a crash right after it was issued, or inside
it. Counts only: one pair of numbers a crash point. Read `html.py` for how it is shown.
"""

from collections import Counter
from dataclasses import dataclass
from typing import final

from chaos.observations import Damage, Observation, Violation
from chaos.report.places import user_frame
from chaos.trace.model import Trace

__all__ = ["Coverage", "CrashMap", "LineCoverage", "PointCount"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PointCount:
    """One crash point: how many states were tried there, and how many of them violate something."""

    point: int
    states: int
    violations: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LineCoverage:
    """One source line that makes operations, or the programs without source lines (file "", line 0).

    Attributes:
        file: as the interpreter names it.
        line: from 1.
        function: its name.
        operations: how many operations it made.
        tried: at how many of them a crash was tried.
        states: crash states at these operations.
        violations: how many of the states violate something.
    """

    file: str
    line: int
    function: str
    operations: int
    tried: int
    states: int
    violations: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Where crashes were tried.

    Attributes:
        operations: how many operations the trace has.
        tried: at how many of them a crash was tried.
        points: the crash points tried, in order; 0 is before the first operation.
        lines: the source lines, by file and line.
    """

    operations: int = 0
    tried: int = 0
    points: tuple[PointCount, ...] = ()
    lines: tuple[LineCoverage, ...] = ()

    @property
    def share(self) -> float:
        """The share of operations at which a crash was tried, 0 to 1; 1 when there is none."""
        return self.tried / self.operations if self.operations else 1.0


@final
class CrashMap:
    """Counts crash states by crash point while they are judged."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._states: Counter[int] = Counter()
        self._violations: Counter[int] = Counter()

    def add(self, observation: Observation, violations: tuple[Violation, ...]) -> None:
        """Count one crash state."""
        self._states[observation.point] += 1
        self._violations[observation.point] += any(one.damage is not Damage.SELF_HEALED for one in violations)

    def finish(self) -> Coverage:
        """The counts by point and by source line."""
        points = [
            PointCount(point=point, states=self._states[point], violations=self._violations[point])
            for point in sorted(self._states)
        ]
        operations = len(self._trace.ops)
        tried = sum(1 for point in self._states if 1 <= point <= operations)
        return Coverage(operations=operations, tried=tried, points=tuple(points), lines=tuple(self._lines()))

    def _lines(self) -> list[LineCoverage]:
        totals: dict[tuple[str, int, str], list[int]] = {}
        for op in self._trace.ops:
            frame = user_frame(op.source)
            key = (frame.file, frame.line, frame.function) if frame else ("", 0, "")
            states = self._states[op.seq + 1]
            found = (1, int(states > 0), states, self._violations[op.seq + 1])
            totals[key] = [sum(pair) for pair in zip(totals.get(key, [0, 0, 0, 0]), found, strict=True)]
        return [
            LineCoverage(
                file=file, line=line, function=function, operations=ops, tried=tried, states=states, violations=bad
            )
            for (file, line, function), (ops, tried, states, bad) in sorted(totals.items())
        ]
