"""The exploration as a whole: reference, order, budget, several jobs, questions, targets of each kind."""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos.child.target import CallableTarget, CommandTarget, PythonTarget
from chaos.disk import MODELS
from chaos.errors import UsageError
from chaos.explore.exploration import Exploration
from chaos.explore.settings import Ask, Isolation
from chaos.explore.tally import Progress  # noqa: TC001 - beside its siblings
from chaos.observations import Ending
from tests.explore import traces
from tests.explore.exploring import (
    KILL,
    NEVER_S,
    explore,
    folders_left,
    plainly,
    roles,
    settings,
    start,
)

TWIN = dataclasses.replace(KILL, name="twin")  # another model with the same states


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert folders_left() == []


def test_the_reference_has_a_step_at_the_start_at_each_acknowledgement_and_at_the_end() -> None:
    with Exploration(traces.replace(2), roles("count", check="object_to_all"), settings()) as exploration:
        reference = exploration.reference
    assert [step.value for step in reference.steps] == ["0", "1", "2", "2"]
    assert [json.loads(step.check.partition("'")[2].partition("'")[0]) for step in reference.steps] == [
        [], [1], [1, 2], [1, 2]
    ]  # fmt: skip
    assert reference.acks == traces.replace(2).acks
    assert reference.names == {"state.json"}
    assert (reference.writers, reference.checked, reference.vague) == (1, True, "")


def test_a_recovery_that_never_returns_the_same_can_not_be_compared() -> None:
    def now(disk: Path) -> int:
        return time.monotonic_ns()

    with Exploration(traces.replace(1), roles(CallableTarget(function=now)), settings()) as exploration:
        assert exploration.reference.vague == "two recoveries of one undamaged tree returned different values"


def test_the_reference_knows_where_threads_worked_side_by_side() -> None:
    trace = traces.overwrite(2)
    ops = tuple(dataclasses.replace(op, thread=number % 2) for number, op in enumerate(trace.ops))
    together = dataclasses.replace(trace, ops=ops, acks=())
    with Exploration(together, roles("load"), settings()) as exploration:
        assert exploration.reference.overlaps == ((0, 4),)


def test_a_recovery_whose_value_shows_nothing_of_its_state_can_not_be_compared() -> None:
    def lines(disk: Path) -> Iterator[str]:
        yield from (disk / "state.json").read_text().splitlines()

    with Exploration(traces.replace(1), roles(CallableTarget(function=lines)), settings()) as exploration:
        assert "a generator, which shows nothing of its state" in exploration.reference.vague


def test_torn_states_fail_and_whole_ones_return() -> None:
    for observation in explore(roles("load"), traces.overwrite(2)):
        whole = observation.point % 2 == 0 and "cut" not in observation.state
        assert (observation.outcome.ending is Ending.RETURNED) == whole
        assert observation.model == "kill"


def test_a_second_recovery_runs_on_what_the_first_left() -> None:
    found = explore(roles("heal"))
    failed = [o for o in found if o.outcome.ending is Ending.RAISED]
    assert failed
    assert all(o.again is not None and o.again.value == '{"count":0,"log":""}' for o in failed)
    assert all(o.again is None for o in found if o.outcome.ending is Ending.RETURNED)


def test_the_check_sees_the_value_and_what_was_acknowledged() -> None:
    outcomes = [o.outcome for o in explore(roles("load", check="object_to_all"), traces.replace(1))]
    assert {outcome.check.partition(" (at ")[0] for outcome in outcomes} == {"KeyError: '[]'", "KeyError: '[1]'"}
    assert all("targets.py:" in outcome.check for outcome in outcomes)
    assert all(outcome.ending is Ending.RETURNED for outcome in outcomes)


def test_a_check_that_holds_leaves_no_message() -> None:
    assert {o.outcome.check for o in explore(roles("load", check="check"), traces.replace(2))} == {""}


def test_resuming_runs_the_workload_on_and_recovers_once_more() -> None:
    found = explore(roles("count"), traces.replace(2), ask=Ask(resume=True))
    assert {o.resumed.value for o in found if o.resumed} == {"3"}
    for observation in found:
        assert observation.resumed is not None
        done = int(observation.outcome.value)
        assert observation.resumed.acks == tuple(str(number) for number in range(done + 1, 4))


