"""The command `pytest-guardrails` where its surroundings fail: closed, full or forsaken streams, Ctrl-C at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

START = [sys.executable, "-m", "pytest_guardrails.cli"]
SHOWING = (["health"], ["health", "--json"], ["hooks", "list", "--json"], ["config", "show", "--json"], ["doctor"])
pytestmark = pytest.mark.slow  # each word is a program's start


def run(home: Path, redirected: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    line = ["sh", "-c", f'exec "$@" {redirected}', "sh", *START, *words]
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(line, env=environment, capture_output=True, check=False, timeout=60.0)
    assert b"Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("words", [*SHOWING, ["--help"]], ids=" ".join)
def test_a_full_disk_under_standard_output_is_one_line(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, ">/dev/full", *words)
    assert done.returncode == 1
    assert done.stderr == b"pytest-guardrails: standard output can't be used: No space left on device\n"


@pytest.mark.parametrize("words", SHOWING, ids=" ".join)
def test_a_closed_standard_output_is_nobody_who_reads(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, ">&-", *words)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("redirected", [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"])
def test_a_hook_has_its_own_exit_code_whatever_its_streams_are(tmp_path: Path, redirected: str) -> None:
    assert run(tmp_path, redirected, "hook", "run", "--", "sh", "-c", "exit 7").returncode == 7


@pytest.mark.parametrize("redirected", [">&-", ">/dev/full", "| true"])
def test_a_skipped_hook_ends_with_0_whoever_reads_the_answer(tmp_path: Path, redirected: str) -> None:
    run(tmp_path, "", "hooks", "disable", "false")
    assert run(tmp_path, redirected, "hook", "run", "--", "false").returncode == 0


@pytest.mark.parametrize("words", [["health"], ["hook", "run", "--", "true"]], ids=" ".join)
def test_an_interruption_while_it_is_loaded_is_no_traceback(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("typer", "sqlite3"):
        (tmp_path / f"{module}.py").write_text("raise KeyboardInterrupt")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    done = run(tmp_path, "", *words)
    assert (done.returncode, done.stderr) == (130, b"")
