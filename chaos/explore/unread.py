"""What recovery opened, and what that makes of states that differ only in bytes which it did not.

A recovery is taken to depend on the names, types, modes, lengths and order in time of all files, as looking these up
leaves no trace, and on the bytes of those that it opened; links, and anything that can't be told, count as opened. So
a state that differs from one already run in nothing but bytes of files which that run never opened has the same
answer. The opens are the kernel's word (inotify), by whatever process and in whatever language. Where inotify is
missing every byte counts. Linux; one thread. Read `server.py` next.
"""

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import final

from chaos.disk import Tree

__all__ = ["Answers", "Opens"]

_OPEN, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x20, 0x40, 0x80, 0x100, 0x200
_MOVED_SELF, _OVERFLOW, _IGNORED, _IS_FOLDER = 0x800, 0x4000, 0x8000, 0x40000000
_MASK = _OPEN | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_QUIET = _MOVED_SELF  # a watch must watch for something, and this is rare
_EVENT = struct.Struct("iIII")
_READ_BYTES = 1 << 14
_LONGEST_EVENT_BYTES = _EVENT.size + 256  # the longest name, and the zero byte after it
# More different sets of opened files than this are not told apart: a recovery with random names opens ever new ones.
_MOST_SETS = 8
# Beyond this many entries a tree is compared as a whole: leaving files out of a digest looks at all of them.
_MOST_ENTRIES = 100
_MOST_BYTES = 64 << 20  # of answers kept

_libc = ctypes.CDLL(None, use_errno=True)


@final
class Opens:
    """Tells which files of a folder were opened.

    Does not: see what is looked up without opening. Files under directories that the recovery itself makes are its
    own. On crash: the kernel closes it.
    """

    def __init__(self, folder: str) -> None:
        """Get ready; without inotify `since` answers None."""
        self._folder = folder
        self._root = os.fsencode(folder)
        self._descriptor = -1
        with suppress(AttributeError):
            self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._paths: dict[int, str] = {}
        self._told = self._quiet = False  # whether all that was queued is read, and whether nothing was queued since
        self._alike: tuple[dict[int, str], bytes, frozenset[str]] = ({}, b"", frozenset())

    def pause(self) -> None:
        """A tree is about to be laid out: until the next `begin` nothing counts.

        Nor is anything queued, where no folder is watched but the outermost: each event takes 1 us.
        """
        if self._told:
            self._told = False
            watch = _libc.inotify_add_watch(self._descriptor, self._root, _QUIET)
            self._quiet = len(self._paths) == 1 and watch in self._paths  # else a recovery has replaced the folder

    def begin(self, tree: Tree) -> None:
        """A tree has been laid out; what is opened from now on counts."""
        if self._descriptor < 0:
            return
        self._paths = {}
        for path in tree.folders():
            self._watch(path)
        if not self._quiet:
            for _ in self._queued():
                pass
        self._told = self._quiet = False

    def since(self) -> frozenset[str] | None:
        """The files opened since, and those that may have been read under another name; None when it can't be told."""
        if self._descriptor < 0:
            return None
        queued = list(self._queued())
        self._told = True
        if len(queued) == 1 and (self._paths, queued[0]) == self._alike[:2]:
            return self._alike[2]  # most recoveries do what the one before did
        opened, made, gone = set(), set(), set()
        for watch, kind, name in _events(queued):
            if kind & (_OVERFLOW | _MOVED_SELF) or watch not in self._paths:
                return None
            if kind & (_IS_FOLDER | _IGNORED):
                if kind & (_MOVED_FROM | _MOVED_TO):
                    return None
                continue
            path = self._paths[watch] + name
            if kind & (_OPEN | _MOVED_FROM | _MOVED_TO):
                opened.add(path)
            elif kind & _CREATE:
                made.add(path)
            else:
                gone.add(path)
        if any(map(self._may_be_linked, made)):
            return None
        # A link and a removal make a rename: then what was removed may have been read under its new name.
        told = frozenset(opened | gone if made else opened)
        if len(queued) == 1 and not made:  # else it hangs on more than the events
            self._alike = self._paths, queued[0], told
        return told

    def _may_be_linked(self, path: str) -> bool:
        try:
            return os.lstat(os.path.join(self._folder, path)).st_nlink > 1
        except OSError:
            return True

    def _watch(self, path: str) -> None:
        folder = self._root + b"/" + os.fsencode(path) if path else self._root
        watch = _libc.inotify_add_watch(self._descriptor, folder, _MASK)
        if watch >= 0:
            self._paths[watch] = path

    def _queued(self) -> Iterator[bytes]:
        """What the kernel has told since the last time, in whole events."""
        more = True
        while more:
            try:
                content = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                return
            yield content
            more = len(content) > _READ_BYTES - _LONGEST_EVENT_BYTES  # else there was room, had there been one more


def _events(queued: Iterable[bytes]) -> Iterator[tuple[int, int, str]]:
    for content in queued:
        position = 0
        while position < len(content):
            watch, kind, _, length = _EVENT.unpack_from(content, position)
            position += _EVENT.size
            yield watch, kind, os.fsdecode(content[position : position + length].rstrip(b"\0"))
            position += length


@final
class Answers:
    """Answers by what they depend on. Memory: bounded; when full, the oldest sets of opened files are forgotten.

    Args:
        acknowledged: whether an answer depends on the acknowledgements as well: a check gets them.
    """

    def __init__(self, *, acknowledged: bool) -> None:
        self._acknowledged = acknowledged
        self._known: dict[frozenset[str] | None, dict[tuple[bytes, int, int], bytes]] = {}
        self._sought: dict[int, tuple[Tree, dict[frozenset[str] | None, bytes]]] = {}  # by the id of the tree
        self._size_bytes = 0

    def expect(self, trees: Iterable[Tree]) -> None:
        """These are the trees that will be sought: says what costs less when it is made for several at once."""
        self._sought = {id(tree): (tree, {opened: _digest(tree, opened) for opened in self._known}) for tree in trees}

    def find(self, tree: Tree, acked: int, order: int = 0) -> bytes | None:
        """The answer of a state that a recovery could not tell from this one; `order`: of its files in time."""
        for opened, answers in self._known.items():
            answer = answers.get(self._key(tree, acked, order, opened))
            if answer is not None:
                return answer
        return None

    def learn(self, tree: Tree, acked: int, opened: frozenset[str] | None, answer: bytes, order: int = 0) -> None:
        """The answer of a state, and which files its recovery opened (None: all)."""
        if opened is not None and opened not in self._known and len(self._known) >= _MOST_SETS:
            opened = None
        self._size_bytes += len(answer)
        if self._size_bytes > _MOST_BYTES:
            self._known.clear()
            self._size_bytes = len(answer)
        self._known.setdefault(opened, {})[self._key(tree, acked, order, opened)] = answer

    def _key(self, tree: Tree, acked: int, order: int, opened: frozenset[str] | None) -> tuple[bytes, int, int]:
        sought = self._sought.get(id(tree))
        if sought is None:
            sought = tree, {}
            self._sought = {id(tree): sought}
        digests = sought[1]
        digest = digests.get(opened)
        if digest is None:
            digest = digests[opened] = _digest(tree, opened)
        return digest, order, acked if self._acknowledged else 0


def _digest(tree: Tree, opened: frozenset[str] | None) -> bytes:
    if opened is None or len(tree.nodes) > _MOST_ENTRIES:
        return tree.digest
    return tree.digest_without(lambda path: path not in opened)
