"""Where several threads or processes of a recorded run worked side by side, so that no state between is one step's.

Told by the order of their operations: two take turns, each at least twice, between two acknowledgements. Who only
waits for another (a program that runs one command after the other) does not; two that acknowledge, each by itself,
have two steps under way there, in whatever order. Also which acknowledgements were made by
one after the other, and which while somebody else was at work. Pure. Read `model.py` for the words.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import final

from chaos.trace.model import Op, Trace

__all__ = ["Beside", "beside", "halfway", "overlaps", "without_implied", "writers"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Who worked side by side in a run: as `writers`, `overlaps` and `halfway` tell."""

    writers: int = 1
    overlaps: tuple[tuple[int, int], ...] = ()
    halfway: frozenset[int] = frozenset()


def beside(trace: Trace, before: int = 0) -> Beside:
    """Who worked side by side in a run whose first `before` acknowledgements were made by one before it."""
    own = replace(trace, acks=trace.acks[before:])
    return Beside(writers=writers(own), overlaps=overlaps(trace), halfway=halfway(trace))


def overlaps(trace: Trace) -> tuple[tuple[int, int], ...]:
    """Ranges of crash points, (after this one, up to this one), inside which the work of several is half done."""
    borders = sorted({0, *(ack.after for ack in trace.acks), len(trace.ops)})
    return tuple(found for low, high in pairwise(borders) for found in _of_step(trace, low, high))


def without_implied(trace: Trace, commands: int) -> Trace:
    """The trace of a list of commands; where these acknowledge by themselves, their ends acknowledge nothing.

    Args:
        trace: the recorded run; the process that ran the commands acknowledged each by its number, the last one last.
        commands: how many there are.
    """
    runner = trace.acks[-1].process if trace.acks else 0
    implied = [ack.value for ack in trace.acks if ack.process == runner]
    own = tuple(ack for ack in trace.acks if ack.process != runner)
    return replace(trace, acks=own) if own and implied == [str(number) for number in range(commands)] else trace


def writers(trace: Trace) -> int:
    """How many processes acknowledge side by side; 1 where each has come to its end before the next one begins."""
    lives: dict[int, list[tuple[int, int]]] = {ack.process: [] for ack in trace.acks}
    for op in trace.ops:
        if op.process in lives:
            lives[op.process].append((2 * op.seq + 1, 0))
    for number, ack in enumerate(trace.acks):
        lives[ack.process].append((2 * ack.after, number))
    spans = sorted((min(moments), max(moments)) for moments in lives.values())
    apart = all(one[1] < other[0] for one, other in pairwise(spans))
    return min(1, len(spans)) if apart else len(spans)


def halfway(trace: Trace) -> frozenset[int]:
    """The acknowledgements, numbered from 1, that came while another thread or process had begun and not ended."""
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    for op in trace.ops:
        first, _ = spans.get(_worker(op), (op.seq, op.seq))
        spans[_worker(op)] = first, op.seq
    return frozenset(
        number
        for number, ack in enumerate(trace.acks, start=1)
        if any(who != (ack.process, ack.thread) and first < ack.after <= last for who, (first, last) in spans.items())
    )


def _worker(op: Op) -> tuple[int, int]:
    return op.process, op.thread


def _of_step(trace: Trace, low: int, high: int) -> Iterator[tuple[int, int]]:
    places: dict[tuple[int, int], list[int]] = {}
    for op in trace.ops[low:high]:
        places.setdefault((op.process, op.thread), []).append(op.seq)
    tellers = {(ack.process, ack.thread) for ack in trace.acks}
    pairs = [
        (one, other)
        for (who, one), (whom, other) in combinations(places.items(), 2)
        if _take_turns(one, other) or {who, whom} <= tellers
    ]
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
