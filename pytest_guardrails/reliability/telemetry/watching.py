"""`MetricsWatcher`: looks at a store's metrics from time to time, and says which of them move in an unusual way.

A counter is watched by how fast it grows, a gauge by its value, a histogram by the mean of what was new in it since the
last look. What counts as unusual is said in `anomalies.py`. It only reads; what it has seen is in memory.
"""

import threading
from typing import final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.durability.forking import renew_in_children
from pytest_guardrails.reliability.telemetry.anomalies import Anomaly, MetricWatch
from pytest_guardrails.reliability.telemetry.metrics import MetricKind, Metrics, Series

__all__ = ["MetricsWatcher"]


@final
class MetricsWatcher:
    """Any thread may look.

    Args:
        metrics: whose.
        every_s: between two looks, in seconds; asked more often, it says what it said the last time.
        window: how many looks a metric is judged by.
        clock: for the time between them.
    """

    def __init__(
        self, metrics: Metrics, *, every_s: float = 10.0, window: int = 60, clock: Clock | None = None
    ) -> None:
        if not 0 < every_s < 1e6 or window < 8:
            raise ConfigurationError(f"every_s is above 0 and finite, and window at least 8, not {every_s}, {window}")
        self._metrics = metrics
        self._every_s = every_s
        self._clock = clock or SystemClock()
        self._watch = MetricWatch(window)
        self._mutex = threading.RLock()
        renew_in_children(self)
        self._before: dict[str, Series] = {}
        self._looked_s: float | None = None
        self._found: tuple[Anomaly, ...] = ()

    def look(self) -> tuple[Anomaly, ...]:
        """What is unusual, as of the last look."""
        with self._mutex:
            now_s = self._clock.monotonic()
            passed_s = None if self._looked_s is None else now_s - self._looked_s
            if passed_s is None or passed_s >= self._every_s:
                self._looked_s = now_s
                self._found = self._look(passed_s)
            return self._found

    def _look(self, passed_s: float | None) -> tuple[Anomaly, ...]:
        found: list[Anomaly] = []
        before, self._before = self._before, {_name_of(series): series for series in self._metrics.series()}
        for name, series in self._before.items():
            value = _value(series, before.get(name), passed_s)
            if value is not None:
                found += self._watch.update(name, value)
        return tuple(found)


def _value(new: Series, old: Series | None, passed_s: float | None) -> float | None:
    """What is watched of a series; None while there is nothing to compare with, or nothing new."""
    if new.kind is MetricKind.GAUGE:
        return new.value
    if old is None or passed_s is None:
        return None
    if new.kind is MetricKind.COUNTER:
        return (new.value - old.value) / passed_s if new.value >= old.value else None  # a restored store counts anew
    more = new.buckets[-1] - old.buckets[-1]
    return (new.value - old.value) / more if more > 0 else None


def _name_of(series: Series) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(series.labels.items()))
    return f"{series.name}{{{labels}}} of {series.source}" if labels else f"{series.name} of {series.source}"
