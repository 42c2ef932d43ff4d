"""Trees from real folders and back: the only module of this room that touches a disk.

`read_tree` reads a folder, `Slot` keeps a folder in which one tree after the other is laid out, `prove` holds a
recording against the folder that it was recorded in. A `Slot` empties its folder and writes everything anew each
time: what a recovery left there is never trusted, and comparing would read what writing costs. Plain `os` calls,
because one exploration lays out thousands of trees. Read `space.py` next.
"""

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from errno import ENXIO
from fnmatch import fnmatchcase
from glob import escape
from typing import final

from chaos.disk.content import PIECE_BYTES, Content
from chaos.disk.relocating import linked_to
from chaos.disk.replay import apply, initial_tree
from chaos.disk.times import Stamp
from chaos.disk.tree import ROOT, Edit, Node, Tree
from chaos.errors import HarnessFault
from chaos.trace.model import Mark, NodeType, Trace

__all__ = ["Slot", "first_difference", "is_excluded", "materialise", "prove", "read_tree", "set_attributes"]

_OPEN = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_READ_BYTES = 1 << 20
_KNOWS_HOLES = hasattr(os, "SEEK_DATA")


def is_excluded(path: str, patterns: Sequence[str]) -> bool:
    """Whether a relative path is left out: a pattern fits it, its last part, or a folder above it."""
    if not patterns:
        return False
    parts = path.split("/")
    for depth in range(len(parts)):
        above = "/".join(parts[: depth + 1])
        if any(fnmatchcase(above, pattern) or fnmatchcase(parts[depth], pattern) for pattern in patterns):
            return True
    return False


def read_tree(folder: str, exclude: Sequence[str] = ()) -> Tree:
    """Read a folder; sockets, pipes and devices are no part of a tree.

    Args:
        folder: where; symbolic links in it are not followed.
        exclude: glob patterns of relative paths or of names to leave out.

    Raises:
        OSError: something in it can't be read.
    """
    edit = Tree.empty(stat.S_IMODE(os.stat(folder).st_mode)).edit()
    _Reader(edit, exclude).read(folder, "", ROOT)
    return edit.tree()


@final
class _Reader:
    """One walk over a folder; remembers inodes, so that hard links lead to one node."""

    def __init__(self, edit: Edit, exclude: Sequence[str]) -> None:
        self.edit = edit
        self.exclude = exclude
        self.known: dict[tuple[int, int], int] = {}
        self.count = ROOT

    def read(self, folder: str, prefix: str, parent: int) -> None:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            path = prefix + entry.name
            if is_excluded(path, self.exclude):
                continue
            number = self._node(entry)
            if number is None:
                continue
            if self.edit.node(number).type is NodeType.DIRECTORY:
                self.read(entry.path, path + "/", number)
            self.edit.set_entry(parent, entry.name, number)

    def _node(self, entry: "os.DirEntry[str]") -> int | None:
        seen = entry.stat(follow_symlinks=False)
        identity = (seen.st_dev, seen.st_ino)
        if identity in self.known:
            return self.known[identity]
        mode = stat.S_IMODE(seen.st_mode)
        if stat.S_ISREG(seen.st_mode):
            node = Node(NodeType.FILE, mode, _read(entry.path))
        elif stat.S_ISDIR(seen.st_mode):
            node = Node(NodeType.DIRECTORY, mode)
        elif stat.S_ISLNK(seen.st_mode):
            node = Node(NodeType.SYMLINK, mode, target=os.readlink(entry.path))
        else:
            return None
        self.count += 1
        self.edit.add(self.count, node)
        self.known[identity] = self.count
        return self.count


def _read(path: str) -> Content:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    try:
        size = os.fstat(descriptor).st_size
        if size <= _READ_BYTES or not _KNOWS_HOLES:
            return Content.of(b"".join(_parts(descriptor)))
        content = Content()
        for start, end in _extents(descriptor, size):
            os.lseek(descriptor, start, os.SEEK_SET)
            content = content.write(start, b"".join(_parts(descriptor, end - start)))
        return content.resized(size)
    finally:
        os.close(descriptor)


