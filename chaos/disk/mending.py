"""Traces as they would be with a sync more, and which crash states that would take away.

A sync changes no file, so a mended trace has the same trees and fewer of them: a state stays possible where and only
where nothing that it lost has become durable by then. That is decided on the trace, without running anything. Whether
the state was bad is not decided here. Read `space.py` for states, `pending.py` for what syncs make durable.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from chaos.disk.space import StateSpace
from chaos.trace.model import Kind, NodeType, Op, Trace

__all__ = ["Mended", "Places", "directory_syncs", "file_syncs", "order_syncs", "removed", "with_syncs"]

_CONTENT = frozenset({Kind.WRITE, Kind.TRUNCATE})
_SYNCS = frozenset({Kind.FSYNC, Kind.FDATASYNC})

Places = Mapping[int, tuple[int, ...]]
"""Before which operation -> which nodes are synced there; acknowledgements made there come after it."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """A trace with syncs more.

    Attributes:
        trace: the trace.
        places: before which operations of the original they stand, rising, one entry each.
    """

    trace: Trace
    places: tuple[int, ...]

    def seq(self, seq: int) -> int:
        """Where an operation of the original stands now."""
        return seq + bisect_right(self.places, seq)

    def point(self, point: int, passed: bool) -> int:
        """Where a crash point of the original is now: behind a sync that stands right there if that was `passed`."""
        return point + (bisect_right if passed else bisect_left)(self.places, point)


def file_syncs(trace: Trace, seqs: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """Syncs of the files that these operations write or rename: after a run of writes, and before a rename."""
    found: dict[int, tuple[int, ...]] = {}
    files = _files(trace)
    for seq in seqs:
        op = trace.ops[seq]
        if op.node not in files:
            continue
        if op.kind in _CONTENT:
            _add(found, trace, _end_of_run(trace, op), op.node)
        elif op.kind in (Kind.RENAME, Kind.LINK):
            _add(found, trace, seq, op.node)
    return found


def order_syncs(trace: Trace, seqs: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """Syncs of files between these writes and others to the same file that follow at once."""
    found: dict[int, tuple[int, ...]] = {}
    files, own = _files(trace), frozenset(seqs)
    for op in (trace.ops[seq] for seq in sorted(own)):
        position, end = op.seq + 1, _end_of_run(trace, op)
        if op.node in files and op.kind in _CONTENT and position < end and position not in own:
            _add(found, trace, position, op.node)
    return found


def directory_syncs(trace: Trace, seqs: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """Syncs of the directories whose entries these operations change, right after each."""
    found: dict[int, tuple[int, ...]] = {}
    for seq in seqs:
        op = trace.ops[seq]
        for node in dict.fromkeys(node for node in (op.parent, op.to_parent) if node is not None):
            _add(found, trace, seq + 1, node)
    return found


def with_syncs(trace: Trace, places: Places) -> Mended:
    """The trace with these syncs; they bear the source line of the operation before them."""
    ops: list[Op] = []
    flat: list[int] = []
    for position in range(len(trace.ops) + 1):
        for node in places.get(position, ()):
            near = trace.ops[max(0, position - 1)]
            ops.append(replace(_sync(len(ops), node), process=near.process, source=near.source))
            flat.append(position)
        if position < len(trace.ops):
            ops.append(replace(trace.ops[position], seq=len(ops)))
    acks = tuple(replace(ack, after=ack.after + bisect_right(flat, ack.after)) for ack in trace.acks)
    return Mended(trace=replace(trace, ops=tuple(ops), acks=acks), places=tuple(flat))


def removed(space: StateSpace, mended: Mended, recipes: Sequence[str]) -> int:
    """How many of these states of the original's `space` can't be any more.

    Raises:
        UsageError: a text names no state of the original.
    """
    after = StateSpace(mended.trace, space.model, space.bound, space.seed)
    made = [ack.after for ack in space.trace.acks]
    count = 0
    for recipe in sorted(recipes, key=lambda text: (int(text.split("/")[0]), text)):
        point, acked, lost = space.losses(recipe)
        passed = acked > bisect_left(made, point)
        count += not after.may_lose(mended.point(point, passed), [(mended.seq(seq), part) for seq, part in lost])
    return count


def _sync(seq: int, node: int) -> Op:
    return Op(seq=seq, kind=Kind.FSYNC, call="fsync", node=node)


def _add(found: dict[int, tuple[int, ...]], trace: Trace, position: int, node: int) -> None:
    """Note a sync, unless one of the same node stands there already, or behind one operation on another."""
    near = trace.ops[position : position + 2]
    for op in near[:1] if near and near[0].node == node and near[0].kind in _CONTENT else near:
        if op.kind in _SYNCS and op.node == node and not op.errno:
            return
    if node not in found.get(position, ()):
        found[position] = (*found.get(position, ()), node)


def _end_of_run(trace: Trace, op: Op) -> int:
    """Behind the last of the writes to a file that come one after the other, with no acknowledgement between."""
    acks = {ack.after for ack in trace.acks}
    position = op.seq + 1
    while position < len(trace.ops) and position not in acks:
        later = trace.ops[position]
        if later.kind not in _CONTENT or later.node != op.node:
            break
        position += 1
    return position


def _files(trace: Trace) -> set[int]:
    return {node.node for node in trace.initial if node.type is NodeType.FILE} | {
        op.node for op in trace.ops if op.kind is Kind.CREATE
    }
