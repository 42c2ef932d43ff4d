"""What a workload may not do while it is recorded."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
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


def test_a_path_of_the_folder_inside_a_file_is_noted() -> None:
    (note,) = recorded('echo "at $PWD/data" > manifest; echo relative > other').notes
    assert note.startswith("manifest holds the absolute path of the folder")
    assert note.endswith("it leads to the copy that recovery runs on")


def explored(folder: Path, roles: Roles, jobs: int = 1) -> ScenarioResult:
    with Run(RunOptions(report_dir=folder, jobs=jobs), command="test") as run:
        return run.scenario(Scenario(name="absolute", drive=Explore(roles=roles)))


def explored_with_a_manifest(folder: Path, recover: str) -> ScenarioResult:
    line = 'echo data > data; echo "$PWD/data" > new; mv new manifest'
    workload = CommandTarget(commands=(("sh", "-c", line),))
    return explored(folder, Roles(workload=workload, recover=CommandTarget(commands=(("sh", "-c", recover),))), jobs=2)


def test_a_recovery_that_goes_by_a_path_in_a_file_finds_the_state_there(tmp_path: Path) -> None:
    result = explored_with_a_manifest(tmp_path, 'test ! -s manifest || cat "$(cat manifest)"')
    assert status(result) is Status.PASSED
    assert result.statistics.states > 5


def explored_with_attached_databases(folder: Path, *names: str) -> ScenarioResult:
    """A transaction over two databases, whose journals name each other by their whole paths."""

    def connected(disk: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(disk / f"{names[0]}.db", isolation_level=None)
        connection.execute("ATTACH ? AS other", (str(disk / f"{names[1]}.db"),))
        return connection

    def prepare(disk: Path) -> None:
        with closing(connected(disk)) as connection:
            for schema in ("main", "other"):
                connection.execute(f"CREATE TABLE {schema}.t (n)")
                connection.execute(f"INSERT INTO {schema}.t VALUES (0)")

    def work(disk: Path, ack: Callable[[object], None]) -> None:
        with closing(connected(disk)) as connection:
            connection.execute("BEGIN")
            connection.execute("UPDATE main.t SET n = 1")
            connection.execute("UPDATE other.t SET n = 1")
            connection.execute("COMMIT")
            ack(1)

    def recover(disk: Path) -> int:
        found = []
        for name in ("a", "b"):
            with closing(sqlite3.connect(disk / f"{name}.db")) as connection:
                found.append(connection.execute("SELECT n FROM t").fetchone()[0])
        assert found[0] == found[1]
        return int(found[0])

    targets: dict[str, Callable[..., object]] = {"setup": prepare, "workload": work, "recover": recover}
    return explored(folder, Roles(**{role: CallableTarget(function=one) for role, one in targets.items()}))


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_a_transaction_over_attached_databases_is_whole_after_each_kill(names: str, tmp_path: Path) -> None:
    result = explored_with_attached_databases(tmp_path, *names)
    assert status(result) is Status.PASSED, result.findings


def test_where_a_path_can_not_lead_to_the_state_what_depends_on_it_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaos.scenario.runner.recording.is_lendable", lambda folder: False)  # as a user's own folder
    result = explored_with_attached_databases(tmp_path, "a", "b")
    assert status(result) is Status.NOT_MEASURED
    assert " holds the absolute path of the folder, " in why(result)


def test_a_recovery_that_looks_for_the_folder_of_the_recording_is_not_measured_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaos.scenario.runner.recording.is_lendable", lambda folder: False)  # as a user's own folder
    result = explored_with_a_manifest(tmp_path, 'test ! -s manifest || cat "$(cat manifest)"')
    assert status(result) is Status.NOT_MEASURED
    assert " holds the absolute path of the folder, " in why(result)


def test_a_recovery_that_fails_for_another_reason_is_found_though_a_file_holds_the_path(tmp_path: Path) -> None:
    assert status(explored_with_a_manifest(tmp_path, "test ! -s manifest || exit 3")) is Status.VIOLATED
