"""What a trace does to a tree: the tree before the run, and the tree after each operation.

This is the page cache's view, where everything that was issued is there; what a disk keeps of it is the business of
the persistence models. Read `folder.py` (trees from and to real folders) or `micro.py` next.
"""

from collections.abc import Collection

from chaos.disk.content import Content
from chaos.disk.tree import ROOT, Edit, Node, Tree
from chaos.errors import HarnessFault
from chaos.trace.model import Kind, NodeType, Op, Trace

__all__ = ["apply", "apply_part", "initial_tree", "last_uses", "made_node"]

_MADE = {Kind.CREATE: NodeType.FILE, Kind.MKDIR: NodeType.DIRECTORY, Kind.SYMLINK: NodeType.SYMLINK}


def initial_tree(trace: Trace) -> Tree:
    """The tree before the run.

    Raises:
        HarnessFault: the trace names a directory that it does not have.
    """
    edit = Tree.empty().edit()
    for node in trace.initial:
        if node.node == ROOT:
            edit.set_mode(ROOT, node.mode)
        else:
            edit.add(node.node, Node(node.type, node.mode, Content.of(node.data), node.target))
    try:
        for node in trace.initial:
            for parent, name in node.names:
                edit.set_entry(parent, name, node.node)
    except KeyError as missing:
        raise HarnessFault(f"the trace puts a name into directory node {missing}, which it lacks") from None
    return edit.tree()


def made_node(op: Op) -> Node:
    """The node that a CREATE, MKDIR or SYMLINK brings into being."""
    return Node(_MADE[op.kind], op.mode, target=op.target)


def last_uses(trace: Trace) -> dict[int, list[int]]:
    """For each operation, by its number, the nodes that no later one speaks of; the folder itself is none of them."""
    last: dict[int, int] = {}
    for op in trace.ops:
        for number in (op.node, op.parent, op.to_parent, op.victim):
            if number:
                last[number] = op.seq
    found: dict[int, list[int]] = {}
    for number, seq in last.items():
        found.setdefault(seq, []).append(number)
    return found


def apply(tree: Tree, op: Op, last_used: Collection[int] = ()) -> Tree:
    """The tree after one more operation; syncs change nothing.

    Args:
        tree: before it.
        op: the operation.
        last_used: nodes of which later operations don't speak; those that have no name are forgotten.

    Raises:
        HarnessFault: the operation names a node that the tree does not have; the trace is not whole.
    """
    edit = tree.edit()
    try:
        _APPLY.get(op.kind, _nothing)(edit, op)
    except KeyError:
        raise HarnessFault(
            f"operation {op.seq} ({op.call} {op.path!r}) acts on node {op.node}, which the trace never made",
            "record the run again; if this repeats, report it with the trace file",
        ) from None
    for number in last_used:
        if edit.is_nameless(number):
            edit.discard(number)
    return edit.tree()


def apply_part(tree: Tree, op: Op, length: int) -> Tree:
    """The tree after the first `length` bytes of a write."""
    edit = tree.edit()
    edit.set_content(op.node, edit.node(op.node).content.write(op.offset, op.data[:length]))
    return edit.tree()


def _nothing(edit: Edit, op: Op) -> None:
    pass


def _make(edit: Edit, op: Op) -> None:
    edit.add(op.node, made_node(op))
    if op.parent is not None:
        edit.set_entry(op.parent, op.name, op.node)


def _link(edit: Edit, op: Op) -> None:
    assert op.parent is not None
    edit.set_entry(op.parent, op.name, op.node)


def _unlink(edit: Edit, op: Op) -> None:
    assert op.parent is not None
    edit.set_entry(op.parent, op.name, None)


def _rename(edit: Edit, op: Op) -> None:
    assert op.parent is not None
    assert op.to_parent is not None
    if edit.child(op.to_parent, op.to_name) == op.node:
        return  # POSIX: renaming one hard link over another of the same file does nothing
    edit.set_entry(op.parent, op.name, None)
    edit.set_entry(op.to_parent, op.to_name, op.node)


def _exchange(edit: Edit, op: Op) -> None:
    assert op.parent is not None
    assert op.to_parent is not None
    if op.victim is None:
        raise HarnessFault(f"operation {op.seq} exchanges {op.path!r} with a node that the trace does not name")
    edit.set_entry(op.parent, op.name, None)
    edit.set_entry(op.to_parent, op.to_name, op.node)
    edit.set_entry(op.parent, op.name, op.victim)


def _write(edit: Edit, op: Op) -> None:
    edit.set_content(op.node, edit.node(op.node).content.write(op.offset, op.data))


def _truncate(edit: Edit, op: Op) -> None:
    edit.set_content(op.node, edit.node(op.node).content.resized(op.size))


def _chmod(edit: Edit, op: Op) -> None:
    edit.set_mode(op.node, op.mode)


_APPLY = {
    Kind.CREATE: _make,
    Kind.MKDIR: _make,
    Kind.SYMLINK: _make,
    Kind.LINK: _link,
    Kind.UNLINK: _unlink,
    Kind.RMDIR: _unlink,
    Kind.RENAME: _rename,
    Kind.EXCHANGE: _exchange,
    Kind.WRITE: _write,
    Kind.TRUNCATE: _truncate,
    Kind.CHMOD: _chmod,
}
