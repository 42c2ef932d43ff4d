"""Handlers for calls that make and remove names, modes and lengths by path.

The supervisor performs each relative to directories that it holds open. A call with neither end in the watched
folder is let through; one that crosses its border is recorded as what the folder sees of it. Read `renames.py` next.
"""

import os
import stat
from collections.abc import Mapping
from typing import final

from chaos.syscalls import kernel
from chaos.syscalls.calls import CONTINUE, Handler, Steps, Trap
from chaos.trace.model import Kind, NodeType
from chaos.trace.nodes import Node
from chaos.trace.places import AT_FDCWD, Place
from chaos.trace.recording import Recording
from chaos.trace.writing import check_limit

__all__ = ["NameCalls"]

_AT_SYMLINK_NOFOLLOW, _AT_REMOVEDIR, _AT_SYMLINK_FOLLOW, _AT_EMPTY_PATH = 0x100, 0x200, 0x400, 0x1000


@final
class NameCalls:
    """The handlers, over one recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._nodes = recording.nodes
        self._journal = recording.journal
        self._places = recording.places

    def handlers(self) -> Mapping[str, Handler]:
        """Call name -> handler."""
        return {
            "mkdir": lambda t: self._mkdir(t, AT_FDCWD, t.arguments[0], t.arguments[1]),
            "mkdirat": lambda t: self._mkdir(t, t.signed(0), t.arguments[1], t.arguments[2]),
            "mknod": lambda t: self._mknod(t, AT_FDCWD, t.arguments[0], t.arguments[1]),
            "mknodat": lambda t: self._mknod(t, t.signed(0), t.arguments[1], t.arguments[2]),
            "symlink": lambda t: self._symlink(t, t.arguments[0], AT_FDCWD, t.arguments[1]),
            "symlinkat": lambda t: self._symlink(t, t.arguments[0], t.signed(1), t.arguments[2]),
            "unlink": lambda t: self._unlink(t, AT_FDCWD, t.arguments[0], 0),
            "unlinkat": lambda t: self._unlink(t, t.signed(0), t.arguments[1], t.arguments[2]),
            "rmdir": lambda t: self._unlink(t, AT_FDCWD, t.arguments[0], _AT_REMOVEDIR),
            "link": self._link_plain,
            "linkat": self._linkat,
            "chmod": lambda t: self._chmod(t, AT_FDCWD, t.arguments[0], t.arguments[1], 0),
            "fchmodat": lambda t: self._chmod(t, t.signed(0), t.arguments[1], t.arguments[2], 0),
            "fchmodat2": lambda t: self._chmod(t, t.signed(0), t.arguments[1], t.arguments[2], t.arguments[3]),
            "truncate": self._truncate,
        }

    def _mkdir(self, trap: Trap, directory: int, address: int, mode: int) -> Steps:
        place = self._places.locate(trap, directory, trap.process.read_path(address))
        if not self._is_ours(place):
            return CONTINUE
        yield self._recording.call(trap, place.path)
        with self._recording.masked(trap):
            os.mkdir(place.name, mode & 0o7777, dir_fd=place.directory.descriptor)
        self._appeared(trap, Kind.MKDIR, place)
        return 0

    def _mknod(self, trap: Trap, directory: int, address: int, mode: int) -> Steps:
        place = self._places.locate(trap, directory, trap.process.read_path(address))
        if not self._is_ours(place):
            return CONTINUE
        yield self._recording.call(trap, place.path)
        with self._recording.masked(trap):
            os.mknod(place.name, stat.S_IFREG | mode & 0o7777, dir_fd=place.directory.descriptor)
        self._appeared(trap, Kind.CREATE, place)
        return 0

    def _symlink(self, trap: Trap, text: int, directory: int, address: int) -> Steps:
        target = trap.process.read_path(text)
        place = self._places.locate(trap, directory, trap.process.read_path(address))
        if not self._is_ours(place):
            return CONTINUE
        yield self._recording.call(trap, place.path)
        os.symlink(target, place.name, dir_fd=place.directory.descriptor)
        self._appeared(trap, Kind.SYMLINK, place, target)
        return 0

    def _unlink(self, trap: Trap, directory: int, address: int, flags: int) -> Steps:
        removes_directory = bool(flags & _AT_REMOVEDIR)
        place = self._places.locate(trap, directory, trap.process.read_path(address))
        if place.node is None:
            self._check_folder(place)
            if removes_directory:
                self._places.forget()
            return CONTINUE
        yield self._recording.call(trap, place.path)
        node, parent, path = place.node, place.parent, place.path
        if removes_directory:
            os.rmdir(place.name, dir_fd=place.directory.descriptor)
            self._places.forget()
        else:
            os.unlink(place.name, dir_fd=place.directory.descriptor)
        if node is not None and parent is not None:
            kind = Kind.RMDIR if removes_directory else Kind.UNLINK
            self._journal.add(trap, kind, node, path=path, parent=parent.number, name=place.entry)
            self._nodes.unlink(parent, place.entry)
        return 0

    def _link_plain(self, trap: Trap) -> Steps:
        source = self._places.locate(trap, AT_FDCWD, trap.process.read_path(trap.arguments[0]))
        target = self._places.locate(trap, AT_FDCWD, trap.process.read_path(trap.arguments[1]))
        return self._link(trap, source, target)

    def _linkat(self, trap: Trap) -> Steps:
        flags = trap.arguments[4]
        old = trap.process.read_path(trap.arguments[1])
        target = self._places.locate(trap, trap.signed(2), trap.process.read_path(trap.arguments[3]))
        if not old and flags & _AT_EMPTY_PATH:
            return self._link_descriptor(trap, trap.signed(0), target)
        source = self._places.locate(trap, trap.signed(0), old)
        if flags & _AT_SYMLINK_FOLLOW:
            source = self._places.follow(trap, source)
        return self._link(trap, source, target)

    def _link(self, trap: Trap, source: Place, target: Place) -> Steps:
        if not self._is_ours(target):
            return CONTINUE
        yield self._recording.call(trap, source.path, to_path=target.path)
        status = source.status()
        kernel.linkat(
            source.directory.descriptor,
            source.name,
            target.directory.descriptor,
            target.name,
            _AT_SYMLINK_FOLLOW if source.magic else 0,
        )
        self._linked(trap, status, target)
        return 0

    def _link_descriptor(self, trap: Trap, descriptor: int, target: Place) -> Steps:
        """Give an open file a name: of an O_TMPFILE its first."""
        duplicate = trap.process.duplicate(descriptor)
        if duplicate < 0 or not self._is_ours(target):
            if duplicate >= 0:
                os.close(duplicate)
            return CONTINUE
        try:
            yield self._recording.call(trap, "", to_path=target.path)
            status = os.fstat(duplicate)
            # By its name in /proc, for which no privilege is needed.
            own = f"/proc/self/fd/{duplicate}"
            kernel.linkat(AT_FDCWD, own, target.directory.descriptor, target.name, _AT_SYMLINK_FOLLOW)
            self._linked(trap, status, target)
            return 0
        finally:
            os.close(duplicate)

    def _linked(self, trap: Trap, status: os.stat_result | None, target: Place) -> None:
        parent = target.parent
        if status is None or parent is None:
            return
        node = self._nodes.find(status)
        if node is None:
            path = f"/proc/self/fd/{target.directory.descriptor}/{target.entry}"
            node = self._recording.take_in(trap, status, path, target.path)
        if node is not None:
            self._nodes.link(node, parent, target.entry)
            kind = Kind.SYMLINK if node.type is NodeType.SYMLINK and len(node.names) == 1 else Kind.LINK
            self._journal.add(
                trap, kind, node, path=target.path, parent=parent.number, name=target.entry, target=node.target
            )

    def _chmod(self, trap: Trap, directory: int, address: int, mode: int, flags: int) -> Steps:
        path = trap.process.read_path(address)
        if not path and flags & _AT_EMPTY_PATH:
            return CONTINUE if directory < 0 else (yield from self._chmod_descriptor(trap, directory, mode))
        place = self._places.locate(trap, directory, path)
        if not flags & _AT_SYMLINK_NOFOLLOW:
            place = self._places.follow(trap, place)
        node = self._node_at(place)
        if node is None or node.type is NodeType.SYMLINK:
            return CONTINUE
        yield self._recording.call(trap, node.path)
        os.chmod(place.name, mode & 0o7777, dir_fd=place.directory.descriptor)
        self._changed_mode(trap, node, place.status())
        return 0

    def _chmod_descriptor(self, trap: Trap, descriptor: int, mode: int) -> Steps:
        duplicate = trap.process.duplicate(descriptor)
        if duplicate < 0:
            return CONTINUE
        try:
            node = self._nodes.find(os.fstat(duplicate))
            if node is None or node.type is NodeType.SYMLINK:
                return CONTINUE
            yield self._recording.call(trap, node.path)
            os.chmod(f"/proc/self/fd/{duplicate}", mode & 0o7777)
            self._changed_mode(trap, node, os.fstat(duplicate))
            return 0
        finally:
            os.close(duplicate)

    def _changed_mode(self, trap: Trap, node: Node, status: os.stat_result | None) -> None:
        if node.type is NodeType.DIRECTORY:
            self._places.forget()
        if status is not None:
            self._journal.add(trap, Kind.CHMOD, node, mode=stat.S_IMODE(status.st_mode))

    def _truncate(self, trap: Trap) -> Steps:
        length = trap.signed_long(1)
        place = self._places.locate(trap, AT_FDCWD, trap.process.read_path(trap.arguments[0]))
        place = self._places.follow(trap, place)
        node = self._node_at(place)
        if node is None or node.type is not NodeType.FILE or place.name != place.entry:
            return CONTINUE
        yield self._recording.call(trap, node.path)
        check_limit(trap, length)
        before = place.status()
        descriptor = os.open(place.entry, os.O_WRONLY | os.O_CLOEXEC, dir_fd=place.directory.descriptor)
        try:
            os.ftruncate(descriptor, length)
        finally:
            os.close(descriptor)
        if before is None or before.st_size != length:
            self._journal.add(trap, Kind.TRUNCATE, node, size=length)
            self._recording.mapped.truncated(node, length)
        return 0

    def _is_ours(self, place: Place) -> bool:
        """Whether a new name there would be in the watched folder."""
        return place.parent is not None and bool(place.entry) and not self._nodes.excludes(place.path)

    def _node_at(self, place: Place) -> Node | None:
        """What stands at a place, by whatever name it is known to us."""
        if place.node is not None:
            return place.node
        status = place.status()
        return None if status is None else self._nodes.find(status)

    def _check_folder(self, place: Place) -> None:
        """The watched folder itself must not go."""
        status = place.status()
        if status is not None and self._nodes.find(status) is self._nodes.root and place.entry not in {".", ".."}:
            self._journal.miss(".", "the watched folder itself was removed")

    def _appeared(self, trap: Trap, kind: Kind, place: Place, target: str = "") -> None:
        parent, status = place.parent, place.status()
        if parent is None or status is None:
            return
        node = self._nodes.add(status, target)
        self._nodes.link(node, parent, place.entry)
        mode = stat.S_IMODE(status.st_mode) if kind is not Kind.SYMLINK else 0
        self._journal.add(trap, kind, node, parent=parent.number, name=place.entry, mode=mode, target=target)
