"""Scenarios of kind `race`: how they are read, what the shipped ones find, and how a finding is played again."""

import fcntl
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from chaos.child.target import CallableTarget, CommandTarget, PythonTarget
from chaos.errors import UsageError
from chaos.observations import Damage, Verdict
from chaos.oracles.linearizable.models import MODELS
from chaos.oracles.live import LIVE_ORACLES
from chaos.report import ScenarioResult, Status, status
from chaos.report.live_replay import LiveReplay
from chaos.scenario import Budget, Race, RunOptions, Scenario, ScenarioError, load
from chaos.scenario.kinds.race import HISTORIES, RACE_ORACLES
from chaos.scenario.model import Profile
from chaos.scenario.runner import Run, find_finding, live_drive, racing, replay_live

SHELF = Path(__file__).resolve().parents[2] / "scenarios"
BROKEN = (
    "lock_races/unlinking",
    "lock_races/robbing",
    "lock_races/replaced",
    "lost_updates/naive",
    "lost_updates/naive_history",
)
SOUND = ("lock_races/staying", "lock_races/robbing_under_lock", "lock_races/beside", "lost_updates/locked")
STACK = (
    "lock_races/stack_file_lock",
    "lock_races/stack_lease",
    "lost_updates/json_store",
    "lost_updates/sqlite_store",
)
MINIMAL = """\
name = "r"
kind = "race"
[target]
workers = ["targets:one", "targets:two"]
"""


def ran(scenario: Scenario, folder: Path, *, episodes: int | None = None, seed: int = 0) -> ScenarioResult:
    budget = None if episodes is None else Budget(states=episodes)
    options = RunOptions(report_dir=folder, budget=budget, seed=seed)
    with Run(options, command="test") as run:
        return run.scenario(scenario)


def race(*workers: Callable[..., Any], **more: Any) -> Scenario:
    drive = Race(workers=tuple(CallableTarget(function=worker) for worker in workers), **more)
    return Scenario(name="test", drive=drive, origin="a test")


def parsed(folder: Path, text: str) -> Scenario:
    path = folder / "r.toml"
    path.write_text(text)
    return load(path)


def test_the_names_in_scenario_files_are_those_of_the_oracles_and_models() -> None:
    assert tuple(LIVE_ORACLES) == RACE_ORACLES
    assert tuple(MODELS) == HISTORIES


def test_a_minimal_race_gets_the_defaults(tmp_path: Path) -> None:
    drive = parsed(tmp_path, MINIMAL).drive
    assert isinstance(drive, Race)
    assert drive.workers[1] == PythonTarget(ref="targets:two", search=(str(tmp_path),))
    assert (drive.oracles, drive.history, drive.setup, drive.steps) == (None, None, None, None)


