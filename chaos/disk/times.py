"""When the files of a crash state changed last: the order of the recorded run, and the age that they had at its end.

Recorded calls follow each other within microseconds, and a file system's clock ticks in milliseconds. So what the run
changed is one millisecond apart, in the order of its operations, as if the run had just ended; whoever takes the newest
file finds it. What it did not change, and what was given a time by name (`os.utime`), is as old as it was. A trace
whose `exact_times` is set has the times of the run itself where these are known: for a program that wrote some down. Of
a crash that loses what was written the time stays: a disk may well hold it. Pure but for the clock. Read `folder.py`.
"""

from bisect import bisect_left
from collections.abc import Callable
from time import time_ns
from typing import Final, final

from chaos.disk.tree import Tree
from chaos.trace.model import Kind, Op, Trace

__all__ = ["Stamp", "Times"]

Stamp = Callable[[int], int | None]
"""(node) -> when it changed last, in nanoseconds of the wall clock; None where that is not known."""

_STEP_NS: Final = 1_000_000
_CHANGES_NODE: Final = frozenset({Kind.CREATE, Kind.MKDIR, Kind.SYMLINK, Kind.WRITE, Kind.TRUNCATE})
_MOST_ENTRIES: Final = 100  # of a tree whose order is told


@final
class Times:
    """The times of one trace; a trace without marks (another engine's) has none."""

    def __init__(self, trace: Trace) -> None:
        self._marks = {mark.node: mark.changed_ns for mark in trace.marks}
        self._began_ns, self._ended_ns, self._exact = trace.began_ns, trace.ended_ns, trace.exact_times
        self._operations = len(trace.ops)
        self._changes: dict[int, list[int]] = {}
        self._point = -1  # of the times known by now: states of one point come one after the other
        self._known: dict[int, int] = {}
        for op in trace.ops if self._marks else ():
            for node in _changed(op):
                self._changes.setdefault(node, []).append(op.seq)

    def at(self, point: int) -> Stamp | None:
        """The times of nodes right after so many operations; None where none are known."""
        if not self._marks:
            return None
        if point != self._point:
            self._point, self._known = point, {}
        known, since_ns = self._known, 0 if self._exact else time_ns() - self._ended_ns

        def stamp(node: int) -> int | None:
            at_ns = known.get(node)
            if at_ns is None:
                at_ns = known[node] = self._time_ns(node, point)
            return at_ns + since_ns

        return stamp

    def order(self, tree: Tree, point: int) -> int:
        """A number that is the same for trees whose files follow each other alike: at the same times, if exact."""
        if not self._marks or len(tree.nodes) > _MOST_ENTRIES:
            return 0
        if self._exact:
            stamp = self.at(point)
            return hash(tuple((path, stamp(number)) for path, number in tree.paths())) if stamp else 0
        ranks = sorted((self._rank(number, point), path) for path, number in tree.paths())
        return hash(tuple(path for _, path in ranks))

    def _rank(self, node: int, point: int) -> int:
        """The last operation before `point` that changed a node; below 0 where none did."""
        changes = self._changes.get(node, ())
        done = bisect_left(changes, point)
        return changes[done - 1] if done else -1

    def _time_ns(self, node: int, point: int) -> int:
        """When a node changed last, as if it were the end of the run."""
        rank, known_ns, now_ns = self._rank(node, point), self._marks.get(node), self._ended_ns
        last = rank == self._changes.get(node, (-1,))[-1]  # what is known is of the last change
        if known_ns is not None and last:
            if self._exact:
                return known_ns
            if not self._began_ns <= known_ns <= now_ns:
                return known_ns - (self._operations + 1) * _STEP_NS
        if rank < 0:
            return self._began_ns if self._exact else now_ns - (self._operations + 1) * _STEP_NS
        return self._began_ns + rank if self._exact else now_ns - (self._operations - rank) * _STEP_NS


def _changed(op: Op) -> set[int]:
    """The nodes whose content an operation changes; an entry is its directory's content."""
    own = {op.node} if op.kind in _CHANGES_NODE else set()
    return own | {parent for parent in (op.parent, op.to_parent) if parent is not None}
