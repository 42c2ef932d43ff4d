"""Which inode is which node of the trace, and under which names it stands in the watched folder.

The table is told of every change of names, so it answers without asking the disk. An inode number is given out again
only by a creation: each creation in the folder overwrites what the number meant before, and a nameless node that
suddenly has a link is a reused number. What is excluded is not in the table, like everything outside. Nothing here
records operations. Read `recorder.py` next.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import final

from chaos.trace.model import InitialNode, Mark, NodeType

__all__ = ["Key", "Node", "Nodes", "is_excluded", "key_of", "type_of"]

Key = tuple[int, int]  # device, inode
_OURS = "user."  # the extended attributes that programs set; the kernel sets others by itself


def key_of(status: os.stat_result) -> Key:
    """Device and inode."""
    return status.st_dev, status.st_ino


def type_of(mode: int) -> NodeType | None:
    """None for what is never part of a tree: pipes, sockets, devices."""
    if stat.S_ISREG(mode):
        return NodeType.FILE
    if stat.S_ISDIR(mode):
        return NodeType.DIRECTORY
    return NodeType.SYMLINK if stat.S_ISLNK(mode) else None


def is_excluded(path: str, patterns: Sequence[str]) -> bool:
    """Whether a relative path, or a folder above it, matches a glob.

    A pattern fits the whole path of the file or folder, or its last name.
    """
    if not patterns:
        return False
    parts = path.split("/")
    candidates = {*parts, *("/".join(parts[:count]) for count in range(2, len(parts) + 1))}
    return any(fnmatchcase(candidate, pattern) for pattern in patterns for candidate in candidates)


@final
class Node:
    """One inode.

    Attributes:
        number: its number in the trace.
        type: what it is.
        key: device and inode.
        names: the (directory, name) entries that lead to it.
        entries: what a directory holds; empty for others.
        target: a symbolic link's text.
    """

    __slots__ = ("_path", "entries", "key", "names", "number", "target", "type")

    def __init__(self, number: int, type_: NodeType, key: Key, target: str = "") -> None:
        self.number = number
        self.type = type_
        self.key = key
        self.names: dict[tuple[Node, str], None] = {}
        self.entries: dict[str, Node] = {}
        self.target = target
        self._path: str | None = None

    @property
    def path(self) -> str:
        """Relative to the folder; "." for the folder itself, "" when no name leads here."""
        if self._path is None:
            self._path = self._find_path()
        return self._path

    def path_of(self, name: str) -> str:
        """The path of an entry of this directory."""
        return name if self.number == 0 else f"{self.path}/{name}"

    def below(self) -> Iterator["Node"]:
        """This node and, for a directory, everything under it, parents first."""
        yield self
        for child in list(self.entries.values()):
            yield from child.below()

    def forget_paths(self) -> None:
        """A name changed here or above."""
        self._path = None
        for child in self.entries.values():
            child.forget_paths()

    def _find_path(self) -> str:
        if self.number == 0:
            return "."
        for parent, name in self.names:
            return parent.path_of(name)
        return ""


@final
class Nodes:
    """The table.

    Args:
        folder: the watched folder; it must exist.
        exclude: globs of what to leave out.
    """

    def __init__(self, folder: str, exclude: Sequence[str] = ()) -> None:
        self.folder = os.path.realpath(folder)
        self.exclude = tuple(exclude)
        status = os.stat(self.folder)
        self.root = Node(0, NodeType.DIRECTORY, key_of(status))
        self.by_key: dict[Key, Node] = {self.root.key: self.root}
        self.devices = {status.st_dev}
        self._count = 1

    def scan(self) -> tuple[InitialNode, ...]:
        """Read the folder as it is now: nodes in the order of their paths, names sorted."""
        found: dict[int, InitialNode] = {}
        self._scan_folder(self.root, self.folder, found)
        names = {node.number: tuple((parent.number, name) for parent, name in node.names) for node in self.root.below()}
        return tuple(
            InitialNode(
                node=n, type=i.type, mode=i.mode, data=i.data, target=i.target, names=() if n == 0 else names[n]
            )
            for n, i in found.items()
        )

    def marks(self) -> tuple[Mark, ...]:
        """What the nodes with a name have at this moment beside their content."""
        found: dict[int, Mark] = {}
        for node in self.root.below():
            if node.number not in found:
                path = os.path.join(self.folder, node.path)
                with suppress(OSError):  # gone, where something changed it that could not be followed
                    found[node.number] = Mark(node.number, os.lstat(path).st_mtime_ns, _attributes(path))
        return tuple(found.values())

    def add(self, status: os.stat_result, target: str = "") -> Node:
        """A new node without a name; its inode number means this node from now on."""
        type_ = type_of(status.st_mode)
        assert type_ is not None
        node = Node(self._count, type_, key_of(status), target)
        self._count += 1
        self.by_key[node.key] = node
        self.devices.add(status.st_dev)
        return node

    def link(self, node: Node, parent: Node, name: str) -> None:
        """Give a node a name."""
        parent.entries[name] = node
        node.names[parent, name] = None
        node.forget_paths()

    def unlink(self, parent: Node, name: str) -> Node:
        """Take a name away; a directory is then gone, a file may still be open."""
        node = parent.entries.pop(name)
        del node.names[parent, name]
        node.forget_paths()
        if not node.names and node.type is not NodeType.FILE:
            self.forget(node)
        return node

    def move(self, node: Node, old: tuple[Node, str], new: tuple[Node, str]) -> None:
        """Give a node another name for one that it has; `new` must be free."""
        del old[0].entries[old[1]]
        del node.names[old]
        self.link(node, *new)

    def exchange(self, one: tuple[Node, str], other: tuple[Node, str]) -> None:
        """Swap what two names lead to."""
        first, second = one[0].entries.pop(one[1]), other[0].entries.pop(other[1])
        del first.names[one]
        del second.names[other]
        self.link(first, *other)
        self.link(second, *one)

    def forget(self, node: Node) -> None:
        """A node, and what is below, is no longer ours."""
        for each in node.below():
            if self.by_key.get(each.key) is each:
                del self.by_key[each.key]

    def find(self, status: os.stat_result) -> Node | None:
        """The node of an inode; None for what is outside, excluded, or not part of trees."""
        node = self.by_key.get((status.st_dev, status.st_ino))
        if node is not None and not node.names and status.st_nlink and node is not self.root:
            self.forget(node)  # nameless, yet linked: somebody else's file under a used number, or moved away
            return None
        return node

    def excludes(self, path: str) -> bool:
        """Whether a relative path is left out."""
        return is_excluded(path, self.exclude)

    def _scan_folder(self, parent: Node, path: str, found: dict[int, InitialNode]) -> None:
        if parent is self.root:
            found[0] = InitialNode(node=0, type=NodeType.DIRECTORY, mode=stat.S_IMODE(os.stat(path).st_mode))
        for name in sorted(os.listdir(path)):
            whole = f"{path}/{name}"
            status = os.lstat(whole)
            type_ = type_of(status.st_mode)
            if type_ is None or self.excludes(parent.path_of(name)):
                continue
            known = self.by_key.get(key_of(status))
            node = known or self.add(status, os.readlink(whole) if type_ is NodeType.SYMLINK else "")
            self.link(node, parent, name)
            if known is None:
                data = _content(whole) if type_ is NodeType.FILE else b""
                found[node.number] = InitialNode(
                    node=node.number, type=type_, mode=stat.S_IMODE(status.st_mode), data=data, target=node.target
                )
            if type_ is NodeType.DIRECTORY:
                self._scan_folder(node, whole, found)


def _attributes(path: str) -> tuple[tuple[str, str], ...]:
    try:
        names = sorted(name for name in os.listxattr(path, follow_symlinks=False) if name.startswith(_OURS))
        return tuple((name, os.getxattr(path, name, follow_symlinks=False).hex()) for name in names)
    except OSError:  # the file system has none, or nobody may read them
        return ()


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
