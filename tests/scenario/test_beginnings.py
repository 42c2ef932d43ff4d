"""Where a failure began: which lines findings name when a crash loses nothing of what was done."""

import json
import multiprocessing
import sys
from collections.abc import Callable
from inspect import getsourcelines
from pathlib import Path
from typing import Any

import pytest

from chaos.child.target import CallableTarget, CommandTarget, Roles
from chaos.observations import Finding
from chaos.report import ScenarioResult
from chaos.scenario import Explore, RunOptions, Scenario
from chaos.scenario.runner import Run

Ack = Callable[[object], None]


def ran(
    tmp_path: Path,
    workload: Callable[..., Any] | list[list[str]],
    recover: Callable[..., Any] | list[list[str]],
    *,
    oracles: tuple[str, ...] = ("recovers", "durable", "atomic"),
    check: Callable[..., Any] | None = None,
) -> ScenarioResult:
    def target(given: Any) -> Any:
        if callable(given):
            return CallableTarget(function=given)
        return CommandTarget(commands=tuple(tuple(command) for command in given))

    roles = Roles(workload=target(workload), recover=target(recover), check=None if check is None else target(check))
    drive = Explore(roles=roles, oracles=oracles)
    with Run(RunOptions(jobs=1, report_dir=tmp_path / "runs"), command="test") as run:
        return run.scenario(Scenario(name="one", drive=drive))


def line(function: Callable[..., Any], mark: str) -> int:
    """The number of the line in `function` that ends with a comment."""
    lines, first = getsourcelines(function)
    (found,) = [first + number for number, text in enumerate(lines) if text.rstrip().endswith(f"# {mark}")]
    return found


def blamed(result: ScenarioResult) -> list[tuple[str, int]]:
    return sorted((one.oracle, 0 if one.source is None else one.source.line) for one in result.findings)


def explained(findings: tuple[Finding, ...]) -> str:
    return "\n".join(line for one in findings for line in one.explanation)


