"""A trace of any command: recorded, and a check run on every crash state of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import ROOT, chaos

OVERWRITE = ["sh", "-c", f"echo 1 > new; mv new a; {sys.executable} -m chaos.child.ack 1; echo 2 > a"]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    (tmp_path / "watched").mkdir()
    done = chaos(tmp_path, "record", "-o", "t.trace", "--folder", "watched", "--", *OVERWRITE)
    assert done.code == 0, done.err
    return tmp_path


def test_a_check_that_fails_on_a_crash_state_is_a_finding_and_the_command_is_not_run_again(trace: Path) -> None:
    done = chaos(trace, "explore", "t.trace", "--check", "test -s a")
    assert done.code == 1, done.out + done.err
    assert "openat() that cuts a to 0 bytes: recovery exits with code 1" in done.out
    assert "the workload goes on" not in done.out


def test_a_check_that_holds_on_every_state_passes(trace: Path) -> None:
    assert chaos(trace, "explore", "t.trace", "--check", "true").code == 0


def test_a_trace_alone_can_not_be_run_on(trace: Path) -> None:
    done = chaos(trace, "explore", "t.trace", "--check", "true", "--oracle", "resumable")
    assert (done.code, "write a scenario" in done.err) == (2, True)


def test_a_check_that_is_no_program_is_told_with_what_to_mend(trace: Path) -> None:
    done = chaos(trace, "explore", "t.trace", "--check", "no-such-program a")
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
