"""A fleet of eight processes that lose one every 20 ms: what is judged, what the harness's memory does, what it costs.

Every worker appends lines to one log, syncs and acknowledges each. Beside it, what one statement costs its worker.
"""

import os
import tempfile
import threading
import time
from pathlib import Path

from chaos.child.chronicle import Chronicle
from chaos.child.target import CallableTarget
from chaos.child.witness import Witness
from chaos.fleet import Fault, FaultKind, FleetRoles, FleetSettings, draw, run_fleet
from chaos.fleet.judging import aftermath_of
from chaos.fleet.places import Places
from chaos.fleet.telling import statements
from chaos.observations import Bounds, Verdict
from chaos.oracles.fleets import FLEET_ORACLES
from chaos.oracles.jury import Jury
from chaos.oracles.live import Terms
from tests.benchmarks.figures import Figure, spread

WORKERS, EVERY_S = 8, 0.02
GROWTH_MB = 5.0


def measure(quick: bool) -> list[Figure]:
    """Kills and statements a second, memory of the harness, microseconds a statement."""
    return [*_fleet(3.0 if quick else 30.0), _statement(2_000 if quick else 20_000)]


def worker(disk: Path, witness: Witness) -> None:
    log = os.open(disk / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    number = 0
    while True:
        name = f"{witness.number}.{witness.life}.{number}"
        os.write(log, f"{name}\n".encode())
        os.fsync(log)
        witness(name)
        number += 1
        time.sleep(0.002)


def recover(disk: Path) -> list[str]:
    return (disk / "log").read_text().splitlines()


def _fleet(duration_s: float) -> list[Figure]:
    faults = (Fault(kind=FaultKind.KILL, every_s=EVERY_S),)
    settings = FleetSettings(workers=WORKERS, faults=faults, duration_s=duration_s)
    roles = FleetRoles(worker=CallableTarget(function=worker), recover=CallableTarget(function=recover))
    memory = _Memory()
    with Places() as places:
        with memory:
            course = run_fleet(roles, settings, draw(0, WORKERS, faults, duration_s), places)
        jury = Jury(("durable", "no_lost_update", "terminates"), Terms(), table=FLEET_ORACLES)
        jury.judge(aftermath_of(course, Bounds()))
        judged = sum(text[:1] == "a" for _, _, _, text in statements(places.chronicle))
    sound = all(verdict.verdict is Verdict.HOLDS for verdict in jury.verdicts())
    return [
        Figure(name="kills of one of 8 processes", unit="kills/s", value=course.fired / course.hurt_s),
        Figure(
            name="acknowledged items judged, none lost, none twice",
            unit="items",
            value=judged,
            aim="all",
            holds=sound,
        ),
        Figure(name="acknowledged meanwhile", unit="items/s", value=judged / course.hurt_s),
        Figure(
            name="growth of the harness while the fleet runs",
            unit="MB",
            value=memory.growth_mb,
            aim=f"<= {GROWTH_MB:g} MB",
            holds=memory.growth_mb <= GROWTH_MB,
        ),
    ]


class _Memory:
    """Looks at this process's resident memory ten times a second; its growth after the first second."""

    growth_mb = 0.0

    def __enter__(self) -> None:
        self._over = threading.Event()
        self._samples: list[float] = []
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        settled = self._samples[10:] or self._samples
        self.growth_mb = max(settled) - settled[0]

    def _watch(self) -> None:
        page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
        while not self._over.wait(0.1):
            self._samples.append(int(Path("/proc/self/statm").read_text().split()[1]) * page_mb)


def _statement(count: int) -> Figure:
    with tempfile.NamedTemporaryFile() as file:
        pen = Chronicle(file.name, 0, 0)
        samples = []
        for _ in range(6):
            began = time.perf_counter()
            for number in range(count):
                pen.append(f"a{number}")
            samples.append((time.perf_counter() - began) / count * 1e6)
    middle, low, high = spread(samples[1:])
    return Figure(name="one statement of a worker", unit="us", value=middle, low=low, high=high)