def put(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def deleting_first(disk: Path, ack: Ack) -> None:
    put(disk / "data-0", "0")
    put(disk / "manifest", "0")
    for number in (1, 2):
        put(disk / f"data-{number}", str(number))
        (disk / f"data-{number - 1}").unlink()  # too early
        put(disk / "manifest", str(number))
        ack(number)


def load(disk: Path) -> int | None:
    if not (disk / "manifest").exists():
        return None
    return int((disk / f"data-{(disk / 'manifest').read_text()}").read_text())


def test_what_fails_on_while_the_program_writes_other_files_is_one_finding_at_the_line_that_began_it(
    tmp_path: Path,
) -> None:
    result = ran(tmp_path, deleting_first, load, oracles=("recovers",))
    assert blamed(result) == [("recovers", line(deleting_first, "too early"))]
    assert "a crash does the same up to " in explained(result.findings)
    assert "in put, called from test_beginnings.py:" in explained(result.findings)
    assert "in deleting_first: rename() of manifest.new to manifest" in explained(result.findings)


def moving(disk: Path, ack: Ack) -> None:
    put(disk / "from", "9")
    put(disk / "to", "0")
    ack([9, 0])
    put(disk / "from", "8")  # taken
    put(disk / "to", "1")  # given
    ack([8, 1])


def balance(disk: Path) -> list[int]:
    return [int((disk / name).read_text()) if (disk / name).exists() else 0 for name in ("from", "to")]


def test_two_steps_of_one_helper_that_belong_together_are_told_by_their_callers(tmp_path: Path) -> None:
    result = ran(tmp_path, moving, balance, oracles=("atomic",))
    told = explained(result.findings)
    assert f"in put, called from test_beginnings.py:{line(moving, 'taken')} in moving: pathlib.replace() " in told
    given = f"in put, called from test_beginnings.py:{line(moving, 'given')} in moving: rename() of to.new to to"
    assert "a crash does the same up to " in told
    assert given in told


def overwriting(disk: Path, ack: Ack) -> None:
    for number in (1, 2):
        with open(disk / "state", "w") as file:  # cut
            file.write(f'{{"number": {number}}}')
            file.flush()  # torn
        ack(number)


def strict(disk: Path) -> Any:
    try:
        return json.loads((disk / "state").read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        raise RuntimeError("the state is damaged") from None


def test_two_lines_that_damage_one_file_are_both_named_though_recovery_fails_alike(tmp_path: Path) -> None:
    result = ran(tmp_path, overwriting, strict, oracles=("recovers",))
    lines = [("recovers", line(overwriting, "cut")), ("recovers", line(overwriting, "torn"))]
    assert blamed(result) == lines


def keeping_back(disk: Path, ack: Ack) -> None:
    waiting: list[int] = []
    for number in range(6):
        waiting.append(number)
        if len(waiting) == 3:
            with open(disk / "log", "a", buffering=1) as file:
                for one in waiting:
                    file.write(f"{one}\n")
            waiting.clear()
        ack(number)  # too early


def lines_of(disk: Path) -> list[int]:
    text = (disk / "log").read_text() if (disk / "log").exists() else ""
    return [int(one) for one in text.split("\n")[:-1]]


def test_an_acknowledgement_that_comes_too_early_is_to_blame_and_not_what_is_written_after_it(tmp_path: Path) -> None:
    result = ran(tmp_path, keeping_back, lines_of, oracles=("durable",))
    assert blamed(result) == [("durable", line(keeping_back, "too early"))]
    assert "the acknowledgement of 0 was made, then came the kill" in explained(result.findings)
    assert not result.findings[0].advice


def two_steps(disk: Path, ack: Ack) -> None:
    put(disk / "state", "1")
    put(disk / "state", "2")


def acknowledged(disk: Path, ack: Ack) -> None:
    put(disk / "state", "1")
    ack(1)
    put(disk / "state", "2")


def test_who_acknowledges_nothing_is_told_that_all_counts_as_one_step(tmp_path: Path) -> None:
    result = ran(tmp_path, two_steps, state_or_nothing, oracles=("atomic",))
    assert "nothing was acknowledged, so all of it counts as one step" in explained(result.findings)
    assert not ran(tmp_path, acknowledged, state_or_nothing, oracles=("atomic",)).findings


COMMAND = """
import os, sys
from chaos.child.ack import ack
for number in "abc":
    with open("new", "w") as file:
        file.write(number)
    os.replace("new", "state")
    ack(number)
"""
COMMAND_IN_PLACE = COMMAND.replace('"new", "w"', '"state", "w"').replace('os.replace("new", "state")', "")
COMMAND_TOO_EARLY = COMMAND.replace("    ack(number)\n", "").replace("    with", "    ack(number)\n    with")


def state_or_nothing(disk: Path) -> str:
    return (disk / "state").read_text() if (disk / "state").exists() else ""


@pytest.mark.parametrize(
    ("body", "verdict"), [(COMMAND, "holds"), (COMMAND_IN_PLACE, "violated"), (COMMAND_TOO_EARLY, "violated")]
)
def test_the_end_of_a_command_that_acknowledges_by_itself_acknowledges_nothing(
    tmp_path: Path, body: str, verdict: str
) -> None:
    # Else two would acknowledge, and what was acknowledged would not all be there in the end.
    result = ran(tmp_path, [[sys.executable, "-c", body]], state_or_nothing, oracles=("durable",))
    assert [verdict.verdict.value for verdict in result.verdicts] == [verdict]


def half_written(disk: Path, number: int, written: Any, told: Any) -> None:
    with open(disk / f"part-{number}", "w", buffering=1) as file:
        written.set()
        if number:  # the other one's work is acknowledged meanwhile
            told.wait(30)
        file.write(f"{number}\n")  # later


def side_by_side(disk: Path, ack: Ack) -> None:
    context = multiprocessing.get_context("fork")
    began, told = context.Event(), context.Event()
    slow = context.Process(target=half_written, args=(disk, 1, began, told))
    slow.start()
    began.wait(30)
    quick = context.Process(target=half_written, args=(disk, 0, context.Event(), told))
    quick.start()
    quick.join()
    ack(0)
    told.set()
    slow.join()
    ack(1)


def parts(disk: Path) -> list[int]:
    return sorted(int(path.read_text()) for path in disk.glob("part-*"))


def anything(value: object, acked: object) -> None:
    pass


def test_what_another_process_had_half_done_at_an_acknowledgement_is_no_undamaged_disk(tmp_path: Path) -> None:
    result = ran(tmp_path, side_by_side, parts, oracles=("recovers",), check=anything)
    assert result.findings
    assert not [one for one in result.findings if "undamaged" in one.title]
    assert {one.source.function for one in result.findings if one.source is not None} == {"half_written"}
