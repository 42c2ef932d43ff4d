"""Copies are as like the recorded files as recovery needs: their times, in order and age or exactly, or it is told."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaos.child.target import CallableTarget, Roles
from chaos.disk import MODELS
from chaos.explore.exploration import Exploration
from chaos.explore.places import base_folder
from chaos.explore.settings import Settings
from chaos.report.results import ScenarioResult, Status, status, why
from chaos.scenario.model import Explore, RunOptions, Scenario
from chaos.scenario.runner import Run
from chaos.scenario.runner.recording import record_scenario

Ack = Callable[[object], None]


def replaced(path: Path, text: str, *, synced: bool = True) -> None:
    temporary = path.with_name("temporary")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        if synced:
            os.fsync(file.fileno())
    os.replace(temporary, path)
    if synced:
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def two_slots(disk: Path, ack: Ack) -> None:
    for number in range(1, 6):
        replaced(disk / ("z" if number % 2 else "a"), json.dumps(number))
        ack(number)


def newest(disk: Path) -> int:
    slots = sorted((path for path in disk.iterdir() if path.name in "az"), key=lambda path: path.stat().st_mtime_ns)
    return json.loads(slots[-1].read_text()) if slots else 0


def indexed(disk: Path, ack: Ack) -> None:
    replaced(disk / "source", "text")
    for number in range(1, 4):
        index = {"changed": (disk / "source").stat().st_mtime_ns, "number": number}
        replaced(disk / "index", json.dumps(index), synced=number < 3)
        ack(number)


def by_the_index(disk: Path) -> int:
    if not (disk / "index").exists():
        return 0
    index = json.loads((disk / "index").read_text())
    assert index["changed"] == (disk / "source").stat().st_mtime_ns, "the index is stale"
    return int(index["number"])


def run(folder: Path, *models: str, **roles: Any) -> ScenarioResult:
    targets = {name: CallableTarget(function=function) for name, function in roles.items()}
    with Run(RunOptions(report_dir=folder), command="test") as running:
        drive = Explore(roles=Roles(**targets), models=models or ("kill",))
        return running.scenario(Scenario(name="alike", drive=drive))


def values(result: ScenarioResult) -> list[tuple[str, str]]:
    return [(finding.oracle, finding.model) for finding in result.findings]


def seen(workload: Callable[[Path, Ack], object], recover: Callable[[Path], object]) -> list[str]:
    """What recovery shows on the undamaged copies: at the start, at each acknowledgement, at the end."""
    roles = Roles(workload=CallableTarget(function=workload), recover=CallableTarget(function=recover))
    trace = record_scenario(Explore(roles=roles), "syscalls")
    with Exploration(trace, roles, Settings(models=(MODELS["kill"],))) as exploration:
        return [step.value for step in exploration.reference.steps]


def test_who_takes_the_newest_file_finds_it() -> None:
    assert seen(two_slots, newest) == ["0", "1", "2", "3", "4", "5", "5"]


@pytest.mark.parametrize("model", ["kill", "ext4", "posix"])
def test_a_sound_program_that_goes_by_the_newest_file_passes(tmp_path: Path, model: str) -> None:
    result = run(tmp_path, model, workload=two_slots, recover=newest)
    assert values(result) == []
    assert status(result) is Status.PASSED


def test_a_weak_program_that_goes_by_the_newest_file_is_caught(tmp_path: Path) -> None:
    def unsynced(disk: Path, ack: Ack) -> None:
        for number in range(1, 6):
            replaced(disk / ("z" if number % 2 else "a"), json.dumps(number), synced=number != 4)
            ack(number)

    assert ("durable", "ext4") in values(run(tmp_path, "kill", "ext4", workload=unsynced, recover=newest))


def test_a_file_that_the_run_did_not_change_is_as_old_as_it_was() -> None:
    def aged(disk: Path, ack: Ack) -> None:
        (disk / "lock").touch()
        os.utime(disk / "lock", (time.time() - 1000, time.time() - 1000))
        for number in range(2):
            replaced(disk / "state", str(number))
            ack(number)

    def age(disk: Path) -> object:
        ages = {path.name: round(time.time() - path.stat().st_mtime, -2) for path in disk.iterdir()}
        return {name: age for name, age in ages.items() if name != "temporary"}

    assert seen(aged, age)[-1] == '{"lock":1000.0,"state":0.0}'


def test_a_file_time_that_was_written_down_is_found_again(tmp_path: Path) -> None:
    result = run(tmp_path, "kill", "ext4", workload=indexed, recover=by_the_index)
    assert values(result) == [("durable", "ext4")]  # the last index is not synced, and nothing else is wrong


def test_a_recovery_that_goes_by_extended_attributes_is_not_measured(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=base_folder()) as folder:
        try:
            os.setxattr(folder, "user.probe", b"")
        except OSError as error:
            pytest.skip(f"no extended attributes in {base_folder()}: {error.strerror}")

    def mark(disk: Path, ack: Ack) -> None:
        for number in range(1, 4):
            replaced(disk / f"part{number}", "data")
            os.setxattr(disk / f"part{number}", "user.done", b"yes")
            ack(number)

    def done(disk: Path) -> list[str]:
        return sorted(path.name for path in disk.glob("part?") if "user.done" in os.listxattr(path))

    result = run(tmp_path, workload=mark, recover=done)
    assert status(result) is Status.NOT_MEASURED
    assert "recovery goes by extended attributes (user.done)" in why(result)
    assert status(run(tmp_path, workload=mark, recover=os.listdir)) is not Status.NOT_MEASURED  # who does not is judged
