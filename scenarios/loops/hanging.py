"""Owners of one loop whose step hangs in C code in a child process; owners are killed, and succeeded, meanwhile.

The child takes a lock for as long as it lives. Whoever finds it taken for long, after its owner became one, lives
beside the child of an owner that is dead.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.child.witness import Witness
from pytest_guardrails.reliability.durability import LeaseHeldError
from pytest_guardrails.reliability.loops import ChildStep, LoopController, LoopSettings, MaxIterations, StepContext
from pytest_guardrails.reliability.state import BackendSettings, StateStore, open_store

ITERATIONS = 3
DEADLINE_S = 0.5  # Python starts in a tenth of that
PATIENCE_S = 0.3  # for a child that was killed to be gone
LIVES = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), 2); os.read(os.pipe()[0], 1)"


def setup(disk: Path) -> None:
    with _open(disk) as store:
        store.put("ready", True)


def crunch(context: dict[str, Any]) -> int:
    """A step: in C code, and deaf to polite requests."""
    disk = Path(os.environ["CRUNCHING"])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _take(disk)
    if context["attempt"] % 2:  # else its owner was killed while it hung: that is what is looked for
        os.read(os.pipe()[0], 1)
    return int(context["iteration"])


def in_a_child(disk: Path, witness: Witness) -> None:
    """The stack's child step: it has a hard deadline, and dies with its owner."""
    os.environ["CRUNCHING"] = str(disk)
    _own(disk, witness, ChildStep("hanging:crunch", hard_deadline_s=DEADLINE_S))


def by_hand(disk: Path, witness: Witness) -> None:
    """A child that has its deadline from its owner alone: when that is killed, it lives on."""

    def step(context: StepContext) -> int:
        _take(disk, hold=False)
        if context.attempt % 2:
            command = [sys.executable, "-c", LIVES, str(disk / "inside.lock")]
            with subprocess.Popen(command, start_new_session=True) as child:
                try:
                    child.wait(DEADLINE_S)
                except subprocess.TimeoutExpired:
                    child.kill()
        return context.iteration

    _own(disk, witness, step)


def recover(disk: Path) -> dict[str, Any]:
    if (disk / "beside").exists():
        raise ValueError((disk / "beside").read_text())
    with _open(disk) as store:
        loop = _controller(store)
        history = [(found.attempt, found.outcome.value) for found in loop.iterations()]
        if loop.status().facts.iterations != len(history) or any(
            outcome == "ok" and attempt % 2 for attempt, outcome in history
        ):
            raise ValueError(f"{loop.status().facts} with the history {history}")
        return {"sound": True}


def _own(disk: Path, witness: Witness, step: Callable[[StepContext], Any]) -> None:
    """Own the loop whenever nobody else does; who is killed in it is succeeded by whoever comes first."""
    while True:
        try:
            with _open(disk) as store:
                report = _controller(store).run(step, restart=True)
            witness(["ran", report.run])
        except LeaseHeldError:
            witness(["looked"])
        time.sleep(0.02)


def _open(disk: Path) -> StateStore:
    return open_store(disk / "state", backend="json", settings=BackendSettings(durability="process"))


def _controller(store: StateStore) -> LoopController:
    settings = LoopSettings(failure_limit=None, attempts=1000)
    return LoopController("hanging", store, stop_when=MaxIterations(ITERATIONS), settings=settings)


def _take(disk: Path, *, hold: bool = True) -> None:
    """Be the only child; say so where another one lives."""
    lock = os.open(disk / "inside.lock", os.O_RDWR | os.O_CREAT)
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > end_s:
                (disk / "beside").write_text("a step runs beside the child of an owner that is dead")
                break
            time.sleep(0.005)
    if not hold:
        os.close(lock)
