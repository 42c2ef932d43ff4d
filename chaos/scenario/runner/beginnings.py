"""Finds where a failure began that lost nothing: the operation or acknowledgement from which on it fails so.

A kill leaves all that was done, so the last operation need not be the cause: a file that was deleted too early stays
missing while the program goes on with other files. The moments before the crash, after each operation and each
acknowledgement, are looked at again, in steps that double and then halve. It must not decide what is wrong; read
`shrinking.py` for who asks.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from chaos.disk import StateSpace
from chaos.disk.recipes import Choice, Recipe, parse_recipe
from chaos.observations import Ending, Observation, Outcome, Violation
from chaos.trace.model import Kind, Op

__all__ = ["Begun", "Case", "Look", "Lost", "begun"]

Case = tuple[Observation, Violation]
"""A state and an objection to it."""

Look = Callable[[StateSpace, str], tuple[Observation, tuple[Violation, ...]] | None]
"""(space, recipe) -> what the state shows and what oracles have against it; None when there is no time left."""

Lost = Callable[[Observation], frozenset[int]]
"""Which acknowledgements were made and are not there."""

_SYNCS = {Kind.FSYNC, Kind.FDATASYNC, Kind.SYNC}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Where a failure began.

    Attributes:
        case: the earliest state from which on it fails so, and the objection to it.
        by_ack: an acknowledgement began it.
        until: the operation that ends it; None where nothing does, or that is not known.
    """

    case: Case
    by_ack: bool = False
    until: Op | None = None


def begun(space: StateSpace, case: Case, look: Look, lost: Lost) -> Begun:
    """The earliest state from which on it fails just as in this one.

    That is the case itself where something is lost, where it began with the last operation, and where that touches
    the same file as the one with which it began: both are then worth a line of their own.

    Args:
        space: of the case's model.
        case: a state and an objection to it.
        look: looks at another state.
        lost: tells which acknowledgements a state has lost; one that had lost them already is as this one.
    """
    recipe = parse_recipe(case[0].state)
    if space.losses(case[0].state)[2] or case[0].outcome.ending is Ending.HUNG:  # each look would cost a whole deadline
        return Begun(case=case)
    walk = _Walk(space, case, look, lost)
    torn = recipe.choice.cut is not None
    here = walk.number(recipe.point - torn, recipe.acked)
    bad = None if torn and walk.at(here) is None else walk.furthest(here, -1)
    found = None if bad is None else walk.at(bad)
    if bad is None or found is None or bad == 0:
        return Begun(case=case)  # from the start on, or not without the torn write, or nobody could look
    by_ack = walk.is_ack(bad)
    ops = space.trace.ops
    if not by_ack and _touch_the_same(ops[recipe.point - 1], ops[found[0].point - 1]):
        return Begun(case=case, until=walk.end(here))
    return Begun(case=found, by_ack=by_ack, until=walk.end(here))


@final
class _Walk:
    """The moments of a run around one case."""

    def __init__(self, space: StateSpace, case: Case, look: Look, lost: Lost) -> None:
        self._space, self._case, self._look, self._lost = space, case, look, lost
        self._after = [ack.after for ack in space.trace.acks]
        self._last = len(space.trace.ops) + len(self._after)
        self._known: dict[int, Case | None] = {}
        recipe = parse_recipe(case[0].state)
        if recipe.choice.cut is None:
            self._known[self.number(recipe.point, recipe.acked)] = case

    def furthest(self, here: int, way: int) -> int:
        """The last moment in one direction that fails alike, as far as steps that double and then halve can tell."""

        def alike(distance: int) -> bool:
            return 0 <= here + way * distance <= self._last and self.at(here + way * distance) is not None

        good, step = 0, 1
        while alike(good + step):
            good, step = good + step, 2 * step
        while step > 1:
            step //= 2
            if alike(good + step):
                good += step
        return here + way * good

    def end(self, here: int) -> Op | None:
        """The operation with which it ends."""
        after = self.furthest(here, 1) + 1
        if after > self._last or self.is_ack(after):
            return None
        return self._space.trace.ops[self._moment(after)[0] - 1]

    def is_ack(self, number: int) -> bool:
        """Whether a moment comes right after an acknowledgement, and not after an operation."""
        point, acked = self._moment(number)
        return acked > 0 and self._after[acked - 1] == point

    def number(self, point: int, acked: int) -> int:
        """Moments are numbered through: one after each operation, one after each acknowledgement."""
        return point + acked

    def _moment(self, number: int) -> tuple[int, int]:
        """(operations, acknowledgements) done by then: acknowledgement number n is moment after + n + 1."""
        acked = bisect_left([after + index + 1 for index, after in enumerate(self._after)], number + 1)
        return number - acked, acked

    def at(self, number: int) -> Case | None:
        """A moment, if it fails alike."""
        if number not in self._known:
            self._known[number] = self._looked(*self._moment(number))
        return self._known[number]

    def _looked(self, point: int, acked: int) -> Case | None:
        looked = self._look(self._space, str(Recipe(point, acked, Choice())))
        if looked is None:
            return None
        seen, objections = looked
        for violation in objections:
            if self._alike(violation, seen):
                return seen, violation
        return None

    def _alike(self, violation: Violation, seen: Observation) -> bool:
        before, wanted = self._case
        if (violation.oracle, violation.damage) != (wanted.oracle, wanted.damage):
            return False
        if wanted.oracle == "durable" and (gone := self._lost(before)):
            return gone <= self._lost(seen)
        return _shown(seen.outcome) == _shown(before.outcome) and (
            wanted.oracle != "resumable" or _shown(seen.resumed) == _shown(before.resumed)
        )


def _shown(outcome: Outcome | None) -> tuple[object, ...] | None:
    if outcome is None:
        return None
    return outcome.ending, outcome.value, outcome.error_type, outcome.error, outcome.detail, outcome.check


def _touch_the_same(last: Op, first: Op) -> bool:
    """Whether two operations have a file in common; a sync changes nothing that a kill would show."""
    return last.kind not in _SYNCS and bool(({last.node, last.victim} - {None}) & ({first.node, first.victim} - {None}))
