"""A file tree as an immutable value: what a disk holds at one moment.

Nodes are kept by number (a trace's inode numbers; the folder itself is 0), directories lead from names to numbers,
files hold `Content`. A tree also carries nodes that have no name (open but unlinked, or created and not yet
linked): they count for nothing until an entry leads to them. Changes go through `Edit`; old and new tree share all
that did not change. Nothing here touches a real disk: `folder.py` does. Read `replay.py` next.

The digest is built so that one change costs one short hash per directory level, whatever the tree's size: a
directory's is made from the *sum* of its entries' hashes (128 bits, modulo 2**128), so an entry is replaced by
subtracting its old hash and adding the new one. Bellare and Micciancio (EUROCRYPT 1997) describe such incremental
hashing; here only chance has to be kept out, not an adversary.
"""

from collections.abc import Callable, Iterator
from hashlib import blake2b
from os import fsencode
from typing import final

from chaos.disk.content import DIGEST_BYTES, Content
from chaos.disk.sharing import SharedMap
from chaos.trace.model import NodeType

__all__ = ["ROOT", "Edit", "Node", "Tree"]

ROOT = 0
_MASK = (1 << (8 * DIGEST_BYTES)) - 1
_NO_CONTENT = Content()
_Entries = SharedMap[str, tuple[int, int]]
_NO_ENTRIES: _Entries = SharedMap()


@final
class Node:
    """One inode: a file, a directory or a symbolic link.

    Attributes:
        type: which of the three.
        mode: permission bits; ignored for symbolic links, which have none of their own.
        content: a file's bytes.
        target: a symbolic link's text.
        names: the (directory node, name) entries that lead here; more than one for a hard-linked file.
        entries: a directory's names, each with its node and the hash that it adds to `total`.
        total: sum of those hashes.
    """

    __slots__ = ("_digest", "content", "entries", "mode", "names", "target", "total", "type")

    def __init__(self, kind: NodeType, mode: int, content: Content = _NO_CONTENT, target: str = "") -> None:
        self.type = kind
        self.mode = mode
        self.content = content
        self.target = target
        self.names: tuple[tuple[int, str], ...] = ()
        self.entries: _Entries = _NO_ENTRIES
        self.total = 0
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        """What is seen through one name: type, mode, content or all that is below."""
        if self._digest is None:
            self._digest = self.digest_as(self.total)
        return self._digest

    def digest_as(self, total: int) -> bytes:
        """The digest that this node would have with another sum of entries."""
        mode = self.mode.to_bytes(2, "little")
        if self.type is NodeType.DIRECTORY:
            seen = b"d" + mode + total.to_bytes(DIGEST_BYTES, "little")
        elif self.type is NodeType.FILE:
            seen = b"f" + mode + self.content.digest
        else:
            seen = b"l" + fsencode(self.target)
        return blake2b(seen, digest_size=DIGEST_BYTES).digest()

    def copy(self) -> "Node":
        """A copy to be changed by an `Edit`."""
        made = Node(self.type, self.mode, self.content, self.target)
        made.names, made.entries, made.total = self.names, self.entries, self.total
        return made


def _entry_hash(name: str, digest: bytes) -> int:
    return int.from_bytes(blake2b(digest + fsencode(name), digest_size=DIGEST_BYTES).digest(), "little")


