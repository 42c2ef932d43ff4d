"""The search for a sequential order: depth first, with the configurations that were tried remembered.

The method is Wing and Gong's, with Lowe's memory of (what was ordered, state) pairs. What may come next and never
changes anything comes next, with no other way tried: wherever an order has it later, it can have it here. Operations
whose outcome nobody knows need not be ordered at all; they are tried last, of equal ones the earliest alone, and a
configuration that used more of them than an earlier one for the same end is given up, since it can do nothing that the
other can't. Pure; standard library only.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple, final

from chaos.history import Answer, Operation
from chaos.oracles.linearizable.frozen import frozen
from chaos.oracles.linearizable.models import ILLEGAL, Model

__all__ = ["GivenUp", "NoOrder", "order_of"]


@final
class NoOrder(NamedTuple):
    """There is none; for what was known before a position there is one."""

    until: float


@final
class GivenUp(NamedTuple):
    """The limit was reached: nobody knows."""


def order_of(
    operations: Sequence[Operation], model: Model, initial: Hashable, *, limit: int
) -> list[Operation] | NoOrder | GivenUp:
    """A legal sequential order of one thing's history, or why there is none.

    Args:
        operations: without those that failed.
        model: what the thing does.
        initial: its first state.
        limit: how many configurations to try.
    """
    return _Search(operations, model).run(initial, limit)


@final
class _Search:
    """One search.

    Answered operations are numbered by when they were called. Of those not yet ordered, the ones that may come next
    are those called before the first return of any of them; so calls and returns stand in one doubly linked list, in
    which an operation's two entries are taken out as it is ordered and put back as it is given up.
    """

    def __init__(self, operations: Sequence[Operation], model: Model) -> None:
        answered = [op for op in operations if op.answer is Answer.OK]
        self.known = sorted(answered, key=lambda op: op.called)
        doubtful = [op for op in operations if op.answer is Answer.UNKNOWN and op.name not in model.reads]
        self.doubtful = sorted(doubtful, key=lambda op: op.called)
        self.alike = _alike(self.doubtful)
        self.idle = [op.name in model.reads or model.idles(op) for op in self.known]
        self.step = model.step
        self.until = float("-inf")  # the last answer that some way came to: all before it were explained
        self.rank = None if model.preferred is None else model.preferred(self.known)
        events = sorted(
            [(op.called, 1, number) for number, op in enumerate(self.known)]
            + [(_end(op), 0, number) for number, op in enumerate(self.known)]
        )  # at one position a return comes before a call: touching operations are in order
        size = len(events)
        self.number = [number if kind else -1 for _, kind, number in events] + [-1]
        self.position = [at for at, _, _ in events] + [float("inf")]
        self.next = [*range(1, size + 1), 0]  # the last place is the ring's head
        self.before = [size, *range(size)]
        self.head = size
        self.calls, self.returns = [0] * len(self.known), [0] * len(self.known)
        for place, (_, kind, number) in enumerate(events):
            (self.calls if kind else self.returns)[number] = place

    def run(self, state: Hashable, limit: int) -> list[Operation] | NoOrder | GivenUp:
        done = used = 0
        everything = (1 << len(self.known)) - 1
        seen: dict[tuple[int, Hashable], list[int]] = {(0, state): [0]}
        path: list[tuple[int, Hashable, int, int, Iterator[int]]] = []
        choices = self._choices(used)
        while done != everything:
            choice = next(choices, None)
            if choice is None:
                if not path:
                    return NoOrder(self.until)
                choice, state, done, used, choices = path.pop()
                self._put_back(choice)
                continue
            operation = self._operation(choice)
            after = self.step(state, operation)
            if after is ILLEGAL:
                continue
            now = (done, used | 1 << ~choice) if choice < 0 else (done | 1 << choice, used)
            if choice < 0 and after == state:
                continue  # an unknown one that changes nothing need not have happened
            if not _is_news(seen.setdefault((now[0], after), []), now[1]):
                continue
            limit -= 1
            if limit < 0:
                return GivenUp()
            path.append((choice, state, done, used, iter(()) if choice >= 0 and self.idle[choice] else choices))
            self._take_out(choice)
            state, (done, used) = after, now
            choices = self._choices(used)
        return [self._operation(choice) for choice, *_ in path]

    def _operation(self, choice: int) -> Operation:
        return self.doubtful[~choice] if choice < 0 else self.known[choice]

    def _choices(self, used: int) -> Iterator[int]:
        """What may come next: numbers of known operations, then the complements of those of doubtful ones."""
        place, known = self.next[self.head], []
        while (number := self.number[place]) >= 0:
            known.append(number)
            place = self.next[place]
        end = self.position[place]
        self.until = max(self.until, end)
        if self.rank is not None and len(known) > 1:
            known.sort(key=self.rank.__getitem__)
        yield from known
        for numbers, mask in self.alike:
            spent = (used & mask).bit_count()  # the earlier ones
            if spent < len(numbers) and self.doubtful[numbers[spent]].called < end:
                yield ~numbers[spent]

    def _take_out(self, choice: int) -> None:
        if choice >= 0:
            for place in (self.calls[choice], self.returns[choice]):
                before, after = self.before[place], self.next[place]
                self.next[before], self.before[after] = after, before

    def _put_back(self, choice: int) -> None:
        if choice >= 0:
            for place in (self.returns[choice], self.calls[choice]):
                self.next[self.before[place]] = self.before[self.next[place]] = place


def _alike(doubtful: Sequence[Operation]) -> list[tuple[list[int], int]]:
    """Those that ask the same: their numbers, by time of call, and the bits of these."""
    found: dict[Hashable, list[int]] = {}
    for number, operation in enumerate(doubtful):
        found.setdefault((operation.name, frozen(operation.argument)), []).append(number)
    return [(numbers, sum(1 << number for number in numbers)) for numbers in found.values()]


def _end(operation: Operation) -> float:
    assert operation.returned is not None
    return operation.returned


def _is_news(known: list[int], used: int) -> bool:
    """Whether no earlier way used a part of these doubtful operations only; remembers this way if so."""
    if any(other & used == other for other in known):
        return False
    known[:] = [other for other in known if other & used != used]
    known.append(used)
    return True