def _parts(descriptor: int, most: int = sys.maxsize) -> Iterator[bytes]:
    while part := os.read(descriptor, min(most, _READ_BYTES)):
        yield part
        most -= len(part)


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file holds data; holes, of which a small disk may hold terabytes, are not read."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == ENXIO:
                return  # a hole up to the end
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def materialise(tree: Tree, folder: str, stamp: Stamp | None = None) -> None:
    """Make an existing folder hold exactly `tree`, whatever it held before."""
    Slot(folder).lay(tree, stamp)


@final
class Slot:
    """A folder in which trees are laid out one after the other.

    Guarantees: after `lay(tree)` the folder holds exactly the tree, and nothing outside it was touched. Does not: sync
    anything, keep owners or extended attributes. On crash: the folder holds any mixture; the next `lay` clears it.
    Threads and processes: one slot, one user.

    Attributes:
        folder: the folder, which belongs to nobody else.
    """

    __slots__ = ("folder",)

    def __init__(self, folder: str) -> None:
        self.folder = os.fspath(folder)

    def lay(self, tree: Tree, stamp: Stamp | None = None) -> None:
        """Empty the folder and lay out `tree` in it.

        Args:
            tree: what to lay out.
            stamp: when each node changed last; None: now.

        Raises:
            OSError: the disk is full, or something in the folder can't be removed.
        """
        mode = self._opened_up()
        for name in os.listdir(self.folder):
            _remove(f"{self.folder}/{name}")
        _fill(tree, ROOT, self.folder, mode, {ROOT: self.folder}, stamp)

    def _opened_up(self) -> int:
        """Make the folder again where a recovery removed or replaced it, or give us our rights back; says its mode."""
        try:
            mode = os.lstat(self.folder).st_mode
        except FileNotFoundError:
            mode = 0
        if mode and not stat.S_ISDIR(mode):
            os.unlink(self.folder)
            mode = 0
        if not mode:
            os.mkdir(self.folder)
        if mode & 0o700 != 0o700:
            os.chmod(self.folder, mode := 0o700)
        return stat.S_IMODE(mode)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except IsADirectoryError:
        _remove_folder(path)
    except PermissionError:
        # Either a directory (macOS says so with EPERM), or a recovery took away our right to write above it.
        os.chmod(os.path.dirname(path), 0o700)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            _remove_folder(path)
        else:
            os.unlink(path)


def _remove_folder(path: str) -> None:
    # Level by level with a list of folders, so that no depth of nesting overflows the stack.
    folders = [path]  # grows while it is worked through
    for folder in folders:
        os.chmod(folder, 0o700)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    os.unlink(entry.path)
    for folder in reversed(folders):
        os.rmdir(folder)


def _fill(tree: Tree, number: int, path: str, mode: int, laid: dict[int, str], stamp: Stamp | None) -> None:
    directory = tree.nodes[number]
    for name, (child, _) in sorted(directory.entries.items()):  # equal trees are listed alike, whatever led to them
        node, where = tree.nodes[child], f"{path}/{name}"
        if node.type is NodeType.DIRECTORY:
            os.mkdir(where, 0o700)
            _fill(tree, child, where, -1, laid, stamp)
        elif child in laid:
            os.link(laid[child], where, follow_symlinks=False)
        else:
            if len(node.names) > 1:
                laid[child] = where
            if node.type is NodeType.FILE:
                _write_file(where, node, None if stamp is None else stamp(child))
            else:
                os.symlink(linked_to(node.target, laid[ROOT]), where)
                if stamp is not None:
                    _set_time(where, stamp(child))
    if stamp is not None:
        _set_time(path, stamp(number))
    if directory.mode != mode:
        os.chmod(path, directory.mode)  # last: it may forbid writing


def _set_time(path: str, changed_ns: int | None) -> None:
    if changed_ns is not None:
        os.utime(path, ns=(changed_ns, changed_ns), follow_symlinks=False)


