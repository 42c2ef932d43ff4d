"""SIGKILL of the harness at any moment: no process of the fleet survives, and what had been found can be read."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import psutil
import pytest

from chaos.explore.places import base_folder, sweep
from chaos.report import Status
from chaos.report.folder import latest_run, load_run
from tests.cli.shell import chaos, is_marked, start

if TYPE_CHECKING:
    from subprocess import Popen

GIVE_UP_S = 60.0
TARGETS = """\
import os, time

def worker(disk, witness):
    log = os.open(disk / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if os.fork() == 0:
        while True: time.sleep(1000)
    number = 0
    while True:
        os.write(log, f"{witness.number}.{witness.life}.{number}\\n".encode())
        witness(f"{witness.number}.{witness.life}.{number}")
        number += 1
        time.sleep(0.0005)

def recover(disk):
    return (disk / "log").read_text().splitlines()

def forget(disk):
    return recover(disk)[5:]
"""


def scenario(name: str, recover: str, statements: str, **top: object) -> str:
    lines = [f'name = "{name}"', 'kind = "fleet"', 'oracles = ["durable"]', *(f"{key} = {top[key]}" for key in top)]
    target = ["[target]", 'worker = "targets:worker"', f'recover = "targets:{recover}"']
    return "\n".join([*lines, *target, "[[fault]]", 'kind = "kill"', f"statements = {statements}", ""])


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "scenarios"
    folder.mkdir()
    (folder / "targets.py").write_text(TARGETS)
    (folder / "a.toml").write_text(scenario("a", "forget", "20\ncount = 2", duration='"100s"', budget=1))
    (folder / "b.toml").write_text(scenario("b", "recover", "200\ncount = 5000", duration='"1000s"', workers=4))
    yield tmp_path
    for process in marked(tmp_path):  # of a test that failed
        process.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = monotonic() + GIVE_UP_S
    while not condition():
        assert monotonic() < give_up
        sleep(0.01)


def journal(folder: Path) -> str:
    found = list(folder.glob(".chaos/runs/*/journal.jsonl"))
    return found[0].read_text().replace('": ', '":') if found else ""


def marked(folder: Path) -> list[psutil.Process]:
    """Processes that come from a run in this folder."""
    return [process for process in psutil.process_iter() if is_marked(process, str(folder))]


def kill_harness(process: "Popen[str]", folder: Path) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=GIVE_UP_S)
    wait_until(lambda: not marked(folder))
    sweep(base_folder())


@pytest.mark.slow
@pytest.mark.parametrize("moment", ['"event":"scenario"', '"event":"cause"', '"event":"result"', '"scenario":"b"'])
def test_no_process_survives_and_the_report_shows_what_had_been_found(shelf: Path, moment: str) -> None:
    process = start(shelf, "run", "--profile", "quick")
    wait_until(lambda: moment in journal(shelf))
    if moment == '"scenario":"b"':
        wait_until(lambda: len(marked(shelf)) >= 8)  # it is well under way
    kill_harness(process, shelf)
    run = load_run(latest_run(shelf / ".chaos"))
    assert not run.complete
    printed = chaos(shelf, "report").out
    assert "the run was cut" in printed
    if moment == '"event":"cause"':
        assert "acknowledged values are gone" in printed
    elif moment != '"event":"scenario"':
        assert "acknowledged values are gone" in printed
        assert run.scenarios[0].findings
    last = run.scenarios[-1]
    assert last.stop is None or last.stop.status is Status.INTERRUPTED


@pytest.mark.slow
def test_an_interrupt_ends_everything_and_keeps_what_was_found(shelf: Path) -> None:
    process = start(shelf, "run", "--profile", "quick")
    wait_until(lambda: '"scenario":"b"' in journal(shelf) and len(marked(shelf)) >= 8)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 130, (out, err)
    assert "acknowledged values are gone" in out
    assert not marked(shelf)
    assert not [name for name in os.listdir(base_folder()) if name.startswith(f"chaos-explore-{process.pid}-")]
