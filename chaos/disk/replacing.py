"""A trace as it would be if a file were never written in place: a temporary file, fsync, rename, fsync of the folder.

Each save, which is a run of writes to the file, becomes such a replacement; all else stays. Pure. Read `mending.py`
for smaller changes.
"""

from collections.abc import Iterator
from dataclasses import replace

from chaos.disk.content import Content
from chaos.disk.replay import apply, initial_tree
from chaos.disk.tree import ROOT, Tree
from chaos.trace.model import Kind, NodeType, Op, Sync, Trace

__all__ = ["is_replaceable", "is_written_in_place", "with_replacement"]

_CONTENT = frozenset({Kind.WRITE, Kind.TRUNCATE})
# Neither whoever goes by the beginning of names nor whoever goes by their end takes it for a file of the program.
_TEMPORARY = ".{}.chaos-new"
_MAPPED = "mmap"
_SQLITE = b"SQLite format 3\0"


def is_written_in_place(trace: Trace, node: int) -> bool:
    """Whether a file that has one name loses bytes to a write or a truncate, or is made and filled under its name."""
    if _is_filled_at_once(trace, node):
        return True
    tree = initial_tree(trace)
    for op in trace.ops:
        if op.node == node and op.kind in _CONTENT and _hurts(tree, op):
            return True
        tree = apply(tree, op)
    return False


def is_replaceable(trace: Trace, node: int) -> bool:
    """Whether a program could replace a file at all: not one that is mapped, nor one that SQLite keeps open."""
    own = [op for op in trace.ops if op.node == node]
    if any(op.call == _MAPPED for op in own):
        return False
    names = {op.path.removesuffix("-wal").removesuffix("-journal") for op in own}
    heads = [op.data for op in trace.ops if op.kind is Kind.WRITE and not op.offset and op.path in names]
    tree = initial_tree(trace)
    heads += [tree.data(name) for name in names if tree.lookup(name) is not None and _is_file(tree, name)]
    return not any(head.startswith(_SQLITE) for head in heads)


def with_replacement(trace: Trace, node: int) -> Trace | None:
    """The trace in which each run of writes to `node` makes a new file that replaces it; None where that can't be."""
    made = _Rewriting(trace, node)
    try:
        return made.trace()
    except KeyError:
        return None  # it is linked, moved or exchanged in a way that a replacement would change


def _is_file(tree: Tree, path: str) -> bool:
    return tree.node(path).type is NodeType.FILE


def _is_filled_at_once(trace: Trace, node: int) -> bool:
    """Whether a new file gets all its bytes right after it was made, and keeps its name."""
    own = [op for op in trace.ops if op.node == node and op.kind not in (Kind.FSYNC, Kind.FDATASYNC, Kind.CHMOD)]
    kinds = [op.kind for op in own]
    if len(kinds) < 2 or kinds[0] is not Kind.CREATE or set(kinds[1:]) - _CONTENT:
        return False
    first, last = own[0].seq, own[-1].seq
    return len(own) == last + 1 - first and not any(first < ack.after <= last for ack in trace.acks)


def _hurts(tree: Tree, op: Op) -> bool:
    if len(tree.nodes[op.node].names) != 1:
        return False
    size = tree.nodes[op.node].content.size
    return op.offset < size if op.kind is Kind.WRITE else op.size < size


class _Rewriting:
    def __init__(self, trace: Trace, node: int) -> None:
        self._trace, self._node = trace, node
        self._current = node
        self._next = 1 + max([0, *(one.node for one in trace.initial), *(op.node for op in trace.ops)])
        self._ops: list[Op] = []
        self._acks = list(trace.acks)
        self._after: dict[int, int] = {}  # operation of the original -> how many stand before it now

    def trace(self) -> Trace:
        tree, position, ops = initial_tree(self._trace), 0, self._trace.ops
        while position < len(ops):
            run = list(self._run(position))
            self._after[position] = len(self._ops)
            made = list(self._made(position))
            if made:
                run = made
                self._replace(made[0].parent or ROOT, made[0].name, None, made[0].mode, made[1:])
            elif run and any(_hurts(tree, op) for op in run):
                ((parent, name),) = tree.nodes[self._node].names
                self._replace(parent, name, tree.nodes[self._node].content, tree.nodes[self._node].mode, run)
            else:
                run = run or [ops[position]]
                for op in run:
                    self._after[op.seq] = len(self._ops)
                    self._add(self._moved(op))
            for op in run:
                tree = apply(tree, op)
            position += len(run)
        self._after[len(ops)] = len(self._ops)
        acks = tuple(replace(ack, after=self._after.get(ack.after, len(self._ops))) for ack in self._acks)
        return replace(self._trace, ops=tuple(self._ops), acks=acks)

    def _run(self, position: int) -> Iterator[Op]:
        """One save: the writes from here on, up to another operation, an acknowledgement, or a file emptied anew."""
        acks = {ack.after for ack in self._acks}
        is_written = False
        for op in self._trace.ops[position:]:
            if op.kind not in _CONTENT or op.node != self._node or (op.seq > position and op.seq in acks):
                return
            if is_written and op.kind is Kind.TRUNCATE and not op.size:
                return
            is_written = is_written or op.kind is Kind.WRITE
            yield op

    def _made(self, position: int) -> Iterator[Op]:
        """The making of the file, with the writes right after it; nothing where none come."""
        op = self._trace.ops[position]
        if op.kind is not Kind.CREATE or op.node != self._node or any(ack.after == position + 1 for ack in self._acks):
            return
        run = list(self._run(position + 1))
        if run:
            yield op
            yield from run

    def _replace(self, parent: int, name: str, old: Content | None, mode: int, run: list[Op]) -> None:
        """A new file with what was there, the writes, and the rename; `old` is None where there was none."""
        node, first = self._next, run[0]
        self._next += 1
        temporary = _TEMPORARY.format(name)
        path = first.path.removesuffix(name) + temporary
        fields = {"node": node, "path": path, "parent": parent, "name": temporary}
        self._add(replace(first, kind=Kind.CREATE, call="openat", data=b"", mode=mode, sync=Sync.NONE, **fields))  # type: ignore[arg-type]
        if old is not None and old.size:
            self._add(replace(first, kind=Kind.WRITE, call="write", node=node, path=path, offset=0, data=bytes(old)))
        for op in run:
            self._add(replace(op, node=node, path=path))
        self._add(replace(first, kind=Kind.FSYNC, call="fsync", node=node, path=path, data=b""))
        self._add(
            replace(
                first,
                kind=Kind.RENAME,
                call="rename",
                data=b"",
                to_parent=parent,
                to_name=name,
                to_path=first.path,
                victim=None if old is None else self._current,
                **fields,  # type: ignore[arg-type]
            )
        )
        self._add(Op(seq=0, kind=Kind.FSYNC, call="fsync", node=parent, process=first.process, source=first.source))
        self._current = node

    def _moved(self, op: Op) -> Op:
        if self._node not in (op.node, op.victim):
            return op
        if op.kind in (Kind.LINK, Kind.EXCHANGE):
            raise KeyError(op.node)
        node = self._current if op.node == self._node else op.node
        return replace(op, node=node, victim=self._current if op.victim == self._node else op.victim)

    def _add(self, op: Op) -> None:
        self._ops.append(replace(op, seq=len(self._ops)))
