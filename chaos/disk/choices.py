"""Which of the legal choices at one crash point are tried, and in what order.

Live steps that only matter together are one *unit*; a choice is a set of units, as the bits of a number. It is legal
when each unit has those that it needs. Few units: all legal choices. Many: those in which bugs are likeliest, from
"all there" and "nothing there" over one lost and one kept to pairs, and a seeded sample at the end. Very many (a log
that is never synced): only the latest and the oldest are varied, the others stay as issued, or as the disk was.
Read `outages.py` for how choices become states.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import final

from chaos.disk.micro import Step, StepKind
from chaos.disk.pending import Pending
from chaos.disk.recipes import Choice, StepId

__all__ = ["Menu", "Units", "choosable"]

# Up to so many pending steps all of them are varied; it costs about half a millisecond a crash point to relate them.
_RELATED = 160
# Beyond it: so many of the latest, which no earlier crash point has varied, and of the oldest.
_LATEST = 64
_OLDEST = 16
# Pairs of the latest units, and random choices, at a point that can't be exhausted.
_PAIRED = 12
_SAMPLE = 64

_JOURNALLED = frozenset({StepKind.ENTRY, StepKind.CUT, StepKind.MODE})


def choosable(pending: Pending) -> list[Step]:
    """The live steps whose presence can be seen: not the bytes of files that no legal choice gives a name."""
    steps = _ordered(pending)
    if pending.model.overwrite_order:
        return steps  # one file's data may hold back another's
    return [step for step in steps if step.kind in _JOURNALLED or _can_be_named(pending, step.node)]


def _ordered(pending: Pending) -> list[Step]:
    """The live steps; those that only a commit of everything can have written need what such a commit writes."""
    steps = list(pending.live.values())
    if pending.model.directory_order or not pending.model.commit_order:
        return steps
    journalled = [step.id for step in steps if step.kind in _JOURNALLED]
    whole = pending.model.rename_atomic  # then each operation is
    latest = {seq: (seq, index) for seq, index in journalled} if whole else {}
    before = tuple(known for known in journalled if known[0] < pending.since)
    for place, step in enumerate(steps):
        if step.kind in _JOURNALLED and step.id[0] >= pending.since:
            needs = {*step.needs, *before, latest.get(step.id[0], step.id)} - {step.id}
            steps[place] = replace(step, needs=tuple(sorted(needs)))
            before = (step.id,)
    return steps


def _can_be_named(pending: Pending, node: int) -> bool:
    return node in pending.putters or bool(pending.durable.nodes[node].names)


@final
class Units:
    """Steps merged where they only matter together, and what each merged unit needs.

    Attributes:
        units: the steps of each, ordered by their last one; what a unit needs stands before it.
        down: each unit with all that it needs, as bits.
        up: each unit with all that need it, as bits.
        open: units that need a step which is not among these.
        full: all units.
    """

    def __init__(self, pending: Pending, steps: Iterable[Step]) -> None:
        live = pending.live
        listed = list(steps)
        self.units = _merged(pending, listed)
        index = {step.id: number for number, unit in enumerate(self.units) for step in unit}
        self.full = (1 << len(self.units)) - 1
        self.down: list[int] = []
        self.up: list[int] = []
        self.open = 0
        edges: list[set[int]] = []
        shown = _shown_elsewhere(listed)
        for number, unit in enumerate(self.units):
            wanted = {need for step in unit for need in (*step.needs, *step.sees)}
            wanted.update(need for step in unit if step.id not in shown for need in _seen_by(pending, step))
            inner = {index[need] for need in wanted if need in index} - {number}
            edges.append(inner)
            down = 1 << number
            for need in inner:
                down |= self.down[need]
            self.down.append(down)
            if any(need in live and need not in index for need in wanted) or down & self.open:
                self.open |= 1 << number
        self.up = [1 << number for number in range(len(self.units))]
        for number in range(len(self.units) - 1, -1, -1):
            for need in edges[number]:
                self.up[need] |= self.up[number]

    def __len__(self) -> int:
        return len(self.units)

    def steps(self, mask: int) -> list[Step]:
        """The steps of the units in a choice, in order of issue."""
        chosen = [step for number, unit in enumerate(self.units) if mask >> number & 1 for step in unit]
        return sorted(chosen, key=lambda step: step.id)

    def needing(self, mask: int) -> int:
        """The units in a choice and all that need one of them."""
        return _union(self.up, mask)

    def needed(self, mask: int) -> int:
        """The units in a choice and all that they need."""
        return _union(self.down, mask)

    def all_choices(self) -> Iterator[int]:
        """Every legal choice, each once."""
        waiting = [(0, 0, 0)]  # next unit, units taken, units that can't be taken
        while waiting:
            number, taken, banned = waiting.pop()
            if number == len(self.units):
                yield taken
                continue
            bit = 1 << number
            waiting.append((number + 1, taken, banned | self.up[number]))
            if not banned & bit:
                waiting.append((number + 1, taken | bit, banned))

    def few_choices(self, limit: int) -> bool:
        """Whether there are at most `limit` legal choices."""
        if 1 << len(self.units) <= limit:
            return True
        # Units that need nothing are free of each other, and so are those that nothing needs.
        rootless = sum(self.down[number] == 1 << number for number in range(len(self.units)))
        leafless = sum(self.up[number] == 1 << number for number in range(len(self.units)))
        if 1 << max(rootless, leafless) > limit:
            return False
        return all(count < limit for count, _ in enumerate(self.all_choices()))


def _union(table: list[int], mask: int) -> int:
    found = 0
    while mask:
        low = mask & -mask
        found |= table[low.bit_length() - 1]
        mask ^= low
    return found


def _shown_elsewhere(steps: list[Step]) -> set[StepId]:
    """Steps that show in another folder, by one that needs them: a file may be moved out of a folder that is lost."""
    shown: set[StepId] = set()
    for step in reversed(steps):
        if step.id in shown or step.kind is not StepKind.ENTRY or len({part[0] for part in step.parts}) > 1:
            shown.update(step.needs)
    return shown


def _seen_by(pending: Pending, step: Step) -> tuple[StepId, ...]:
    """The only step that shows what this one does, where there is one and it stands before it."""
    if step.kind is StepKind.ENTRY:
        places = {part[0] for part in step.parts}
        node = places.pop()
        if places:
            return ()
    else:
        node = step.node
    putters = pending.putters.get(node, ())
    if len(putters) != 1 or putters[0] >= step.id or pending.durable.nodes[node].names:
        return ()
    return (putters[0],)


def _merged(pending: Pending, steps: Iterable[Step]) -> list[list[Step]]:
    """Data beyond a file's end joins the step that lengthens the file, where that one needs it.

    A step that needs a later one, of the same operation, joins that.
    """
    listed = list(steps)
    loose = _unordered_files(listed)
    sizes: dict[int, int] = {}
    joined: dict[StepId, list[Step]] = {}
    units: list[list[Step]] = []
    ahead: dict[StepId, list[Step]] = {}
    for step in listed:
        if step.needs and step.needs[-1] > step.id:
            ahead.setdefault(step.needs[-1], []).append(step)
            continue
        unit = joined[step.id] = [*ahead.get(step.id, ()), step]
        units.append(unit)
        if step.kind is not StepKind.GROW or step.node in loose:
            continue
        size = sizes.get(step.node, pending.durable.nodes[step.node].content.size)
        sizes[step.node] = step.size
        for need in step.needs:
            data = joined.get(need)
            if data is not None and len(data) == 1 and data[0].kind is StepKind.DATA and data[0].offset >= size:
                unit[:0] = data
                data.clear()
    return [unit for unit in units if unit]


def _unordered_files(steps: list[Step]) -> set[int]:
    """Files with a pending truncate, or whose lengths are not reached one after the other."""
    loose: set[int] = set()
    latest: dict[int, StepId] = {}
    for step in steps:
        if step.kind in (StepKind.CUT, StepKind.TRIM):
            loose.add(step.node)
        elif step.kind is StepKind.GROW:
            if step.node in latest and latest[step.node] not in step.needs:
                loose.add(step.node)
            latest[step.node] = step.id
    return loose


@final
class _Sight:
    """What can be seen of a choice: the contents of files that have no name in it can't."""

    def __init__(self, pending: Pending, units: Units) -> None:
        self._pending = pending
        self._units = units
        self._entries = 0
        self._nodes: list[tuple[int, int]] = []  # (unit, file) for what only shows where the file has a name
        for number, unit in enumerate(units.units):
            if unit[-1].kind is StepKind.ENTRY:
                self._entries |= 1 << number
            else:
                self._nodes.append((1 << number, unit[-1].node))
        self._known: dict[int, int] = {}

    def of(self, mask: int) -> int:
        """The units that show if they are there, given the names that are there."""
        names = mask & self._entries
        if names not in self._known:
            lost = {step.id for step in self._units.steps(self._entries & ~mask)}
            nodes = self._pending.tree_without(lost).nodes
            self._known[names] = self._entries | sum(bit for bit, node in self._nodes if nodes[node].names)
        return self._known[names]