@final
class Tree:
    """An immutable file tree. Two trees are equal when a program could not tell them apart by reading.

    That is: the same paths, types, modes, contents, symbolic link texts, and the same names sharing one file. Node
    numbers, and nodes without a name, make no difference.
    """

    __slots__ = ("_digest", "nodes", "shared")

    def __init__(self, nodes: SharedMap[int, Node], shared: frozenset[int] = frozenset()) -> None:
        self.nodes = nodes
        self.shared = shared
        self._digest: bytes | None = None

    @classmethod
    def empty(cls, mode: int = 0o755) -> "Tree":
        """An empty folder."""
        return cls(SharedMap({ROOT: Node(NodeType.DIRECTORY, mode)}))

    @property
    def digest(self) -> bytes:
        """16 bytes, equal where and only where the trees are equal."""
        if self._digest is None:
            self._digest = self._with_links(self.nodes[ROOT].digest)
        return self._digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        shown = ", ".join(path for path, _ in self.paths())
        return f"Tree({shown})"

    def edit(self) -> "Edit":
        """Begin a change."""
        return Edit(self)

    def child(self, parent: int, name: str) -> int | None:
        """The node that entry `name` of directory `parent` leads to, or None."""
        directory = self.nodes.get(parent)
        entry = directory.entries.get(name) if directory is not None else None
        return None if entry is None else entry[0]

    def lookup(self, path: str) -> int | None:
        """The node at a relative path ("" is the folder itself), or None; symbolic links are not followed."""
        number: int | None = ROOT
        for name in path.split("/") if path else ():
            number = self.child(number, name) if number is not None else None
        return number

    def node(self, path: str) -> Node:
        """The node at a relative path.

        Raises:
            KeyError: there is none.
        """
        number = self.lookup(path)
        if number is None:
            raise KeyError(path)
        return self.nodes[number]

    def data(self, path: str) -> bytes:
        """A file's bytes.

        Raises:
            KeyError: there is nothing at `path`.
        """
        return bytes(self.node(path).content)

    def path_of(self, number: int) -> str | None:
        """The first path that leads to a node, or None when none does."""
        if number == ROOT:
            return ""
        return next(iter(self.paths_of(number)), None)

    def paths_of(self, number: int) -> list[str]:
        """All paths that lead to a node, sorted."""
        node = self.nodes.get(number)
        found = []
        for parent, name in node.names if node is not None else ():
            above = self.path_of(parent)
            if above is not None:
                found.append(f"{above}/{name}" if above else name)
        return sorted(found)

    def paths(self) -> Iterator[tuple[str, int]]:
        """(path, node) of all that is reachable, parents before children, sorted by name; not the folder itself."""
        yield from self._below(ROOT, "")

    def folders(self) -> list[str]:
        """The paths of all directories, in no order but parents first; each but the folder itself ends in a slash."""
        found, numbers = [""], [ROOT]
        for above, directory in zip(found, numbers, strict=True):  # both grow while they are walked
            for name, (number, _) in self.nodes[directory].entries.items():
                if self.nodes[number].type is NodeType.DIRECTORY:
                    found.append(f"{above}{name}/")
                    numbers.append(number)
        return found

    def digest_without(self, ignore: Callable[[str], bool]) -> bytes:
        """The digest of this tree when the bytes of files at ignored paths count for nothing.

        Their names, modes and lengths still do: a recovery that never opens a file may still look these up.
        """
        total = self._total_without(self.nodes[ROOT], "", ignore)
        return self._with_links(self.nodes[ROOT].digest_as(total))

    def _total_without(self, directory: Node, prefix: str, ignore: Callable[[str], bool]) -> int:
        total = 0
        for name, (number, term) in directory.entries.items():
            node, path = self.nodes[number], prefix + name
            if node.type is NodeType.DIRECTORY:
                below = self._total_without(node, path + "/", ignore)
                total += _entry_hash(name, node.digest_as(below))
            elif node.type is NodeType.FILE and ignore(path):
                total += _entry_hash(name, b"%d %d" % (node.mode, node.content.size))
            else:
                total += term
        return total & _MASK

    def _below(self, directory: int, prefix: str) -> Iterator[tuple[str, int]]:
        for name, (number, _) in sorted(self.nodes[directory].entries.items()):
            yield prefix + name, number
            if self.nodes[number].type is NodeType.DIRECTORY:
                yield from self._below(number, f"{prefix}{name}/")

    def _with_links(self, digest: bytes) -> bytes:
        groups = [paths for paths in map(self.paths_of, self.shared) if len(paths) > 1]
        if not groups:
            return digest
        text = "\0\0".join("\0".join(paths) for paths in sorted(groups))
        return blake2b(digest + fsencode(text), digest_size=DIGEST_BYTES).digest()