def test_acknowledgements_of_child_processes_without_descriptors_are_collected() -> None:
    found = explore(roles("count", resume="save_in_children"), traces.replace(1), ask=Ask(resume=True))
    assert {o.resumed.acks for o in found if o.resumed} == {("1", "2")}


def test_acknowledgements_through_the_channel_of_other_programs_are_collected() -> None:
    work = CommandTarget(commands=(("sh", "-c", 'eval "echo 41 >&$CHAOS_ACK_FD"'),))
    found = explore(roles("count", resume=work), traces.replace(1), ask=Ask(resume=True))
    assert {o.resumed.acks for o in found if o.resumed} == {("41", "0")}


def test_a_workload_that_cannot_go_on_is_told_with_what_it_acknowledged() -> None:
    found = explore(roles("count", workload="save_and_fail"), traces.replace(1), ask=Ask(resume=True))
    for observation in found:
        assert observation.resumed is not None
        assert (observation.resumed.ending, observation.resumed.error) == (Ending.RAISED, "no more")
        assert observation.resumed.acks == ('"begun"',)


def test_names_are_told_when_asked_for() -> None:
    found = explore(roles("count"), traces.replace(1), ask=Ask(names=True))
    assert {o.outcome.names for o in found} == {("state.json",), ("state.json", "tmp")}
    assert {o.outcome.names for o in explore(roles("count"), traces.replace(1))} == {()}


def test_leftovers_are_told_when_asked_for() -> None:
    assert start("hold_things", ask=Ask(leftovers=True)).leftovers == (
        "descriptor open on {disk}/lock",
        "lock held on {disk}/lock",
        "process still running: sleep 1000",
    )
    assert start("hold_things").leftovers == ()


@pytest.mark.parametrize("recover", ["count", "start_a_short_process", "hold_in_the_value", "close_everything"])
def test_a_clean_recovery_has_no_leftovers(recover: str) -> None:
    assert start(recover, ask=Ask(leftovers=True)).leftovers == ()


def test_a_daemon_is_a_leftover() -> None:
    (line,) = start("fork_away", ask=Ask(leftovers=True)).leftovers
    assert line.startswith("process still running: ")


@pytest.mark.parametrize("isolation", [Isolation.FORK, Isolation.BATCH])
def test_two_jobs_give_the_observations_of_one_in_the_same_order(isolation: Isolation) -> None:
    one = explore(roles("load", check="check"), traces.overwrite(8), isolation=isolation, ask=Ask(names=True))
    two = explore(roles("load", check="check"), traces.overwrite(8), isolation=isolation, ask=Ask(names=True), jobs=2)
    assert plainly(one) == plainly(two)
    assert len(one) > 30


def test_forks_and_batches_agree() -> None:
    parts = roles("heal", check="check")
    forks = explore(parts, traces.overwrite(10), ask=Ask(names=True))
    assert plainly(forks) == plainly(
        explore(parts, traces.overwrite(10), ask=Ask(names=True), isolation=Isolation.BATCH)
    )


def test_states_that_an_earlier_model_had_are_not_run_again() -> None:
    with Exploration(traces.overwrite(2), roles("load"), settings(models=(KILL, TWIN))) as exploration:
        found = list(exploration.observations())
        statistics = exploration.statistics()
    alone = explore(roles("load"), traces.overwrite(2))
    assert len([o for o in found if o.model == "kill"]) == len(alone)
    assert statistics.known == {"twin": len(alone)}


def test_one_state_can_be_observed_again_even_in_the_midst_of_all() -> None:
    with Exploration(traces.overwrite(10), roles("load"), settings(jobs=2)) as exploration:
        found = [
            (observation, exploration.observe(observation.state, KILL)) for observation in exploration.observations()
        ]
    assert len(found) > 20
    assert plainly([one for one, _ in found]) == plainly([other for _, other in found])


def test_an_exploration_given_up_in_the_midst_can_be_used_again() -> None:
    with Exploration(traces.overwrite(10), roles("load"), settings()) as exploration:
        next(exploration.observations())
        assert len(list(exploration.observations())) > 30