def _write_file(path: str, node: Node, changed_ns: int | None) -> None:
    descriptor = os.open(path, _OPEN, 0o600)
    try:
        hole = False
        for piece in node.content.pieces():
            hole = piece is None
            if piece is None:
                os.lseek(descriptor, PIECE_BYTES, os.SEEK_CUR)
            else:
                _write(descriptor, piece)
        if hole:
            os.ftruncate(descriptor, node.content.size)
        os.fchmod(descriptor, node.mode)  # the process's umask must not show through
        if changed_ns is not None:
            os.utime(descriptor, ns=(changed_ns, changed_ns))
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        data = data[written:]
        written = os.write(descriptor, data)


def set_attributes(marks: Iterable[Mark], tree: Tree, folder: str) -> None:
    """Give the files of a tree that was laid out the extended attributes that they are known to have.

    Raises:
        OSError: the file system of the folder takes none.
    """
    for mark in marks:
        path = tree.path_of(mark.node) if mark.attributes and mark.node in tree.nodes else None
        for name, value in mark.attributes if path is not None else ():
            os.setxattr(os.path.join(folder, path or ""), name, bytes.fromhex(value), follow_symlinks=False)


def prove(trace: Trace, folder: str) -> None:
    """Hold a recording against reality: replaying all its operations must give the folder's tree, byte for byte.

    Excluded files, and those that the trace itself calls unmeasured, are left out.

    Raises:
        HarnessFault: they differ; the message names the first difference.
    """
    tree = initial_tree(trace)
    for op in trace.ops:
        tree = apply(tree, op)
    left_out = (*trace.excluded, *(escape(entry.path) for entry in trace.unmeasured if entry.path))
    real = read_tree(folder, left_out)
    difference = first_difference(_without(tree, left_out), real)
    if difference:
        raise HarnessFault(
            f"the recorded operations do not lead to the files that the run left: {difference}",
            "record the run again; if this repeats, exclude that file by a glob or report it with the trace file",
        )


def first_difference(replayed: Tree, real: Tree) -> str:
    """The first path at which two trees differ and how, in words; "" where they are equal."""
    if replayed.digest == real.digest:
        return ""
    left, right = dict(replayed.paths()), dict(real.paths())
    for path in sorted(left.keys() | right.keys()):
        if path not in left:
            return f"{path} is there, but nothing recorded made it"
        if path not in right:
            return f"{path} is missing"
        words = _node_difference(replayed.nodes[left[path]], real.nodes[right[path]])
        if words:
            return f"{path} {words}"
        ours, theirs = replayed.paths_of(left[path]), real.paths_of(right[path])
        if ours != theirs:
            return f"{path} shares its file with {theirs}, recorded {ours}"
    return f"the folder has mode {real.nodes[ROOT].mode:o}, recorded {replayed.nodes[ROOT].mode:o}"


def _node_difference(replayed: Node, real: Node) -> str:
    if replayed.type is not real.type:
        return f"is a {real.type.value}, recorded as {replayed.type.value}"
    if replayed.type is NodeType.SYMLINK:
        return "" if replayed.target == real.target else f"leads to {real.target!r}, recorded {replayed.target!r}"
    if replayed.mode != real.mode:
        return f"has mode {real.mode:o}, recorded {replayed.mode:o}"
    if replayed.content == real.content:
        return ""
    if replayed.content.size != real.content.size:
        return f"has {real.content.size} bytes, recorded {replayed.content.size}"
    ours, theirs = bytes(replayed.content), bytes(real.content)
    offset = next(index for index, byte in enumerate(ours) if byte != theirs[index])
    return f"differs at byte {offset}: {theirs[offset : offset + 16]!r}, recorded {ours[offset : offset + 16]!r}"


def _without(tree: Tree, patterns: Sequence[str]) -> Tree:
    edit = tree.edit()
    for path, _ in list(tree.paths()):
        if is_excluded(path, patterns):
            above, _, name = path.rpartition("/")
            parent = tree.lookup(above)
            assert parent is not None
            edit.set_entry(parent, name, None)  # what is below stays in the node table, out of reach
    return edit.tree()
