"""`chaos record` and `chaos explore`: any command line's run, and a check on what crashes of it leave."""

from pathlib import Path

import pytest

from tests.cli.shell import Result, chaos

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


def test_a_check_that_is_no_program_is_wrong_usage_with_a_hint_about_programs(explored: Result, tmp_path: Path) -> None:
    assert explored.code == 1
    done = chaos(tmp_path, "explore", "t.trace", "--check", "no-such-program")
    assert done.code == 2
    assert "check its spelling" in done.out
