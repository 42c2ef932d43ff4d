"""Second runs: what follows a first crash is recorded from there on, and every state of it is tried."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from chaos.child.target import Roles
from chaos.disk import MODELS, StateSpace, initial_tree
from chaos.explore.second import FirstState, SecondExploration, SecondRun, Share
from chaos.explore.second_worker import join_traces
from chaos.observations import Ending
from chaos.trace.model import Kind, Trace
from tests.explore import traces
from tests.explore.exploring import KILL, closure, folders_left, plain, roles, settings

TRACE = traces.overwrite()
CUT = "2/0:cut1"  # the first save's write, cut after its first byte


def first_states(trace: Trace = TRACE) -> list[FirstState]:
    """All states of a kill, each tree once."""
    found: dict[bytes, FirstState] = {}
    for state in StateSpace(trace, KILL).states():
        first = FirstState(recipe=state.recipe, models=(0,), point=state.point, acked=state.acked)
        found.setdefault(state.digest, first)
    return list(found.values())


def at(recipe: str) -> FirstState:
    point, _, acked = recipe.partition(":")[0].partition("/")
    return FirstState(recipe=recipe, models=(0,), point=int(point), acked=int(acked))


def second_runs(
    parts: Roles, firsts: Sequence[FirstState], share: Share | None = None, **changes: Any
) -> list[SecondRun]:
    with SecondExploration(TRACE, parts, settings(**changes)) as exploration:
        return list(exploration.runs(firsts, lambda _: share or Share()))


def run_on(recipe: str, parts: Roles) -> tuple[SecondRun, Trace]:
    with SecondExploration(TRACE, parts, settings()) as exploration:
        for run in exploration.runs([at(recipe)], lambda _: Share()):
            return run, run.trace()
    raise AssertionError("there is no second run")


def test_it_starts_on_what_the_first_crash_left_and_goes_on_from_there() -> None:
    run, trace = run_on("2/1:all", roles("count"))
    assert initial_tree(trace).digest == StateSpace(TRACE, KILL).tree("2/1:all").digest
    saved = [json.loads(op.data)["count"] for op in trace.ops if op.kind is Kind.WRITE]
    assert saved == [2, 3]
    assert (run.exit_code, run.problem, run.operations) == (0, "", len(trace.ops))
    assert [step.value for step in run.steps] == ["1", "2", "3", "3"]


def test_the_acknowledgements_of_both_runs_count() -> None:
    run, trace = run_on("4/2:all", roles("count"))
    assert [one.value for one in run.acks] == [one.value for one in trace.acks] == ["1", "2", "3"]
    assert {one.acked for one in run.observations} == {2, 3}


def test_a_start_that_fails_is_tried_once_more_and_is_part_of_the_run() -> None:
    run, trace = run_on(CUT, roles("heal_in_two"))
    assert [op.path for op in trace.ops[:1]] == ["failed"]
    saved = [json.loads(op.data)["count"] for op in trace.ops if op.kind is Kind.WRITE]
    assert saved == [0, 1, 2, 3]
    assert run.exit_code == 0


def test_what_recovery_wrote_is_told_by_one_more_recovery_and_nothing_else_is() -> None:
    healed, _ = run_on(CUT, roles("heal"))
    assert healed.steps[0].ending is Ending.RAISED
    assert healed.settled is not None
    assert healed.settled.ending is Ending.RETURNED
    assert run_on("2/1:all", roles("count"))[0].settled is None


def test_the_workload_goes_on_even_where_recovery_fails() -> None:
    run, _ = run_on(CUT, roles("load"))
    assert run.exit_code != 0  # it can't go on either, but it was tried
    assert all(step.ending is Ending.RAISED for step in run.steps)


def test_every_state_of_the_second_run_is_tried_and_a_tree_is_recovered_once() -> None:
    parts = roles("count")
    (alone,) = second_runs(parts, [at("2/1:all")])
    _, trace = run_on("2/1:all", parts)
    expected = [one.recipe for one in StateSpace(trace, KILL).states() if one.acked >= 1]
    assert [one.state for one in alone.observations] == expected
    assert alone.exhaustive
    one, again = second_runs(parts, [at("2/1:all"), at("2/1:all")], jobs=1)
    assert again.recovered == 0
    assert [plain(o.outcome) for o in again.observations] == [plain(o.outcome) for o in one.observations]


def test_the_number_of_jobs_does_not_change_the_order() -> None:
    found = []
    for jobs in (1, 2):
        runs = second_runs(roles("count"), first_states(), jobs=jobs)
        found.append(
            [(run.first, run.exit_code, [(o.state, o.outcome.value) for o in run.observations]) for run in runs]
        )
    assert found[0] == found[1]
    assert len(found[0]) == len(first_states())


def test_closures_are_run_on_as_named_targets_are() -> None:
    named = second_runs(roles("count"), [at("2/1:all")])
    closed = second_runs(roles(closure("count"), workload=closure("save")), [at("2/1:all")])
    assert [(o.state, o.outcome.value) for o in named[0].observations] == [
        (o.state, o.outcome.value) for o in closed[0].observations
    ]


def test_each_model_is_explored_with_its_own_second_states() -> None:
    firsts = [replace(at("2/1:all"), models=(0, 1))]
    (run,) = second_runs(roles("count"), firsts, models=(KILL, MODELS["posix"]))
    assert {one.model for one in run.observations} == {"kill", "posix"}


def test_a_share_cuts_a_run_and_says_so() -> None:
    (run,) = second_runs(roles("count"), [at("2/1:all")], Share(states=3))
    assert len(run.observations) == 3
    assert not run.exhaustive


def test_a_share_of_time_that_recording_used_up_leaves_a_few_states() -> None:
    (run,) = second_runs(roles("count"), [at("2/1:all")], Share(duration_s=1e-6))
    assert len(run.observations) == 5
    assert not run.exhaustive


def test_without_a_share_there_is_no_further_run() -> None:
    with SecondExploration(TRACE, roles("count"), settings()) as exploration:
        runs = list(exploration.runs(first_states(), lambda number: Share() if number < 2 else None))
    assert len(runs) == 2


def test_a_check_sees_the_acknowledgements_of_both_runs() -> None:
    run, _ = run_on("2/1:all", roles("load", check="check_none_is_third"))
    assert [bool(step.check) for step in run.steps] == [False, False, True, True]
    returned = [o for o in run.observations if o.outcome.ending is Ending.RETURNED]
    assert {o.acked for o in returned} == {1, 2, 3}
    assert all(bool(o.outcome.check) == (o.acked == 3) for o in returned)


def test_a_run_that_takes_its_recorder_down_is_a_problem_and_the_next_goes_on() -> None:
    parts = roles("count", workload="take_the_recorder_down")
    lost, after = second_runs(parts, [at("0/0:all"), at("2/1:all")], jobs=1)
    assert lost.problem == "the process that records it was lost"
    assert after.problem == ""
    assert after.observations


def test_nothing_is_left() -> None:
    second_runs(roles("count"), [at("2/1:all")])
    assert folders_left() == []


@pytest.mark.parametrize("acked", [0, 1, 2])
def test_joined_traces_begin_with_what_was_acknowledged_before(acked: int) -> None:
    second = traces.overwrite(1)
    joined = join_traces(TRACE, acked, second)
    assert [(one.after, one.value) for one in joined.acks] == [
        *((0, str(number)) for number in range(1, acked + 1)),
        (2, "1"),
    ]
    assert (joined.ops, joined.initial) == (second.ops, second.initial)
