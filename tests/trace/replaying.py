"""Record, then hold the trace against the folder: each recorder test proves its trace as well."""

import os
import stat
from pathlib import Path
from typing import Any

from chaos.syscalls.calls import Policy
from chaos.trace.model import Kind, Op, Trace
from chaos.trace.nodes import is_excluded, type_of
from chaos.trace.recorder import Program, RecordOptions, record

Listing = dict[str, tuple[str, int, bytes]]


def prove(trace: Trace, folder: str) -> None:
    left_out = {entry.path for entry in trace.unmeasured}
    replayed = {path: seen for path, seen in replay(trace).items() if path not in left_out}
    real = {path: seen for path, seen in listing(folder, trace.excluded).items() if path not in left_out}
    assert replayed == real


def replay(trace: Trace) -> Listing:
    nodes: dict[int, list[Any]] = {n.node: [n.type.value, n.mode, bytearray(n.data)] for n in trace.initial}
    for initial in trace.initial:
        if initial.type.value == "symlink":
            nodes[initial.node] = ["symlink", 0, bytearray(os.fsencode(initial.target))]
    entries = {(parent, name): n.node for n in trace.initial for parent, name in n.names}
    for op in trace.ops:
        _apply(op, nodes, entries)
    found: Listing = {}
    _list(0, "", nodes, entries, found)
    return found


def _apply(op: Op, nodes: dict[int, list[Any]], entries: dict[tuple[int, str], int]) -> None:
    made = {Kind.CREATE: "file", Kind.MKDIR: "directory", Kind.SYMLINK: "symlink"}.get(op.kind)
    if made:
        nodes[op.node] = [made, op.mode, bytearray(os.fsencode(op.target))]
    if op.parent is not None and (made or op.kind is Kind.LINK):
        entries[op.parent, op.name] = op.node
    elif op.parent is not None and op.kind in {Kind.UNLINK, Kind.RMDIR}:
        assert entries.pop((op.parent, op.name)) == op.node
    elif op.kind is Kind.RENAME:
        assert op.parent is not None
        assert op.to_parent is not None
        assert entries.pop((op.parent, op.name)) == op.node
        assert entries.get((op.to_parent, op.to_name)) == op.victim
        entries[op.to_parent, op.to_name] = op.node
    elif op.kind is Kind.EXCHANGE:
        assert op.parent is not None
        assert op.to_parent is not None
        assert op.victim is not None
        entries[op.to_parent, op.to_name], entries[op.parent, op.name] = op.node, op.victim
    elif op.kind is Kind.WRITE:
        data = nodes[op.node][2]
        data.extend(bytes(max(0, op.offset - len(data))))
        data[op.offset : op.offset + len(op.data)] = op.data
    elif op.kind is Kind.TRUNCATE:
        data = nodes[op.node][2]
        data.extend(bytes(max(0, op.size - len(data))))
        del data[op.size :]
    elif op.kind is Kind.CHMOD:
        nodes[op.node][1] = op.mode


def _list(
    parent: int, prefix: str, nodes: dict[int, list[Any]], entries: dict[tuple[int, str], int], found: Listing
) -> None:
    for (above, name), node in list(entries.items()):
        if above == parent:
            type_, mode, data = nodes[node]
            found[prefix + name] = (type_, 0 if type_ == "symlink" else mode, bytes(data))
            if type_ == "directory":
                _list(node, f"{prefix}{name}/", nodes, entries, found)


def listing(folder: str, exclude: tuple[str, ...] = (), prefix: str = "") -> Listing:
    found: Listing = {}
    for name in os.listdir(folder):
        path, whole = prefix + name, os.path.join(folder, name)
        status = os.lstat(whole)
        if is_excluded(path, exclude) or type_of(status.st_mode) is None:
            continue
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            found[path] = ("directory", mode, b"")
            found.update(listing(whole, exclude, path + "/"))
        elif stat.S_ISLNK(status.st_mode):
            found[path] = ("symlink", 0, os.fsencode(os.readlink(whole)))
        else:
            found[path] = ("file", mode, Path(whole).read_bytes())
    return found


def proven(
    program: Program, folder: Path, *, options: RecordOptions | None = None, policy: Policy | None = None
) -> Trace:
    """Record, and prove that replaying gives the folder as it is."""
    trace = record(program, folder, options=options or RecordOptions(sources=False), policy=policy)
    prove(trace, os.fspath(folder))
    return trace


def measured(program: Program, folder: Path, *, options: RecordOptions | None = None) -> Trace:
    """Likewise, for a program that must succeed and be followed completely."""
    trace = proven(program, folder, options=options)
    assert trace.exit_code == 0
    assert not trace.unmeasured
    return trace


def kinds(trace: Trace) -> list[str]:
    return [op.kind.value for op in trace.ops]


def writes(trace: Trace, path: str | None = None) -> list[tuple[int, bytes]]:
    return [(op.offset, op.data) for op in trace.ops if op.kind is Kind.WRITE and path in (None, op.path)]


def only(trace: Trace, kind: Kind) -> Op:
    found = [op for op in trace.ops if op.kind is kind]
    assert len(found) == 1, found
    return found[0]
