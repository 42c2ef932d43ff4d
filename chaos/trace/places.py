"""Where a path argument leads: its directory, held open, and the last name in it.

The kernel resolves all but the last component, from the caller's own working directory or descriptor; what the
caller means by "self" in /proc is put in the caller's terms first. The directory's inode says whether it is in the
watched folder, by whatever name it was reached. The supervisor then acts relative to the held directory, so nothing
can be renamed under its feet between looking and acting. Read `name_calls.py` next.
"""

import os
import re
import stat
from contextlib import suppress
from errno import EBADF, ELOOP, ENOENT
from typing import final

from chaos.syscalls.calls import Trap
from chaos.trace.model import NodeType
from chaos.trace.nodes import Node, Nodes

__all__ = ["AT_FDCWD", "Directory", "Place", "Places"]

AT_FDCWD = -100
_OPEN_DIRECTORY = getattr(os, "O_PATH", 0) | os.O_DIRECTORY | os.O_CLOEXEC
_PLACES_KEPT = 200  # each holds a descriptor
_LINKS_FOLLOWED = 40  # the kernel's own bound
_SELF = re.compile(r"^/+proc/+(self|thread-self)(?=/|$)|^/+dev/+(fd(?=/|$)|stdin$|stdout$|stderr$)")
_DESCRIPTORS = re.compile(r"^/proc/\d+(/task/\d+)?/(fd|map_files)$")
_SELF_BEGINS = ("/proc/self", "/proc/thread-self", "/dev/fd", "/dev/std", "/proc//", "/dev//", "//")
_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}


@final
class Directory:
    """A directory held open by an O_PATH descriptor; `node` is None outside the watched folder."""

    __slots__ = ("descriptor", "node")

    def __init__(self, descriptor: int, node: Node | None) -> None:
        self.descriptor = descriptor
        self.node = node

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.descriptor)


@final
class Place:
    """A directory and a name in it.

    Attributes:
        directory: the directory.
        parent: its node; None outside the watched folder.
        name: the last component as given, with its trailing slash if it had one.
        entry: the same without the slash.
        magic: an entry of /proc/PID/fd: it leads to an open file, whatever its text says.
    """

    __slots__ = ("directory", "entry", "magic", "name", "parent")

    def __init__(self, directory: Directory, name: str) -> None:
        self.directory = directory
        self.parent = directory.node
        self.name = name
        self.entry = name.rstrip("/")
        self.magic = False

    @property
    def path(self) -> str:
        """Relative to the watched folder; "" outside it."""
        return self.parent.path_of(self.entry) if self.parent is not None else ""

    @property
    def node(self) -> Node | None:
        """What stands there, if it is in the watched folder under this name."""
        return self.parent.entries.get(self.entry) if self.parent is not None else None

    def status(self) -> os.stat_result | None:
        """What the disk says; None when nothing is there."""
        try:
            return os.stat(self.entry, dir_fd=self.directory.descriptor, follow_symlinks=self.magic)
        except OSError:
            return None

    def link_text(self) -> str | None:
        """The text of the symbolic link that stands there; None when it is none."""
        node = self.node
        if node is not None:
            return node.target if node.type is NodeType.SYMLINK else None
        status = self.status()
        if status is None or not stat.S_ISLNK(status.st_mode):
            return None
        return os.readlink(self.entry, dir_fd=self.directory.descriptor)


@final
class Places:
    """Resolves path arguments; remembers places in the watched folder that were given by absolute paths."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._inside = nodes.folder + "/"
        self._known: dict[str, Place] = {}

    def forget(self) -> None:
        """A directory was renamed or removed: the same path may lead elsewhere from now on."""
        self._known.clear()

    def locate(self, trap: Trap, directory: int, path: str) -> Place:
        """The place that a call means, the last component not followed.

        Args:
            trap: the call, for what is relative to its caller.
            directory: the `dirfd` argument.
            path: the path argument.

        Raises:
            OSError: as the kernel would for this path: ENOENT, ENOTDIR, EACCES, ELOOP, EBADF, ...
        """
        known = self._known.get(path)
        if known is not None:
            return known
        if not path:
            raise OSError(ENOENT, os.strerror(ENOENT))
        head, name = _split(_translate(path, trap))
        if head.startswith("/"):
            place = Place(self._open(head), name)
            if place.parent is not None and path.startswith(self._inside):
                if len(self._known) >= _PLACES_KEPT:
                    self.forget()
                self._known[path] = place
            return place
        if directory == AT_FDCWD:
            return Place(self._open(f"/proc/{trap.thread}/cwd/{head}"), name)
        base = trap.process.duplicate(directory)
        if base < 0:
            raise OSError(EBADF, os.strerror(EBADF))
        try:
            return Place(self._open(head or ".", base), name)
        finally:
            os.close(base)

    def follow(self, trap: Trap, place: Place) -> Place:
        """Where the symbolic links at a place lead in the end.

        Raises:
            OSError: as the kernel would; ELOOP among others.
        """
        for _ in range(_LINKS_FOLLOWED):
            if place.node is None and place.parent is not None and not self._nodes.exclude:
                return place  # the table knows all that is in the folder, but what is excluded
            text = place.link_text()
            if text is None:
                return place
            if not text:
                raise OSError(ENOENT, os.strerror(ENOENT))
            if place.parent is None and _DESCRIPTORS.match(_name_of(place.directory.descriptor)):
                place.magic = True
                return place
            head, name = _split(_translate(text, trap))
            if head.startswith("/"):
                place = Place(self._open(head), name)
            else:
                place = Place(self._open(head or ".", place.directory.descriptor), name)
        raise OSError(ELOOP, os.strerror(ELOOP))

    def _open(self, path: str, base: int | None = None) -> Directory:
        descriptor = os.open(path, _OPEN_DIRECTORY, dir_fd=base)
        held = Directory(descriptor, None)
        status = os.fstat(descriptor)
        held.node = self._nodes.find(status)
        return held


def _name_of(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")


def _split(path: str) -> tuple[str, str]:
    """All but the last component, and the last one with its trailing slash; "/" is ("/", "")."""
    stripped = path.rstrip("/")
    head, slash, name = stripped.rpartition("/")
    if len(stripped) < len(path) and name:
        name += "/"
    return (head or slash or ("/" if not stripped else "")), name


def _translate(path: str, trap: Trap) -> str:
    """What the caller means by its own entries in /proc and /dev, said in a way that the supervisor can use."""
    if not path.startswith(_SELF_BEGINS):
        return path
    found = _SELF.match(path)
    if found is None:
        return path
    own = f"/proc/{trap.process.id}"
    if found[1] == "thread-self":
        own = f"{own}/task/{trap.thread}"
    if found[2] is not None:
        own = f"{own}/fd" if found[2] == "fd" else f"{own}/fd/{_STANDARD[found[2]]}"
    return own + path[found.end() :]
