"""The run folder: readable at every moment, after SIGKILL, and not piling up."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from chaos.child.target import PythonTarget, Roles
from chaos.errors import UsageError
from chaos.observations import Damage
from chaos.report.findings import News
from chaos.report.folder import KEEP, RunFolder, latest_run, load_run, remove_old_runs, run_id
from chaos.report.journal import read_journal
from chaos.report.replay import Replay, dump_replay, load_replay
from chaos.report.results import Status, status
from tests.report.making import finding, run_result, scenario_result

BEGAN = run_result()
NEWS = News(title="t.py:1 f: recovery hangs", oracle="recovers", damage=Damage.LOUD, model="kill", state="1", point=1)
ROLES = Roles(workload=PythonTarget(ref="t:w"), recover=PythonTarget(ref="t:r"))
REPLAY = Replay(
    finding="0123456789ab", scenario="saver", oracle="recovers", trace="", model="kill", recipe="1", point=1, acked=0
)


def test_a_finished_run_reads_back_as_it_was(tmp_path: Path) -> None:
    run = replace(BEGAN, scenarios=(scenario_result(findings=(finding(),)),), duration_s=2.0)
    with RunFolder(tmp_path, BEGAN) as folder:
        folder.begin("saver")
        folder.result(run.scenarios[0])
        folder.finish(run)
    assert load_run(folder.path) == run
    assert read_journal((folder.path / "journal.jsonl").read_bytes(), "j") == run


def test_a_run_cut_at_any_byte_of_its_journal_is_readable(tmp_path: Path) -> None:
    result = scenario_result(findings=(finding(),))
    with RunFolder(tmp_path, BEGAN) as folder:
        folder.begin("saver")
        folder.cause("saver", NEWS)
        folder.keep(finding(), dump_replay(REPLAY, ROLES))
        folder.result(result)
        folder.begin("second")
        folder.cause("second", NEWS)
    content = (folder.path / "journal.jsonl").read_bytes()
    first_line = content.index(b"\n") + 1
    found = [read_journal(content[:length], "j") for length in range(first_line, len(content) + 1)]
    assert not any(run.complete for run in found)
    assert max(len(run.scenarios) for run in found) == 2
    last = found[-1]
    assert last.scenarios[0] == result
    assert status(last.scenarios[1]) is Status.INTERRUPTED
    assert last.scenarios[1].notes == ("found: t.py:1 f: recovery hangs (model kill, point 1, state 1)",)


def test_a_scenario_under_way_keeps_the_findings_it_had(tmp_path: Path) -> None:
    with RunFolder(tmp_path, BEGAN) as folder:
        folder.begin("saver")
        folder.keep(finding(), dump_replay(REPLAY, ROLES))
    (result,) = load_run(folder.path).scenarios
    assert result.findings == (finding(),)


def test_a_damaged_line_in_the_middle_is_refused_and_named(tmp_path: Path) -> None:
    with RunFolder(tmp_path, BEGAN) as folder:
        folder.begin("saver")
        folder.begin("other")
    lines = (folder.path / "journal.jsonl").read_bytes().split(b"\n")
    with pytest.raises(UsageError, match="j:2 is not JSON"):
        read_journal(b"\n".join([lines[0], b"{", *lines[2:]]), "j")


PROGRAM = """
import sys, time
from pathlib import Path
from chaos.report.folder import RunFolder
from tests.report.making import run_result, finding
from tests.report.test_folder import NEWS
folder = RunFolder(Path(sys.argv[1]), run_result())
folder.begin("saver")
folder.cause("saver", NEWS)
print(folder.path, flush=True)
time.sleep(600)
"""


def test_what_was_found_survives_sigkill_of_the_harness_and_a_living_run_is_left_alone(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
        assert load_run(path).scenarios[0].notes
        make_runs(tmp_path, 3)
        assert path.name not in remove_old_runs(tmp_path, keep=1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert load_run(path).scenarios[0].notes
    assert path.name in remove_old_runs(tmp_path, keep=1) or path == latest_run(tmp_path)


def make_runs(root: Path, count: int) -> list[Path]:
    began = datetime(2026, 3, 1, tzinfo=timezone.utc)
    made = []
    for number in range(count):
        name = run_id(began + timedelta(seconds=number), b"\x01\x02")
        with RunFolder(root, replace(BEGAN, id=name), keep=1000) as folder:
            made.append(folder.path)
    return made


def test_the_newest_runs_remain(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, 5)
    assert remove_old_runs(tmp_path, keep=2) == tuple(run.name for run in runs[:3])
    assert sorted((tmp_path / "runs").iterdir()) == runs[3:]
    assert latest_run(tmp_path) == runs[-1]


def test_a_new_run_removes_the_oldest_by_itself(tmp_path: Path) -> None:
    make_runs(tmp_path, KEEP + 3)
    with RunFolder(tmp_path, replace(BEGAN, id="20270101-000000-abcd")):
        assert len(list((tmp_path / "runs").iterdir())) == KEEP


def test_what_is_no_run_is_never_removed(tmp_path: Path) -> None:
    make_runs(tmp_path, 2)
    elsewhere = tmp_path / "precious"
    elsewhere.mkdir()
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "20200101-000000-abcd").symlink_to(elsewhere)
    remove_old_runs(tmp_path, keep=1)
    assert elsewhere.is_dir()
    assert (tmp_path / "runs" / "notes").is_dir()
    assert (tmp_path / "runs" / "20200101-000000-abcd").is_symlink()


def test_a_removal_cut_half_way_is_taken_up(tmp_path: Path) -> None:
    (run,) = make_runs(tmp_path, 1)
    half = run.rename(run.with_name(run.name + ".removing"))
    remove_old_runs(tmp_path)
    assert not half.exists()


def test_a_finding_is_kept_with_its_state_and_its_replay_file(tmp_path: Path) -> None:
    def materialise(path: Path) -> None:
        path.mkdir()
        (path / "state.json").write_bytes(b"{")

    with RunFolder(tmp_path, BEGAN) as folder:
        trace = folder.trace_path("saver")
        trace.write_bytes(b"trace")
        kept = folder.keep(
            finding(), dump_replay(replace(REPLAY, trace=folder.replay_trace("saver")), ROLES), materialise
        )
    assert (kept / "state" / "state.json").read_bytes() == b"{"
    replay, roles = load_replay((kept / "replay.json").read_bytes(), "replay.json")
    assert roles == ROLES
    assert (kept / replay.trace).resolve() == trace


def test_odd_scenario_names_are_safe_and_distinct_file_names(tmp_path: Path) -> None:
    names = ["../../etc/passwd", ".hidden", "test_a[1]", "test_a(1)", "x" * 300]
    with RunFolder(tmp_path, BEGAN) as folder:
        paths = [folder.trace_path(name) for name in names]
        for path in paths:
            path.write_bytes(b"")
    assert len(set(paths)) == len(names)
    assert all(path.parent == folder.path / "traces" for path in paths)


def test_the_folder_keeps_itself_out_of_version_control(tmp_path: Path) -> None:
    with RunFolder(tmp_path / ".chaos", BEGAN):
        assert (tmp_path / ".chaos" / ".gitignore").read_bytes() == b"*\n"


def test_a_root_that_is_a_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be made"):
        RunFolder(tmp_path / "file", BEGAN)


def test_a_run_id_that_is_taken_is_a_usage_error(tmp_path: Path) -> None:
    with RunFolder(tmp_path, BEGAN), pytest.raises(UsageError, match="can't be made"):
        RunFolder(tmp_path, BEGAN)


def test_a_folder_without_report_and_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        load_run(tmp_path)
    with pytest.raises(UsageError, match="no run is kept"):
        latest_run(tmp_path)


def test_run_ids_sort_by_time_whatever_the_zone() -> None:
    early = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=5)))
    assert run_id(early, b"\xab\xcd") == "20260101-220405.000-abcd"


def test_lines_are_whole_json_objects(tmp_path: Path) -> None:
    with RunFolder(tmp_path, BEGAN) as folder:
        folder.begin("sa\nver")
    lines = (folder.path / "journal.jsonl").read_text(encoding="ascii").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["run", "scenario"]
    assert os.listdir(tmp_path / "runs") == [BEGAN.id]
