"""Metrics that are watched: what moves in an unusual way is told, at the pace that was wanted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.state import StateStore, open_store
from pytest_guardrails.reliability.telemetry import Metrics, count, gauge, observe
from pytest_guardrails.reliability.telemetry.anomalies import AnomalyKind
from pytest_guardrails.reliability.telemetry.watching import MetricsWatcher
from tests.reliability.clocks import MovedClock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "state") as opened:
        yield opened


def test_a_counter_is_watched_by_its_pace_and_a_histogram_by_what_is_new(store: StateStore) -> None:
    metrics, clock = Metrics(store), MovedClock()
    watcher = MetricsWatcher(metrics, every_s=10.0, clock=clock)
    for number in range(12):
        metrics.add("m", count("hits_total", 5 + number % 2), observe("took_seconds", 0.1 + 0.01 * (number % 2)))
        assert watcher.look() == ()
        clock.monotonic_s += 10.0
        clock.wall_s -= 3600.0
    metrics.add("m", count("hits_total", 300), observe("took_seconds", 40.0))
    found = watcher.look()
    outliers = [anomaly for anomaly in found if anomaly.kind is AnomalyKind.OUTLIER]
    assert [anomaly.name for anomaly in outliers] == ["hits_total of m", "took_seconds of m"]
    assert "is 30," in outliers[0].message
    assert "is 40," in outliers[1].message


def test_asked_more_often_it_says_what_it_said(store: StateStore) -> None:
    metrics, clock = Metrics(store), MovedClock()
    watcher = MetricsWatcher(metrics, every_s=10.0, clock=clock)
    for number in range(12):
        metrics.add("m", gauge("depth", number % 2, queue="a"))
        watcher.look()
        clock.monotonic_s += 10.0
    metrics.add("m", gauge("depth", 500, queue="a"))
    first = watcher.look()
    assert [anomaly.name for anomaly in first if anomaly.kind is AnomalyKind.OUTLIER] == ["depth{queue=a} of m"]
    metrics.add("m", gauge("depth", 1, queue="a"))
    clock.monotonic_s += 9.0
    assert watcher.look() == first
    clock.monotonic_s += 1.0
    assert AnomalyKind.OUTLIER not in [anomaly.kind for anomaly in watcher.look()]


def test_a_counter_that_was_restored_to_less_is_no_news(store: StateStore) -> None:
    metrics, clock = Metrics(store), MovedClock()
    watcher = MetricsWatcher(metrics, every_s=1.0, clock=clock)
    for _ in range(20):
        metrics.add("m", count("hits_total", 100))
        watcher.look()
        clock.monotonic_s += 1.0
    store.delete(store.keys("metric/")[0])
    metrics.add("m", count("hits_total", 1))
    assert watcher.look() == ()


def test_settings_that_make_no_sense_are_refused(store: StateStore) -> None:
    for every_s, window in ((0.0, 60), (float("nan"), 60), (1.0, 7)):
        with pytest.raises(ConfigurationError):
            MetricsWatcher(Metrics(store), every_s=every_s, window=window)
