"""How an operation on names falls into groups of entries, each of which persists as a whole.

Under most models that is one group for each operation. Where a model says that removals are not whole, the older
states of a name come before the group itself: each may be there with or without what follows it, and with all of them
there the name is as it was issued. Pure. Read `micro.py` for what becomes of the groups.
"""

from dataclasses import dataclass
from typing import final

from chaos.disk.models import PersistenceModel
from chaos.disk.tree import Tree
from chaos.trace.model import Kind, NodeType, Op

__all__ = ["Part", "Views", "entry_groups"]

# A directory's entry and the node that it is set to; None takes it away.
Part = tuple[int, str, int | None]


@final
@dataclass(frozen=True, slots=True)
class Views:
    """The tree in four views.

    Attributes:
        before: as the page cache had it before the operation.
        after: likewise, after it.
        durable: what the disk must hold by now.
        committed: what it held when everything was synced last.
    """

    before: Tree
    after: Tree
    durable: Tree
    committed: Tree


def entry_groups(op: Op, views: Views, model: PersistenceModel) -> list[tuple[Part, ...]]:
    """The entry changes of an operation, grouped by what is atomic."""
    if op.parent is None:
        return []
    if op.kind in (Kind.CREATE, Kind.MKDIR, Kind.SYMLINK, Kind.LINK):
        return [((op.parent, op.name, op.node),)]
    if op.kind in (Kind.UNLINK, Kind.RMDIR):
        older = [] if model.removals_whole else [*_back(op, views), *_old_names(op, views)]
        return [*older, ((op.parent, op.name, None),)]
    assert op.to_parent is not None
    if op.kind is Kind.EXCHANGE:
        return [((op.parent, op.name, op.victim), (op.to_parent, op.to_name, op.node))]
    target = views.before.child(op.to_parent, op.to_name)
    if target == op.node:
        return []
    away, there = (op.parent, op.name, None), (op.to_parent, op.to_name, op.node)
    gone = [((op.to_parent, op.to_name, None),)] if target is not None else []
    if not model.rename_atomic and views.before.nodes[op.node].type is not NodeType.DIRECTORY:
        return [*gone, *([] if model.removals_whole else _back(op, views)), (there,), (away,)]
    if model.removals_whole:
        return [(away, there)]
    elsewhere = target is not None and bool(views.after.nodes[target].names)
    file = views.before.nodes[op.node].type is not NodeType.DIRECTORY
    both_names = [(there,)] if file and op.parent != op.to_parent else []
    return [*(gone if elsewhere else []), *_back(op, views), *both_names, (away, there)]


def _back(op: Op, views: Views) -> list[tuple[Part, ...]]:
    """What a name led to when all was synced last, where nothing else leads there now."""
    assert op.parent is not None
    old = views.committed.child(op.parent, op.name)
    if old is None or old == op.node or old not in views.after.nodes or views.after.nodes[old].names:
        return []
    return [((op.parent, op.name, old),)]


def _old_names(op: Op, views: Views) -> list[tuple[Part, ...]]:
    """The names that a file without any has on the disk: they go with it."""
    if views.after.nodes[op.node].names or op.node not in views.durable.nodes:
        return []
    here = (op.parent, op.name)
    names = [name for name in views.durable.nodes[op.node].names if name != here and views.after.child(*name) is None]
    return [tuple((parent, name, None) for parent, name in sorted(names))] if names else []
