"""Calls that are held: which is let go when."""

import os
from collections.abc import Iterator

import pytest

from chaos.syscalls.calls import Hold, Trap
from chaos.syscalls.held import HeldCalls
from chaos.syscalls.processes import Process, ProcessTable


@pytest.fixture
def process() -> Iterator[Process]:
    table = ProcessTable(watch=lambda _: None)
    yield table.enter(os.getpid())[0]
    table.close()


def trap(process: Process, id_: int) -> Trap:
    return Trap(id_, "fsync", [0] * 6, os.getpid(), (process, 0))


def test_calls_are_let_go_in_the_order_in_which_they_are_due(process: Process) -> None:
    held = HeldCalls()
    for id_, duration_s in ((1, 5.0), (2, 1.0), (3, 3.0), (4, 3.0)):
        held.add(trap(process, id_), Hold(duration_s), now_s=10.0)
    assert held.due_s == 11.0
    assert held.due(10.9) == []
    assert [one.id for one, _ in held.due(13.0)] == [2, 3, 4]
    assert [(one.id, stopped) for one, stopped in held.due(99.0)] == [(1, False)]
    assert not held


def test_a_call_that_hangs_is_never_due(process: Process) -> None:
    held = HeldCalls()
    one = trap(process, 1)
    held.add(one, Hold(None), now_s=0.0)
    assert not held
    assert one.held
