"""A trace whose page cache survives the crash: every prefix of the operations, and the inside of each write.

Linear in the trace, hence always exhaustive but for the lengths at which a very large write is cut. Read `space.py`.
"""

from collections.abc import Collection, Iterator
from typing import final

from chaos.disk.content import BLOCK_BYTES
from chaos.disk.recipes import Choice, StepId, choice_text
from chaos.disk.replay import apply, apply_part, initial_tree, last_uses
from chaos.disk.states import Fate, OperationFate
from chaos.disk.tree import Tree
from chaos.disk.walk import Candidate, Survey
from chaos.disk.wording import operation_text
from chaos.errors import UsageError
from chaos.trace.model import Kind, Op, Trace

__all__ = ["PrefixWalk", "torn_lengths"]

# Every tree of the first operations is kept: states come in several passes over the trace. They share what they have
# in common, and these bounds keep the rest to some megabytes.
_KEPT_TREES = 2048
_KEPT_BYTES = 16 << 20  # written by the operations, and held by the files before
# After these a tree every so many operations: any tree then costs half as many replayed ones, below a millisecond.
_CHECKPOINT_EVERY = 64
# Page borders tried one by one inside one write; beyond it the ends, the middle and powers of two stand for all.
_ALL_BORDERS = 512
_EVERYTHING = Choice()


