"""What a disk must hold at one moment of a trace, what it may hold besides, and the trees that follow.

`Pending` goes through a trace operation by operation. It keeps the tree as issued (the page cache's view), the
durable tree (only what the rules force), and the steps between the two, which a crash may keep or lose. A tree for
any legal choice of them is made from whichever of the two is nearer, changing only what the choice touches, so its
cost does not grow with the trace. Read `choices.py` for which choices are tried.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import final

from chaos.disk.content import Content
from chaos.disk.filesteps import FileSteps
from chaos.disk.micro import Decomposer, EntryKey, Step, StepKind
from chaos.disk.models import PersistenceModel
from chaos.disk.naming import Views
from chaos.disk.recipes import StepId
from chaos.disk.replay import apply, initial_tree, made_node
from chaos.disk.tree import ROOT, Edit, Tree
from chaos.trace.model import Kind, NodeType, Op, Sync, Trace

__all__ = ["Pending"]

_MAKES = frozenset({Kind.CREATE, Kind.MKDIR, Kind.SYMLINK})
_JOURNALLED = frozenset({StepKind.ENTRY, StepKind.MODE, StepKind.CUT})


@final
class Pending:
    """The disk's view of a trace after its first `point` operations, under one model.

    Attributes:
        point: how many operations were issued.
        issued: the tree with all of them.
        durable: the tree with only what must be there.
        live: the steps that a crash may keep or lose, in order of issue.
        totals: operation -> how many steps it fell into, settled ones included.
        putters: node -> the live steps that give it a name.
        since: the first operation after the last sync of anything.
    """

    def __init__(self, trace: Trace, model: PersistenceModel) -> None:
        self.model = model
        self.point = 0
        self.issued = self.durable = initial_tree(trace)
        self._committed = self.issued  # when everything was synced last
        self.live: dict[StepId, Step] = {}
        self.totals: dict[int, int] = {}  # the same for every walk of the trace, hence shared by copies
        self.putters: dict[int, list[StepId]] = {}
        self.since = 0
        self._ops = trace.ops
        self._last_use = _last_uses(trace)
        self._decomposer = Decomposer(model)
        self._files: dict[int, FileSteps] = {}  # those with pending content
        self._parts: dict[EntryKey, list[StepId]] = {}  # entry -> live steps that set it
        self._modes: dict[int, list[StepId]] = {}  # node -> live steps that set its mode
        self._abandoned: set[StepId] = set()  # pages that a failed sync left clean
        self._touched: dict[int, int] = {}  # node -> the operation that last changed its metadata
        self._resized: dict[int, int] = {}  # node -> likewise, of its making, its size or its blocks

    def copy(self) -> "Pending":
        """An independent copy."""
        made = object.__new__(Pending)
        made.model, made.point, made.issued, made.durable = self.model, self.point, self.issued, self.durable
        made._committed, made.since = self._committed, self.since
        made.live, made.totals, made._ops, made._last_use = self.live.copy(), self.totals, self._ops, self._last_use
        made.putters = {node: steps.copy() for node, steps in self.putters.items()}
        made._decomposer = self._decomposer.copy()
        made._files = {node: steps.copy() for node, steps in self._files.items()}
        made._parts = {key: steps.copy() for key, steps in self._parts.items()}
        made._modes = {node: steps.copy() for node, steps in self._modes.items()}
        made._abandoned, made._touched = self._abandoned.copy(), self._touched.copy()
        made._resized = self._resized.copy()
        return made

    def advance(self) -> None:
        """Issue the next operation."""
        op = self._ops[self.point]
        self.point += 1
        before = self.issued
        self.issued = apply(before, op)
        if op.kind in _MAKES:
            edit = self.durable.edit()
            edit.add(op.node, made_node(op))
            self.durable = edit.tree()
            self._resized[op.node] = op.seq
        views = Views(before, self.issued, self.durable, self._committed)
        steps = self._decomposer.steps(op, views, self.live)
        for step in steps:
            self._register(step)
        if steps:
            self.totals[op.seq] = len(steps)
        self._touch(op)
        self._sync(op)
        self._bury({op.node, -1 if op.victim is None else op.victim})

    # What was issued.

    def _register(self, step: Step) -> None:
        self.live[step.id] = step
        if step.kind is StepKind.ENTRY:
            for parent, name, node in step.parts:
                self._parts.setdefault((parent, name), []).append(step.id)
                if node is not None:
                    self.putters.setdefault(node, []).append(step.id)
        elif step.kind is StepKind.MODE:
            self._modes.setdefault(step.node, []).append(step.id)
        else:
            if step.node not in self._files:
                self._files[step.node] = FileSteps(self.durable.nodes[step.node].content)
            self._files[step.node].add(step)
            if step.kind is not StepKind.DATA or step.fresh:
                self._touched[step.node] = self._resized[step.node] = step.id[0]

    def _touch(self, op: Op) -> None:
        if op.parent is not None:
            for node in (op.node, op.parent, op.to_parent, op.victim):
                if node is not None:
                    self._touched[node] = op.seq
        elif op.kind in (Kind.CHMOD, Kind.TRUNCATE):
            self._touched[op.node] = op.seq

    # What becomes durable.

    def _sync(self, op: Op) -> None:
        if op.kind in (Kind.FSYNC, Kind.FDATASYNC, Kind.SYNC) or op.sync is not Sync.NONE:
            self.since = op.seq + 1
        if op.kind in (Kind.FSYNC, Kind.FDATASYNC, Kind.SYNC):
            if op.errno:
                self._fail(op)
            elif op.kind is not Kind.SYNC:
                self._force(self._kept_by(op.node, op.kind is Kind.FDATASYNC))
            elif self.model.sync_keeps_everything:
                self._force([step for step in self.live if step not in self._abandoned])
                self._committed = self.issued
        elif op.sync is not Sync.NONE and self.model.synchronous_writes and op.node in self._files:
            self._unchain(op.node)
            own = [step for step in self._files[op.node].free if step[0] == op.seq]
            self._force([*own, *self._kept_with(op.node, op.sync is Sync.DATA)])

    def _unchain(self, node: int) -> None:
        """A range of a file is flushed: its length may be there, and a hole where something was appended before."""
        grows = {known for known, step in self._files[node].free.items() if step.kind is StepKind.GROW}
        for known in grows:
            step = self.live[known]
            self.live[known] = replace(step, needs=tuple(need for need in step.needs if need not in grows))

    def _fail(self, op: Op) -> None:
        if not self.model.failed_sync_drops_pages:
            return
        files = list(self._files) if op.kind is Kind.SYNC else [op.node] if op.node in self._files else []
        dropped = {step.id for node in files for step in self._files[node].free.values() if step.kind is StepKind.DATA}
        self._abandoned |= dropped
        for node in files:
            self._decomposer.abandon(node)
        for known, step in self.live.items():
            if step.kind is not StepKind.DATA and not dropped.isdisjoint(step.needs):
                needs = tuple(need for need in step.needs if need not in dropped)
                self.live[known] = replace(step, needs=needs)

    def _kept_by(self, node: int, data_only: bool) -> list[StepId]:
        """What a successful fsync or fdatasync of a file or directory makes durable."""
        kept: list[StepId] = []
        if self.issued.nodes[node].type is NodeType.DIRECTORY:
            # A directory's entries are its data, so fdatasync has to keep them too; SQLite relies on it.
            if self.model.directory_fsync_keeps_entries:
                kept.extend(step.id for step in self.live.values() if self._is_entry_of(step, node))
            return kept + self._kept_with(node, False)
        if self.model.fsync_keeps_data and node in self._files:
            kept.extend(step for step in self._files[node].free if step not in self._abandoned)
        return kept + self._kept_with(node, data_only)

    def _is_entry_of(self, step: Step, directory: int) -> bool:
        """Whether a sync of a directory keeps a step; of a move out of another one, where removals are whole."""
        inside = [part[2] for part in step.parts if part[0] == directory]
        outside = [part[2] for part in step.parts if part[0] != directory]
        return bool(inside) and (self.model.removals_whole or None not in outside or None in inside)

    def _kept_with(self, node: int, data_only: bool) -> list[StepId]:
        """What goes along with a file's data: its mode, its names, and the journal up to its last change."""
        model = self.model
        kept: list[StepId] = []
        if not data_only and model.fsync_keeps_data:
            kept.extend(self._modes.get(node, ()))
        if data_only and not model.fdatasync_keeps_metadata:
            return kept
        last = (self._resized if data_only else self._touched).get(node, -1)
        if model.fsync_keeps_name:
            kept.extend(step for step in self._name_steps(node) if step[0] <= last or not data_only)
        if model.fsync_keeps_earlier:
            for step in self.live.values():
                if step.id[0] > last:
                    break
                if step.kind in _JOURNALLED:
                    kept.append(step.id)
        return kept

    def _name_steps(self, node: int) -> list[StepId]:
        """The live steps that gave a node, and the folders above it, the names that they have now."""
        found: list[StepId] = []
        waiting, seen = [node], {ROOT}
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            for name in self.issued.nodes[node].names:
                found.extend(self._parts.get(name, ())[-1:])
                waiting.append(name[0])
        return found

    def _force(self, roots: Iterable[StepId]) -> None:
        forced: set[StepId] = set()
        waiting = [step for step in roots if step in self.live]
        while waiting:
            known = waiting.pop()
            if known not in forced:
                forced.add(known)
                waiting.extend(need for need in self.live[known].needs if need in self.live)
        if not forced:
            return
        edit = self.durable.edit()
        files: dict[int, list[StepId]] = {}
        moved: set[int] = set()
        for known in sorted(forced):
            step = self.live.pop(known)
            if step.kind is StepKind.ENTRY:
                self._settle_entry(edit, step, moved)
            elif step.kind is StepKind.MODE:
                edit.set_mode(step.node, step.mode)
                self._drop_earlier(self._modes, step.node, known)
            else:
                files.setdefault(step.node, []).append(known)
        for node, steps in files.items():
            self._settle_content(edit, node, steps)
        self._abandoned -= forced
        self.durable = edit.tree()
        self._bury(moved)

    def _settle_entry(self, edit: Edit, step: Step, moved: set[int]) -> None:
        moved.add(step.node)
        for parent, name, node in step.parts:
            key = (parent, name)
            old = edit.child(parent, name)
            if old is not None:
                moved.add(old)
            edit.set_entry(parent, name, node)
            self._decomposer.forget_entry(key, step.id)
            self._unput(node, step.id)
            for other in self._parts.get(key, ()):
                if other < step.id and other in self.live:
                    self._shadow(other, key)
            self._parts[key] = [other for other in self._parts[key] if other > step.id]
            if not self._parts[key]:
                del self._parts[key]

    def _unput(self, node: int | None, known: StepId) -> None:
        if node is not None and node in self.putters:
            self.putters[node] = [other for other in self.putters[node] if other != known]
            if not self.putters[node]:
                del self.putters[node]

    def _shadow(self, known: StepId, key: EntryKey) -> None:
        """A durable later step sets this entry: what an earlier one would do to it can't be seen any more."""
        step = self.live[known]
        for part in step.parts:
            if part[:2] == key:
                self._unput(part[2], known)
        parts = tuple(part for part in step.parts if part[:2] != key)
        if parts:
            self.live[known] = replace(step, parts=parts)
        else:
            del self.live[known]

    def _drop_earlier(self, table: dict[int, list[StepId]], node: int, known: StepId) -> None:
        """A durable step of one value hides the earlier ones."""
        for other in table[node]:
            if other < known:
                self.live.pop(other, None)
        table[node] = [other for other in table[node] if other > known]
        if not table[node]:
            del table[node]

    def _settle_content(self, edit: Edit, node: int, steps: list[StepId]) -> None:
        file = self._files[node]
        for known in file.settle(steps):
            self.live.pop(known, None)
            self._abandoned.discard(known)
        if file.free:
            edit.set_content(node, file.with_steps(()))
        else:
            # Nothing pending: what was issued is what the disk holds, and bytes and digest are shared.
            del self._files[node]
            self._decomposer.forget(node)
            edit.set_content(node, self.issued.nodes[node].content)

    def _bury(self, nodes: Iterable[int]) -> None:
        """Forget nodes that have no name, may get none, and are not acted upon again: memory stays flat."""
        for node in nodes:
            if node == ROOT or self._last_use.get(node, self.point) >= self.point or node in self.putters:
                continue
            if node not in self.issued.nodes or self.issued.nodes[node].names or self.durable.nodes[node].names:
                continue
            for known in (*self._modes.pop(node, ()), *(self._files[node].free if node in self._files else ())):
                self.live.pop(known, None)
                self._abandoned.discard(known)
            if not self.model.removals_whole and node in self._committed.nodes and self._committed.nodes[node].names:
                continue  # its name may come back
            if self.issued.nodes[node].type is NodeType.DIRECTORY:
                self._close_directory(node)
            self._files.pop(node, None)
            self._decomposer.forget(node)
            self._touched.pop(node, None)
            self._resized.pop(node, None)
            self.issued, self.durable = _without(self.issued, node), _without(self.durable, node)

    def _close_directory(self, node: int) -> None:
        """What pending steps would do to the entries of a directory that is gone for good can't be seen."""
        for key in [key for key in self._parts if key[0] == node]:
            for known in self._parts.pop(key):
                self._decomposer.forget_entry(key, known)
                if known in self.live:
                    self._shadow(known, key)

    # Trees for a choice of what is live.

    def tree_with(self, kept: Iterable[StepId]) -> Tree:
        """The durable tree and these live steps, given in order of issue."""
        edit = self.durable.edit()
        files: dict[int, list[StepId]] = {}
        for known in kept:
            step = self.live[known]
            if step.kind is StepKind.ENTRY:
                for parent, name, node in step.parts:
                    edit.set_entry(parent, name, node)
            elif step.kind is StepKind.MODE:
                edit.set_mode(step.node, step.mode)
            else:
                files.setdefault(step.node, []).append(known)
        for node, steps in files.items():
            edit.set_content(node, self._files[node].with_steps(steps))
        return edit.tree()

    def tree_without(self, dropped: Collection[StepId]) -> Tree:
        """The tree as issued, but for these live steps."""
        edit = self.issued.edit()
        entries: dict[EntryKey, int | None] = {}
        files: dict[int, list[StepId]] = {}
        for known in dropped:
            step = self.live[known]
            if step.kind is StepKind.ENTRY:
                for parent, name, _ in step.parts:
                    entries[parent, name] = self._entry_without(parent, name, dropped)
            elif step.kind is StepKind.MODE:
                edit.set_mode(step.node, self._mode_without(step.node, dropped))
            else:
                files.setdefault(step.node, []).append(known)
        for (parent, name), node in entries.items():
            # First off with the old, so that no folder is ever below itself.
            if edit.child(parent, name) != node:
                edit.set_entry(parent, name, None)
        for (parent, name), node in entries.items():
            edit.set_entry(parent, name, node)
        for node, steps in files.items():
            content = self._files[node].without_steps(set(steps), self.issued.nodes[node].content)
            edit.set_content(node, content)
        return edit.tree()

    def content_with(self, node: int, kept: list[StepId]) -> Content:
        """A file's durable bytes and these live content steps, given in order of issue."""
        return self._files[node].with_steps(kept) if node in self._files else self.durable.nodes[node].content

    def _entry_without(self, parent: int, name: str, dropped: Collection[StepId]) -> int | None:
        for known in reversed(self._parts[parent, name]):
            if known not in dropped:
                return next(part[2] for part in self.live[known].parts if part[:2] == (parent, name))
        return self.durable.child(parent, name)

    def _mode_without(self, node: int, dropped: Collection[StepId]) -> int:
        for known in reversed(self._modes[node]):
            if known not in dropped:
                return self.live[known].mode
        return self.durable.nodes[node].mode


def _without(tree: Tree, node: int) -> Tree:
    edit = tree.edit()
    edit.discard(node)
    return edit.tree()


def _last_uses(trace: Trace) -> dict[int, int]:
    """The last operation that names each node."""
    last: dict[int, int] = {}
    for op in trace.ops:
        for node in (op.node, op.parent, op.to_parent, op.victim):
            if node is not None:
                last[node] = op.seq
    return last
