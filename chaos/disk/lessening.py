"""Less damage that may do as well: the choices near a crash state that lose fewer operations, for shrinking.

First earlier crash points, since what was not issued yet can neither be lost nor confuse; then nothing lost; then one
operation lost alone, with what needs it; then each lost operation there again, with what it needs; then single
micro-operations. Pure, and in a fixed order. Read `chaos/scenario/runner/shrinking.py` for who asks.
"""

from collections.abc import Iterator, Sequence

from chaos.disk.micro import Step
from chaos.disk.pending import Pending
from chaos.disk.recipes import StepId
from chaos.trace.model import Op

__all__ = ["earlier_points", "smaller_losses"]

_Lost = tuple[StepId, ...]
_EARLIER = 8  # points; each may cost a recovery


def earlier_points(ops: Sequence[Op], pending: Pending, lost: _Lost) -> Iterator[tuple[int, _Lost]]:
    """The crash before the latest operations were issued: first the same tree, as long as these changed nothing.

    Then what is lost of the operations before a point, for some points right before this one, the earliest first.
    """
    gone = set(lost)
    for point in range(pending.point, 0, -1):
        op = ops[point - 1]
        own = {step for step in gone if step[0] == op.seq}
        if len(own) != pending.totals.get(op.seq, 0):
            break
        gone -= own
        if own:
            yield point - 1, tuple(sorted(gone))
    for point in range(max(0, pending.point - _EARLIER), pending.point):
        yield point, tuple(step for step in sorted(lost) if step[0] < point)


def smaller_losses(point: int, free: Sequence[Step], lost: _Lost) -> Iterator[tuple[int, _Lost]]:
    """Parts of what is lost, with the fewest operations first; each legal."""
    steps = {step.id: step for step in free}
    gone = frozenset(lost)
    # Nothing lost comes first: what fails all the same is not for want of what was lost.
    found: dict[frozenset[StepId], None] = {frozenset(): None}
    for seq in sorted({step[0] for step in gone}):
        own = {step for step in gone if step[0] == seq}
        found[_with_needing(own, steps, gone)] = None
        found[gone - _with_needed(own, steps)] = None
    for step in sorted(gone):
        found[gone - _with_needed({step}, steps)] = None
    smaller = [choice for choice in found if choice < gone]
    for choice in sorted(smaller, key=lambda choice: (len({step[0] for step in choice}), len(choice), sorted(choice))):
        yield point, tuple(sorted(choice))


def _with_needed(chosen: set[StepId], steps: dict[StepId, Step]) -> frozenset[StepId]:
    found: set[StepId] = set()
    waiting = list(chosen)
    while waiting:
        known = waiting.pop()
        if known in steps and known not in found:
            found.add(known)
            waiting.extend((*steps[known].needs, *steps[known].sees))
    return frozenset(found)


def _with_needing(chosen: set[StepId], steps: dict[StepId, Step], among: frozenset[StepId]) -> frozenset[StepId]:
    found = set(chosen)
    for known in sorted(steps):  # what needs a step comes after it
        step = steps[known]
        if any(need in found for need in (*step.needs, *step.sees)):
            found.add(known)
    return frozenset(found & among)
