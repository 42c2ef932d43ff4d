"""Which crash points come first, so that a run cut short has seen the likeliest failures.

Three passes: right after a sync, right before an acknowledgement and on both sides of a rename; then their direct
neighbours (three operations in all); then the rest. Each pass goes forward through the trace, so that walking costs
each operation once a pass. Ahead of them goes a sample of the first pass, a few states at points all over the trace:
one point may have thousands, and what comes after it must not wait for them. Pure functions of a trace. Read
`space.py` next.
"""

from chaos.trace.model import Kind, Op, Sync, Trace

__all__ = ["passes", "spread"]

_SYNCS = frozenset({Kind.FSYNC, Kind.FDATASYNC, Kind.SYNC})
_REPLACES = frozenset({Kind.RENAME, Kind.EXCHANGE})


def passes(trace: Trace) -> tuple[tuple[int, ...], ...]:
    """All crash points, each once, in passes of falling interest; point p is the moment before operation p."""
    last = len(trace.ops)
    first = {last, *(min(ack.after, last) for ack in trace.acks)}
    for op in trace.ops:
        if _syncs(op):
            first.add(op.seq + 1)
        elif op.kind in _REPLACES:
            first.update((op.seq, op.seq + 1))
    near = {point + step for point in first for step in (-1, 1) if 0 <= point + step <= last} - first
    rest = set(range(last + 1)) - first - near
    return tuple(sorted(first)), tuple(sorted(near)), tuple(sorted(rest))


def spread(points: tuple[int, ...], most: int) -> tuple[int, ...]:
    """At most so many of the points, evenly over all of them, with the first and the last."""
    if len(points) <= most:
        return points
    return tuple(points[index * (len(points) - 1) // (most - 1)] for index in range(most))


def _syncs(op: Op) -> bool:
    return op.kind in _SYNCS or op.sync is not Sync.NONE