def test_statistics_count_the_endings() -> None:
    with Exploration(traces.overwrite(2), roles("die_sometimes"), settings()) as exploration:
        found = list(exploration.observations())
        statistics = exploration.statistics()
    assert statistics.states == len(found) == sum(statistics.by_model.values())
    assert statistics.died == len([o for o in found if o.outcome.ending is Ending.KILLED]) > 0
    assert (statistics.complete, statistics.left_out, statistics.isolation) == (True, (), Isolation.FORK)
    assert statistics.states_per_s > 0


def test_a_budget_of_states_is_kept_and_says_what_it_left_out() -> None:
    every = explore(roles("load"), traces.overwrite(10))
    with Exploration(traces.overwrite(10), roles("load"), settings(budget_states=7, jobs=2)) as exploration:
        found = list(exploration.observations())
        statistics = exploration.statistics()
    assert plainly(found) == plainly(every[:7])
    assert statistics.left_out == (f"kill: {len(every) - 7} of {len(every)} states not run",)
    assert not statistics.complete


def by_model(steps: int, budget: int, *names: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """What a budget of states saw of each model in so many steps, and what it left untried."""
    given = settings(models=tuple(MODELS[name] for name in names), budget_states=budget)
    with Exploration(traces.overwrite(steps), roles("load"), given) as exploration:
        list(exploration.observations())
        return dict(exploration.statistics().by_model), exploration.statistics().untried


def test_a_budget_is_shared_evenly_by_the_models() -> None:
    assert by_model(4, 20, "kill", "ext4") == ({"kill": 10, "ext4": 10}, ())
    assert by_model(6, 46, "kill", "ext4", "posix") == ({"kill": 16, "ext4": 15, "posix": 15}, ())


def test_states_that_another_model_had_take_nothing_of_a_model_s_share() -> None:
    found, untried = by_model(5, 25, "kill", "ext4", "xfs", "btrfs", "posix")
    assert (set(found.values()), untried) == ({5}, ())


def test_models_that_the_budget_did_not_reach_are_named() -> None:
    assert by_model(3, 2, "kill", "ext4", "posix") == ({"kill": 1, "ext4": 1}, ("posix",))


def test_a_budget_of_time_is_kept_and_says_what_it_left_out() -> None:
    with Exploration(traces.overwrite(2000), roles("load"), settings(budget_s=0.2)) as exploration:
        found = list(exploration.observations())
        statistics = exploration.statistics()
    assert found
    assert statistics.left_out[0].startswith("kill: ")
    assert not statistics.complete


def test_progress_knows_the_total_before_the_end() -> None:
    seen: list[Progress] = []
    with Exploration(traces.overwrite(10), roles("load"), settings(), seen.append) as exploration:
        found = list(exploration.observations())
    assert [p.done for p in seen] == sorted({p.done for p in seen})
    assert seen[-1].done == seen[-1].total == len(found)
    assert [p for p in seen if p.total == len(found) and p.done < p.total and p.seconds_left is not None]
    assert seen[-1].states_per_s > 0


# Kinds of targets


def test_closures_of_this_process_can_be_explored() -> None:
    prefix = "state"

    def recover(disk: Path) -> Any:
        return json.loads((disk / f"{prefix}.json").read_bytes())

    closures = explore(roles(CallableTarget(function=recover)), traces.overwrite(3))
    named = explore(roles("load"), traces.overwrite(3))
    assert [(o.outcome.ending, o.outcome.value) for o in closures] == [
        (o.outcome.ending, o.outcome.value) for o in named
    ]


def test_what_a_closure_prints_is_not_mixed_into_ours(capfd: pytest.CaptureFixture[str]) -> None:
    def recover(disk: Path) -> None:
        sys.stdout.write("printed\n")
        os.write(2, b"written")

    assert start(CallableTarget(function=recover)).output == "printed\nwritten"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("isolation", [Isolation.FORK, Isolation.COMMAND])
def test_commands_recover_in_the_folder_and_their_last_output_is_the_value(isolation: Isolation) -> None:
    first = ("sh", "-c", "echo $SEEN; test -f state.json")
    last = ("{python}", "-c", "print(open('{disk}/state.json').read())")
    command = CommandTarget(commands=(first, last), env=(("SEEN", "seen"),))
    outcome = start(command, isolation=isolation)
    assert outcome.ending is Ending.RETURNED
    assert json.loads(json.loads(outcome.value)) == json.loads(traces.text(0))
    assert outcome.output == "seen\n"


@pytest.mark.parametrize(
    ("line", "ending", "error_type", "detail"),
    [
        ("echo why >&2; exit 3", Ending.RAISED, "exit", 3),
        ("kill -9 $$", Ending.KILLED, "signal", 9),
        ("sleep 1000", Ending.HUNG, "deadline", 0),
        ("sleep 1000 & exit 0", Ending.RETURNED, "", 0),
    ],
)
def test_a_command_ends_as_it_ends(line: str, ending: Ending, error_type: str, detail: int) -> None:
    deadline_s = 0.1 if ending is Ending.HUNG else NEVER_S
    outcome = start(CommandTarget(commands=(("sh", "-c", line), ("true",))), deadline_s=deadline_s)
    assert (outcome.ending, outcome.error_type, outcome.detail) == (ending, error_type, detail)
    assert outcome.output == ("why\n" if "why" in line else "")


def test_a_command_checks_by_its_environment() -> None:
    line = 'test "$CHAOS_VALUE" = "$CHAOS_ACKED" || { echo "$CHAOS_VALUE is not $CHAOS_ACKED"; exit 1; }'
    check = CommandTarget(commands=(("sh", "-c", line),))
    found = explore(roles("count", check=check), traces.replace(1))
    assert all("ended with exit code 1" in o.outcome.check for o in found)
    assert {o.outcome.output for o in found} == {"0 is not []\n", "1 is not []\n", "1 is not [1]\n"}


def test_a_python_workload_goes_on_after_a_recovery_that_is_a_command() -> None:
    recover = CommandTarget(
        commands=(("{python}", "-c", "import json; print(json.load(open('state.json'))['count'])"),)
    )
    found = explore(roles(recover, workload="save"), traces.replace(1), ask=Ask(resume=True), budget_states=1)
    assert found[0].resumed is not None
    assert (found[0].resumed.value, found[0].resumed.acks) == ('"3\\n"', ("1", "2", "3"))


def test_the_workload_s_commands_acknowledge_their_numbers() -> None:
    work = CommandTarget(commands=(("true",), ("true",), ("false",)))
    found = explore(roles("count", workload=work), traces.replace(1), ask=Ask(resume=True), budget_states=1)
    assert found[0].resumed is not None
    assert (found[0].resumed.ending, found[0].resumed.acks) == (Ending.RAISED, ("0", "1"))


@pytest.mark.parametrize(
    ("recover", "words"),
    [
        (PythonTarget(ref="no_such_module:recover"), "No module named 'no_such_module'"),
        (PythonTarget(ref="json:no_such_thing"), "json has no attribute 'no_such_thing'"),
        (PythonTarget(ref="json:__name__"), "can't be called"),
        (PythonTarget(ref="json"), "not of the form"),
        (CommandTarget(commands=(("no-such-command",),)), "not on the PATH"),
    ],
)
def test_a_target_that_is_not_there_is_wrong_usage(recover: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        explore(roles(recover))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", r"ZeroDivisionError: division by zero \(at .*broken_target.py:1 in <module>\)"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(3)", "ends its process"),
        ("def f(:", "SyntaxError: .* \\(at .*broken_target.py:1\\)"),
    ],
)
def test_a_target_that_cannot_be_imported_is_wrong_usage(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "broken_target.py").write_text(source)
    with pytest.raises(UsageError, match=words):
        explore(roles(PythonTarget(ref="broken_target:recover", search=(str(tmp_path),))))


@pytest.mark.parametrize(
    "changes", [{"jobs": 0}, {"models": ()}, {"deadline_s": 0}, {"budget_s": -1.0}, {"isolation": Isolation.COMMAND}]
)
def test_settings_that_cannot_be_carried_out_are_wrong_usage(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        explore(roles("load"), **changes)


def test_a_model_that_is_not_explored_cannot_be_observed() -> None:
    with Exploration(traces.overwrite(1), roles("load"), settings()) as exploration, pytest.raises(UsageError):
        exploration.observe("0", TWIN)
