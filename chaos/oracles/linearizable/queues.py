"""What no queue can have answered, seen without any search: the signs by which most broken queues give themselves away.

A search has to try orders of calls that overlapped, and for a queue a wrong guess shows only when the items come out;
so broken histories of some length could not be decided by it. The signs are those of Henzinger, Sezgin and Vafeiadis
("Aspect-oriented linearizability proofs"): an item from nowhere, an item given twice, items that overtook one that was
surely before them, and "empty" said while an item was surely inside. Without a sign the search decides. Items that are
put in twice say nothing. Read `check.py` for who asks.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop
from itertools import accumulate
from math import inf
from typing import NamedTuple, final

from chaos.history import Answer, Operation
from chaos.oracles.linearizable.frozen import frozen

__all__ = ["Sign", "in_the_order_of_items", "sign_of_no_queue"]

_UNSEEN = "which nobody was given until then"


@final
class Sign(NamedTuple):
    """Answers that no queue gives.

    Attributes:
        answers: by time of call.
        why: what else is known of them; "" when they say it all.
    """

    answers: tuple[Operation, ...]
    why: str = ""


@final
@dataclass(slots=True)
class _Item:
    """What is known of one item: not in before `called`, in after `entered`; not out before `taken`, out at `gone`."""

    called: float = inf
    entered: float = inf
    taken: float = inf
    gone: float = inf
    put: Operation | None = None
    got: Operation | None = None


def sign_of_no_queue(operations: Sequence[Operation], initial: Sequence[Hashable]) -> Sign | None:
    """A sign that this is no queue's history; None when there is none.

    Args:
        operations: without those that failed.
        initial: the queue's first content, frozen.
    """
    puts = [op for op in operations if op.name == "enqueue"]
    gets = [op for op in operations if op.name == "dequeue" and op.answer is Answer.OK and op.result is not None]
    times = Counter([*initial, *(frozen(op.argument) for op in puts)])
    items = {value: _Item() for value, count in times.items() if count == 1}
    for value in initial:
        if value in items:
            items[value].called = items[value].entered = -inf
    for put in puts:
        if (item := items.get(frozen(put.argument))) is not None:
            item.called, item.put = put.called, put
            item.entered = inf if put.returned is None or put.answer is not Answer.OK else put.returned
    sign = _taken(gets, items, times)
    if sign is not None:
        return sign
    # An answer that nobody knows may have been any item, at any time after its call.
    doubtful = [op.called for op in operations if op.name == "dequeue" and op.answer is not Answer.OK]
    for item in items.values():
        item.taken = item.taken if item.got is not None else min(doubtful, default=inf)
    return _overtaken(items) or _empty(operations, items)


def in_the_order_of_items(operations: Sequence[Operation]) -> list[float]:
    """In which order a queue's operations are best tried: what comes out first, then items in an order that fits.

    It fits when no item precedes one that was surely put in, or taken, before it. Of those that could be next, the one
    that was gone first is: the search rarely has to take a guess back.
    """
    items: dict[Hashable, _Item] = {}
    for op in operations:
        if op.name == "enqueue":
            item = items.setdefault(frozen(op.argument), _Item())
            item.called, item.entered = min(item.called, op.called), min(item.entered, _end(op))
        elif op.result is not None and (taken := items.setdefault(frozen(op.result), _Item())).got is None:
            taken.taken, taken.gone, taken.got = op.called, _end(op), op
    _narrow(items.values(), sorted((op.called, _end(op)) for op in _found_empty(operations)))
    places = {value: place for place, value in enumerate(_fitting(items))}
    return [places[frozen(op.argument)] if op.name == "enqueue" else -inf for op in operations]


def _narrow(items: Iterable[_Item], empty: Sequence[tuple[float, float]]) -> None:
    """An item is put in before it is taken out, and is not there when the queue was found empty."""
    begins = [called for called, _ in empty]
    soonest = list(accumulate((end for _, end in reversed(empty)), min))  # of those from a place on, backwards
    by_end = sorted((end, called) for called, end in empty)
    ends, latest = [end for end, _ in by_end], list(accumulate((called for _, called in by_end), max))
    for item in items:
        item.entered, item.taken = min(item.entered, item.gone), max(item.taken, item.called)
        if over := bisect_left(ends, item.taken):
            item.called = max(item.called, latest[over - 1])
        if to_come := len(begins) - bisect_right(begins, item.entered):
            item.gone = min(item.gone, soonest[to_come - 1])


def _fitting(items: dict[Hashable, _Item]) -> Iterator[Hashable]:
    coming = sorted(items, key=lambda value: items[value].called, reverse=True)
    gone = [(item.gone, number) for number, item in enumerate(items.values())]
    heapify(gone)
    numbers, left = {value: number for number, value in enumerate(items)}, set(range(len(items)))
    window: list[Hashable] = []
    while coming or window:
        first = min((items[value].entered for value in window), default=inf)
        while coming and (not window or items[coming[-1]].called <= first):
            window.append(coming.pop())
            first = min(first, items[window[-1]].entered)
        while gone and gone[0][1] not in left:
            heappop(gone)
        fit = [value for value in window if items[value].taken <= gone[0][0]] or window
        chosen = min(fit, key=lambda value: items[value].gone)
        window.remove(chosen)
        left.discard(numbers[chosen])
        yield chosen


def _taken(gets: Sequence[Operation], items: dict[Hashable, _Item], times: Counter[Hashable]) -> Sign | None:
    """Note when items were taken; a sign when one came from nowhere, too early, or twice."""
    for get in sorted(gets, key=lambda op: op.called):
        value = frozen(get.result)
        if value not in times:
            return Sign((get,), "nobody put that in")
        item = items.get(value)
        if item is None:
            continue
        if item.got is not None:
            return Sign((item.got, get), "it was put in once")
        item.taken, item.gone, item.got = get.called, _end(get), get
        if item.gone < item.called:
            return Sign((get,), "it was put in later")
    return None


def _overtaken(items: dict[Hashable, _Item]) -> Sign | None:
    """Whether an item came out before another one that was surely in front of it was even asked for."""
    entered = iter(sorted(items.values(), key=lambda item: item.entered))
    before = next(entered, None)
    last: _Item | None = None  # the one that was taken last, of those surely in front
    for item in sorted(items.values(), key=lambda item: item.called):
        while before is not None and before.entered < item.called:
            last = before if last is None or before.taken > last.taken else last
            before = next(entered, None)
        if last is not None and item.gone < last.taken:
            why = f"{_name(item)} was put in behind {_name(last)}"
            if last.got is None:
                why += f", {_UNSEEN}"
            return Sign(_in_order(last.put, item.got, last.got), why)
    return None


def _empty(operations: Sequence[Operation], items: dict[Hashable, _Item]) -> Sign | None:
    """Whether a queue was called empty while one item was surely inside."""
    inside = iter(sorted(items.values(), key=lambda item: item.entered))
    item = next(inside, None)
    last: _Item | None = None
    for get in sorted(_found_empty(operations), key=lambda op: op.called):
        while item is not None and item.entered < get.called:
            last = item if last is None or item.taken > last.taken else last
            item = next(inside, None)
        if last is not None and _end(get) < last.taken:
            why = "" if last.got is not None else f"{_name(last)} was inside, {_UNSEEN}"
            return Sign(_in_order(last.put, get, last.got), why)
    return None


def _found_empty(operations: Sequence[Operation]) -> Iterator[Operation]:
    return (op for op in operations if op.name == "dequeue" and op.answer is Answer.OK and op.result is None)


def _name(item: _Item) -> str:
    return "an item" if item.put is None else repr(item.put.argument)


def _in_order(*operations: Operation | None) -> tuple[Operation, ...]:
    return tuple(sorted((op for op in operations if op is not None), key=lambda op: op.called))


def _end(operation: Operation) -> float:
    return inf if operation.returned is None else operation.returned
