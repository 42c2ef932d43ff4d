"""What Python code does to the watched folder, written down as it happens: the portable engine's journal.

The journal is a file outside the watched folder that every process of the target appends to, one line an entry. It
needs no reader while the target runs, what was appended survives any kill, and a target that closes all descriptors
only makes the next entry open it again. A call and its entry are made under one lock, held between threads and,
where the platform has record locks, between processes: the order of the entries is the order of the effects.

Entries are JSON objects, one a line, each line started with a line feed of its own, so that an entry cut short by a
kill spoils none after it:

- an operation: `kind`, `call`, `pid`, `thread`, `key` ([device, inode] of the node), and what the kind needs:
  `parent` and `name`, `to_parent`, `to_name` and `victim` (keys), `offset` and `data` (base64), `size`, `mode`,
  `target`, `sync`, `errno`, and `stack`, the number of a stack of this process;
- `{"pid", "stack", "frames"}`: what such a number means, [[file, line, function], ...], innermost first;
- `{"pid", "ack"}`: an acknowledgement; `{"outside": 1}`: a write to some other file;
- `{"path" or "key", "miss"}`: something that can't be followed.

Standard library only, no call that exists on one system only without asking for it, and nothing of `chaos`: this is
loaded into any Python process of the target. Read `interpose.py` next, `chaos/trace/portable.py` reads the journal.
"""

import _thread
import base64
import json
import os
import stat
import sys
from contextlib import suppress
from types import CodeType, TracebackType
from typing import Any, NamedTuple

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["DEPTH", "Key", "Ledger", "Place"]

DEPTH = 24
_HARNESS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_DESCRIPTOR = 900  # the journal's: out of the way of the numbers that the target sees
_STACKS_KEPT = 20_000
# The real functions, before `interpose.py` puts others in their place.
_open, _write, _close, _fstat, _stat, _lstat = os.open, os.write, os.close, os.fstat, os.stat, os.lstat

Key = tuple[int, int]


class Place(NamedTuple):
    """Where a path leads: the directory it ends in, resolved, and the last name; `inside` the watched folder or not."""

    folder: str
    name: str
    inside: bool

    def status(self) -> os.stat_result | None:
        """Of what stands there, a symbolic link not followed."""
        try:
            return _lstat(os.path.join(self.folder, self.name))
        except OSError:
            return None

    def parent(self) -> list[int]:
        """The directory's key."""
        status = _stat(self.folder)
        return [status.st_dev, status.st_ino]

    def path(self, root: str) -> str:
        """Relative to the watched folder, with slashes."""
        return os.path.relpath(os.path.join(self.folder, self.name), root).replace(os.sep, "/")


