"""The shipped scenarios of fleets, and what becomes of one: what is found, how small, and that it can be replayed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.errors import UsageError
from chaos.fleet import FaultKind, Restart, RestartPolicy, parse_plan
from chaos.observations import Bounds
from chaos.report import ScenarioResult, Status, status
from chaos.report.live_replay import LiveReplay
from chaos.scenario.kinds import Fleet
from chaos.scenario.loader import load, parse
from chaos.scenario.model import Budget, Profile, RunOptions, Scenario
from chaos.scenario.problems import ScenarioError
from chaos.scenario.runner import Run, find_finding, fleeting, live_drive, replay_live

SHELF = Path(__file__).resolve().parents[2] / "scenarios"
WEAK = (
    "fleet_appender/cut_write",
    "fleet_appender/naive",
    "fleet_counter/unlocked",
    "fleet_counter/in_place",
    "fleet_lease/by_hand",
    "fleet_lease/clock",
    "fleet_network/trusting",
)
SOUND = (
    "fleet_appender/cut_write_framed",
    "fleet_appender/sound",
    "fleet_counter/store",
    "fleet_lease/fenced",
    "fleet_network/careful",
    "fleet_sqlite/sqlite",
)


def run(folder: Path, scenario: Scenario, **options: object) -> ScenarioResult:
    given = RunOptions(report_dir=folder, profile=Profile.QUICK, **options)  # type: ignore[arg-type]
    with Run(given, command="test") as running:
        result = running.scenario(scenario)
        running.finish()
    return result


def drive_of(scenario: Scenario) -> Fleet:
    assert isinstance(scenario.drive, Fleet)
    return scenario.drive


@pytest.mark.slow
@pytest.mark.parametrize("name", WEAK)
def test_the_weak_ones_are_caught_as_expected_with_a_small_plan_that_shows_it_again(tmp_path: Path, name: str) -> None:
    scenario = load(SHELF / f"{name}.toml")
    result = run(tmp_path, scenario, budget=Budget(states=10))  # more than any has needed
    assert status(result) is Status.PASSED, result
    (finding,) = result.findings
    plan = parse_plan(finding.state)
    assert plan.workers <= drive_of(scenario).workers
    assert finding.timeline
    path, replay = find_finding(finding.id, tmp_path)
    assert isinstance(replay, LiveReplay)
    shows, lines = replay_live(replay, live_drive(path, replay))
    assert shows, lines


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
def test_the_sound_ones_come_out_clean(tmp_path: Path, name: str) -> None:
    scenario = load(SHELF / f"{name}.toml")
    result = run(
        tmp_path, replace(scenario, drive=replace(drive_of(scenario), duration_s=1.0)), budget=Budget(states=1)
    )
    assert status(result) is Status.PASSED, result
    assert result.statistics.crash_points > 0
    assert result.statistics.acks > 0


TARGETS = """\
import fcntl, os, time

