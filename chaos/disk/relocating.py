"""Traces that are laid out elsewhere than where they were recorded: absolute links into the watched folder follow.

In a trace `{disk}` at the start of a symbolic link's target stands for the folder; `folder.Slot` puts its own there.
The path inside a file's bytes can't be replaced, for lengths and checksums depend on it: that is told, and where the
path can be made to lead to the copy (`chaos/explore/lending.py`), it is. Pure.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from chaos.disk.tree import Tree
from chaos.trace.model import Kind, NodeType, Trace

__all__ = ["followed_path", "held_path", "linked_to", "misleading", "missed", "relocated"]

_FOLDER = "{disk}"
_HELD = re.compile(
    r" holds the absolute path of the folder, (.+): recovery runs on copies elsewhere, and won't find it"
)
_FOLLOWED = re.compile(r" holds the absolute path of the folder, (.+): it leads to the copy that recovery runs on")


def relocated(trace: Trace, folder: str) -> Trace:
    """The trace with links into `folder`, where it was recorded, freed from that place."""
    initial = tuple(
        replace(one, target=_freed(one.target, folder)) if one.type is NodeType.SYMLINK else one
        for one in trace.initial
    )
    ops = tuple(replace(op, target=_freed(op.target, folder)) if op.kind is Kind.SYMLINK else op for op in trace.ops)
    return replace(trace, initial=initial, ops=ops)


def linked_to(target: str, folder: str) -> str:
    """The target of a link that is laid out in `folder`."""
    return folder + target[len(_FOLDER) :] if target == _FOLDER or target.startswith(f"{_FOLDER}/") else target


def held_path(trace: Trace, folder: str, *, follows: bool = False) -> str:
    """Which files have the folder's own path in their bytes, as a note; "" where none has.

    Args:
        trace: the recorded run.
        folder: where it was recorded.
        follows: whether the path can be made to lead to a copy.
    """
    wanted = os.fsencode(folder)
    parts = [(op.path, op.data) for op in trace.ops if op.kind is Kind.WRITE]
    names = {one.node: one.names[0][1] for one in trace.initial if one.names}
    parts += [(names.get(one.node, ""), one.data) for one in trace.initial]
    held = list(dict.fromkeys(path for path, data in parts if path and wanted in data))
    if not held:
        return ""
    files = f"{held[0]}{f' and {len(held) - 1} more' if len(held) > 1 else ''}"
    told = f"{files} holds the absolute path of the folder, {folder}: "
    if follows:
        return told + "it leads to the copy that recovery runs on"
    return told + "recovery runs on copies elsewhere, and won't find it"


def followed_path(notes: Iterable[str]) -> str:
    """The path that is to lead to the copy, from a trace's notes; "" where none need do."""
    return next((found[1] for note in notes if (found := _FOLLOWED.search(note))), "")


def missed(notes: Iterable[str], told: Sequence[str]) -> str:
    """The note on a folder that recovery looked for, as it names its path in something that it told; "" if it did not.

    Args:
        notes: a trace's.
        told: errors of recovery, and what it printed.
    """
    for note in notes:
        held = _HELD.search(note)
        if held and any(held[1] in text for text in told):
            return note
    return ""


def misleading(notes: Iterable[str], tree: Tree) -> str:
    """The note on a folder that a file of the tree leads to, by its path and the name of an entry; "" where none does.

    Whoever goes by that path finds nothing where the tree is laid out elsewhere, and may do wrong without a word.

    Args:
        notes: a trace's.
        tree: a state of it.
    """
    for note in notes:
        if held := _HELD.search(note):
            entries = list(tree.paths())
            wanted = [os.fsencode(f"{held[1]}/{path}") for path, _ in entries]
            contents = [bytes(tree.nodes[number].content) for _, number in entries]
            if any(path in content for content in contents for path in wanted):
                return note
    return ""


def _freed(target: str, folder: str) -> str:
    return _FOLDER + target[len(folder) :] if target == folder or target.startswith(f"{folder}/") else target
