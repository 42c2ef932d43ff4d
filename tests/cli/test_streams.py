"""The command `chaos` where its standard streams are full, closed or forsaken."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import ROOT, put_scenario

pytestmark = pytest.mark.slow  # each word is a program's start
SHOWING = (
    ["doctor"],
    ["schema"],
    ["list", "scenarios"],
    ["run", "scenarios", "--budget", "5"],
    ["--help"],
    ["run", "--help"],
)


def run(folder: Path, redirected: str, *words: str) -> subprocess.CompletedProcess[str]:
    put_scenario(folder)
    line = ["bash", "-c", f'set -o pipefail; "$@" {redirected}', "bash", sys.executable, "-m", "chaos", *words]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "CHAOS_JOBS": "1"}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60.0)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done


@pytest.mark.parametrize("words", SHOWING, ids=" ".join)
def test_a_full_disk_under_standard_output_is_one_line(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, ">/dev/full", *words)
    assert (done.returncode, done.stderr) == (2, "chaos: standard output can't be written: No space left on device\n")


@pytest.mark.parametrize("words", SHOWING, ids=" ".join)
def test_a_reader_that_went_away_is_no_verdict(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, "| true", *words)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("redirected", [">&-", "2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_a_verdict_is_the_same_whoever_is_told(tmp_path: Path, redirected: str) -> None:
    assert run(tmp_path, redirected, "run", "scenarios", "--budget", "5").returncode == 1


def test_what_is_printed_gets_into_no_file_that_is_opened_while_a_stream_is_closed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    words = ["record", "-o", "t.trace", "--folder", "disk", "--", "sh", "-c", "echo told; echo x > y"]
    assert run(tmp_path, "<&- >&- 2>&-", *words).returncode == 0
    done = run(tmp_path, "", "explore", "t.trace", "--check", "test -d .")
    assert done.returncode == 0, done.stdout
