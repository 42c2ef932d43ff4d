"""Whether a tree is one of those that a disk may legally hold: exact, and without listing them all.

Names, modes and truncates are tried in all legal combinations, which are few in a short trace. For each, every file
is matched by itself: first the steps that give its length, then its bytes, one unit after the other, since units
persist independently. Meant for holding a model against real file systems. Read `pending.py` for the rules.
"""

from collections.abc import Iterator
from typing import final

from chaos.disk.choices import Units, choosable
from chaos.disk.content import Content
from chaos.disk.micro import Step, StepKind
from chaos.disk.pending import Pending
from chaos.disk.recipes import StepId
from chaos.disk.tree import ROOT, Tree
from chaos.trace.model import NodeType

__all__ = ["holds"]

_CONTENT = frozenset({StepKind.DATA, StepKind.GROW})
_SHORTENS = frozenset({StepKind.CUT, StepKind.TRIM})
_Ids = frozenset[StepId]


def holds(pending: Pending, tree: Tree) -> bool:
    """Whether some legal choice of what is pending gives this tree."""
    if tree in (pending.issued, pending.durable):
        return True
    free = choosable(pending)
    if pending.model.overwrite_order:
        # One file's data may hold back another's, so files can't be matched apart.
        units = Units(pending, free)
        choices = (units.steps(mask) for mask in units.all_choices())
        return any(pending.tree_with([step.id for step in kept]) == tree for kept in choices)
    return _Search(pending, free, tree).found()


def _shape(tree: Tree) -> tuple[object, ...]:
    """All of a tree but the bytes of its files."""
    told: list[object] = [tree.nodes[ROOT].mode]
    for path, number in tree.paths():
        node = tree.nodes[number]
        mode = 0 if node.type is NodeType.SYMLINK else node.mode
        told.append((path, node.type, mode, node.target, *(tree.paths_of(number) if len(node.names) > 1 else ())))
    return tuple(told)


@final
class _Search:
    """One question, with what all its steps share."""

    def __init__(self, pending: Pending, free: list[Step], tree: Tree) -> None:
        self.pending = pending
        self.tree = tree
        self.shape = _shape(tree)
        self.steps = {step.id: step for step in free}
        self.journalled = [step.id for step in free if step.kind not in _CONTENT]
        self.needs = {known: self._closure(known) for known in self.steps}

    def _closure(self, known: StepId) -> _Ids:
        found: set[StepId] = set()
        waiting = [known]
        while waiting:
            step = self.steps[waiting.pop()]
            if step.id not in found:
                found.add(step.id)
                waiting.extend(need for need in (*step.needs, *step.sees) if need in self.steps)
        return frozenset(found)

    def found(self) -> bool:
        journalled = frozenset(self.journalled)
        for kept in _closed_sets(self.journalled, {known: self.needs[known] & journalled for known in journalled}):
            laid = self.pending.tree_with([known for known in self.journalled if known in kept])
            if _shape(laid) == self.shape and self._files_fit(laid, kept):
                return True
        return False

    def _files_fit(self, laid: Tree, kept: _Ids) -> bool:
        needed = frozenset().union(*(self.needs[known] for known in kept)) if kept else frozenset()
        for path, number in laid.paths():
            if laid.nodes[number].type is NodeType.FILE:
                real = self.tree.nodes[self.tree.lookup(path) or ROOT].content
                if not self._file_fits(number, real, kept, needed):
                    return False
        return True

    def _file_fits(self, node: int, real: Content, kept: _Ids, needed: _Ids) -> bool:
        own = [step for step in self.steps.values() if step.node == node and step.kind in (*_CONTENT, *_SHORTENS)]
        if not own:
            return real == self.pending.durable.nodes[node].content
        cuts = frozenset(step.id for step in own if step.kind in _SHORTENS) & kept
        # Content may be there when the journalled steps that it needs are.
        journalled = frozenset(self.journalled)
        able = {step.id for step in own if step.kind in _CONTENT and self.needs[step.id] & journalled <= kept}
        base = frozenset(step.id for step in own if step.id in needed) | cuts
        for grow in (None, *(s.id for s in own if s.kind is StepKind.GROW and s.id in able and s.id not in base)):
            chosen = base if grow is None else base | (self.needs[grow] - journalled)
            if self._content(node, chosen).size == real.size and self._bytes_fit(node, real, chosen, able):
                return True
        return False

    def _content(self, node: int, chosen: _Ids) -> Content:
        return self.pending.content_with(node, sorted(chosen))

    def _bytes_fit(self, node: int, real: Content, chosen: _Ids, able: set[StepId]) -> bool:
        data = [self.steps[known] for known in sorted(able) if self.steps[known].kind is StepKind.DATA]
        for low, high, group in _regions(data):
            wanted = _slice(real, low, high)
            needs = {known: self.needs[known] & frozenset(group) for known in group}
            for more in _closed_sets(group, needs):
                if _slice(self._content(node, chosen | more), low, high) == wanted:
                    chosen = chosen | more
                    break
            else:
                return False
        return self._content(node, chosen) == real


def _closed_sets(steps: list[StepId], needs: dict[StepId, _Ids]) -> Iterator[_Ids]:
    """All subsets in which each step has those that it needs; `steps` in order of issue, so the largest come first."""
    waiting: list[tuple[int, _Ids]] = [(0, frozenset())]
    while waiting:
        index, taken = waiting.pop()
        if index == len(steps):
            if all(needs[known] <= taken for known in taken):  # a step may need a later one of its operation
                yield taken
            continue
        waiting.append((index + 1, taken))
        kept = taken | {steps[index]}
        if all(need in kept or need > steps[index] for need in needs[steps[index]]):
            waiting.append((index + 1, kept))


def _regions(data: list[Step]) -> list[tuple[int, int, list[StepId]]]:
    """Steps grouped by the bytes that they touch: (first byte, end, steps), no two groups overlapping."""
    regions: list[tuple[int, int, list[StepId]]] = []
    for step in sorted(data, key=lambda step: (step.offset, step.id)):
        end = step.offset + step.extent
        if regions and step.offset < regions[-1][1]:
            low, high, group = regions[-1]
            regions[-1] = (low, max(high, end), sorted([*group, step.id]))
        else:
            regions.append((step.offset, end, [step.id]))
    return regions


def _slice(content: Content, low: int, high: int) -> bytes:
    return content.read(low, min(high, content.size) - low)