def torn_lengths(op: Op) -> tuple[tuple[int, ...], int]:
    """The lengths, in bytes, at which to cut a write, rising, and how many page borders were passed over."""
    size = len(op.data)
    if op.kind is not Kind.WRITE or size < 2:
        return (), 0
    first = BLOCK_BYTES - op.offset % BLOCK_BYTES
    borders = range(first, size, BLOCK_BYTES)
    chosen = _some(borders) if len(borders) > _ALL_BORDERS else list(borders)
    return tuple(sorted({1, size // 2, size - 1, *chosen})), len(borders) - len(chosen)


def _some(borders: range) -> list[int]:
    count = len(borders)
    wanted = {0, 1, count // 2 - 1, count // 2, count - 2, count - 1}
    wanted.update(1 << power for power in range(count.bit_length()) if 1 << power < count)
    return [borders[index] for index in sorted(wanted)]


def _plausible_length(before: Tree, op: Op, tree: Tree) -> int | None:
    """The only length at which `op` can have been cut to leave `tree`, if any.

    Where the file grew, its size tells; else the cut was where its bytes begin to differ from those written (any
    shorter one that fits leaves the same bytes).
    """
    path = before.path_of(op.node)
    number = None if path is None else tree.lookup(path)
    if number is None:
        return None
    real = tree.nodes[number].content
    if real.size != before.nodes[op.node].content.size:
        length = real.size - op.offset
        return length if 0 < length <= len(op.data) else None
    return _agreement(bytes(real)[op.offset : op.offset + len(op.data)], op.data)


def _agreement(left: bytes, right: bytes) -> int:
    """How many bytes two texts have in common at their beginning."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@final
class PrefixWalk:
    """The walk of models with `cache_survives`."""

    def __init__(self, trace: Trace) -> None:
        self._ops = trace.ops
        self._last_uses = last_uses(trace)
        self._kept = [initial_tree(trace)]
        self._most_kept = _small_beginning(trace)
        self._checkpoints: list[Tree] = []  # the first one is the last tree that is kept
        self._near: dict[int, Tree] = {}  # the point asked for last, and the one before it

    def candidates(self, point: int) -> Iterator[Candidate]:
        """The whole prefix, then each length at which its last operation may have been cut."""
        before = self._prefix(max(point - 1, 0))
        yield Candidate(_EVERYTHING, self._prefix(point))
        if point == 0:
            return
        op = self._ops[point - 1]
        for length in torn_lengths(op)[0]:
            yield Candidate(Choice(cut=length), apply_part(before, op, length), inside=True, torn=(op.seq,))

    def survey(self, point: int) -> Survey:
        """All is covered but the page borders of very large writes."""
        skipped = torn_lengths(self._ops[point - 1])[1] if point else 0
        left_out = {f"page borders inside writes of more than {_ALL_BORDERS} pages": skipped} if skipped else {}
        return Survey(pending=0, exhaustive=not skipped, left_out=left_out)

    def tree(self, point: int, choice: Choice) -> Tree:
        """Rebuild one candidate's tree."""
        self._fitting(point, choice)
        if choice.cut is None:
            return self._prefix(point)
        return apply_part(self._prefix(point - 1), self._ops[point - 1], choice.cut)

    def fates(self, point: int, choice: Choice) -> tuple[OperationFate, ...]:
        """All durable but a write that was cut."""
        self._fitting(point, choice)
        told = []
        for op in self._ops[:point]:
            fate, text, part = Fate.DURABLE, operation_text(op), ""
            if choice.cut is not None and op.seq == point - 1:
                fate, part = Fate.TORN, f"the first {choice.cut} byte{'s' * (choice.cut != 1)} got in"
                text += f": torn, {part}"
            told.append(OperationFate(seq=op.seq, fate=fate, text=text, part=part))
        return tuple(told)

    def lost(self, point: int, choice: Choice) -> tuple[StepId, ...]:
        """Nothing is: the kernel lives on."""
        self._fitting(point, choice)
        return ()

    def may_lose(self, point: int, steps: Collection[StepId]) -> bool:  # noqa: ARG002 - the same at every point
        """Only nothing may."""
        return not steps

    def milder(self, point: int, lost: tuple[StepId, ...]) -> Iterator[tuple[int, tuple[StepId, ...]]]:  # noqa: ARG002
        """No state has less damage than one write that was cut."""
        yield from ()

    def choice_without(self, point: int, lost: tuple[StepId, ...]) -> Choice:  # noqa: ARG002 - nothing is lost
        """The whole prefix."""
        return _EVERYTHING

    def contains(self, point: int, tree: Tree, *, inside: bool) -> bool:
        """Whether the tree is the prefix, or, inside it, its last write cut at any byte."""
        if tree == self._prefix(point):
            return True
        if not inside:
            return False
        op = self._ops[point - 1] if point else None
        if op is None or op.kind is not Kind.WRITE:
            return False
        before = self._prefix(point - 1)
        length = _plausible_length(before, op, tree)
        return length is not None and tree == apply_part(before, op, length)

    def _fitting(self, point: int, choice: Choice) -> None:
        if point > len(self._ops) or choice.steps or not choice.everything:
            raise UsageError(f"the state {point}:{choice_text(choice)} is none of this trace where the kernel lives on")
        if choice.cut is not None:
            op = self._ops[point - 1] if point else None
            if op is None or op.kind is not Kind.WRITE or choice.cut > len(op.data):
                raise UsageError(f"operation {point - 1} of this trace can't be cut after {choice.cut} bytes")

    def _prefix(self, point: int) -> Tree:
        kept = self._kept
        while len(kept) <= min(point, self._most_kept):
            kept.append(self._applied(kept[-1], len(kept) - 1))
        return kept[point] if point < len(kept) else self._later_prefix(point)

    def _later_prefix(self, point: int) -> Tree:
        near, first = self._near, self._most_kept
        if point in near:
            return near[point]
        self._checkpoints = self._checkpoints or [self._kept[first]]
        # From a checkpoint before it, never at it: a cut write is asked for next, which begins one point earlier.
        number = min((point - 1 - first) // _CHECKPOINT_EVERY, len(self._checkpoints) - 1)
        at, tree = first + number * _CHECKPOINT_EVERY, self._checkpoints[number]
        for known in near:
            if at < known < point:
                at, tree = known, near[known]
        before = (at, tree)
        while at < point:
            before = (at, tree)
            tree = self._applied(tree, at)
            at += 1
            if at - first == len(self._checkpoints) * _CHECKPOINT_EVERY:
                self._checkpoints.append(tree)
        self._near = dict((before, (at, tree)))
        return tree

    def _applied(self, tree: Tree, number: int) -> Tree:
        return apply(tree, self._ops[number], self._last_uses.get(number, ()))


def _small_beginning(trace: Trace) -> int:
    """After how many operations the trees that are kept one by one would take too much memory."""
    size = sum(len(node.data) for node in trace.initial)
    for number, op in enumerate(trace.ops[:_KEPT_TREES]):
        size += len(op.data)
        if size > _KEPT_BYTES:
            return number
    return min(len(trace.ops), _KEPT_TREES)