@final
class Edit:
    """A tree being changed; `tree()` gives the result. The tree that it began with stays as it was."""

    __slots__ = ("_changed", "_gone", "_shared", "_tree")

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._changed: dict[int, Node] = {}
        self._gone: list[int] = []
        self._shared = tree.shared

    def tree(self) -> Tree:
        """The changed tree; the edit must not be used after this."""
        nodes = self._tree.nodes.update(self._changed)
        for number in self._gone:
            nodes = nodes.drop(number)
        return Tree(nodes, self._shared)

    def node(self, number: int) -> Node:
        """A node as it stands now; not to be changed by the caller."""
        changed = self._changed.get(number)
        return changed if changed is not None else self._tree.nodes[number]

    def is_nameless(self, number: int) -> bool:
        """Whether there is such a node now, and no entry leads to it."""
        node = self._changed.get(number) or self._tree.nodes.get(number)
        return node is not None and not node.names

    def child(self, parent: int, name: str) -> int | None:
        """The node that an entry leads to now, or None."""
        entry = self.node(parent).entries.get(name)
        return None if entry is None else entry[0]

    def add(self, number: int, node: Node) -> None:
        """Bring in a node that has no name yet; it belongs to the edit from now on."""
        self._changed[number] = node

    def discard(self, number: int) -> None:
        """Forget a node that has no name and will not get one."""
        self._changed.pop(number, None)
        if number in self._tree.nodes:
            self._gone.append(number)
            self._shared -= {number}

    def set_content(self, number: int, content: Content) -> None:
        """Give a file other bytes."""
        node = self._own(number)
        node.content = content
        self._refresh(number, node)

    def set_mode(self, number: int, mode: int) -> None:
        """Give a node other permission bits."""
        node = self._own(number)
        node.mode = mode
        self._refresh(number, node)

    def set_entry(self, parent: int, name: str, number: int | None) -> None:
        """Let an entry lead to a node, or to nothing; what it led to before loses that name."""
        directory = self._own(parent)
        old = directory.entries.get(name)
        if old is not None:
            if old[0] == number:
                return
            self._rename(old[0], (parent, name), None)
            directory.total -= old[1]
        if number is None:
            if old is None:
                return
            directory.entries = directory.entries.drop(name)
        else:
            self._rename(number, None, (parent, name))
            term = _entry_hash(name, self.node(number).digest)
            directory.entries = directory.entries.put(name, (number, term))
            directory.total += term
        directory.total &= _MASK
        self._refresh(parent, directory)

    def _own(self, number: int) -> Node:
        node = self._changed.get(number)
        if node is None:
            node = self._changed[number] = self._tree.nodes[number].copy()
        return node

    def _rename(self, number: int, lost: tuple[int, str] | None, won: tuple[int, str] | None) -> None:
        old = self.node(number)
        digest = old.digest
        node = self._own(number)
        node._digest = digest  # its names are no part of a node's own digest
        names = tuple(name for name in node.names if name != lost)
        node.names = names if won is None else (*names, won)
        if len(node.names) > 1:
            self._shared |= {number}
        elif number in self._shared:
            self._shared -= {number}

    def _refresh(self, number: int, node: Node) -> None:
        """Carry a node's new digest up to the folder."""
        node._digest = None
        for parent, name in node.names:
            directory = self._own(parent)
            entry = directory.entries[name]
            term = _entry_hash(name, node.digest)
            directory.entries = directory.entries.put(name, (number, term))
            directory.total = (directory.total - entry[1] + term) & _MASK
            self._refresh(parent, directory)
