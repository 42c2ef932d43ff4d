"""What the call handlers of one recording share. Read `data_calls.py` next."""

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import final

from chaos.syscalls.calls import Call, Trap
from chaos.trace.journal import Journal
from chaos.trace.mapped import MappedFiles
from chaos.trace.model import Kind, NodeType
from chaos.trace.nodes import Key, Node, Nodes, key_of, type_of
from chaos.trace.places import Places

__all__ = ["Recording"]

_UNCHANGED: AbstractContextManager[None] = nullcontext()
_CHUNK_BYTES = 8 << 20


def _own_umask() -> int:
    """Read, not set and set back: other threads create files meanwhile."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))


@final
@dataclass(slots=True)
class Recording:
    """The state of one recording."""

    nodes: Nodes
    journal: Journal
    mapped: MappedFiles
    places: Places
    unsynced: set[Key] = field(default_factory=set)  # files outside that were written and not synced since
    judged: bool = False
    umask: int = field(default_factory=_own_umask)
    _known_outside: set[Key] = field(default_factory=set)

    def written_file(self, descriptor: int) -> Node | None:
        """The file that a writing call goes to; None lets the call through, and counts it if it is a file at all."""
        status = os.fstat(descriptor)
        node = self.nodes.find(status)
        if node is None and stat.S_ISREG(status.st_mode):
            self.outside(descriptor, key_of(status))
        return node

    def outside(self, descriptor: int, key: Key) -> None:
        """A file that is not ours is written to: outside, excluded, or made by a program that is not traced."""
        self.journal.outside += 1
        self.unsynced.add(key)
        if key not in self._known_outside:
            self._known_outside.add(key)
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            inside = path.removeprefix(self.nodes.folder + "/")
            if inside != path and not inside.endswith(" (deleted)") and not self.nodes.excludes(inside):
                self.journal.miss(inside, "written to, but made by a program that was not traced")

    def call(self, trap: Trap, path: str, size: int = 0, to_path: str = "", name: str = "") -> Call | None:
        """What a policy sees of a call; None when there is no policy."""
        if not self.judged:
            return None
        return Call(name or trap.name, path, trap.process.number, trap.thread_number, size, to_path)

    def masked(self, trap: Trap) -> AbstractContextManager[None]:
        """Create files as the caller would: with its umask.

        A umask belongs to the whole process, so it is touched only when the two differ.
        """
        return _UNCHANGED if trap.process.umask == self.umask else self._masked(trap)

    @contextmanager
    def _masked(self, trap: Trap) -> Iterator[None]:
        os.umask(trap.process.umask)
        try:
            yield
        finally:
            os.umask(self.umask)

    def take_in(self, trap: Trap, status: os.stat_result, path: str, place: str) -> Node | None:
        """A file or link that came from outside, complete: it gets a node, no name yet, and its content at once.

        Its content counts as synced unless it was written to, and not synced, during the recording.

        Args:
            trap: the call that brings it in.
            status: its inode.
            path: where it can be read now, from the supervisor.
            place: where it is in the folder now.

        Returns:
            Its node; None when it is a directory or nothing that belongs to a tree.
        """
        type_ = type_of(status.st_mode)
        if type_ is NodeType.SYMLINK:
            return self.nodes.add(status, os.readlink(path))
        if type_ is not NodeType.FILE:
            return None
        node = self.nodes.add(status)
        self.journal.add(trap, Kind.CREATE, node, mode=stat.S_IMODE(status.st_mode))
        try:
            with open(path, "rb") as file:
                offset = 0
                while data := file.read(_CHUNK_BYTES):
                    self.journal.add(trap, Kind.WRITE, node, offset=offset, data=data)
                    offset += len(data)
        except OSError as error:
            self.journal.miss(place, f"came from outside the watched folder, and can't be read: {error.strerror}")
        if node.key not in self.unsynced:
            self.journal.add(trap, Kind.FSYNC, node)
        return node
