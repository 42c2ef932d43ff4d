"""Where several threads or processes of a recorded run worked side by side, so that no state between is one step's.

Told by the order of their operations: two take turns, each at least twice, between two acknowledgements. Who only
waits for another (a program that runs one command after the other) does not. Pure. Read `model.py` for the words.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

from chaos.trace.model import Trace

__all__ = ["overlaps"]


def overlaps(trace: Trace) -> tuple[tuple[int, int], ...]:
    """Ranges of crash points, (after this one, up to this one), inside which the work of several is half done."""
    borders = sorted({0, *(ack.after for ack in trace.acks), len(trace.ops)})
    return tuple(found for low, high in pairwise(borders) for found in _of_step(trace, low, high))


def _of_step(trace: Trace, low: int, high: int) -> Iterator[tuple[int, int]]:
    places: dict[tuple[int, int], list[int]] = {}
    for op in trace.ops[low:high]:
        places.setdefault((op.process, op.thread), []).append(op.seq)
    pairs = [(one, other) for one, other in combinations(places.values(), 2) if _take_turns(one, other)]
    end = -1
    begin = -1
    for first, last in sorted((min(one[0], other[0]), max(one[-1], other[-1])) for one, other in pairs):
        if end < first:
            if end >= 0:
                yield begin, end + 1
            begin = first
        end = max(end, last)
    if end >= 0:
        yield begin, end + 1


def _take_turns(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether they follow each other three times: one, other, one, other, from whichever begins."""
    mine, theirs = (one, other) if one[0] < other[0] else (other, one)
    at = mine[0]
    for follower in (theirs, mine, theirs):
        number = bisect_right(follower, at)
        if number == len(follower):
            return False
        at = follower[number]
    return True