def worker(disk, witness):
    log = os.open(disk / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        os.write(log, b"line\\n")
        witness("line")
        time.sleep(0.0005)

def recover(disk):
    return (disk / "log").read_text().splitlines()

def fails(disk):
    raise ValueError("never works")

def by_temporary_file(disk, witness):
    for number in range(200):
        fresh = disk / f"state.{os.getpid()}.{number}.tmp"
        fresh.write_text(str(number))
        time.sleep(0.001)
        fresh.replace(disk / "state")
        witness(number)

def in_place(disk, witness):
    for number in range(200):
        (disk / f"state.{os.getpid()}").write_text(str(number))
        time.sleep(0.001)
        witness(number)

def counter(disk, witness):
    while True:
        with open(disk / "lock", "w") as lock:
            if locked:
                fcntl.flock(lock, fcntl.LOCK_EX)
            with witness.call("add", 1) as call:
                path = disk / "count"
                count = int(path.read_text()) if path.exists() else 0
                time.sleep(0.001)
                fresh = disk / f"count.{os.getpid()}"
                fresh.write_text(str(count + 1))
                fresh.replace(path)
                call.result = count + 1

def locked_counter(disk, witness):
    global locked
    locked = True
    counter(disk, witness)

locked = False
"""
HEAD = 'name = "one"\nkind = "fleet"\n'
TARGET = '[target]\nworker = "targets:worker"\nrecover = "targets:recover"\n'
KILL = '[[fault]]\nkind = "kill"\nstatements = 10\ncount = 2\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "targets.py").write_text(TARGETS)
    return tmp_path


def read(folder: Path, text: str) -> Scenario:
    return parse(text, file="one.toml", folder=folder)


def test_every_key_of_a_file_reaches_the_drive(folder: Path) -> None:
    drive = drive_of(
        read(
            folder,
            HEAD
            + 'workers = 5\nduration = "2s"\nprogress = "3s"\nfinish = "4s"\ndeadline = "6s"\ndisk = "1MB"\n'
            + 'oracles = ["durable"]\nhistory = "counter"\ninitial = 3\n'
            + TARGET
            + 'setup = "targets:worker"\ncheck = "targets:worker"\n'
            + '[[fault]]\nkind = "clock"\nclock = "steady"\nshift = "-1h"\nevery = "1s"\nlasts = "2s"\n'
            + 'workers = "all"\n'
            + '[[fault]]\nkind = "memory"\namount = "64MB"\nevery = "1s"\nfirst = "500ms"\n'
            + '[[fault]]\nkind = "clock"\nshift = "frozen"\nstatements = 5\ncount = 2\nworkers = 2\n'
            + '[restart]\npolicy = "at_most"\nmost = 4\nbackoff = "10ms"\n'
            + '[bounds]\nmemory = "1GB"\ndisk = "2MB"\nrecovery = "5s"\n',
        )
    )
    assert (drive.workers, drive.duration_s, drive.progress_s, drive.finish_s, drive.deadline_s) == (5, 2, 3, 4, 6)
    assert (drive.disk_bytes, drive.oracles, drive.history, drive.initial) == (10**6, ("durable",), "counter", 3)
    jump, memory, frozen = drive.faults
    assert (jump.kind, jump.clock, jump.shift_s, jump.workers) == (FaultKind.CLOCK, "steady", -3600.0, 0)
    assert (jump.every_s, jump.lasts_s) == (1.0, 2.0)
    assert (memory.amount, memory.first_s) == (64 * 10**6, 0.5)
    assert (frozen.shift_s, frozen.statements, frozen.count, frozen.workers) == (None, 5, 2, 2)
    assert drive.restart == Restart(policy=RestartPolicy.AT_MOST, most=4, backoff_s=0.01)
    assert drive.bounds == Bounds(memory_bytes=10**9, disk_bytes=2 * 10**6, recovery_s=5.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + "[target]\n", ':3: target: "worker" is missing; next: add worker = "targets:worker"'),
        (HEAD + TARGET + "[[fault]]\nevery = 1\n", ':6: fault[0]: "kind" is missing'),
        (HEAD + TARGET + '[[fault]]\nkind = "kill"\n', ":6: fault[0]: a fault 'kill' needs either"),
        (HEAD + TARGET + '[[fault]]\nkind = "disk_full"\nevery = "1s"\n', "a full disk must be one of its own"),
        (
            HEAD + TARGET + '[[fault]]\nkind = "clock"\nevery = 1\nshift = "soon"\n',
            ":9: fault[0].shift: expected a shift",
        ),
        (HEAD + TARGET + '[[fault]]\nkind = "kill"\nevery = 1\nworkers = "most"\n', 'or "all", got "most"'),
        (HEAD + "initial = 3\n" + TARGET, ":3: initial: initial is 3, the first value of a history"),
        (HEAD + "workers = 0\n" + TARGET, ":3: workers: expected a number from 1, got 0"),
    ],
)
def test_each_mistake_is_named_with_its_place(folder: Path, text: str, problem: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        read(folder, text)
    assert problem in str(caught.value)


@pytest.mark.slow
def test_equal_seeds_draw_equal_plans_and_another_seed_others(folder: Path) -> None:
    scenario = read(folder, HEAD + 'oracles = ["terminates"]\n' + TARGET + KILL)
    told = [run(folder / str(seed), scenario, seed=seed, budget=Budget(states=2)).notes[1] for seed in (1, 2)]
    again = run(folder / "again", scenario, seed=1, budget=Budget(states=2)).notes[1]
    assert told[0] == again
    assert told[0].replace("seed 1", "") != told[1].replace("seed 2", "")


@pytest.mark.slow
def test_a_run_in_which_nothing_struck_is_no_measurement(folder: Path) -> None:
    scenario = read(folder, HEAD + 'duration = "100ms"\n' + TARGET + '[[fault]]\nkind = "kill"\nevery = "1h"\n')
    result = run(folder, scenario, budget=Budget(states=1))
    assert status(result) is Status.NOT_MEASURED
    assert result.stop is not None
    assert result.stop.message == "no fault struck: nothing was tried"


@pytest.mark.slow
def test_workers_that_fail_by_themselves_are_told_where_nothing_struck(folder: Path) -> None:
    target = TARGET.replace("targets:worker", "targets:fails")  # which can't take a witness
    text = HEAD + 'workers = 2\nduration = "300ms"\noracles = ["durable"]\n' + target
    result = run(folder, read(folder, text), budget=Budget(states=1))
    assert result.stop is not None
    assert "nothing was tried, and 2 of 2 workers failed by themselves: ended with exit code 1" in result.stop.message


@pytest.mark.slow
def test_what_fails_without_any_fault_is_shrunk_to_none_however_little_time_there_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleeting, "_SHRINK_S", dict.fromkeys(Profile, 0.0))
    text = HEAD + 'oracles = ["recovers"]\n' + TARGET.replace("targets:recover", "targets:fails") + KILL
    result = run(folder, read(folder, text), budget=Budget(states=1))
    (finding,) = result.findings
    assert finding.oracle == "recovers"
    assert finding.state == '{"workers":1,"strikes":[]}'
    assert "no fault is needed" in finding.explanation
    assert finding.source is not None
    assert (finding.source.function, finding.outcome.error) == ("fails", "never works")


@pytest.mark.slow
def test_a_replay_file_tells_the_whole_fleet_and_a_damaged_one_is_refused(folder: Path) -> None:
    top = 'workers = 4\nfinish = "7s"\nhistory = "counter"\ninitial = 2\noracles = ["recovers"]\n'
    text = HEAD + top + TARGET.replace("targets:recover", "targets:fails") + KILL
    text += '[restart]\npolicy = "never"\n[bounds]\ndisk = "1GB"\n'
    scenario = read(folder, text.replace('"7s"', '"50ms"'))
    (finding,) = run(folder, scenario, budget=Budget(states=1)).findings
    path, replay = find_finding(finding.id, folder)
    assert isinstance(replay, LiveReplay)
    drive = live_drive(path, replay)
    assert isinstance(drive, Fleet)
    ours = drive_of(scenario)
    assert replace(drive, oracles=ours.oracles) == replace(ours, faults=())
    content = json.loads(path.read_text())
    content["settings"]["workers"] = '"many'
    path.write_text(json.dumps(content))
    damaged = find_finding(str(path), folder)[1]
    assert isinstance(damaged, LiveReplay)
    with pytest.raises(UsageError, match="the file is damaged"):
        live_drive(path, damaged)


@pytest.mark.slow
@pytest.mark.parametrize(("worker", "objections"), [("by_temporary_file", 1), ("in_place", 0)])
def test_what_a_kill_leaves_lying_about_is_held_against_a_run_without_faults(
    folder: Path, worker: str, objections: int
) -> None:
    top = 'workers = 2\noracles = ["clean"]\nfinish = "60s"\n'
    kills = '[[fault]]\nkind = "kill"\nstatements = 25\ncount = 8\n'
    scenario = read(folder, HEAD + top + f'[target]\nworker = "targets:{worker}"\n' + kills)
    result = run(folder, scenario, budget=Budget(states=1))
    assert len(result.findings) == objections
    assert all("files left behind: state." in finding.title for finding in result.findings)


@pytest.mark.slow
@pytest.mark.parametrize(("worker", "objections"), [("counter", 1), ("locked_counter", 0)])
def test_a_history_is_held_against_its_model_also_when_calls_are_cut(
    folder: Path, worker: str, objections: int
) -> None:
    top = 'workers = 3\noracles = ["linearizable"]\nhistory = "counter"\n'
    kills = '[[fault]]\nkind = "kill"\nstatements = 20\ncount = 3\n'
    scenario = read(folder, HEAD + top + f'[target]\nworker = "targets:{worker}"\n' + kills)
    result = run(folder, scenario, budget=Budget(states=1))
    assert [finding.oracle for finding in result.findings] == ["linearizable"] * objections
