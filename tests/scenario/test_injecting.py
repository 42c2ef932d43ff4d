"""The kind `inject`: real workloads, struck in run after run, and what is said of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaos.child.target import CallableTarget, Roles
from chaos.faults.fault import parse_fault
from chaos.faults.plan import parse_plan
from chaos.observations import Bounds, Damage, Finding, Verdict
from chaos.report import News, ScenarioResult, Status, status, why
from chaos.report.replay import Replay
from chaos.scenario import Budget, Inject, RunOptions, Scenario
from chaos.scenario.runner import Run
from chaos.scenario.runner.replaying import find_finding, replay_state
from chaos.scenario.watching import Advance, Listener
from chaos.trace.file import load

Ack = Callable[[object], None]
EACH_WRITE = {"call": "write", "errno": "ENOSPC"}


def setup(disk: Path) -> None:
    (disk / "state").write_text("0")


def recover(disk: Path) -> int:
    return int((disk / "state").read_text())


def overwrite(disk: Path, ack: Ack) -> None:
    for number in range(1, 4):
        (disk / "state").write_text(str(number))
        ack(number)


def replacing(disk: Path, ack: Ack) -> None:
    for number in range(1, 4):
        write(disk / "new", str(number))
        (disk / "new").replace(disk / "state")
        ack(number)


def write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def run(
    tmp_path: Path,
    workload: Callable[..., Any],
    *faults: dict[str, Any],
    recover: Callable[..., Any] = recover,
    setup: Callable[..., Any] = setup,
    seed: int = 0,
    budget: Budget | None = None,
    listener: Listener | None = None,
    check: Callable[..., Any] | None = None,
    **settings: Any,
) -> ScenarioResult:
    roles = Roles(
        setup=CallableTarget(function=setup),
        workload=CallableTarget(function=workload),
        recover=CallableTarget(function=recover),
        check=None if check is None else CallableTarget(function=check),
    )
    drive = Inject(roles=roles, faults=tuple(map(parse_fault, faults)), deadline_s=5, **settings)
    options = RunOptions(seed=seed, jobs=1, report_dir=tmp_path / "report", budget=budget)
    with Run(options, command="test", listener=listener) as running:
        result = running.scenario(Scenario(name="it", drive=drive))
        running.finish()
    return result


def only(result: ScenarioResult) -> Finding:
    assert status(result) is Status.VIOLATED, why(result)
    assert len(result.findings) == 1, [one.title for one in result.findings]
    return result.findings[0]


def verdict(result: ScenarioResult, oracle: str) -> Verdict:
    return next(one.verdict for one in result.verdicts if one.oracle == oracle)


def test_each_call_in_turn_is_struck_until_a_run_ends_untouched(tmp_path: Path) -> None:
    result = run(tmp_path, replacing, {"call": ["open", "write", "rename"], "errno": "EIO"})
    assert status(result) is Status.PASSED, why(result)
    assert (result.statistics.states, result.statistics.enumerated, result.statistics.exhaustive) == (9, 10, True)
    assert (result.kind, result.statistics.unit) == ("inject", "run")
    assert verdict(result, "atomic") is verdict(result, "terminates") is Verdict.HOLDS


def test_a_third_outcome_is_found_with_source_line_smallest_place_and_state(tmp_path: Path) -> None:
    found = only(run(tmp_path, overwrite, EACH_WRITE | {"onwards": True}))
    assert (found.oracle, found.damage, found.model, found.states) == ("recovers", Damage.LOUD, "injected fault", 3)
    assert found.source is not None
    assert (found.source.file, found.source.function) == (__file__, "overwrite")
    assert found.title.endswith("write() of state failed with ENOSPC, and recovery raises ValueError")
    assert "the workload raised OSError: [Errno 28] No space left on device" in found.explanation
    assert any("<- write() of state failed with ENOSPC" in row for row in found.timeline)
    assert [fault.nth for fault in parse_plan(found.state).faults] == [1]
    (state,) = (tmp_path / "report").glob("runs/*/findings/*/state/state")
    assert state.read_bytes() == b""


def test_an_error_that_is_passed_over_loses_what_is_acknowledged(tmp_path: Path) -> None:
    def careless(disk: Path, ack: Ack) -> None:
        for number in range(1, 3):
            with suppress(OSError):
                write(disk / "new", str(number))
                (disk / "new").replace(disk / "state")
            ack(number)

    found = only(run(tmp_path, careless, {"call": "rename", "errno": "EIO"}))
    assert (found.oracle, found.damage, found.states) == ("durable", Damage.LOST, 1)
    assert "the workload went on to its end" in found.explanation


def test_real_kills_are_faults_like_others(tmp_path: Path) -> None:
    found = only(run(tmp_path, overwrite, {"call": "write", "kill": "before"}))
    assert (found.oracle, found.states) == ("recovers", 3)
    struck, ended = found.explanation[:2]
    assert struck.endswith("in overwrite: write() of state was killed before it")
    assert ended == "the workload was killed by signal 9"
    assert status(run(tmp_path, replacing, {"kill": "inside"})) is Status.PASSED


def log_of(disk: Path) -> list[str]:
    return (disk / "log").read_text().split()


def empty_log(disk: Path) -> None:
    (disk / "log").write_text("")


def skipping(disk: Path, ack: Ack) -> None:
    """Says of an entry that it is there only when it is."""
    for number in range(1, 4):
        with (disk / "log").open("ab", buffering=0) as log, suppress(OSError):
            if log.write(b"entry-%d " % number) == 8:
                ack(f"entry-{number}")


def test_a_run_that_goes_another_way_is_judged_by_what_it_acknowledged(tmp_path: Path) -> None:
    result = run(tmp_path, skipping, EACH_WRITE, setup=empty_log, recover=log_of)
    assert status(result) is Status.PASSED, why(result)
    assert verdict(result, "durable") is Verdict.HOLDS
    (atomic,) = (one for one in result.verdicts if one.oracle == "atomic")
    assert (atomic.held, atomic.unknown) == (1, 2)  # without the last entry, what is said is the beginning of the same


@pytest.mark.parametrize("goes_on", [True, False])
def test_acknowledgements_that_are_all_alike_do_not_tell_which_step_was_left_out(tmp_path: Path, goes_on: bool) -> None:
    def alike(disk: Path, ack: Ack) -> None:
        for number in range(1, 4):
            with (disk / "log").open("ab", buffering=0) as log, suppress(*[OSError] * goes_on):
                log.write(b"entry-%d " % number)
                ack("saved")

    result = run(tmp_path, alike, EACH_WRITE, setup=empty_log, recover=log_of)
    assert status(result) is Status.PASSED, why(result)
    assert verdict(result, "atomic") is (Verdict.UNKNOWN if goes_on else Verdict.HOLDS)


def test_a_loss_in_a_run_that_goes_another_way_is_found(tmp_path: Path) -> None:
    def losing(disk: Path, ack: Ack) -> None:
        skipping(disk, ack)
        if len(log_of(disk)) < 3:
            (disk / "log").write_text("entry-9 ")

    found = only(run(tmp_path, losing, {"call": "write", "nth": 2, "errno": "EIO"}, setup=empty_log, recover=log_of))
    assert (found.oracle, found.damage) == ("durable", Damage.LOST)
    assert "acknowledged and not there: 'entry-2', 'entry-3'" in found.extra["message"]


def test_a_check_of_ones_own_sees_what_the_struck_run_acknowledged(tmp_path: Path) -> None:
    def check(value: list[str], acked: list[str]) -> None:
        assert value == acked, f"{value} is not {acked}"

    wrong = {"call": "write", "nth": 3, "short": 3}
    assert status(run(tmp_path, skipping, EACH_WRITE, setup=empty_log, recover=log_of, check=check)) is Status.PASSED
    assert only(run(tmp_path, skipping, wrong, setup=empty_log, recover=log_of, check=check)).oracle == "check"


def test_where_nothing_is_struck_nothing_is_measured(tmp_path: Path) -> None:
    result = run(tmp_path, replacing, {"call": "mkdir", "errno": "EIO"})
    assert status(result) is Status.NOT_MEASURED
    assert "no call was struck: each mkdir in turn fails with EIO" in why(result)


def test_one_fault_that_strikes_nothing_is_enough_and_findings_stay(tmp_path: Path) -> None:
    idle = {"call": "mkdir", "nth": 1, "errno": "EIO"}
    assert status(run(tmp_path, replacing, EACH_WRITE, idle)) is Status.NOT_MEASURED
    result = run(tmp_path, overwrite, EACH_WRITE | {"onwards": True}, idle)
    assert status(result) is Status.VIOLATED
    assert len(result.findings) == 1


@pytest.mark.slow
def test_a_call_that_hangs_is_found_unless_the_program_gives_up(tmp_path: Path) -> None:
    found = only(run(tmp_path, replacing, {"call": "rename", "nth": 2, "hang": True}, workload_deadline_s=2))
    assert (found.oracle, found.damage) == ("terminates", Damage.STUCK)
    assert found.title.endswith(
        "rename() of new to state never returned, and the workload did not end before its deadline"
    )


def test_faults_drawn_by_chance_are_shrunk_to_one_that_is_told_exactly(tmp_path: Path) -> None:
    fault = {"path": "state", "call": "write", "probability": 0.7, "errno": "EIO"}

    def raw(disk: Path, ack: Ack) -> None:
        for number in range(1, 5):
            with suppress(OSError):
                write(disk / "state", str(number))
            ack(number)

    found = only(run(tmp_path, raw, fault, runs=3))
    (one,) = parse_plan(found.state).faults
    assert (one.nth, one.probability) == (4, None)


def test_the_same_seed_draws_the_same_and_another_one_draws_something_else(tmp_path: Path) -> None:
    def digest(seed: int) -> str:
        fault = {"path": "new", "call": "write", "probability": 0.4, "delay": 0.001}
        (note,) = (one for one in run(tmp_path, replacing, fault, runs=6, seed=seed).notes if "digest" in one)
        return note.rpartition(" ")[2]

    assert digest(1) == digest(1)
    assert digest(1) != digest(2)


def synced(disk: Path, ack: Ack) -> None:
    for number in range(1, 3):
        descriptor = os.open(disk / "new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(descriptor, str(number).encode())
        os.fsync(descriptor)
        os.close(descriptor)
        (disk / "new").replace(disk / "state")
        folder = os.open(disk, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        ack(number)


def test_after_a_sync_that_lied_a_power_cut_loses_what_was_acknowledged(tmp_path: Path) -> None:
    lie = {"lie": True, "every": 1}
    result = run(tmp_path, synced, lie, models=("kill", "ext4"))
    found = only(result)
    assert (found.oracle, found.damage, found.model) == ("durable", Damage.LOST, "ext4")
    assert "returned 0 and synced nothing" in found.explanation[0]
    assert parse_plan(found.extra["plan"]).faults == (parse_fault(lie),)
    (trace,) = (tmp_path / "report").glob("runs/*/findings/*/struck.trace")
    assert not any(op.kind.value == "fsync" for op in load(trace).ops)
    assert status(run(tmp_path, synced, lie, models=("kill",))) is Status.PASSED


def test_a_failed_sync_drops_its_pages_and_trying_again_does_not_bring_them_back(tmp_path: Path) -> None:
    def retrying(disk: Path, ack: Ack) -> None:
        descriptor = os.open(disk / "new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(descriptor, b"1")
        try:
            os.fsync(descriptor)
        except OSError:
            os.fsync(descriptor)
        os.close(descriptor)
        (disk / "new").replace(disk / "state")
        folder = os.open(disk, os.O_RDONLY)
        os.fsync(folder)
        ack(1)

    found = run(tmp_path, retrying, {"call": "fsync", "path": "new", "nth": 1, "errno": "EIO"}, models=("ext4",))
    assert {one.model for one in found.findings} == {"ext4"}
    assert found.findings
    assert all("failed with EIO" in one.title for one in found.findings)


def test_what_a_crash_shows_without_faults_is_told_as_that(tmp_path: Path) -> None:
    late = {"call": "rename", "nth": 1, "delay": 0.001}
    found = only(run(tmp_path, replacing, late, models=("posix",), oracles=("recovers",)))
    assert found.model == "posix"
    assert "came" not in found.title
    assert "plan" not in found.extra


def text_of(disk: Path) -> str:
    return (disk / "state").read_text()


@pytest.mark.parametrize("halves", [True, False])
def test_crashes_of_a_run_that_goes_another_way_are_judged_by_its_own_steps(tmp_path: Path, halves: bool) -> None:
    def passing_over(disk: Path, ack: Ack) -> None:
        texts = ["{}"]
        for number in range(1, 5):
            with suppress(OSError):
                before, texts = texts, ["half of {}", "{}"] if halves else texts  # how it saves once it has failed
                for text in before:
                    write(disk / "new", text.format(number))
                    (disk / "new").replace(disk / "state")
                texts = before
                ack(number)

    second = {"call": "write", "nth": 2, "errno": "ENOSPC"}
    result = run(tmp_path, passing_over, second, recover=text_of, models=("kill",))
    (atomic,) = (one for one in result.verdicts if one.oracle == "atomic")
    if not halves:
        assert any(note.startswith("oracle atomic could not tell in ") for note in result.notes)
        assert status(result) is Status.PASSED, why(result)
        assert atomic.unknown < atomic.held
        return
    found = only(result)
    assert (found.oracle, found.damage, found.model) == ("atomic", Damage.SILENT, "kill")
    assert "recovery returned 'half of 4'; right is '3' or '4'" in found.extra["message"]
    (kept,) = (tmp_path / "report").glob(f"runs/*/findings/*-{found.id}/replay.json")
    _, replay = find_finding(str(kept), tmp_path)
    roles = Roles(workload=CallableTarget(function=passing_over), recover=CallableTarget(function=text_of))
    assert isinstance(replay, Replay)
    assert replay_state(kept, replay, roles).shows


PAGE = 4096


def entries(disk: Path) -> list[str]:
    """Those entries of a log, of a page each, that are whole."""
    content = (disk / "log").read_bytes()
    pages = [content[at : at + PAGE] for at in range(0, len(content), PAGE)]
    return [page.decode().strip(".") for page in pages if len(page) == PAGE and b"\0" not in page]


def test_what_a_step_did_that_failed_may_be_lost_later_on(tmp_path: Path) -> None:
    def logging(disk: Path, ack: Ack) -> None:
        """An entry whose sync fails is not acknowledged; recovery passes over what the disk has lost of it."""
        with (disk / "log").open("ab", buffering=0) as log:
            for number in range(1, 5):
                log.write(f"entry-{number}".ljust(PAGE, ".").encode())
                with suppress(OSError):
                    os.fsync(log.fileno())
                    ack(f"entry-{number}")

    second = {"call": "fsync", "nth": 2, "errno": "EIO"}
    result = run(tmp_path, logging, second, setup=empty_log, recover=entries, models=("ext4",))
    assert status(result) is Status.PASSED, why(result)
    (atomic,) = (one for one in result.verdicts if one.oracle == "atomic")
    assert atomic.held
    assert atomic.unknown


def test_a_budget_that_is_spent_says_what_it_left_out(tmp_path: Path) -> None:
    result = run(tmp_path, replacing, EACH_WRITE, budget=Budget(states=2))
    assert result.statistics.states == 2
    assert not result.statistics.exhaustive
    assert result.statistics.left_out == (
        "each write in turn fails with ENOSPC: from call 3 on, for the budget was spent",
    )
    drawn = run(tmp_path, replacing, EACH_WRITE | {"probability": 1.0}, runs=5, budget=Budget(states=2))
    assert drawn.statistics.left_out == ("3 of 5 runs: the budget was spent",)


def test_bounds_on_files_memory_and_rounds_are_kept(tmp_path: Path) -> None:
    def growing(disk: Path, ack: Ack) -> None:
        for number in range(1, 3):
            with suppress(OSError):
                write(disk / "state", str(number))
            if (disk / "state").stat().st_size == 0:
                write(disk / "state", f"{number:05000}")
            ack(number)

    def insisting(disk: Path, ack: Ack) -> None:
        for attempt in range(9):
            ack(f"attempt {attempt}")
            with suppress(OSError):
                replacing(disk, lambda _: None)
                return

    def greedy(disk: Path) -> int:
        return recover(disk) + 0 * len(b"x" * (64 << 20))

    fault = {"call": "write", "nth": 2, "errno": "EIO"}
    late = {"call": "open", "nth": 1, "delay": 0.001}
    file = only(run(tmp_path, growing, fault, oracles=("bounded",), bounds=Bounds(file_bytes=4999)))
    assert (file.damage, "the workload left a file of 4.883 KiB" in file.extra["message"]) == (Damage.EXCESS, True)
    memory = only(
        run(tmp_path, replacing, late, recover=greedy, oracles=("bounded",), bounds=Bounds(memory_bytes=32 << 20))
    )
    assert "recovery took 64" in memory.extra["message"]
    rounds = only(
        run(tmp_path, insisting, {"call": "rename", "nth": 1, "onwards": True, "errno": "EIO"}, bounds=Bounds(rounds=3))
    )
    assert (rounds.damage, rounds.oracle) == (Damage.STUCK, "terminates")
    assert rounds.title.endswith("failed with EIO, and the workload went on for 9 rounds; 3 are allowed")
    undamaged = only(run(tmp_path, replacing, late, oracles=("terminates",), bounds=Bounds(rounds=2)))
    assert undamaged.title.startswith("fails on an undamaged disk: the workload went on for 3 rounds; 2 are allowed")
    fine = Bounds(file_bytes=5000, memory_bytes=200 << 20, rounds=3, recovery_s=60)
    named = ("bounded", "terminates")
    assert status(run(tmp_path, growing, fault, recover=greedy, oracles=named, bounds=fine)) is Status.PASSED


def test_a_process_that_a_fault_makes_the_workload_forget_is_left_over(tmp_path: Path) -> None:
    def forgetful(disk: Path, ack: Ack) -> None:
        helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        replacing(disk, ack)
        helper.kill()
        helper.wait()

    found = only(run(tmp_path, forgetful, {"call": "rename", "nth": 2, "errno": "EIO"}, oracles=("clean",)))
    assert found.damage is Damage.UNCLEAN
    assert "the workload left behind: process still running: python" in found.extra["message"]


def test_a_set_up_with_files_that_are_not_watched_is_made_for_each_run(tmp_path: Path) -> None:
    def with_lock(disk: Path) -> None:
        setup(disk)
        (disk / "it.lock").write_text("")

    def needing(disk: Path, ack: Ack) -> None:
        assert (disk / "it.lock").exists()
        replacing(disk, ack)

    result = run(tmp_path, needing, {"call": "rename", "errno": "EIO"}, setup=with_lock, exclude=("*.lock",))
    assert status(result) is Status.PASSED, why(result)
    assert result.statistics.states == 3


def test_a_program_that_fails_without_faults_is_told_as_that(tmp_path: Path) -> None:
    def refusing(_: Path) -> int:
        raise RuntimeError("never")

    result = run(tmp_path, replacing, EACH_WRITE, recover=refusing)
    assert result.statistics.enumerated == 0
    found = only(result)
    assert found.title.startswith("fails on an undamaged disk")
    assert found.state == ""


class Impatient:
    """A listener that interrupts after so many runs."""

    def __init__(self, runs: int) -> None:
        self._runs = runs

    def began(self, scenario: Scenario) -> None:
        """Nothing."""

    def recorded(self, trace: object) -> None:
        """Nothing."""

    def advanced(self, progress: Advance) -> None:
        """Interrupt when it is time."""
        if progress.done == self._runs:
            raise KeyboardInterrupt

    def found(self, news: News) -> None:
        """Nothing."""

    def ended(self, result: ScenarioResult) -> None:
        """Nothing."""


def test_what_was_found_before_an_interruption_is_kept(tmp_path: Path) -> None:
    result = run(tmp_path, overwrite, EACH_WRITE | {"onwards": True}, listener=Impatient(2))
    assert status(result) is Status.INTERRUPTED
    assert len(result.findings) == 1
    (replay,) = (tmp_path / "report").glob("runs/*/findings/*/replay.json")
    assert json.loads(replay.read_text())["kind"] == "inject"


def test_the_engine_that_injects_nothing_is_refused(tmp_path: Path) -> None:
    roles = Roles(workload=CallableTarget(function=replacing), recover=CallableTarget(function=recover))
    scenario = Scenario(name="it", drive=Inject(roles=roles, faults=(parse_fault(EACH_WRITE),)))
    options = RunOptions(report_dir=tmp_path / "report")
    with Run(options, command="test") as running:
        result = running.scenario(scenario, options=replace(options, engine="portable"))
    assert status(result) is Status.NOT_MEASURED
    assert "injects no faults" in why(result)


def test_a_step_that_failed_may_be_there_after_a_crash_all_the_same(tmp_path: Path) -> None:
    def taken_back(disk: Path, ack: Ack) -> None:
        """Overwrites one byte in place; where the disk does not confirm it, puts the old one back."""
        descriptor = os.open(disk / "state", os.O_RDWR)
        for number in (b"1", b"2"):
            old = os.pread(descriptor, 1, 0)
            os.pwrite(descriptor, number, 0)
            try:
                os.fsync(descriptor)
            except OSError:
                os.pwrite(descriptor, old, 0)
                os.fsync(descriptor)
                return
            ack(int(number))

    result = run(tmp_path, taken_back, {"call": "fsync", "errno": "ENOSPC"}, models=("kill",))
    assert status(result) is Status.PASSED, [one.title for one in result.findings]
    assert verdict(result, "atomic") is Verdict.HOLDS


def renames(folder_sync: Callable[[Path], None]) -> Callable[[Path, Ack], None]:
    def going_on(disk: Path, ack: Ack) -> None:
        """Tells what became of each save, and puts the old state back where the disk did not confirm the new one."""
        for number in (1, 2):
            write_synced(disk / "new", str(number))
            (disk / "old").unlink(missing_ok=True)
            os.link(disk / "state", disk / "old")
            sync(disk)
            try:
                (disk / "new").replace(disk / "state")
                sync(disk)
                ack(["saved", number])
            except OSError:
                (disk / "old").replace(disk / "state")
                folder_sync(disk)
                ack(["refused", number])

    return going_on


def write_synced(path: Path, text: str) -> None:
    path.write_text(text)
    sync(path)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_none_that_was_refused(value: int, acked: list[list[Any]]) -> None:
    assert ["refused", value] not in acked


@pytest.mark.parametrize(("folder_sync", "is_sound"), [(sync, True), (lambda _: None, False)])
def test_a_run_that_goes_on_after_a_fault_is_crashed_as_well(
    tmp_path: Path, folder_sync: Callable[[Path], None], *, is_sound: bool
) -> None:
    late = {"call": "fsync", "path": ".", "nth": 2, "errno": "EIO"}
    terms: dict[str, Any] = {"models": ("ext4",), "check": is_none_that_was_refused, "oracles": ("recovers", "check")}
    result = run(tmp_path, renames(folder_sync), late, **terms)
    assert not result.statistics.left_out
    if is_sound:
        assert status(result) is Status.PASSED, [one.title for one in result.findings]
        return
    found = only(result)
    assert (found.oracle, found.model) == ("check", "ext4")
    assert "fsync() of . failed with EIO" in found.title
