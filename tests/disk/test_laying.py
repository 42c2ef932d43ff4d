"""Trees that are equal look alike when they are laid out, also in the order in which their names are listed."""

import os
import tempfile
from collections.abc import Iterator

import pytest

from chaos.disk import Slot, apply, initial_tree
from chaos.explore.places import base_folder
from chaos.trace.model import InitialNode, Kind, NodeType, Op, Trace


def renamed(sequence: int, old: str, new: str) -> Op:
    return Op(
        seq=sequence,
        kind=Kind.RENAME,
        call="rename",
        node=1,
        parent=0,
        name=old,
        path=old,
        to_parent=0,
        to_name=new,
        to_path=new,
    )


@pytest.fixture
def disk() -> Iterator[str]:
    """Where explorations lay trees out: in memory, if there is any, which lists the latest name first."""
    with tempfile.TemporaryDirectory(dir=base_folder()) as folder:
        yield os.path.join(folder, "disk")


def test_a_name_that_went_and_came_back_is_listed_where_it_was(disk: str) -> None:
    folder = InitialNode(node=0, type=NodeType.DIRECTORY, mode=0o755)
    files = [
        InitialNode(node=number, type=NodeType.FILE, mode=0o644, data=b"x", names=((0, name),))
        for number, name in enumerate("abc", start=1)
    ]
    ops = (renamed(0, "a", "d"), renamed(1, "d", "a"))
    trace = Trace(engine="syscalls", command="by hand", initial=(folder, *files), ops=ops, acks=())
    before = initial_tree(trace)
    after = apply(apply(before, ops[0]), ops[1])
    assert list(after.node("").entries) != list(before.node("").entries)
    assert after.digest == before.digest
    slot = Slot(disk)
    slot.lay(before)
    listed = os.listdir(disk)
    slot.lay(after)
    assert os.listdir(disk) == listed
