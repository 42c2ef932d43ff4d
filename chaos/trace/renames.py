"""Handlers for renames: within the folder, over a victim, exchanged, and over the folder's border.

A file that comes in is a node with all its content, made without a name and then given one in a single step, as the
folder saw it; a file that leaves is unlinked. A directory that crosses the border brings or takes many names in one
step, which a trace can't say: its files are recorded one by one, and it is reported as *not measured*. Read
`open_calls.py` next.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from typing import final

from chaos.syscalls import kernel
from chaos.syscalls.calls import CONTINUE, Handler, Steps, Trap
from chaos.trace.model import Kind, NodeType
from chaos.trace.nodes import Node
from chaos.trace.places import AT_FDCWD, Place
from chaos.trace.recording import Recording

__all__ = ["Renames"]

_RENAME_EXCHANGE = 2


@final
class Renames:
    """The handlers, over one recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._nodes = recording.nodes
        self._journal = recording.journal

    def handlers(self) -> Mapping[str, Handler]:
        """Call name -> handler."""
        return {
            "rename": lambda t: self._rename(t, AT_FDCWD, AT_FDCWD, (t.arguments[0], t.arguments[1]), 0),
            "renameat": lambda t: self._rename(t, t.signed(0), t.signed(2), (t.arguments[1], t.arguments[3]), 0),
            "renameat2": lambda t: self._rename(
                t, t.signed(0), t.signed(2), (t.arguments[1], t.arguments[3]), t.arguments[4] & 0xFFFFFFFF
            ),
        }

    def _rename(self, trap: Trap, old_dir: int, new_dir: int, names: tuple[int, int], flags: int) -> Steps:
        locate, read_path = self._recording.places.locate, trap.process.read_path
        old = locate(trap, old_dir, read_path(names[0]))
        new = locate(trap, new_dir, read_path(names[1]))
        if old.node is None and not self._is_ours(new) and not (flags & _RENAME_EXCHANGE and new.node):
            self._recording.places.forget()
            self._check_folder(old)
            return CONTINUE
        yield self._recording.call(trap, old.path, to_path=new.path)
        moved, exchanged = old.node, bool(flags & _RENAME_EXCHANGE)
        if moved is not None and not exchanged and self._is_ours(new):
            self._perform(old, new, flags)
            if moved is not new.node:  # two names of one file: nothing happens
                self._moved(trap, moved, old, new)
            return 0
        source, target = old.status(), new.status()
        self._perform(old, new, flags)
        if source is None or (target is not None and os.path.samestat(source, target)):
            return 0
        if stat.S_ISDIR(source.st_mode) or exchanged:
            self._recording.places.forget()
        if exchanged:
            self._exchanged(trap, old, new, (source, target))
        elif moved is not None:
            self._left(trap, old)
        else:
            self._arrived(trap, source, new)
        return 0

    def _perform(self, old: Place, new: Place, flags: int) -> None:
        if flags:
            kernel.renameat2(old.directory.descriptor, old.name, new.directory.descriptor, new.name, flags)
        else:
            os.rename(old.name, new.name, src_dir_fd=old.directory.descriptor, dst_dir_fd=new.directory.descriptor)

    def _moved(self, trap: Trap, node: Node, old: Place, new: Place) -> None:
        victim = new.node
        assert old.parent is not None
        assert new.parent is not None
        if node.type is NodeType.DIRECTORY:
            self._recording.places.forget()
        self._record(trap, Kind.RENAME, node, old, new, victim)
        if victim is not None:
            self._nodes.unlink(new.parent, new.entry)
        self._nodes.move(node, (old.parent, old.entry), (new.parent, new.entry))

    def _exchanged(self, trap: Trap, old: Place, new: Place, statuses: Sequence[os.stat_result | None]) -> None:
        first, second = old.node, new.node
        if first is not None and second is not None and old.parent is not None and new.parent is not None:
            self._record(trap, Kind.EXCHANGE, first, old, new, second)
            self._nodes.exchange((old.parent, old.entry), (new.parent, new.entry))
            return
        # One end is outside: what was ours left, and the other one came in its stead.
        for place, status in ((old, statuses[1]), (new, statuses[0])):
            if place.node is not None and status is not None:
                if place.node.type is NodeType.DIRECTORY:
                    self._left(trap, place)
                self._arrived(trap, status, place)

    def _left(self, trap: Trap, place: Place) -> None:
        """Moved out of the folder."""
        assert place.node is not None
        assert place.parent is not None
        if place.node.type is NodeType.DIRECTORY:
            self._journal.miss(place.path, "a directory was moved out of the watched folder")
        self._gone(trap, place.node, place.parent, place.entry)

    def _gone(self, trap: Trap, node: Node, parent: Node, name: str) -> None:
        for entry, child in list(node.entries.items()):
            self._gone(trap, child, node, entry)
        kind = Kind.RMDIR if node.type is NodeType.DIRECTORY else Kind.UNLINK
        self._journal.add(trap, kind, node, path=parent.path_of(name), parent=parent.number, name=name)
        self._nodes.unlink(parent, name)
        if not node.names:
            self._nodes.forget(node)

    def _arrived(self, trap: Trap, status: os.stat_result, place: Place) -> None:
        """Moved into the folder, or out of what is excluded; in one step, over what stood there."""
        parent, victim = place.parent, place.node
        assert parent is not None
        path = f"/proc/self/fd/{place.directory.descriptor}/{place.entry}"
        if stat.S_ISDIR(status.st_mode):
            self._journal.miss(place.path, "a directory was moved into the watched folder")
            if victim is not None:
                self._gone(trap, victim, parent, place.entry)
            self._arrived_directory(trap, status, (parent, place.entry), path)
            return
        node = self._nodes.find(status) or self._recording.take_in(trap, status, path, place.path)
        if node is None:  # a pipe or the like, which is no part of a tree, replaced what is one
            if victim is not None:
                self._gone(trap, victim, parent, place.entry)
            return
        if victim is not None:
            self._nodes.unlink(parent, place.entry)
        self._named(trap, node, parent, place.entry, victim)

    def _arrived_directory(self, trap: Trap, status: os.stat_result, entry: tuple[Node, str], path: str) -> None:
        parent, name = entry
        node = self._nodes.add(status)
        self._nodes.link(node, parent, name)
        self._journal.add(trap, Kind.MKDIR, node, parent=parent.number, name=name, mode=stat.S_IMODE(status.st_mode))
        for below in sorted(os.listdir(path)):
            inner = f"{path}/{below}"
            seen = os.lstat(inner)
            if self._nodes.excludes(node.path_of(below)):
                continue
            if stat.S_ISDIR(seen.st_mode):
                self._arrived_directory(trap, seen, (node, below), inner)
                continue
            child = self._nodes.find(seen) or self._recording.take_in(trap, seen, inner, node.path_of(below))
            if child is not None:
                self._named(trap, child, node, below, None)

    def _named(self, trap: Trap, node: Node, parent: Node, name: str, victim: Node | None) -> None:
        first = not node.names
        self._nodes.link(node, parent, name)
        self._journal.add(
            trap,
            Kind.SYMLINK if node.type is NodeType.SYMLINK and first else Kind.LINK,
            node,
            path=parent.path_of(name),
            parent=parent.number,
            name=name,
            target=node.target,
            victim=None if victim is None else victim.number,
        )

    def _record(self, trap: Trap, kind: Kind, node: Node, old: Place, new: Place, victim: Node | None) -> None:
        assert old.parent is not None
        assert new.parent is not None
        self._journal.add(
            trap,
            kind,
            node,
            path=old.path,
            parent=old.parent.number,
            name=old.entry,
            to_parent=new.parent.number,
            to_name=new.entry,
            to_path=new.path,
            victim=None if victim is None else victim.number,
        )

    def _is_ours(self, place: Place) -> bool:
        return place.parent is not None and bool(place.entry) and not self._nodes.excludes(place.path)

    def _check_folder(self, place: Place) -> None:
        status = place.status()
        if status is not None and self._nodes.find(status) is self._nodes.root and place.entry not in {".", ".."}:
            self._journal.miss(".", "the watched folder itself was renamed")
