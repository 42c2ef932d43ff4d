"""`chaos record` and `chaos explore`: any command line's run, and a check on what crashes of it leave."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import ROOT, Result, chaos

OVERWRITES = "for n in 1 2; do echo whole > f; done"
FAILING = "! test -e f || grep -q whole f"


@pytest.fixture
def explored(tmp_path: Path) -> Result:
    (tmp_path / "disk").mkdir()
    recorded = chaos(tmp_path, "record", "-o", "t.trace", "--folder", "disk", "--", "sh", "-c", OVERWRITES)
    assert recorded.code == 0
    return chaos(tmp_path, "explore", "t.trace", "--check", f"sh -c '{FAILING}'")


def test_a_check_that_fails_is_a_finding_and_the_recorded_command_is_not_run_again(explored: Result) -> None:
    assert explored.code == 1
    assert "recovery exits with code 1" in explored.out
    assert "run on, the workload" not in explored.out


def test_a_finding_of_a_trace_is_replayed(explored: Result, tmp_path: Path) -> None:
    replay = next(line.split("replay: ")[1] for line in explored.out.splitlines() if "replay: " in line)
    again = chaos(tmp_path, *replay.split()[1:])
    assert again.code == 1
    assert "still shows" in again.out


def test_a_trace_can_not_be_asked_whether_its_workload_goes_on(explored: Result, tmp_path: Path) -> None:
    assert explored.code == 1
    done = chaos(tmp_path, "explore", "t.trace", "--check", "true", "--oracle", "resumable")
    assert done.code == 2
    assert "resumable runs the workload on" in done.out + done.err


def test_a_check_that_holds_on_every_state_passes(explored: Result, tmp_path: Path) -> None:
    assert explored.code == 1
    assert chaos(tmp_path, "explore", "t.trace", "--check", "true").code == 0


def test_a_check_that_is_no_program_is_told_with_what_to_mend(explored: Result, tmp_path: Path) -> None:
    assert explored.code == 1
    done = chaos(tmp_path, "explore", "t.trace", "--check", "no-such-program a")
    assert done.code == 2
    assert "the command 'no-such-program' is not on the PATH" in done.out
    assert "next: mend the name, or the PATH" in done.out


@pytest.mark.parametrize("words", [["schema"], ["list", "nothing-here"]])
def test_a_closed_standard_output_is_no_fault(tmp_path: Path, words: list[str]) -> None:
    command = ["sh", "-c", '"$@" >&-', "sh", sys.executable, "-m", "chaos", *words]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == (2 if "list" in words else 0)
    assert "Traceback" not in done.stderr
