"""Handlers for opens that create or cut a file: the supervisor opens it and installs the descriptor in the caller.

Other opens are never trapped. What is not a regular file of the watched folder is let through, so a FIFO that waits
for its reader holds nobody up. Read `process_calls.py` next.
"""

import os
import stat
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from errno import EXDEV
from typing import final

from chaos.syscalls import kernel
from chaos.syscalls.calls import CONTINUE, Handler, Installed, Reply, Steps, Trap
from chaos.trace.model import Kind, NodeType
from chaos.trace.nodes import Node
from chaos.trace.places import AT_FDCWD, Place
from chaos.trace.recording import Recording

__all__ = ["OpenCalls"]

_TMPFILE = 0o20000000  # the bit of O_TMPFILE that is not O_DIRECTORY; the same on both architectures
_CHANGING = os.O_CREAT | os.O_TRUNC | _TMPFILE
_HOW = struct.Struct("=QQQ")
_MOST_HOW_BYTES = 4096
_BENEATH = 0x08 | 0x10  # RESOLVE_BENEATH, RESOLVE_IN_ROOT: the caller's directory is a border


@final
class OpenCalls:
    """The handlers, over one recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._nodes = recording.nodes
        self._journal = recording.journal

    def handlers(self) -> Mapping[str, Handler]:
        """Call name -> handler."""
        return {
            "open": self.open,
            "creat": self.creat,
            "openat": self.openat,
            "openat2": self.openat2,
            "open_by_handle_at": self.open_by_handle_at,
        }

    def open(self, trap: Trap) -> Steps:
        """The system call `open`."""
        return self._open(trap, AT_FDCWD, trap.arguments[0], trap.signed(1), trap.arguments[2])

    def creat(self, trap: Trap) -> Steps:
        """The system call `creat`."""
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        return self._open(trap, AT_FDCWD, trap.arguments[0], flags, trap.arguments[1])

    def openat(self, trap: Trap) -> Steps:
        """The system call `openat`."""
        return self._open(trap, trap.signed(0), trap.arguments[1], trap.signed(2), trap.arguments[3])

    def openat2(self, trap: Trap) -> Steps | Reply:
        """The system call `openat2`; a call that sets borders to the path's resolution is tried within them first."""
        size = trap.arguments[3]
        if not _HOW.size <= size <= _MOST_HOW_BYTES:
            return CONTINUE
        how = trap.process.read_exactly(trap.arguments[2], size)
        flags, mode, resolve = _HOW.unpack_from(how)
        if not flags & _CHANGING:
            return CONTINUE
        if resolve:
            self._check_resolution(trap, resolve)
        return self._open(trap, trap.signed(0), trap.arguments[1], int(flags), int(mode))

    def open_by_handle_at(self, _: Trap) -> Reply:
        """The system call `open_by_handle_at` with O_TRUNC: which file it cuts can't be told before."""
        self._journal.miss("", "a file was truncated through a file handle (open_by_handle_at)")
        return CONTINUE

    def _check_resolution(self, trap: Trap, resolve: int) -> None:
        """Resolve the parent under the caller's own restrictions: it fails here as it would fail there.

        Raises:
            OSError: EXDEV, ELOOP and the like.
        """
        path = trap.process.read_path(trap.arguments[1])
        head = path.rstrip("/").rpartition("/")[0] or "."
        directory = trap.signed(0)
        if directory == AT_FDCWD:
            base = os.open(f"/proc/{trap.thread}/cwd", os.O_PATH | os.O_CLOEXEC)
        else:
            base = trap.process.duplicate(directory)
        try:
            if resolve & _BENEATH and path.startswith("/"):
                raise OSError(EXDEV, os.strerror(EXDEV))
            how = _HOW.pack(os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, resolve)
            os.close(kernel.openat2(base, head, how))
        finally:
            if base >= 0:
                os.close(base)

    def _open(self, trap: Trap, directory: int, address: int, flags: int, mode: int) -> Steps:
        if flags & os.O_PATH:
            return CONTINUE
        path = trap.process.read_path(address)
        if not flags & _CHANGING:
            return (yield from self._open_to_read(trap, directory, path, flags))
        if flags & _TMPFILE:
            return (yield from self._open_nameless(trap, directory, path, flags, mode))
        place = self._recording.places.locate(trap, directory, path)
        if not flags & os.O_NOFOLLOW and flags & (os.O_CREAT | os.O_EXCL) != os.O_CREAT | os.O_EXCL:
            place = self._recording.places.follow(trap, place)
        if place.name != place.entry or place.entry in {"", ".", ".."}:
            return CONTINUE  # a directory: the kernel says so
        if place.parent is not None and place.node is None and flags & os.O_CREAT:
            return (yield from self._open_new(trap, place, flags, mode))
        node = place.node or self._other(place)
        if node is None or node.type is not NodeType.FILE:
            return CONTINUE
        yield self._recording.call(trap, node.path)
        return self._open_found(trap, place, flags, mode)

    def _open_to_read(self, trap: Trap, directory: int, path: str, flags: int) -> Steps:
        """An open that changes nothing: trapped only where a policy wants to know; the kernel performs it."""
        place = self._recording.places.locate(trap, directory, path)
        if not flags & os.O_NOFOLLOW:
            place = self._recording.places.follow(trap, place)
        node = place.node or self._other(place)
        if node is not None and node.type is NodeType.FILE:
            yield self._recording.call(trap, node.path, name="open_read")
        return CONTINUE

    def _open_new(self, trap: Trap, place: Place, flags: int, mode: int) -> Steps:
        """A name that the folder does not have, as far as is known: somebody may be faster."""
        path = place.path
        if self._nodes.excludes(path):
            return CONTINUE
        yield self._recording.call(trap, path)
        if place.node is None:
            try:
                descriptor = self._create(trap, place, flags | os.O_EXCL, mode)
                return Installed(descriptor, flags & os.O_CLOEXEC, self._added(trap, place, descriptor))
            except FileExistsError:
                if flags & os.O_EXCL:
                    raise
        if place.node is not None and place.node.type is NodeType.FILE:
            return self._open_found(trap, place, flags, mode)
        self._other(place)  # a pipe or the like
        return CONTINUE

    def _open_found(self, trap: Trap, place: Place, flags: int, mode: int) -> Reply:
        before = place.status() if flags & os.O_TRUNC else None
        found = flags if place.magic else flags | os.O_NOFOLLOW  # links were followed already
        descriptor = os.open(place.entry, found | os.O_CLOEXEC, mode & 0o7777, dir_fd=place.directory.descriptor)
        if before is not None and before.st_size:
            node = self._nodes.find(os.fstat(descriptor))
            if node is not None:
                self._journal.add(trap, Kind.TRUNCATE, node, size=0)
                self._recording.mapped.truncated(node, 0)
        return Installed(descriptor, flags & os.O_CLOEXEC, _nothing)

    def _create(self, trap: Trap, place: Place, flags: int, mode: int) -> int:
        with self._recording.masked(trap):
            return os.open(place.entry, flags | os.O_CLOEXEC, mode & 0o7777, dir_fd=place.directory.descriptor)

    def _added(self, trap: Trap, place: Place, descriptor: int) -> Callable[[], None]:
        parent, entry, directory = place.parent, place.entry, place.directory
        assert parent is not None
        status = os.fstat(descriptor)
        node = self._nodes.add(status)
        self._nodes.link(node, parent, entry)
        self._journal.add(trap, Kind.CREATE, node, parent=parent.number, name=entry, mode=stat.S_IMODE(status.st_mode))

        def undo() -> None:
            """The caller may open no more, and the kernel would not have created the file then."""
            with suppress(OSError):
                os.unlink(entry, dir_fd=directory.descriptor)
                self._journal.add(trap, Kind.UNLINK, node, parent=parent.number, name=entry)
                self._nodes.unlink(parent, entry)

        return undo

    def _other(self, place: Place) -> Node | None:
        """A file of the folder that is reached by a name outside it; unknown names inside are reported."""
        status = place.status()
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        node = self._nodes.find(status)
        if node is None and place.parent is not None and not self._nodes.excludes(place.path):
            self._journal.miss(place.path, "opened, but made by a program that was not traced")
        return node

    def _open_nameless(self, trap: Trap, directory: int, path: str, flags: int, mode: int) -> Steps:
        """O_TMPFILE: the path is the directory."""
        place = self._recording.places.locate(trap, directory, path.rstrip("/") + "/." if path else "")
        if place.parent is None:
            return CONTINUE
        yield self._recording.call(trap, "")
        with self._recording.masked(trap):
            descriptor = os.open(".", flags | os.O_CLOEXEC, mode & 0o7777, dir_fd=place.directory.descriptor)
        status = os.fstat(descriptor)
        node = self._nodes.add(status)
        self._journal.add(trap, Kind.CREATE, node, parent=None, name="", mode=stat.S_IMODE(status.st_mode))
        return Installed(descriptor, flags & os.O_CLOEXEC, _nothing)


def _nothing() -> None:
    pass
