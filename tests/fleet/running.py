"""Fleets for the tests: run one, and look at what it left."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.child.target import CallableTarget, Target
from chaos.child.witness import Witness
from chaos.fleet import Course, Fault, FaultKind, FleetRoles, FleetSettings, Plan, draw, run_fleet
from chaos.fleet.places import Places
from chaos.fleet.telling import statements

__all__ = ["STEP_S", "Ran", "appender", "kills", "ran", "read_log"]

STEP_S = 0.0005
Statement = tuple[int, int, str]


@dataclass(frozen=True)
class Ran:
    course: Course
    statements: list[Statement]
    root: str

    def of(self, worker: int, kind: str = "") -> list[str]:
        """What a worker said, by kind."""
        return [text for who, _, text in self.statements if who == worker and text.startswith(kind)]

    @property
    def pids(self) -> list[int]:
        return [int(text[1:]) for _, _, text in self.statements if text[:1] == "^"]


def ran(
    worker: Callable[[Path, Witness], Any] | Target,
    *faults: Fault,
    seed: int = 0,
    plan: Plan | None = None,
    recover: Callable[[Path], Any] | None = None,
    setup: Callable[[Path], Any] | None = None,
    service: Callable[[Path, socket.socket], Any] | None = None,
    **settings: Any,
) -> Ran:
    """Run a fleet; everything is generous in time and ends as soon as it can."""
    given = {"workers": 2, "duration_s": 30.0, "progress_s": 30.0, **settings}
    fleet = FleetSettings(faults=faults, **given)
    roles = FleetRoles(
        worker=CallableTarget(function=worker) if callable(worker) else worker,
        recover=None if recover is None else CallableTarget(function=recover),
        setup=None if setup is None else CallableTarget(function=setup),
        service=None if service is None else CallableTarget(function=service),
    )
    with Places() as places:
        course = run_fleet(roles, fleet, plan or draw(seed, fleet.workers, faults, fleet.duration_s), places)
        return Ran(course, [one[1:] for one in statements(places.chronicle)], places.root)


def kills(count: int, statements: int = 15, **more: Any) -> Fault:
    return Fault(kind=FaultKind.KILL, statements=statements, count=count, **more)


def appender(disk: Path, witness: Witness) -> None:
    """Appends lines for ever, each in one write, and acknowledges it."""
    log = os.open(disk / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    number = 0
    while True:
        name = f"{witness.number}.{witness.life}.{number}"
        os.write(log, f"{name}\n".encode())
        witness(name)
        number += 1
        time.sleep(STEP_S)


def read_log(disk: Path) -> list[str]:
    path = disk / "log"
    return path.read_text().splitlines() if path.exists() else []
