"""What a workload may not do while it is recorded."""

import errno
import os
from pathlib import Path

import pytest

from chaos.child.target import CallableTarget, CommandTarget, Roles
from chaos.disk import MODELS, StateSpace, materialise
from chaos.errors import NotMeasured
from chaos.explore.places import base_folder
from chaos.report.results import ScenarioResult, Status, status, why
from chaos.scenario.model import Explore, RunOptions, Scenario
from chaos.scenario.runner import Run
from chaos.scenario.runner.recording import record_scenario
from chaos.trace.model import Trace


@pytest.mark.parametrize(
    "line",
    [
        'echo 1 > f; rm -r "$PWD"',
        'd=$PWD; echo 1 > f; cd /; mv "$d" "$d.old"; mkdir "$d"; echo 2 > "$d/f"; rm -r "$d.old"',
    ],
    ids=["removed", "replaced"],
)
def test_a_workload_that_does_away_with_its_folder_is_not_measured(line: str) -> None:
    shell = CommandTarget(commands=(("sh", "-c", line),))
    with pytest.raises(NotMeasured, match="removed or replaced the watched folder itself"):
        record_scenario(Explore(roles=Roles(workload=shell, recover=shell)), "syscalls")


def recorded(line: str, setup: str = "true") -> Trace:
    workload, before = (CommandTarget(commands=(("sh", "-c", text),)) for text in (line, setup))
    return record_scenario(Explore(roles=Roles(workload=workload, recover=workload, setup=before)), "syscalls")


def test_who_renames_from_another_file_system_into_the_folder_is_told_where_it_is() -> None:
    def work(disk: Path, _ack: object) -> None:
        (disk / "f").touch()
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    target = CallableTarget(function=work)
    with pytest.raises(NotMeasured, match="Invalid cross-device link") as caught:
        record_scenario(Explore(roles=Roles(workload=target, recover=target)), "syscalls")
    assert f"with TMPDIR={base_folder()}" in (caught.value.hint or "")


def test_absolute_links_into_the_folder_follow_it_to_where_recovery_runs(tmp_path: Path) -> None:
    trace = recorded('ln -s "$PWD/new" made; ln -s /etc away; mv old moved', 'mkdir new; ln -s "$PWD" old')
    space = StateSpace(trace, MODELS["kill"])
    materialise(space.tree(f"{len(trace.ops)}/0:all"), os.fspath(tmp_path))
    links = {name: os.readlink(tmp_path / name) for name in ("made", "away", "moved")}
    assert links == {"made": f"{tmp_path}/new", "away": "/etc", "moved": str(tmp_path)}
    assert trace.notes == ()


def test_a_path_of_the_folder_inside_a_file_can_not_follow_and_is_noted() -> None:
    (note,) = recorded('echo "at $PWD/data" > manifest; echo relative > other').notes
    assert note.startswith("manifest holds the absolute path of the folder")


def explored_with_a_manifest(folder: Path, recover: str) -> ScenarioResult:
    workload = CommandTarget(commands=(("sh", "-c", 'echo data > data; echo "$PWD/data" > manifest'),))
    roles = Roles(workload=workload, recover=CommandTarget(commands=(("sh", "-c", recover),)))
    with Run(RunOptions(report_dir=folder), command="test") as run:
        return run.scenario(Scenario(name="absolute", drive=Explore(roles=roles)))


def test_a_recovery_that_looks_for_the_folder_of_the_recording_is_not_measured_when_it_fails(tmp_path: Path) -> None:
    result = explored_with_a_manifest(tmp_path, 'test ! -s manifest || cat "$(cat manifest)"')
    assert status(result) is Status.NOT_MEASURED
    assert why(result).startswith("manifest holds the absolute path of the folder")


def test_a_recovery_that_fails_for_another_reason_is_found_though_a_file_holds_the_path(tmp_path: Path) -> None:
    assert status(explored_with_a_manifest(tmp_path, "test ! -s manifest || exit 3")) is Status.VIOLATED