def test_every_key_of_a_race_arrives(tmp_path: Path) -> None:
    text = """\
name = "r"
kind = "race"
description = "d"
oracles = ["linearizable", "returns"]
history = "register"
initial = 4
deadline = "2s"
steps = 50
budget = 70

[target]
setup = "targets:setup"
workers = ["targets:one", [["sh", "-c", "true"]]]
check = [["test", "-e", "x"]]
[target.env]
A = "b"

[[expect]]
oracle = "linearizable"
model = "schedule"
"""
    scenario = parsed(tmp_path, text)
    drive = scenario.drive
    assert isinstance(drive, Race)
    assert drive.workers[1] == CommandTarget(commands=(("sh", "-c", "true"),), env=(("A", "b"),))
    assert (drive.history, drive.initial, drive.deadline_s, drive.steps) == ("register", 4, 2.0, 50)
    assert scenario.budget == Budget(states=70)
    assert scenario.expect[0].model == "schedule"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("two", "three"), ""),
        (('["targets:one", "targets:two"]', '["targets:one"]'), "a list of workers, two or more"),
        (("workers", "workload"), '"workers" is missing'),
        (('kind = "race"', 'kind = "race"\nmodels = ["kill"]'), "models: unknown key"),
        (('kind = "race"', 'kind = "race"\nhistory = "stack"'), 'one of "register"'),
        (('kind = "race"', 'kind = "race"\nsteps = 0'), "steps: expected"),
        (('kind = "race"', 'kind = "race"\noracles = ["durable"]'), 'one of "exclusive"'),
        (('kind = "race"', 'kind = "race"\ninitial = 2020-01-01'), "initial: expected a value"),
        (
            ('kind = "race"', 'kind = "race"\ninitial = 3'),
            "initial: initial is 3, the first value of a history",
        ),
        (('kind = "race"', 'kind = "race"\ninitial = 3\noracles = ["no_lost_update"]'), ""),
    ],
)
def test_each_mistake_in_a_race_is_named(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    text = MINIMAL.replace(*change)
    if not words:
        parsed(tmp_path, text)
        return
    with pytest.raises(ScenarioError, match=re.escape(words)):
        parsed(tmp_path, text)


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_shipped_race_is_found_as_expected_shown_with_lines_and_played_again(
    name: str, tmp_path: Path
) -> None:
    scenario = load(SHELF / f"{name}.toml")
    result = ran(scenario, tmp_path)
    assert status(result) is Status.PASSED, result
    (finding,) = result.findings
    assert (finding.model, finding.oracle) == ("schedule", scenario.expect[0].oracle)
    assert all("[targets.py:" in line for line in finding.timeline)
    path, replay = find_finding(finding.id, tmp_path)
    assert isinstance(replay, LiveReplay)
    drive = live_drive(path, replay)
    played = [replay_live(replay, drive) for _ in range(2)]
    assert [shows for shows, _ in played] == [True, True]
    for _, lines in played:
        assert without_pids(lines)[: len(finding.timeline)] == without_pids(finding.timeline)


def without_pids(lines: Sequence[str]) -> list[str]:
    """Process ids are in some names; all else is the same."""
    return [re.sub(r"(own|new)\d+", r"\1", line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND + STACK)
def test_the_sound_twins_and_the_stack_survive(name: str, tmp_path: Path) -> None:
    result = ran(load(SHELF / f"{name}.toml"), tmp_path, episodes=25 if name in STACK else 60)
    assert status(result) is Status.PASSED, result
    assert {one.verdict for one in result.verdicts} == {Verdict.HOLDS}


def _touch(disk: Path, witness: Any) -> None:
    os.close(os.open(disk / "x", os.O_CREAT))


def _reads(disk: Path, witness: Any) -> None:
    for name in "abcd":
        (disk / name).touch()
        (disk / name).read_text()


def _fails(disk: Path, witness: Any) -> None:
    raise ValueError("no")


def _waits(disk: Path, witness: Any) -> None:
    with open(disk / "a", "w") as one, open(disk / "a", "w") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)


def test_a_race_that_was_played_in_every_order_says_so_and_ends_before_its_budget(tmp_path: Path) -> None:
    result = ran(race(_touch, _touch), tmp_path, episodes=500)
    assert status(result) is Status.PASSED
    # Two calls each: six orders, and as many drawn by chance.
    assert (result.statistics.states, result.statistics.exhaustive, result.statistics.left_out) == (12, True, ())


def test_a_sound_race_passes_and_says_how_much_was_tried(tmp_path: Path) -> None:
    result = ran(race(_reads, _reads), tmp_path, episodes=20)
    assert status(result) is Status.PASSED
    assert (result.kind, result.statistics.unit, result.statistics.states) == ("race", "episode", 20)
    assert "20 episodes from seed 0" in result.notes[0]
    assert not result.statistics.exhaustive
    assert result.statistics.left_out == ("orders of calls with more than 0 switches were drawn by chance",)


def test_the_same_seed_gives_the_same_digest(tmp_path: Path) -> None:
    one, again, other = (ran(race(_reads, _reads), tmp_path, episodes=20, seed=seed) for seed in (1, 1, 2))
    digests = [re.findall(r"histories: (\w+)", result.notes[0]) for result in (one, again, other)]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def _reads_and_fails(disk: Path, witness: Any) -> None:
    _reads(disk, witness)
    raise ValueError


def test_where_episodes_are_slow_a_race_ends_though_it_was_seldom_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran(race(_reads, _reads_and_fails), tmp_path).statistics.states > 50
    monkeypatch.setattr(racing, "_PATIENCE_S", dict.fromkeys(Profile, 0.0))
    assert ran(race(_reads, _reads_and_fails), tmp_path).statistics.states == 1


def _raises(*_: object) -> None:
    raise ValueError


def test_what_goes_wrong_in_every_order_is_not_said_to_need_switches(tmp_path: Path) -> None:
    (found,) = ran(race(_raises, _raises), tmp_path).findings
    assert found.explanation[1] == "there was no call on the folder before"
    (found,) = ran(race(_reads_and_fails, _reads), tmp_path).findings
    assert found.explanation[1].endswith("no switch had to be made")


def test_a_worker_that_fails_is_a_finding_with_its_line(tmp_path: Path) -> None:
    result = ran(race(_touch, _fails), tmp_path, episodes=5)
    (finding,) = result.findings
    assert (finding.oracle, finding.damage) == ("returns", Damage.LOUD)
    assert finding.title == "worker 1 raised ValueError: no"
    assert finding.source is not None
    assert finding.source.function == "_fails"
    assert finding.state == "in turn", "no switch is needed"


def test_a_deadlock_is_a_finding_that_names_the_calls(tmp_path: Path) -> None:
    result = ran(race(_touch, _waits), tmp_path, episodes=5)
    (finding,) = result.findings
    assert (finding.oracle, finding.damage) == ("terminates", Damage.STUCK)
    assert finding.title == "deadlock: worker 1 in flock(a)"
    assert finding.timeline[-1].startswith("         worker 1: waits in flock(a)  [test_races.py:")


def test_a_set_up_that_fails_is_wrong_usage(tmp_path: Path) -> None:
    def setup(disk: Path) -> None:
        raise OSError("full")

    result = ran(race(_touch, _touch, setup=CallableTarget(function=setup)), tmp_path)
    assert status(result) is Status.USAGE


def _works_elsewhere(*_: object) -> None:
    Path(__file__).read_text()


def _works_alone(disk: Path, witness: Any) -> None:
    if not witness.number:
        (disk / "a").write_text("a")


@pytest.mark.parametrize(
    ("worker", "why"),
    [(_works_elsewhere, "no worker touched the folder"), (_works_alone, "never was more than one worker")],
)
def test_workers_that_do_not_meet_in_the_folder_are_not_measured(
    worker: Callable[..., Any], why: str, tmp_path: Path
) -> None:
    result = ran(race(worker, worker), tmp_path)
    assert status(result) is Status.NOT_MEASURED
    assert result.stop is not None
    assert why in result.stop.message


def test_an_oracle_that_is_asked_for_and_has_nothing_to_judge_is_not_a_pass(tmp_path: Path) -> None:
    result = ran(race(_touch, _touch, oracles=("exclusive",)), tmp_path, episodes=3)
    assert status(result) is Status.NOT_MEASURED


def test_a_finding_of_a_test_s_functions_is_not_replayed_from_its_file(tmp_path: Path) -> None:
    result = ran(race(_touch, _fails), tmp_path, episodes=5)
    path, replay = find_finding(result.findings[0].id, tmp_path)
    assert isinstance(replay, LiveReplay)
    with pytest.raises(UsageError, match="function inside a test"):
        live_drive(path, replay)


@pytest.mark.parametrize(
    ("history", "words"),
    [("stack", "no model 'stack'"), ("nothing:here", "can't be imported"), ("os:sep", "not a Model")],
)
def test_a_history_that_is_no_model_is_wrong_usage(tmp_path: Path, history: str, words: str) -> None:
    result = ran(race(_touch, _touch, history=history), tmp_path)
    assert status(result) is Status.USAGE
    assert result.stop is not None
    assert words in result.stop.message


def test_a_model_of_ones_own_is_imported_from_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "own_model_of_test.py").write_text(
        "from chaos.oracles.linearizable import Model\n"
        "always = Model(name='always', initial=0, step=lambda state, op: state, names=frozenset({'add'}))\n"
    )

    def adds(disk: Path, witness: Any) -> None:
        with witness.call("add", 1):
            pass

    own = {"history": "own_model_of_test:always", "search": (str(tmp_path),)}
    result = ran(race(adds, adds, **own), tmp_path, episodes=3)
    assert "linearizable" in {one.oracle for one in result.verdicts if one.verdict is Verdict.HOLDS}
