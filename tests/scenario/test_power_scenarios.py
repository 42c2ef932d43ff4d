"""The shipped scenarios of power loss: what is found under which model, how small, and with which advice."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from chaos.disk.real import FILESYSTEMS, probe
from chaos.report import ScenarioResult, Status, status
from chaos.report.replay import Replay
from chaos.scenario.loader import load
from chaos.scenario.model import RunOptions, Scenario
from chaos.scenario.runner import Run
from chaos.scenario.runner.replaying import find_finding, replay_roles, replay_state

SHELF = Path(__file__).resolve().parents[2] / "scenarios"
POWER = ("ext4", "xfs", "btrfs", "posix")
SHIPPED = (
    "atomic_replace/atomic_replace",
    "atomic_replace/without_any_sync",
    "atomic_replace/without_any_sync_atomic",
    "atomic_replace/without_directory_sync",
    "atomic_replace/without_file_sync",
    "append_log/with_sync",
    "append_log/without_sync",
    "failed_fsync/retrying",
    "failed_fsync/rewriting",
    "json_overwrite/json_overwrite",
    "sqlite/sqlite",
    "sqlite/extra",
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def scenario(name: str) -> Scenario:
    return load(SHELF / f"{name}.toml")


@cache
def ran(name: str, folder: Path, models: tuple[str, ...] = ()) -> ScenarioResult:
    with Run(RunOptions(jobs=1, report_dir=folder, models=models), command="test") as run:
        return run.scenario(scenario(name))


@pytest.mark.parametrize("name", SHIPPED)
def test_exactly_what_is_expected_is_found_with_witnesses_that_lose_three_operations_at_most(
    name: str, shelf: Path
) -> None:
    """All of them in one test: workers of xdist would run the scenarios once more for a test of their witnesses."""
    result = ran(name, shelf)
    assert result.expectation is not None
    assert status(result) is Status.PASSED, (result.expectation, result.stop)
    cuts = [finding for finding in result.findings if finding.extra.get("witness_model") != "kill"]
    assert bool(cuts) == bool(result.findings)
    assert all(int(finding.extra["lost_or_torn"]) <= 3 for finding in cuts)


@pytest.mark.parametrize("name", ["atomic_replace/without_any_sync", "append_log/with_sync"])
def test_a_wrong_expectation_fails_in_either_direction(name: str, shelf: Path) -> None:
    right = scenario(name)
    wrong = replace(right, expect=() if right.expect else scenario("append_log/without_sync").expect)
    with Run(RunOptions(jobs=1, report_dir=shelf), command="test") as run:
        assert status(run.scenario(wrong)) is not Status.PASSED


@pytest.mark.parametrize("model", ["kill", *POWER])
def test_a_replacement_without_fsync_is_torn_where_no_rename_flushes(model: str, shelf: Path) -> None:
    result = ran("atomic_replace/without_any_sync_atomic", shelf, (model,))
    assert bool(result.findings) == (model in ("xfs", "btrfs", "posix"))


@pytest.mark.parametrize("model", ["kill", *POWER])
def test_a_replacement_without_a_directory_sync_loses_an_acknowledgement_in_every_power_cut(
    model: str, shelf: Path
) -> None:
    result = ran("atomic_replace/without_directory_sync", shelf, (model,))
    assert {finding.oracle for finding in result.findings} == (set() if model == "kill" else {"durable"})


def test_a_finding_is_named_after_the_strongest_model_that_allows_it(shelf: Path) -> None:
    (finding,) = ran("atomic_replace/without_directory_sync", shelf, ("posix",)).findings
    assert finding.model == "ext4"


def test_a_lost_acknowledgement_is_not_named_after_a_kill_inside_the_write_before_it(shelf: Path) -> None:
    (finding,) = ran("append_log/without_sync", shelf, ("ext4",)).findings
    assert (finding.oracle, finding.model) == ("durable", "ext4")


def test_the_advice_names_the_missing_fsync_of_the_file(shelf: Path) -> None:
    (finding,) = ran("atomic_replace/without_file_sync", shelf).findings
    assert finding.advice[0].startswith("an fsync of state.tmp")
    assert "removes all" in finding.advice[0]


def test_the_advice_names_the_missing_fsync_of_the_directory(shelf: Path) -> None:
    for name in ("atomic_replace/without_directory_sync", "sqlite/sqlite"):
        (finding,) = ran(name, shelf).findings
        assert finding.advice[0].startswith("an fsync of the directory (the folder) after")
        assert "removes all" in finding.advice[0]


def test_the_advice_against_overwriting_is_a_replacement(shelf: Path) -> None:
    findings = ran("json_overwrite/json_overwrite", shelf).findings
    (torn,) = [finding for finding in findings if finding.oracle == "recovers"]
    assert any("temporary file" in line and "none of" in line for line in torn.advice)


def test_sqlite_loses_the_last_commit_by_its_journals_unlink_and_not_with_extra(shelf: Path) -> None:
    (finding,) = ran("sqlite/sqlite", shelf).findings
    assert "unlink() of data.sqlite-journal" in finding.extra["blamed"]
    assert ran("sqlite/extra", shelf).findings == ()


def test_one_run_shrinks_as_another(shelf: Path, tmp_path: Path) -> None:
    name = "append_log/without_sync"
    first, second = (ran(name, folder).findings for folder in (shelf, tmp_path))
    assert [(one.id, one.state, one.advice) for one in first] == [(one.id, one.state, one.advice) for one in second]


def need_real(filesystem: str) -> None:
    if refusal := probe(filesystem):
        pytest.skip(refusal)


@pytest.mark.parametrize("filesystem", FILESYSTEMS)
def test_real_images_show_the_torn_replacement_but_for_ext4(filesystem: str, shelf: Path) -> None:
    need_real(filesystem)
    result = ran("atomic_replace/without_file_sync", shelf, (f"real:{filesystem}",))
    assert result.statistics.states > 3
    assert bool(result.findings) == (filesystem != "ext4")


def test_a_finding_on_a_real_image_is_stamped_and_comes_before_the_models(shelf: Path) -> None:
    need_real("ext4")
    result = ran("atomic_replace/without_directory_sync", shelf, ("ext4", "real:ext4"))
    (finding,) = result.findings
    assert finding.model == "real:ext4"
    assert finding.explanation[-1].startswith("confirmed on ext4, Linux ")
    assert finding.extra["states_by_model"].startswith("real:ext4 ")


def test_a_finding_on_a_real_image_is_replayed(shelf: Path) -> None:
    need_real("ext4")
    (finding,) = ran("atomic_replace/without_directory_sync", shelf, ("real:ext4",)).findings
    path, replay = find_finding(finding.id, shelf)
    assert isinstance(replay, Replay)
    assert replay_state(path, replay, replay_roles(path)).shows


def test_what_an_image_can_not_repeat_is_not_measured(shelf: Path) -> None:
    need_real("ext4")
    result = ran("failed_fsync/retrying", shelf, ("real:ext4",))
    assert status(result) is Status.NOT_MEASURED


def test_a_model_of_ones_own_is_explored_and_replayed(shelf: Path) -> None:
    lying = "ext4 fsync_keeps_data=false fsync_keeps_earlier=false directory_order=false replace_flushes=false"
    result = ran("atomic_replace/atomic_replace", shelf, (lying,))
    assert result.findings
    path, replay = find_finding(result.findings[0].id, shelf)
    assert isinstance(replay, Replay)
    assert replay.model == lying
    assert replay_state(path, replay, replay_roles(path)).shows


def test_an_interruption_while_findings_are_finished_keeps_them_all(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chaos.scenario.runner.shrinking.Shrinker._smaller", interrupt)
    with Run(RunOptions(jobs=1, report_dir=shelf), command="test") as run:
        result = run.scenario(scenario("atomic_replace/without_any_sync"))
    assert status(result) is Status.INTERRUPTED
    assert {finding.oracle for finding in result.findings} == {"durable", "atomic"}
