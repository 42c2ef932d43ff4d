"""In which order the states of a trace come: a little of everything first, and nothing twice."""

from itertools import islice

import pytest

from chaos.disk import MODELS, StateSpace
from chaos.disk.interest import spread
from chaos.trace.model import Ack, Trace
from tests.disk.traces import Script


def unsynced_appends(count: int) -> Trace:
    script = Script()
    for number in range(count):
        script.create(f"f{number}")
        script.write(f"f{number}", b"x" * 10)
        script.acks.append(Ack(after=len(script.ops), process=0, value=str(number)))
    return script.trace()


def test_the_first_states_are_of_points_all_over_the_trace() -> None:
    trace = unsynced_appends(10)
    first = [state.point for state in islice(StateSpace(trace, MODELS["posix"]).states(), 30)]
    assert set(first) >= {ack.after for ack in trace.acks}


@pytest.mark.parametrize("name", ["kill", "ext4", "posix"])
def test_no_state_comes_twice_and_none_is_missing(name: str) -> None:
    trace = unsynced_appends(3)
    space = StateSpace(trace, MODELS[name])
    found = [(state.digest, state.acked) for state in space.states()]
    assert len(set(found)) == len(found) == space.statistics().distinct <= space.statistics().generated
    every = {(one.digest, one.acked) for point in range(len(trace.ops) + 1) for one in space.states_at(point)}
    assert set(found) == every


def test_points_are_spread_evenly_with_both_ends() -> None:
    assert spread((1, 2, 3), 5) == (1, 2, 3)
    assert spread(tuple(range(101)), 5) == (0, 25, 50, 75, 100)


def test_a_kill_inside_a_write_is_no_state_after_what_was_acknowledged_behind_it() -> None:
    trace = unsynced_appends(1)
    kill = StateSpace(trace, MODELS["kill"])
    empty = kill.tree("1/0:all")
    assert kill.contains(2, empty)
    assert kill.contains(2, empty, 0)
    assert not kill.contains(2, empty, 1)
    assert not kill.contains(2, empty, 2)
    assert StateSpace(trace, MODELS["ext4"]).contains(2, empty, 1)
