"""However an exploration ends, no process and no folder of it stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from chaos.explore.exploration import Exploration
from chaos.explore.places import base_folder
from tests.explore import traces
from tests.explore.exploring import NEVER_S, folders_left, is_running, roles, settings, start

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from chaos.explore.exploration import Exploration
from tests.explore import traces
from tests.explore.exploring import closure, roles, settings
with Exploration(traces.overwrite(1000), roles({recover}), settings(jobs=2)) as exploration:
    for observation in exploration.observations():
        print(observation.point, flush=True)
"""
# How to say it in the program, and how many processes there are when both workers hang: worker, forker, two recoveries.
RECOVERIES = {
    "quick": ("'count'", 4),
    "hanging": ("'hang_later'", 8),
    "hanging closure": ("closure('hang_later')", 6),
}


@contextmanager
def exploring(recover: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that explores, has seen its first state, and is in the midst of others."""
    program = PROGRAM.format(root=str(ROOT), recover=RECOVERIES[recover][0])
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def descendants(pid: int) -> set[int]:
    found = set()
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found |= {int(child)} | descendants(int(child))
    return found


def settled(pid: int, recover: str) -> set[int]:
    """Its descendants, when nothing moves any more where recoveries hang."""
    least, give_up = RECOVERIES[recover][1], time.monotonic() + NEVER_S
    while len(found := descendants(pid)) < least or (recover != "quick" and found != descendants(pid)):
        assert time.monotonic() < give_up, found
    return found


def folders_of(owner: int) -> list[str]:
    return [name for name in os.listdir(base_folder()) if name.startswith(f"chaos-explore-{owner}-")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("recover", list(RECOVERIES))
def test_nothing_is_left_of_an_exploration_ended_by_a_signal(recover: str, number: signal.Signals) -> None:
    with exploring(recover) as process:
        started = settled(process.pid, recover)
        assert folders_of(process.pid)
        process.send_signal(number)
        began = time.monotonic()
        process.communicate(timeout=NEVER_S)
        while folders_of(process.pid) or any(map(is_running, started)):
            assert time.monotonic() < began + 2.0, (folders_of(process.pid), list(filter(is_running, started)))


def test_nothing_is_left_when_the_workers_themselves_are_killed() -> None:
    with exploring("hanging") as process:
        started = settled(process.pid, "hanging")
        workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        process.send_signal(signal.SIGSTOP)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        process.send_signal(signal.SIGKILL)
        began = time.monotonic()
        while any(map(is_running, started)):
            assert time.monotonic() < began + NEVER_S, list(filter(is_running, started))
    start("count")  # the next one sweeps the folder, which nobody was left to remove
    assert folders_of(process.pid) == []


def test_the_folder_of_a_dead_exploration_is_swept_by_the_next() -> None:
    stale = Path(base_folder(), "chaos-explore-1-1-stale")  # process 1 did not start at tick 1
    (stale / "w0" / "disk").mkdir(parents=True)
    (stale / "w0" / "disk").chmod(0)
    try:
        start("count")
        assert not stale.exists()
    finally:
        subprocess.run(["rm", "-rf", str(stale)], check=True)


def test_the_folder_of_a_living_exploration_is_left_alone() -> None:
    with Exploration(traces.overwrite(1), roles("count"), settings()) as exploration:
        assert exploration.reference
        mine = folders_left()
        start("count")
        assert folders_left() == mine != []
