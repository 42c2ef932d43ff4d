"""pytest in a process of its own that need not import pytest, the plugin and the harness anew.

Importing them takes longer than most of what is run here. One process imports them for all tests of a folder and forks
for each run, so that a run has its own exit code, streams, environment and module table, and what it imports, patches
or leaves behind is gone with it. Two things only `pytester.runpytest_subprocess` shows: what is imported when, and what
happens while pytest starts.
"""

import gc
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import _pytest
import pytest

__all__ = ["run_pytest", "warm_pytest_ends"]

ROOT = Path(__file__).resolve().parents[1]
# What a test that uses a fixture, or fails with a finding, imports; and a debugger, as pytest can be asked for one.
_FIXTURES = (
    "crash_call",
    "faults_call",
    "finiteness",
    "fleet_call",
    "leaks",
    "limits",
    "loops",
    "race_call",
    "services",
)
_IMPORTED = (*(f"pytest_guardrails.plugin.{name}" for name in _FIXTURES), "chaos.cli.app", "pdb")
_running: "list[subprocess.Popen[str]]" = []


def run_pytest(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """What `pytester.runpytest_subprocess` does, by a process that has imported what is needed already.

    No plugin is loaded but ours.
    """
    streams = [str(pytester.path / name) for name in ("stdout", "stderr")]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p guardrails"}
    order = {"options": options, "folder": os.getcwd(), "environment": environment, "streams": streams}
    warm = _warm_pytest()
    assert warm.stdin is not None
    assert warm.stdout is not None
    warm.stdin.write(json.dumps(order) + "\n")
    warm.stdin.flush()
    code = int(warm.stdout.readline())
    out, err = (Path(stream).read_text(encoding="utf-8") for stream in streams)
    sys.stdout.write(out + err)  # for the reader of a test that fails
    return pytest.RunResult(code, out.splitlines(), err.splitlines(), 0.0)


@contextmanager
def warm_pytest_ends() -> Iterator[None]:
    """The process that forks the runs ends with this block; the first run in it starts it."""
    try:
        yield
    finally:
        while _running:
            with _running.pop() as ending:
                ending.kill()


def _warm_pytest() -> "subprocess.Popen[str]":
    if not _running:
        command = [sys.executable, "-m", __name__]
        started = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        _running.append(started)
    return _running[0]


def _main() -> None:
    for name in [*_IMPORTED, *(f"_pytest.{part.name}" for part in iter_modules(_pytest.__path__))]:
        import_module(name)
    gc.freeze()  # a collection in a run would copy all of it
    for line in sys.stdin:
        run = os.fork()
        if not run:
            _become(**json.loads(line))
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])}\n")
        sys.stdout.flush()


def _become(options: list[str], folder: str, environment: Mapping[str, Any], streams: list[str]) -> None:
    """Be `python -m pytest`, in this folder and environment, with its output in these files."""
    for number, path in enumerate([os.devnull, *streams]):
        opened = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder
    sys.argv = ["pytest", *options]
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
