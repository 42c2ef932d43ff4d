"""The recorded run as data: what every later step (models, shrinking, replay, reports) reads.

A `Trace` is the file tree before the run, the ordered operations that changed or synced it, and the
acknowledgements between them. Identity is the node (an inode, numbered within the trace), never the name: files
are renamed, linked and unlinked while open. Only calls that had an effect are here, and failed syncs, because a
failed sync changes what the disk may hold. This module must not import any engine. Read `file.py` next.
"""

from dataclasses import dataclass
from enum import Enum
from typing import final

__all__ = ["Ack", "Frame", "InitialNode", "Kind", "Mark", "NodeType", "Op", "Sync", "Trace", "Unmeasured"]


@final
class Kind(str, Enum):
    """What an operation did; the fields of `Op` that each one uses are listed beside it."""

    CREATE = "create"  # node, mode, parent, name; an O_TMPFILE has parent None and name ""
    MKDIR = "mkdir"  # node, mode, parent, name
    SYMLINK = "symlink"  # node, target, parent, name
    LINK = "link"  # node, parent, name: one more name; victim when a file moved in from outside replaced a node
    UNLINK = "unlink"  # node, parent, name
    RMDIR = "rmdir"  # node, parent, name
    RENAME = "rename"  # node, parent, name -> to_parent, to_name; victim = node replaced there, if any
    EXCHANGE = "exchange"  # node, parent, name <-> victim, to_parent, to_name (RENAME_EXCHANGE)
    WRITE = "write"  # node, offset, data, sync; also punched holes, zeroed ranges and mapped stores
    TRUNCATE = "truncate"  # node, size: the new length, smaller or larger; also fallocate that grows
    CHMOD = "chmod"  # node, mode
    FSYNC = "fsync"  # node (file or directory), errno
    FDATASYNC = "fdatasync"  # node, errno; also a synchronous msync
    SYNC = "sync"  # everything: sync and syncfs


@final
class Sync(str, Enum):
    """What a write makes durable by itself (O_DSYNC, O_SYNC, RWF_DSYNC, RWF_SYNC)."""

    NONE = "none"
    DATA = "data"
    ALL = "all"


@final
class NodeType(str, Enum):
    """What a node is; sockets, devices and pipes are never part of a tree."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """One Python stack frame: `file` as the interpreter names it, `line` from 1, and `function`."""

    file: str
    line: int
    function: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One persistence-relevant system call that took effect.

    Attributes:
        seq: position in the trace, from 0.
        kind: what it did.
        call: the system call's name, as the kernel spells it ("mmap" for a store through a mapping).
        process: which process, numbered from 0 in order of appearance.
        thread: which thread of it, likewise.
        node: the node acted upon.
        path: that node's path relative to the watched folder at the time; "" when it had no name.
        parent: the directory node of the entry acted upon, for the kinds that have one.
        name: the entry's name in `parent`.
        to_parent: the other directory, of a rename or exchange.
        to_name: the other name, likewise.
        to_path: the other path, likewise.
        victim: the node that a rename replaced or an exchange swapped.
        offset: where a write began, in bytes.
        data: what it wrote.
        size: a truncation's new length, in bytes.
        mode: permission bits.
        target: a symbolic link's text.
        sync: what the write itself made durable.
        errno: of a sync that failed; 0 otherwise.
        source: the Python frames that led to the call, innermost first; empty for other programs.
    """

    seq: int
    kind: Kind
    call: str
    process: int = 0
    thread: int = 0
    node: int = 0
    path: str = ""
    parent: int | None = None
    name: str = ""
    to_parent: int | None = None
    to_name: str = ""
    to_path: str = ""
    victim: int | None = None
    offset: int = 0
    data: bytes = b""
    size: int = 0
    mode: int = 0
    target: str = ""
    sync: Sync = Sync.NONE
    errno: int = 0
    source: tuple[Frame, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The workload's statement that from here on a value must survive.

    Attributes:
        after: how many operations had taken effect when it was made.
        process: which process made it.
        value: the acknowledged value as canonical JSON text (`chaos/child/values.py`).
        thread: which thread of that process.
        source: the source lines that made it, innermost first; empty when they are unknown.
    """

    after: int
    process: int
    value: str
    thread: int = 0
    source: tuple[Frame, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class InitialNode:
    """One node of the tree before the run, which counts as durable.

    Attributes:
        node: its number in the trace; the watched folder itself is node 0.
        type: what it is.
        mode: permission bits.
        data: a file's content.
        target: a symbolic link's text.
        names: all (directory node, name) entries that lead to it; empty for node 0.
    """

    node: int
    type: NodeType
    mode: int
    data: bytes = b""
    target: str = ""
    names: tuple[tuple[int, str], ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Unmeasured:
    """Something that happened to the watched files and can't be modelled; never passed over in silence."""

    path: str
    reason: str


@final
@dataclass(frozen=True, slots=True)
class Mark:
    """What a node had at the end of the run beside its content.

    Attributes:
        node: its number in the trace.
        changed_ns: when its content changed last (st_mtime_ns), by the wall clock.
        attributes: its extended attributes of the name space `user`, each a name and its value in hexadecimal digits.
    """

    node: int
    changed_ns: int
    attributes: tuple[tuple[str, str], ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One recorded run.

    Attributes:
        engine: "syscalls" or "portable".
        command: what was run, for people.
        initial: the tree before the run.
        ops: the operations, `ops[i].seq == i`.
        acks: the acknowledgements, by `after`.
        exit_code: the workload's; negative = killed by that signal.
        calls: how many system calls were trapped in all.
        outside: how many writing calls went to files outside the watched folder.
        unmeasured: what could not be modelled.
        notes: one line each, about the run (a process left running, a channel closed).
        excluded: the glob patterns of files that were left out on request.
        marks: the nodes that had a name at the end; empty where that is not known.
        began_ns: when the run began, by the wall clock; 0 where that is not known.
        ended_ns: when it had ended.
        exact_times: whether files are to have the very times of the run in crash states, not their order and age.
    """

    engine: str
    command: str
    initial: tuple[InitialNode, ...]
    ops: tuple[Op, ...]
    acks: tuple[Ack, ...] = ()
    exit_code: int = 0
    calls: int = 0
    outside: int = 0
    unmeasured: tuple[Unmeasured, ...] = ()
    notes: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    began_ns: int = 0
    ended_ns: int = 0
    exact_times: bool = False
