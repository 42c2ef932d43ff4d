"""Probes: small checks of what a program stands on, run beside each other, each with its deadline.

A probe returns None or True when all is well, a text when it is not; what raises is an error, what hangs timed out.
Liveness ("restart me if this fails") and readiness ("send me no work") are kept apart. Read `levels.py` for levels.
"""

import math
import shutil
import threading
from collections.abc import Callable, Sequence
from typing import Literal, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.health.levels import Level, worst
from pytest_guardrails.reliability.state import StateStore

__all__ = ["Kind", "Outcome", "Probe", "ProbeReport", "disk_space", "level_of", "run_probes", "store_usable"]

Kind = Literal["liveness", "readiness"]
Outcome = Literal["passed", "failed", "error", "timed out"]
_LEVELS = {
    "passed": Level.HEALTHY,
    "failed": Level.CRITICAL,
    "error": Level.UNKNOWN,
    "timed out": Level.UNKNOWN,
}


@final
class Probe(Record):
    """A check.

    Attributes:
        name: for the report.
        check: None or True: well; a text or False: not.
        kind: what follows from it.
        deadline_s: how long it may take, in seconds.
    """

    name: str
    check: Callable[[], object]
    kind: Kind = "readiness"
    deadline_s: float = 5.0


@final
class ProbeReport(Record):
    """What a probe found."""

    name: str
    kind: Kind
    outcome: Outcome
    detail: str
    took_s: float


def run_probes(probes: Sequence[Probe], *, clock: Clock | None = None) -> tuple[ProbeReport, ...]:
    """Run all of them at once; comes back when the slowest has answered or is past its deadline.

    Args:
        probes: which; one that hangs leaves its thread behind.
        clock: see `Clock`.
    """
    for probe in probes:
        if not 0.0 < probe.deadline_s < 1e6:
            raise ConfigurationError(f"the deadline of {probe.name!r} must be above 0, not {probe.deadline_s}")
    clock = clock or SystemClock()
    started_s = clock.monotonic()
    running = [_Running(probe, clock) for probe in probes]
    return tuple(one.report(started_s) for one in running)


def level_of(reports: Sequence[ProbeReport], kind: Kind | None = None) -> Level:
    """The worst of all reports, or of those of a kind; unknown if there is none."""
    return worst([_LEVELS[report.outcome] for report in reports if kind is None or report.kind == kind])


def disk_space(path: str, least_bytes: float) -> Callable[[], object]:
    """A check that so many bytes are free where `path` is."""
    if not 0 <= least_bytes < math.inf:
        raise ConfigurationError(f"least_bytes must be a number from 0, not {least_bytes}")

    def check() -> object:
        free = shutil.disk_usage(path).free
        return True if free >= least_bytes else f"{free:,} bytes are free at {path}, {least_bytes:,.0f} are needed"

    return check


def store_usable(store: StateStore) -> Callable[[], object]:
    """A check that a store can be read, and was never damaged."""

    def check() -> object:
        store.version()
        incidents = store.incidents()
        return True if not incidents else f"it was damaged {len(incidents)} times, last: {incidents[-1].reason}"

    return check


class _Running:
    def __init__(self, probe: Probe, clock: Clock) -> None:
        self._probe = probe
        self._clock = clock
        self._answer: object = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"probe-{probe.name}", daemon=True)
        self._thread.start()

    def report(self, started_s: float) -> ProbeReport:
        probe = self._probe
        self._thread.join(max(0.0, started_s + probe.deadline_s - self._clock.monotonic()))
        took_s = self._clock.monotonic() - started_s
        if self._thread.is_alive():
            detail = f"no answer within {probe.deadline_s:g} s"
            return ProbeReport(probe.name, probe.kind, "timed out", detail, took_s)
        if self._error is not None:
            detail = f"{type(self._error).__name__}: {self._error}"
            return ProbeReport(probe.name, probe.kind, "error", detail, took_s)
        if self._answer is None or self._answer is True:
            return ProbeReport(probe.name, probe.kind, "passed", "", took_s)
        detail = self._answer if isinstance(self._answer, str) else f"it said {self._answer!r}"
        return ProbeReport(probe.name, probe.kind, "failed", detail, took_s)

    def _run(self) -> None:
        try:
            self._answer = self._probe.check()
        except Exception as error:  # noqa: BLE001 - the edge of a thread: it is the report
            self._error = error