class Ledger:
    """One process's hold on the journal. Used as a context, it makes a call and its entry one step.

    Args:
        folder: the watched folder.
        journal: the journal file; it must exist.
    """

    def __init__(self, folder: str, journal: str) -> None:
        self.folder = os.path.realpath(folder)
        self._journal = journal
        self._lock = _thread.RLock()
        self._depth = 0
        self._descriptor = -1
        self._journal_key: Key = (-1, -1)
        self._keys: set[Key] = set()
        self._stacks: dict[tuple[tuple[int, int], ...], int] = {}
        self._codes: dict[int, CodeType] = {}
        self._scan()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def __enter__(self) -> "Ledger":
        self._lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self._hold()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0 and fcntl is not None:
            with suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        self._lock.release()

    def locate(self, path: Any, dir_fd: int | None = None, *, follow: bool = False) -> Place | None:
        """Where a path leads; None where that can't be told, as for a directory descriptor on some systems.

        Args:
            path: as the os functions take it.
            dir_fd: likewise.
            follow: whether a symbolic link at the end counts as what it points to.
        """
        try:
            text = os.fsdecode(path)
        except TypeError:
            return None  # the real function says what is wrong with it
        if dir_fd is not None and not os.path.isabs(text):
            base = self.path_of(dir_fd)
            if base is None:
                return None
            text = os.path.join(base, text)
        stripped = text.rstrip("/" + os.sep) or text
        if follow or os.path.basename(stripped) in {"", ".", ".."}:
            folder, name = os.path.split(os.path.realpath(stripped))
        else:
            head, name = os.path.split(os.path.abspath(stripped) if os.sep == "\\" else stripped)
            folder = os.path.realpath(head or ".")
        inside = folder == self.folder or folder.startswith(self.folder.rstrip(os.sep) + os.sep)
        return Place(folder, name, inside)

    def path_of(self, descriptor: int) -> str | None:
        """The path of an open descriptor, where the system tells."""
        with suppress(OSError):
            return os.readlink(f"/proc/self/fd/{descriptor}")
        get_path = getattr(fcntl, "F_GETPATH", None)  # macOS
        if get_path is not None:
            with suppress(OSError):
                return os.fsdecode(fcntl.fcntl(descriptor, get_path, bytes(1024)).rstrip(b"\0"))
        return None

    def knows(self, status: os.stat_result, descriptor: int = -1) -> bool:
        """Whether an inode is one of the watched folder; an open one of another process is looked up by its path."""
        key = (status.st_dev, status.st_ino)
        if key in self._keys:
            return True
        path = self.path_of(descriptor) if descriptor >= 0 else None
        if path is None or not path.startswith(self.folder + os.sep):
            return False
        self._keys.add(key)
        return True

    def learn(self, status: os.stat_result) -> list[int]:
        """Take an inode in as one of the watched folder."""
        self._keys.add((status.st_dev, status.st_ino))
        return [status.st_dev, status.st_ino]

    def operation(self, kind: str, call: str, key: list[int] | None, **fields: Any) -> None:
        """Write one operation down; to be called with the ledger held, after the effect."""
        stack = self._stack()
        data = fields.get("data")
        if data is not None:
            fields["data"] = base64.b64encode(data).decode("ascii")
        entry = {"kind": kind, "call": call, "pid": os.getpid(), "thread": _thread.get_ident(), "key": key}
        self.append({**entry, **fields, "stack": stack})

    def append(self, entry: dict[str, Any]) -> None:
        """Write any entry down."""
        with self:
            line = memoryview(b"\n" + json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n")
            while line:
                line = line[_write(self._descriptor, line) :]

    def _stack(self) -> int:
        """The number of the caller's stack, written down when it is new."""
        frame = sys._getframe(1)
        found: list[tuple[CodeType, int]] = []
        walk = frame
        while walk is not None and len(found) < DEPTH:
            code = walk.f_code
            if not code.co_filename.startswith(_HARNESS):
                found.append((code, walk.f_lineno or 0))
            elif found:
                break  # the harness called the workload from here
            walk = walk.f_back  # type: ignore[assignment]
        key = tuple((id(code), line) for code, line in found)
        number = self._stacks.get(key)
        if number is None:
            if len(self._stacks) >= _STACKS_KEPT:
                self._stacks.clear()
                self._codes.clear()
            self._codes.update((id(code), code) for code, _ in found)
            number = self._stacks[key] = len(self._stacks)
            frames = [[code.co_filename, line, code.co_name] for code, line in found]
            self.append({"pid": os.getpid(), "stack": number, "frames": frames})
        return number

    def _hold(self) -> None:
        if not self._is_open():
            self._reopen()
        if fcntl is not None:
            with suppress(OSError):  # without record locks only threads are kept in order; the comparison will tell
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX)

    def _is_open(self) -> bool:
        """Whether our descriptor is still the journal: the target may have closed it and opened something else."""
        try:
            status = _fstat(self._descriptor)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._journal_key

    def _reopen(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        descriptor = _open(self._journal, flags)
        if fcntl is not None:
            with suppress(OSError):  # where the limit on open files is lower, any number will do
                moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _DESCRIPTOR)
                _close(descriptor)
                descriptor = moved
        status = _fstat(descriptor)
        self._descriptor, self._journal_key = descriptor, (status.st_dev, status.st_ino)

    def _forked(self) -> None:
        self._lock = _thread.RLock()
        self._depth = 0
        self._stacks.clear()  # their numbers were written down under the parent's process id

    def _scan(self) -> None:
        pending = [self.folder]
        while pending:
            folder = pending.pop()
            try:
                self.learn(_stat(folder))
                with os.scandir(folder) as entries:
                    for entry in entries:
                        status = entry.stat(follow_symlinks=False) if os.sep == "/" else _lstat(entry.path)
                        if stat.S_ISDIR(status.st_mode):
                            pending.append(entry.path)
                        else:
                            self.learn(status)
            except OSError:
                continue  # removed meanwhile, or not ours to read: its files are met by their paths
