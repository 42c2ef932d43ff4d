"""`Metrics`: counters, gauges and histograms, kept in the store and written with the change that they measure.

A *sample* says what happened; `fold` adds samples to a record, purely. A record belongs to a source and lies under one
key, so processes never share a file by process number, and what was counted survives them all. The number of label sets
of a metric is bounded: what comes beyond is counted together under the label `overflow`.

The store counts by itself how long its writers wait for each other: that comes along with the other series.

**Guarantees.** As the transaction's: a rolled back change was never counted, a committed one was, once.
Read `prometheus.py` for how they are told.
"""

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, final

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.durability import safe_name
from pytest_guardrails.reliability.state import StateStore, Transaction, thaw
from pytest_guardrails.reliability.state.pressure import BUCKETS, Distribution, Pressure
from pytest_guardrails.reliability.telemetry.formats import known_format

__all__ = ["BUCKETS_S", "MetricKind", "Metrics", "Sample", "Series", "count", "fold", "gauge", "observe"]

BUCKETS_S = BUCKETS
_FORMAT = 1
_PREFIX = "metric/"
_SERIES = 200  # of one metric of one source
_OVERFLOW = '{"overflow":"true"}'
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TAKEN = frozenset({"source", "le", "overflow"})  # labels that the export sets


@final
class MetricKind(str, Enum):
    """What becomes of a sample's value."""

    COUNTER = "counter"  # added; never negative
    GAUGE = "gauge"  # replaces the last one
    HISTOGRAM = "histogram"  # sorted into buckets


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One thing that was measured.

    Attributes:
        kind: what becomes of the value.
        name: letters, digits and underscores; of a counter, and of nothing else, it ends with `_total`.
        value: finite.
        labels: few different values each.
    """

    kind: MetricKind
    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.name, *self.labels):
            if not _NAME.fullmatch(name):
                raise ConfigurationError(f"{name!r} is no name for a metric or a label: letters, digits, underscores")
        if taken := sorted(_TAKEN & set(self.labels)):
            raise ConfigurationError(f"{self.name}: the label {taken[0]!r} is set by the export: choose another name")
        if (self.kind is MetricKind.COUNTER) != self.name.endswith("_total"):
            raise ConfigurationError(f"{self.name}: counters, and nothing else, have names that end with _total")
        if not math.isfinite(self.value) or (self.kind is MetricKind.COUNTER and self.value < 0):
            raise ConfigurationError(f"{self.name}: a {self.kind.value} can't take {self.value}")


@final
class Series(NamedTuple):
    """One series as it stands.

    Attributes:
        source: who measured.
        name: the metric.
        kind: its kind.
        labels: of this series.
        value: of a counter or gauge; of a histogram the sum.
        buckets: of a histogram, how many were at most `BUCKETS_S`, one each, and all in the last.
    """

    source: str
    name: str
    kind: MetricKind
    labels: Mapping[str, str]
    value: float
    buckets: tuple[int, ...] = ()


def count(name: str, by: float = 1, **labels: str) -> Sample:
    """Something happened, once or `by` times."""
    return Sample(kind=MetricKind.COUNTER, name=name, value=by, labels=labels)


def gauge(name: str, value: float, **labels: str) -> Sample:
    """Something is so much now."""
    return Sample(kind=MetricKind.GAUGE, name=name, value=value, labels=labels)


def observe(name: str, value: float, **labels: str) -> Sample:
    """Something took so long, or was so large."""
    return Sample(kind=MetricKind.HISTOGRAM, name=name, value=value, labels=labels)


def fold(record: Mapping[str, Any] | None, samples: Iterable[Sample]) -> dict[str, Any]:
    """A record with the samples added.

    Args:
        record: as `fold` made it; None for an empty one. It is not changed.
        samples: in order.

    Raises:
        NewerFormatError: a later version wrote the record.
    """
    found: dict[str, Any] = (
        {"format": _FORMAT, "metrics": {}}
        if record is None
        else thaw(known_format(record, _FORMAT, "a record of metrics"))
    )
    for sample in samples:
        metric = found["metrics"].setdefault(sample.name, {"kind": sample.kind.value, "series": {}})
        if metric["kind"] != sample.kind.value:
            raise ConfigurationError(f"{sample.name} is a {metric['kind']}, and can't take a {sample.kind.value}")
        series = metric["series"]
        key = json.dumps(dict(sample.labels), sort_keys=True, separators=(",", ":"))
        if key not in series and len(series) >= _SERIES:
            key = _OVERFLOW
        series[key] = _added(sample, series.get(key))
    return found


@final
class Metrics:
    """The metrics of one store.

    Args:
        store: where they lie.
    """

    def __init__(self, store: StateStore) -> None:
        self.store = store

    def record(self, transaction: Transaction, source: str, *samples: Sample) -> None:
        """Add samples in a transaction."""
        if samples:
            key = _PREFIX + safe_name(source)
            record = fold(transaction.get(key), samples)
            transaction.put(key, {**record, "source": source}, keep_versions=1)

    def add(self, source: str, *samples: Sample) -> None:
        """Add samples that measure no change of the store, in a transaction of their own."""
        with self.store.transaction() as transaction:
            self.record(transaction, source, *samples)

    def series(self) -> Iterator[Series]:
        """Everything that was measured, the store's own waits included, sorted by metric, source and labels.

        Raises:
            NewerFormatError: a later version wrote some of it; half of the truth is not told.
        """
        found = _of_the_store(self.store.pressure())
        for key in self.store.keys(_PREFIX):
            record = self.store.get(key)
            if record is not None:
                found += _series_of(known_format(record, _FORMAT, key))
        return iter(sorted(found, key=lambda series: (series.name, series.source, sorted(series.labels.items()))))


def _added(sample: Sample, old: Any) -> Any:
    if sample.kind is MetricKind.GAUGE:
        return sample.value
    if sample.kind is MetricKind.COUNTER:
        return _bounded((old or 0) + sample.value)
    total, counts = Distribution(*(old or ())).with_value(sample.value)
    return [_bounded(total), list(counts)]


def _bounded(value: float) -> float:
    return max(-sys.float_info.max, min(value, sys.float_info.max)) if isinstance(value, float) else value


def _of_the_store(pressure: Pressure) -> list[Series]:
    waits, depths = pressure.lock_waits, pressure.depths
    return [
        Series("store", "store_lock_wait_seconds", MetricKind.HISTOGRAM, {}, waits.total, waits.counts),
        Series("store", "store_queue_depth", MetricKind.HISTOGRAM, {}, depths.total, depths.counts),
        Series("store", "store_queue_depth_max", MetricKind.GAUGE, {}, pressure.deepest),
    ]


def _series_of(record: Mapping[str, Any]) -> Iterator[Series]:
    for name, metric in record["metrics"].items():
        kind = MetricKind(metric["kind"])
        for labels, value in metric["series"].items():
            known = json.loads(labels)
            if kind is MetricKind.HISTOGRAM:
                yield Series(record["source"], name, kind, known, value[0], tuple(value[1]))
            else:
                yield Series(record["source"], name, kind, known, value)
