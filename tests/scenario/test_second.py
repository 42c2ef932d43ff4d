"""Second crashes of workloads whose processes follow one another: each acknowledgement is a step of its own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.child.target import CallableTarget, Roles
from chaos.observations import Damage, Verdict
from chaos.oracles import OracleVerdict
from chaos.report import ScenarioResult, Status, status, why
from chaos.scenario import RunOptions, Scenario
from chaos.scenario.model import Explore
from chaos.scenario.runner import Run
from chaos.scenario.runner.replaying import find_finding, replay_state

Ack = Callable[[object], None]


def setup(disk: Path) -> None:
    (disk / "state").write_text("0")


def recover(disk: Path) -> str:
    return (disk / "state").read_text()


def in_a_process(work: Callable[[], Any]) -> None:
    """Run it in a child, and wait until that has ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def counting(*, halves: bool) -> Callable[[Path, Ack], None]:
    """A process for each number, which replaces the file; the first two, if asked to, in two moves after a crash."""

    def workload(disk: Path, ack: Ack) -> None:
        left = (disk / "new").exists()

        def save(number: int) -> None:
            for text in [f"half of {number}", str(number)] if left and halves and number < 3 else [str(number)]:
                (disk / "new").write_text(text)
                (disk / "new").replace(disk / "state")
            ack(number)

        for number in range(int(recover(disk)) + 1, 4):
            in_a_process(lambda number=number: save(number))  # type: ignore[misc]

    return workload


def crashed_twice(tmp_path: Path, roles: Roles) -> tuple[ScenarioResult, OracleVerdict]:
    drive = Explore(roles=roles, models=("kill",), oracles=("recovers", "atomic"), depth=2)
    with Run(RunOptions(jobs=1, report_dir=tmp_path), command="test") as run:
        result = run.scenario(Scenario(name="it", drive=drive))
    return result, next(one for one in result.verdicts if one.oracle == "atomic")


def roles_of(workload: Callable[[Path, Ack], None]) -> Roles:
    return Roles(
        setup=CallableTarget(function=setup),
        workload=CallableTarget(function=workload),
        recover=CallableTarget(function=recover),
    )


def test_processes_that_acknowledge_one_after_the_other_are_judged_in_their_order(tmp_path: Path) -> None:
    result, atomic = crashed_twice(tmp_path, roles_of(counting(halves=False)))
    assert status(result) is Status.PASSED, why(result)
    assert (atomic.verdict, atomic.unknown) == (Verdict.HOLDS, 0)


def test_a_value_between_their_steps_is_found_and_found_again(tmp_path: Path) -> None:
    roles = roles_of(counting(halves=True))
    result, _ = crashed_twice(tmp_path, roles)
    assert status(result) is Status.VIOLATED, why(result)
    assert {(one.oracle, one.damage) for one in result.findings} == {("atomic", Damage.SILENT)}
    assert all("(second crash" in one.title for one in result.findings)
    (kept,) = tmp_path.glob(f"runs/*/findings/*-{result.findings[0].id}/replay.json")
    _, replay = find_finding(str(kept), tmp_path)
    assert replay_state(kept, replay, roles).shows  # type: ignore[arg-type]


def at_once(disk: Path, ack: Ack) -> None:
    """Two processes at the same time, each of which waits for the other between its moves."""
    pipes = [os.pipe(), os.pipe()]

    def save(own: int) -> None:
        for move in range(2):
            if own or move:
                os.read(pipes[own][0], 1)
            (disk / f"{own}").write_text(str(move))
            os.write(pipes[1 - own][1], b".")
        ack(own)

    children = []
    for own in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                save(own)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


def both(disk: Path) -> list[str]:
    return [path.read_text() for path in sorted(disk.glob("[01]"))]


def test_processes_that_work_side_by_side_are_not_judged_step_by_step(tmp_path: Path) -> None:
    roles = Roles(workload=CallableTarget(function=at_once), recover=CallableTarget(function=both))
    result, atomic = crashed_twice(tmp_path, roles)
    assert atomic.verdict is Verdict.UNKNOWN
    assert not result.findings
    assert "2 processes acknowledge" in atomic.reason
