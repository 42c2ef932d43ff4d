"""`chaos run`: what it prints, what it writes, and what it exits with."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.shell import Result, chaos, put_scenario

EXPECT_LOUD = '[[expect]]\noracle = "recovers"\n'


def test_a_sound_target_passes_with_0(tmp_path: Path) -> None:
    put_scenario(tmp_path, workload="replace")
    done = chaos(tmp_path, "run")
    assert done.code == 0
    assert "one" in done.out
    assert "holds" in done.out


@dataclass(frozen=True)
class Weak:
    """One run of a target that is not sound, kept in a folder of its own and reported in each way."""

    folder: Path
    done: Result


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Weak:
    folder = tmp_path_factory.mktemp("weak")
    put_scenario(folder)
    return Weak(folder, chaos(folder, "run", "--json", "r.json", "--junit", "r.xml", "--report", "kept"))


def test_a_violation_is_told_with_its_source_line_and_its_replay_command_and_exits_with_1(tmp_path: Path) -> None:
    put_scenario(tmp_path)
    done = chaos(tmp_path, "run")
    assert done.code == 1
    assert "VIOLATED: 1 violation" in done.out
    assert "targets.py:9 overwrite: recovery raises JSONDecodeError" in done.out
    replay = next(line.split("replay: ")[1] for line in done.out.splitlines() if "replay: " in line)
    again = chaos(tmp_path, *replay.split()[1:])
    assert again.code == 1
    assert "still shows" in again.out


def test_an_expected_violation_passes_and_a_missing_one_does_not(tmp_path: Path) -> None:
    expecting = put_scenario(tmp_path)
    expecting.write_text(expecting.read_text() + EXPECT_LOUD)
    disappointed = put_scenario(tmp_path, "two", workload="replace")
    disappointed.write_text(disappointed.read_text() + EXPECT_LOUD)
    assert chaos(tmp_path, "run", "one").code == 0
    done = chaos(tmp_path, "run", "two")
    assert done.code == 1
    assert "expected and not found: oracle recovers" in done.out
    assert "not asked" not in done.out


def test_an_expectation_of_an_oracle_that_judges_only_when_it_is_named_says_so(tmp_path: Path) -> None:
    path = put_scenario(tmp_path, workload="replace")
    path.write_text(path.read_text() + '[[expect]]\noracle = "resumable"\n')
    told = " ".join(chaos(tmp_path, "run", "one").out.split())
    assert "expected and not found: oracle resumable (which was not asked: name it in `oracles`" in told


def test_reports_are_written_where_asked(weak: Weak) -> None:
    folder = weak.folder
    assert weak.done.code == 1
    assert json.loads((folder / "r.json").read_text())["exit_code"] == 1
    assert ElementTree.parse(folder / "r.xml").getroot().find("testsuite/testcase/failure") is not None
    (run,) = (folder / "kept" / "runs").iterdir()
    (finding,) = (run / "findings").iterdir()
    assert (finding / "state" / "state.json").exists()
    shown = chaos(folder, "report", "--report", "kept", "--html", "r.html", "--markdown", "r.md")
    assert shown.code == 0
    assert "VIOLATED" in shown.out
    assert "<html" in (folder / "r.html").read_text()
    assert "one" in (folder / "r.md").read_text()


def test_a_report_of_a_kept_run_tells_how_a_finding_is_replayed(tmp_path: Path, weak: Weak) -> None:
    folder = Path(shutil.copytree(weak.folder, tmp_path / "copy"))
    words = ["report", "--report", "kept", "--html", "r.html"]
    shown = chaos(folder, *words)
    (replay,) = (line.split("replay: ")[1] for line in shown.out.splitlines() if "replay: " in line)
    assert replay in (folder / "r.html").read_text()
    assert "still shows" in chaos(folder, *replay.split()[1:]).out
    for kept in (folder / "kept" / "runs").glob("*/findings/*/replay.json"):
        kept.unlink()
    shown = chaos(folder, *words)
    assert shown.code == 0
    assert "replay: " not in shown.out


def test_a_report_is_written_into_what_is_no_file(tmp_path: Path) -> None:
    put_scenario(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert chaos(tmp_path, "run", "--json", "pipe").code == 1
        assert json.loads(os.read(reader, 1 << 16))["exit_code"] == 1
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_report_that_can_not_be_written_is_wrong_usage(tmp_path: Path) -> None:
    put_scenario(tmp_path, workload="replace")
    done = chaos(tmp_path, "run", "--json", "no/such/folder.json")
    assert done.code == 2
    assert "no/such/folder.json can't be written" in done.err


def test_fail_fast_stops_after_the_first_failure(tmp_path: Path) -> None:
    put_scenario(tmp_path, "a")
    put_scenario(tmp_path, "b", workload="replace")
    done = chaos(tmp_path, "run", "--fail-fast")
    assert done.code == 1
    assert "b: " not in done.out


def test_list_shows_scenarios_and_runs_none(tmp_path: Path) -> None:
    put_scenario(tmp_path)
    for words in (["run", "--list"], ["list"]):
        done = chaos(tmp_path, *words)
        assert done.code == 0
        assert done.out.startswith("one\n")
        assert not (tmp_path / ".chaos").exists()


def test_the_same_seed_gives_the_same_findings(tmp_path: Path) -> None:
    put_scenario(tmp_path)
    found = []
    for jobs in ("1", "2"):
        chaos(tmp_path, "run", "--seed", "7", "--jobs", jobs, "--json", "r.json")
        (scenario,) = json.loads((tmp_path / "r.json").read_text())["run"]["scenarios"]
        found.append([(one["id"], one["state"], one["states"]) for one in scenario["findings"]])
        assert scenario["seed"] == 7
    assert found[0] == found[1] != []


def test_a_budget_of_states_is_kept_and_what_was_left_out_is_told(tmp_path: Path) -> None:
    put_scenario(tmp_path, workload="replace")
    done = chaos(tmp_path, "run", "--budget", "3", "--json", "r.json")
    (scenario,) = json.loads((tmp_path / "r.json").read_text())["run"]["scenarios"]
    assert scenario["statistics"]["states"] == 3
    assert not scenario["statistics"]["exhaustive"]
    assert "left out: kill: " in done.out


def test_the_command_line_wins_over_the_scenario(tmp_path: Path) -> None:
    put_scenario(tmp_path, workload="replace", top=["budget = 5"])
    for words, states in ((["run"], 5), (["run", "--budget", "2"], 2)):
        chaos(tmp_path, *words, "--json", "r.json")
        (scenario,) = json.loads((tmp_path / "r.json").read_text())["run"]["scenarios"]
        assert scenario["statistics"]["states"] == states


def test_commands_are_targets_too(tmp_path: Path) -> None:
    put_scenario(
        tmp_path,
        setup="",
        workload='[["sh", "-c", "echo 1 > f"], ["sh", "-c", "echo 2 > g; mv g f"]]',
        recover='[["cat", "f"]]',
        top=['oracles = ["recovers", "durable"]'],
    )
    done = chaos(tmp_path, "run")
    assert done.code == 0, done.out
    assert "2 acknowledgements" in done.out
