"""Commands that acknowledge before they save, and recoveries that print what they find."""

import sys
from pathlib import Path

import pytest

from chaos.child.target import CommandTarget, Roles
from chaos.observations import Damage
from chaos.report import ScenarioResult, Status, status, why
from chaos.scenario import RunOptions, Scenario
from chaos.scenario.model import Explore
from chaos.scenario.runner import Run

ACK = f"{sys.executable} -m chaos.child.ack"


def explored(tmp_path: Path, line: str, recover: str) -> ScenarioResult:
    """Three commands, `line` with the numbers 1 to 3 filled in."""
    commands = tuple(("sh", "-c", line.replace("NUMBER", str(number))) for number in (1, 2, 3))
    roles = Roles(
        setup=CommandTarget(commands=(("sh", "-c", "echo 0 > state"),)),
        workload=CommandTarget(commands=commands),
        recover=CommandTarget(commands=(("sh", "-c", recover),)),
    )
    drive = Explore(roles=roles, models=("kill",))
    with Run(RunOptions(jobs=1, report_dir=tmp_path), command="test") as run:
        return run.scenario(Scenario(name="it", drive=drive))


@pytest.mark.parametrize("recover", ["cat state", "echo found $(cat state) here"])
def test_a_command_that_acknowledges_before_it_saves_is_found(tmp_path: Path, recover: str) -> None:
    result = explored(tmp_path, f"{ACK} NUMBER; echo NUMBER > new; mv new state", recover)
    assert status(result) is Status.VIOLATED, why(result)
    assert {(one.oracle, one.damage) for one in result.findings} == {("durable", Damage.LOST)}


def test_one_that_acknowledges_what_it_has_saved_holds(tmp_path: Path) -> None:
    result = explored(tmp_path, f"echo NUMBER > new; mv new state; {ACK} NUMBER", "cat state")
    assert status(result) is Status.PASSED, why(result)
    assert not any("too early" in note for note in result.notes)


def test_where_recovery_does_not_show_what_is_acknowledged_that_is_said(tmp_path: Path) -> None:
    result = explored(tmp_path, f"{ACK} NUMBER; echo NUMBER > new; mv new state", "cksum state")
    assert any(note.startswith("durable: acknowledgements made too early are not judged") for note in result.notes)


def test_commands_whose_ends_acknowledge_are_never_too_early(tmp_path: Path) -> None:
    result = explored(tmp_path, "echo NUMBER > new; mv new state", "cksum state")
    assert status(result) is Status.PASSED, why(result)
    assert not any("too early" in note for note in result.notes)
