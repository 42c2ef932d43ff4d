"""`ProcessMonitor`: what a process uses, against limits, and whether it grows without end.

One `sample()` is one look; the last ones are remembered, bounded, and `trend` and `leaks` are pure functions over
them. A leak is growth that is steady (most steps go up), robustly fitted (Theil-Sen: the median slope of all pairs, so
that one jump is no trend) and more than a tenth of where it began. Read `heartbeat.py` for whether a process gets on.
"""

import statistics
from collections import deque
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Literal, final

import psutil

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.records import Record

__all__ = ["Exceeded", "Limits", "Metric", "ProcessMonitor", "Sample", "exceeded", "leaks", "trend"]

Metric = Literal["cpu_percent", "cpu_time_s", "rss_bytes", "descriptors", "threads", "children"]
_GROWING: tuple[Metric, ...] = ("rss_bytes", "descriptors", "threads", "children")
_LEAST_SAMPLES = 8
_STEADY = 0.7  # of all steps; sawtooth patterns of a garbage collector go down more often
_RELATIVE_GROWTH = 0.1


@final
class Sample(Record):
    """One look at a process.

    Attributes:
        at_s: when, monotonic.
        cpu_percent: of one core, since the look before; 0 at the first.
        cpu_time_s: user and system, since its start.
        rss_bytes: resident memory.
        descriptors: open files; on Windows handles.
        threads: its threads.
        children: living processes below it.
    """

    at_s: float
    cpu_percent: float
    cpu_time_s: float
    rss_bytes: int
    descriptors: int
    threads: int
    children: int


@final
class Limits(Record):
    """The most of each that is right; None for no limit."""

    cpu_percent: float | None = None
    cpu_time_s: float | None = None
    rss_bytes: float | None = None
    descriptors: float | None = None
    threads: float | None = None
    children: float | None = None


_NO_LIMITS = Limits()


@final
class Exceeded(Record):
    """A limit that does not hold."""

    metric: str
    value: float
    limit: float


@final
class ProcessMonitor:
    """See the module.

    Args:
        pid: of the process; this one when None.
        limits: see there.
        remember: how many samples are kept, at least 2.
        clock: see `Clock`.

    Raises:
        ConfigurationError: there is no such process, or a limit is no number.
    """

    def __init__(
        self, pid: int | None = None, *, limits: Limits = _NO_LIMITS, remember: int = 120, clock: Clock | None = None
    ) -> None:
        if remember < 2:
            raise ConfigurationError(f"remember must be at least 2, not {remember}")
        for name, limit in limits._asdict().items():
            if limit is not None and not 0 <= limit < float("inf"):
                raise ConfigurationError(f"the limit of {name} must be a number from 0, not {limit!r}")
        try:
            self._process = psutil.Process(pid)
        except psutil.Error as error:
            raise ConfigurationError(f"process {pid} can't be watched: {error}") from error
        self._limits = limits
        self._samples: deque[Sample] = deque(maxlen=remember)
        self._clock = clock or SystemClock()

    @property
    def samples(self) -> tuple[Sample, ...]:
        """What is remembered, oldest first."""
        return tuple(self._samples)

    def sample(self) -> Sample | None:
        """Look once; None when the process has ended, or another one has its number now."""
        if not self._process.is_running():
            return None
        try:
            with self._process.oneshot():
                times = self._process.cpu_times()
                cpu_time_s = times.user + times.system
                rss_bytes, threads = self._process.memory_info().rss, self._process.num_threads()
                descriptors = self._process.num_fds() if hasattr(self._process, "num_fds") else 0
            children = len(self._process.children(recursive=True))
        except psutil.Error:
            return None
        now_s = self._clock.monotonic()
        last = self._samples[-1] if self._samples else None
        passed_s = now_s - last.at_s if last else 0.0
        cpu_percent = 100.0 * (cpu_time_s - last.cpu_time_s) / passed_s if last and passed_s > 0 else 0.0
        made = Sample(now_s, max(0.0, cpu_percent), cpu_time_s, rss_bytes, descriptors, threads, children)
        self._samples.append(made)
        return made

    def check(self) -> tuple[Exceeded, ...]:
        """The limits that the last sample exceeds."""
        return exceeded(self._samples[-1], self._limits) if self._samples else ()

    def leaks(self) -> tuple[Metric, ...]:
        """What grows without end, as far as the remembered samples show."""
        return leaks(self.samples)


def exceeded(sample: Sample, limits: Limits) -> tuple[Exceeded, ...]:
    """The limits that a sample exceeds."""
    pairs = ((name, getattr(sample, name), limit) for name, limit in limits._asdict().items() if limit is not None)
    return tuple(Exceeded(name, value, limit) for name, value, limit in pairs if value > limit)


def trend(samples: Sequence[Sample], metric: Metric) -> float:
    """Growth per second, as the median slope of all pairs of samples; 0 with fewer than two moments."""
    slopes = [
        (getattr(later, metric) - getattr(earlier, metric)) / (later.at_s - earlier.at_s)
        for earlier, later in combinations(samples, 2)
        if later.at_s > earlier.at_s
    ]
    return statistics.median(slopes) if slopes else 0.0


def leaks(samples: Sequence[Sample]) -> tuple[Metric, ...]:
    """See the module."""
    return tuple(metric for metric in _GROWING if _leaks(samples, metric))


def _leaks(samples: Sequence[Sample], metric: Metric) -> bool:
    values = [getattr(sample, metric) for sample in samples]
    if len(values) < _LEAST_SAMPLES:
        return False
    steps = [later - earlier for earlier, later in pairwise(values)]
    steady = sum(step > 0 for step in steps) >= _STEADY * len(steps)
    grown = values[-1] - values[0] > _RELATIVE_GROWTH * max(values[0], 1)
    return steady and grown and trend(samples, metric) > 0
