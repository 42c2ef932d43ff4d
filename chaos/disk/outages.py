"""A trace whose page cache dies with the machine: what was not synced may be lost, torn or reordered.

Joins `pending.py` (what may be lost) and `choices.py` (what is tried) into candidates, and rebuilds any of them from
its recipe. Copies of the walk are kept at a few points, so that no crash point is far from one. Read `space.py`.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import final

from chaos.disk.choices import Menu, choosable
from chaos.disk.content import BLOCK_BYTES
from chaos.disk.lessening import earlier_points, smaller_losses
from chaos.disk.membership import holds
from chaos.disk.micro import GARBAGE, Step, StepKind
from chaos.disk.models import PersistenceModel
from chaos.disk.pending import Pending
from chaos.disk.recipes import Choice, StepId, choice_text
from chaos.disk.states import Fate, OperationFate
from chaos.disk.tree import Tree
from chaos.disk.walk import Candidate, Survey
from chaos.disk.wording import operation_text
from chaos.errors import UsageError
from chaos.trace.model import Kind, Op, Trace

__all__ = ["OutageWalk"]

# A copy of the walk every so many operations, but at most so many copies: each holds what is pending there.
_CHECKPOINT_EVERY = 64
_CHECKPOINTS = 32
# Named in a state: enough for a message; `fates` tells all.
_NAMED = 32
_FILLINGS = frozenset({0, GARBAGE})  # of a file that is long before its data is there


@final
class OutageWalk:
    """The walk of models whose page cache does not survive."""

    def __init__(self, trace: Trace, model: PersistenceModel, bound: int, seed: int) -> None:
        self._ops = trace.ops
        self._bound = bound
        self._seed = seed
        self._spacing = max(_CHECKPOINT_EVERY, -(-len(trace.ops) // _CHECKPOINTS))
        start = Pending(trace, model)
        self._checkpoints = [start.copy()]
        # Enumerating goes on through the trace while states are looked up elsewhere: each has its own place.
        self._walking = start
        self._looking = start.copy()
        self._surveys: dict[int, Survey] = {}

    def candidates(self, point: int) -> Iterator[Candidate]:
        """The legal disks at a crash point, the most interesting first."""
        pending = self._walking = self._moved(self._walking, point)
        menu = Menu(pending, self._bound, self._seed)
        self._surveys = {point: self._surveyed(menu)}
        for choice, lost in menu.choices():
            if pending.point != point:  # another enumeration has gone on meanwhile
                pending = self._moved(self._checkpoints[0].copy(), point)
            tree = _tree(pending, choice)
            yield Candidate(choice, tree, False, *_named(lost, pending))

    def survey(self, point: int) -> Survey:
        """How complete the candidates of a point are."""
        if point not in self._surveys:
            pending = self._looking = self._moved(self._looking, point)
            return self._surveyed(Menu(pending, self._bound, self._seed))
        return self._surveys[point]

    def tree(self, point: int, choice: Choice) -> Tree:
        """Rebuild one candidate's tree."""
        pending = self._looking = self._moved(self._looking, point)
        _check(pending, choice)
        return _tree(pending, choice)

    def fates(self, point: int, choice: Choice) -> tuple[OperationFate, ...]:
        """What became of each issued operation."""
        pending = self._looking = self._moved(self._looking, point)
        _check(pending, choice)
        free = choosable(pending)
        lost = _lost(free, choice)
        tree = _tree(pending, choice)
        lost_of = Counter(step.id[0] for step in lost)
        free_of = Counter(step.id[0] for step in free)
        told: list[OperationFate] = []
        damaged = False
        for op in self._ops[:point]:
            text, fate, part = operation_text(op), Fate.DURABLE, ""
            if lost_of[op.seq]:
                damaged = True
                gone = lost_of[op.seq] == pending.totals[op.seq] or _is_hidden(op, free, lost, pending)
                fate = Fate.LOST if gone else Fate.TORN
                part = "" if fate is Fate.LOST else _missing(lost, op, pending, tree)
                text += f": torn, {part}" if part else ": lost"
            elif free_of[op.seq]:
                fate = Fate.REORDERED if damaged else Fate.KEPT
                text += ": there, before what was issued earlier" if damaged else ""
            told.append(OperationFate(seq=op.seq, fate=fate, text=text, part=part))
        return tuple(told)

    def lost(self, point: int, choice: Choice) -> tuple[StepId, ...]:
        """The micro-operations that a choice lacks."""
        pending = self._looking = self._moved(self._looking, point)
        _check(pending, choice)
        return tuple(step.id for step in _lost(choosable(pending), choice))

    def may_lose(self, point: int, steps: Collection[StepId]) -> bool:
        """Whether all of these are still pending."""
        pending = self._looking = self._moved(self._looking, point)
        return all(step in pending.live for step in steps)

    def milder(self, point: int, lost: tuple[StepId, ...]) -> Iterator[tuple[int, tuple[StepId, ...]]]:
        """See `Walk.milder`; what comes is closed: no micro-operation is there without those that it needs."""
        pending = self._looking = self._moved(self._looking, point)
        free = choosable(pending)
        yield from earlier_points(self._ops, pending, lost)
        yield from smaller_losses(point, free, lost)

    def choice_without(self, point: int, lost: tuple[StepId, ...]) -> Choice:
        """The shorter of what is lost and what is kept."""
        pending = self._looking = self._moved(self._looking, point)
        gone = set(lost)
        kept = tuple(step.id for step in choosable(pending) if step.id not in gone)
        there = tuple(step.id for step in choosable(pending) if step.id in gone)
        return Choice(True, there) if len(there) <= len(kept) else Choice(False, kept)

    def contains(self, point: int, tree: Tree, *, inside: bool) -> bool:  # noqa: ARG002 - what is lost says no more
        """Whether a tree is legal at a crash point."""
        pending = self._looking = self._moved(self._looking, point)
        return holds(pending, tree)

    def _surveyed(self, menu: Menu) -> Survey:
        left_out: dict[str, int] = {}
        if not menu.exhaustive:
            left_out[f"crash points with over {self._bound} pending micro-operations, not all combinations tried"] = 1
        if menu.unvaried:
            left_out["crash points where only the latest and the oldest pending micro-operations are varied"] = 1
        coarse = any(len(step.data) > BLOCK_BYTES for unit in menu.head.units for step in unit)
        if coarse:
            left_out["crash points with a large write pending, torn at some of its page borders only"] = 1
        return Survey(pending=menu.pending, exhaustive=menu.exhaustive and not coarse, left_out=left_out)

    def _moved(self, place: Pending, point: int) -> Pending:
        """A place in the trace, moved to a crash point; another object where that is nearer from a copy."""
        number = min(point // self._spacing, len(self._checkpoints) - 1)
        if place.point > point or place.point < number * self._spacing:
            place = self._checkpoints[number].copy()
        while place.point < point:
            place.advance()
            if place.point == len(self._checkpoints) * self._spacing:
                self._checkpoints.append(place.copy())
        return place


def _tree(pending: Pending, choice: Choice) -> Tree:
    if not choice.steps:
        return pending.issued if choice.everything else pending.durable
    if choice.everything:
        return pending.tree_without(set(choice.steps))
    return pending.tree_with(choice.steps)


def _lost(free: list[Step], choice: Choice) -> list[Step]:
    chosen = set(choice.steps)
    return [step for step in free if (step.id in chosen) == choice.everything]


def _check(pending: Pending, choice: Choice) -> None:
    """Refuse a choice that names steps which are not free here, or that no rule allows."""
    free = {step.id: step for step in choosable(pending)}
    chosen = set(choice.steps)
    wrong = choice.cut is not None or not chosen <= free.keys()
    if not wrong:
        kept = free.keys() - chosen if choice.everything else chosen
        wrong = any(need in free and need not in kept for step in kept for need in _wanted(free[step]))
    if wrong:
        raise UsageError(
            f"no crash at point {pending.point} leaves {choice_text(choice)!r} under model {pending.model.name}",
            "use the state's text with the trace and the model that it was reported for",
        )


def _wanted(step: Step) -> tuple[StepId, ...]:
    return (*step.needs, *step.sees)


def _named(lost: list[Step], pending: Pending) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(operations all lost, operations partly lost), the latest ones."""
    if not lost:
        return (), ()
    counts = Counter([step.id[0] for step in lost])
    totals = pending.totals
    gone = [seq for seq, count in counts.items() if count == totals[seq]]
    torn = [seq for seq, count in counts.items() if count != totals[seq]]
    return tuple(gone[-_NAMED:]), tuple(torn[-_NAMED:])


def _is_hidden(op: Op, free: list[Step], lost: list[Step], pending: Pending) -> bool:
    """Whether nothing of an append can be seen, since the file is not as long on the disk."""
    own = [step for step in free if step.id[0] == op.seq]
    if len(own) != pending.totals[op.seq] or op.offset < pending.durable.nodes[op.node].content.size:
        return False
    grows = {step.id for step in own if step.kind is StepKind.GROW}
    return bool(grows) and grows <= {step.id for step in lost}


def _missing(lost: list[Step], op: Op, pending: Pending, tree: Tree) -> str:
    """What of an operation is not there, in words."""
    if op.kind is Kind.TRUNCATE:
        return "the bytes behind the cut are zero, the file's length is as before"
    if op.kind is not Kind.WRITE:
        return "only a part of its names has changed"
    own = [step for step in lost if step.id[0] == op.seq]
    spans = (  # of the same bytes there may be several: garbage that the disk held is a part of its own
        (max(step.offset, op.offset), min(step.offset + len(step.data), op.offset + len(op.data)))
        for step in own
        if step.kind is StepKind.DATA
    )
    ranges: list[list[int]] = []
    for low, high in sorted(span for span in spans if span[0] < span[1]):
        if ranges and low <= ranges[-1][1]:
            ranges[-1][1] = max(ranges[-1][1], high)
        else:
            ranges.append([low, high])
    if not ranges:
        return "the file is not as long on the disk yet"
    text = "not there: bytes " + ", ".join(f"{low} to {high - 1}" for low, high in ranges)
    if all(step.kind is StepKind.DATA for step in own):
        text += f" ({_instead(ranges, op.node, pending, tree)})"
    return text


def _instead(ranges: list[list[int]], node: int, pending: Pending, tree: Tree) -> str:
    """What stands where data is missing and the length is not."""
    before, there = pending.durable.nodes[node].content, tree.nodes[node].content
    spans = [(before.read(low, high - low), there.read(low, high - low)) for low, high in ranges]
    # A truncate may have taken what was before, while only the length came back.
    emptied = any(was != now and set(now) <= _FILLINGS for was, now in spans)
    if ranges[-1][1] <= before.size and not emptied:
        return "what was there before is still there"
    filling = "garbage" if pending.model.early_size == "garbage" else "zeroes"
    return f"the file is as long as if they were, with {filling} in their place"
