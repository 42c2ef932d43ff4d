"""The command as its user runs it: its exit code, what it prints, and what it leaves behind.

`chaos` runs it inside this process, which is quick; `start` runs it as a process, for signals, pipes and terminals.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from typer.testing import CliRunner

from chaos.cli.app import app
from chaos.explore.places import base_folder

__all__ = ["Result", "chaos", "is_marked", "nothing_left", "put_scenario", "start"]

MARKER = "CHAOS_TEST_MARKER"
STARTED = {os.getpid()}
OWN_FRAME = re.compile(r'File "[^"]*/chaos/(?!.*targets)')
ROOT = Path(__file__).resolve().parents[2]
TARGETS = """\
import json, os, sys, time
from pathlib import Path

def setup(disk):
    (disk / "state.json").write_text("0")

def overwrite(disk, ack):
    for number in range(1, 3):
        (disk / "state.json").write_text(json.dumps(number))
        ack(number)

def replace(disk, ack):
    for number in range(1, 3):
        (disk / "new").write_text(json.dumps(number))
        (disk / "new").replace(disk / "state.json")
        ack(number)

def load(disk):
    return json.loads((disk / "state.json").read_text())
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One finished command."""

    code: int
    out: str
    err: str


def chaos(folder: Path, *words: str) -> Result:
    """Run `chaos` in a folder; nothing may be left running or lying about, and no traceback of the harness is shown."""
    before = Path.cwd()
    os.chdir(folder)
    mark = f"{folder} {os.getpid()}"  # another worker of xdist may run it in the same folder, such as this checkout
    try:
        with nothing_left(mark):
            done = CliRunner().invoke(app, list(words), env={MARKER: mark, "COLUMNS": "200"})
    finally:
        os.chdir(before)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert not OWN_FRAME.search(done.output), done.output
    return Result(done.exit_code, done.stdout, done.stderr)


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Start `chaos` as a process of its own, in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHAOS_", "PYTEST_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos", *words],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), MARKER: str(folder), "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    STARTED.add(process.pid)
    return process


@contextmanager
def nothing_left(marker: str) -> Iterator[None]:
    """No process with this mark in its environment stays, and no temporary folder of a harness run from here."""
    before = temporary_folders()
    yield
    processes = [process for process in psutil.process_iter() if is_marked(process, marker)]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    assert not processes
    assert not {name for name in temporary_folders() - before if is_ours(name)}


def temporary_folders() -> set[str]:
    return {name for name in os.listdir(base_folder()) if name.startswith("chaos-explore-")}


def is_ours(name: str) -> bool:
    """Whether this process or one of those that it started made the folder: other tests have theirs beside it."""
    return int(name.split("-")[2]) in STARTED


def is_marked(process: psutil.Process, marker: str) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        running = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
        return running and process.environ().get(MARKER) == marker
    return False


def put_scenario(
    folder: Path, name: str = "one", *, workload: str = "overwrite", top: Sequence[str] = (), **roles: str
) -> Path:
    """A scenario beside its targets, in `scenarios/`."""
    shelf = folder / "scenarios"
    shelf.mkdir(exist_ok=True)
    if not (shelf / "targets.py").exists():
        (shelf / "targets.py").write_text(TARGETS)
    work = workload if workload.startswith("[") else f'"targets:{workload}"'
    roles = {"setup": '"targets:setup"', "workload": work, "recover": '"targets:load"', **roles}
    lines = [f'name = "{name}"', *top, "[target]", *(f"{role} = {target}" for role, target in roles.items() if target)]
    path = shelf / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n")
    return path