@final
class Menu:
    """The choices of one crash point.

    Attributes:
        pending: how many units a crash may keep or lose.
        exhaustive: whether `choices` gives all that is legal.
        unvaried: how many steps are the same in all choices but the two extremes.
    """

    def __init__(self, pending: Pending, bound: int, seed: int) -> None:
        steps = choosable(pending) if len(pending.live) <= _RELATED else []
        self._pending = pending
        self._random = random.Random(f"{seed}:{pending.point}")  # noqa: S311 - a sample, not a secret
        self._tail: Units | None = None
        self.unvaried = 0
        if len(pending.live) > _RELATED:
            everything = _ordered(pending)
            self._tail = Units(pending, everything[:_OLDEST])
            self.unvaried = len(everything) - _OLDEST - _LATEST
            steps = everything[-_LATEST:]
        self.head = Units(pending, steps)
        self.pending = len(self.head) if self._tail is None else len(pending.live)
        self.exhaustive = self._tail is None and self.head.few_choices(1 << bound)

    def choices(self) -> Iterator[tuple[Choice, list[Step]]]:
        """Legal choices, each once, the most interesting first, with the steps that are lost (as far as varied)."""
        head, seen, sight = self.head, set[int](), _Sight(self._pending, self.head)
        for mask in self._masks():
            visible = mask & sight.of(mask)
            if visible in seen:
                continue
            seen.add(visible)
            lost = head.steps(head.full & ~mask)
            if self._tail is not None:
                yield Choice(True, _ids(lost)), lost
                continue
            kept = head.steps(mask)
            yield (Choice(True, _ids(lost)) if len(lost) <= len(kept) else Choice(False, _ids(kept))), lost
        if self._tail is not None:
            yield from self._old_choices(self._tail)

    def _old_choices(self, tail: Units) -> Iterator[tuple[Choice, list[Step]]]:
        lost = self.head.steps(self.head.full)
        seen = set[int]()
        for mask in (0, *tail.down):
            if not mask & tail.open and mask not in seen:
                seen.add(mask)
                yield Choice(False, _ids(tail.steps(mask))), lost

    def _masks(self) -> Iterator[int]:
        head = self.head
        yield from (head.full, 0)
        yield from self._singles()
        yield from self._prefixes()
        yield from self._torn()
        if self.exhaustive:
            yield from head.all_choices()
            return
        latest = range(len(head) - 1, max(len(head) - 1 - _PAIRED, -1), -1)
        for left, right in combinations(latest, 2):
            yield head.full & ~(head.up[left] | head.up[right])
        for _ in range(_SAMPLE):
            density = self._random.random()
            lost = sum(1 << number for number in range(len(head)) if self._random.random() < density)
            yield head.full & ~head.needing(lost)

    def _singles(self) -> Iterator[int]:
        """Each unit dropped alone with what needs it, then each kept alone with what it needs; the latest first."""
        head = self.head
        for up in reversed(head.up):
            yield head.full & ~up
        yield from reversed(head.down)

    def _prefixes(self) -> Iterator[int]:
        """Each prefix of the directory operations, with no data and with all data."""
        head = self.head
        journalled = [n for n, unit in enumerate(head.units) if unit[-1].kind in _JOURNALLED]
        kept, later = 0, sum(1 << number for number in journalled)
        for number in (-1, *journalled):
            if number >= 0:
                kept |= head.down[number]
                later &= ~(1 << number)
            yield kept
            yield head.full & ~head.needing(later)

    def _torn(self) -> Iterator[int]:
        """Each operation cut between its units, from either side; and lengths without their data."""
        head = self.head
        pieces: dict[int, list[int]] = {}
        for number, unit in enumerate(head.units):
            pieces.setdefault(unit[-1].id[0], []).append(number)
        for numbers in reversed(pieces.values()):
            whole = sum(1 << number for number in numbers)
            data = [number for number in numbers if all(step.kind is StepKind.DATA for step in head.units[number])]
            if data and len(data) < len(numbers):
                yield head.full & ~head.needing(sum(1 << number for number in data))
            before = 0
            for number in numbers[:-1]:
                before |= 1 << number
                yield head.full & ~head.needing(whole & ~before)
                yield head.full & ~head.needing(before)


def _ids(steps: list[Step]) -> tuple[StepId, ...]:
    return tuple([step.id for step in steps])
