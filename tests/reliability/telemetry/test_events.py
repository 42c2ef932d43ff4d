"""Events and metrics: written with the change that they report, bounded, read by number, told as Prometheus reads."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.reliability.state import StateStore, open_store
from pytest_guardrails.reliability.state.pressure import Distribution, Pressure
from pytest_guardrails.reliability.telemetry import (
    Draft,
    Event,
    EventLog,
    MetricKind,
    Metrics,
    Sample,
    Severity,
    count,
    gauge,
    observe,
)
from pytest_guardrails.reliability.telemetry.metrics import BUCKETS_S, fold
from pytest_guardrails.reliability.telemetry.prometheus import render, write_textfile
from tests.reliability.clocks import MovedClock
from tests.reliability.processes import Child


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "state") as opened:
        yield opened


def draft(number: int = 0) -> Draft:
    return Draft(source="test", kind="test.happened", message=f"number {number}", detail={"n": number})


def test_an_event_is_there_exactly_if_its_change_is(store: StateStore) -> None:
    log = EventLog(store)
    with store.transaction() as transaction:
        transaction.put("key", 1)
        log.append(transaction, draft(1))
    with pytest.raises(ZeroDivisionError), store.transaction() as transaction:
        transaction.put("key", 2)
        log.append(transaction, draft(2))
        raise ZeroDivisionError
    assert [event.detail["n"] for event in log] == [1]
    assert log.last() == 1


def test_an_event_comes_back_as_it_went_in(store: StateStore) -> None:
    log = EventLog(store, clock=MovedClock(wall_s=123.5))
    (written,) = log.emit(
        Draft(source="s", kind="k", severity=Severity.ERROR, scope="run/1", message="m", detail={"a": [1]})
    )
    assert log.newest() == (written,)
    assert (written.at, written.sequence, written.severity) == (123.5, 1, Severity.ERROR)
    assert Event.parse({**written.plain(), "of the future": 1}) == written


def test_ids_are_unique_and_tell_source_and_number(store: StateStore) -> None:
    log = EventLog(store)
    ids = [event.id for _ in range(3) for event in log.emit(draft(), draft())]
    assert len(set(ids)) == 6
    assert [found.split(":")[:2] for found in ids] == [["test", str(number)] for number in range(1, 7)]


def test_room_is_bounded_and_a_late_reader_is_told_what_it_missed(store: StateStore) -> None:
    log = EventLog(store, capacity=5)
    log.emit(*(draft(number) for number in range(1, 13)))
    batch = log.read(2)
    assert [event.detail["n"] for event in batch.events] == [8, 9, 10, 11, 12]
    assert (batch.missed, batch.position) == (5, 12)
    assert len(store.keys("event/")) == 5


def test_an_event_that_was_overwritten_while_it_was_read_is_missed_and_not_taken_for_another(store: StateStore) -> None:
    log = EventLog(store, capacity=5)
    log.emit(*(draft(number) for number in range(1, 4)))
    slot = "event/000002"
    store.put(slot, {**store.get(slot), "sequence": 7})  # as a writer does after the reader looked at the head
    batch = log.read(0)
    assert [event.sequence for event in batch.events] == [1, 3]
    assert batch.missed == 1


def test_a_reader_goes_on_where_it_was(store: StateStore) -> None:
    log = EventLog(store)
    log.emit(*(draft(number) for number in range(1, 8)))
    position, seen = 0, []
    while (batch := log.read(position, limit=3)).position > position:
        position = batch.position
        seen += [event.detail["n"] for event in batch.events]
    assert seen == list(range(1, 8))
    assert log.read(7).position == 7


@pytest.mark.slow
def test_events_of_several_processes_have_one_numbering_and_none_is_lost(tmp_path: Path) -> None:
    def tell(say: object) -> None:
        with open_store(tmp_path / "state") as store:
            for number in range(20):
                EventLog(store).emit(draft(number))

    children = [Child(tell) for _ in range(3)]
    for child in children:
        child.result()
    with open_store(tmp_path / "state") as store:
        assert [event.sequence for event in EventLog(store)] == list(range(1, 61))


def test_a_damaged_store_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with open_store(path, backend="json") as store:
        store.put("key", 1)
        store.put("key", 2)
    path.write_bytes(b"foreign " + path.read_bytes()[8:])
    with open_store(path, backend="json") as store:
        log = EventLog(store)
        (event,) = log.tell_incidents()
        assert (event.kind, event.severity) == ("store.damaged", Severity.CRITICAL)
        assert "commits are lost" in event.message
        assert log.tell_incidents() == ()


def test_drafts_that_say_nothing_are_refused(store: StateStore) -> None:
    with pytest.raises(ConfigurationError):
        Draft(source="", kind="x")
    with pytest.raises(ConfigurationError):
        EventLog(store, capacity=0)


def test_metrics_are_counted_with_their_transaction_or_not_at_all(store: StateStore) -> None:
    metrics = Metrics(store)
    metrics.add("s", count("runs_total"), gauge("depth", 4))
    with pytest.raises(ZeroDivisionError), store.transaction() as transaction:
        metrics.record(transaction, "s", count("runs_total"))
        raise ZeroDivisionError
    metrics.add("s", count("runs_total", 2), gauge("depth", 1.5))
    assert {series.name: series.value for series in metrics.series() if series.source == "s"} == {
        "runs_total": 3,
        "depth": 1.5,
    }


def test_label_sets_are_bounded_and_nothing_is_lost_beyond() -> None:
    record = None
    for number in range(500):
        record = fold(record, [count("hits_total", user=str(number))])
    series = record["metrics"]["hits_total"]["series"]  # type: ignore[index]
    assert len(series) == 201
    assert sum(series.values()) == 500


@given(st.lists(st.floats(-1e308, 1e308), max_size=30))
def test_a_histogram_counts_each_value_and_stays_finite(values: list[float]) -> None:
    record = fold(None, [observe("took_seconds", value) for value in values])
    if values:
        sum_, buckets = record["metrics"]["took_seconds"]["series"]["{}"]
        assert math.isfinite(sum_)
        assert buckets == [sum(value <= bound for value in values) for bound in (*BUCKETS_S, math.inf)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: gauge("x", math.nan),
        lambda: count("x_total", -1),
        lambda: count("x"),
        lambda: gauge("x_total", 1),
        lambda: gauge("no-dash", 1),
        lambda: gauge("x", 1, **{"a b": "c"}),
        lambda: gauge("x", 1, source="mine"),
        lambda: observe("x", 1, le="9"),
        lambda: fold(None, [observe("x", 1), gauge("x", 1)]),
    ],
)
def test_samples_that_make_no_sense_are_refused(make: object) -> None:
    with pytest.raises(ConfigurationError):
        make()  # type: ignore[operator]


def test_a_newer_record_is_refused(store: StateStore) -> None:
    with pytest.raises(NewerFormatError):
        fold({"format": 99, "metrics": {}}, [])
    store.put("metric/s", {"format": 99, "metrics": {}, "source": "s"})
    with pytest.raises(NewerFormatError, match="99"):
        Metrics(store).series()


def test_what_a_newer_program_added_to_a_record_is_kept() -> None:
    record = {**fold(None, [count("runs_total")]), "mood": "sunny"}
    record["metrics"]["runs_total"]["unit"] = "runs"
    found = fold(record, [count("runs_total")])
    assert (found["mood"], found["metrics"]["runs_total"]["unit"]) == ("sunny", "runs")


def test_waits_for_the_lock_and_the_depth_of_the_queue_are_told_of_every_store(store: StateStore) -> None:
    store._gauge.waited(0.3)  # as `tests/reliability/state/test_pressure.py` shows that it does by itself
    store._gauge.queued(7)
    store.put("a", 1)
    store.put("b", 1)
    series = {one.name: one for one in Metrics(store).series()}
    assert series["store_lock_wait_seconds"].value == 0.3
    assert series["store_lock_wait_seconds"].buckets[-1] == 1
    assert series["store_queue_depth"].value == 7
    assert series["store_queue_depth_max"].value == 7
    assert "store_lock_wait_seconds_count" in render(Metrics(store).series())


NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(lambda name: not name.startswith("__"))
LABELS = NAMES.filter(lambda name: name not in ("le", "source", "overflow"))


def sample_of(number: int, kind: MetricKind, value: float, labels: dict[str, str]) -> Sample:
    name = f"m{number}_total" if kind is MetricKind.COUNTER else f"m{number}"
    return Sample(kind=kind, name=name, value=value, labels=labels)


SAMPLES = st.builds(
    sample_of,
    st.integers(0, 99),
    st.sampled_from(MetricKind),
    st.floats(0, 1e300),
    st.dictionaries(LABELS, st.text(max_size=9), max_size=2),
)


@given(
    st.lists(SAMPLES, max_size=8, unique_by=lambda sample: sample.name.removesuffix("_total")),
    st.text(min_size=1, max_size=9),
)
def test_prometheus_reads_the_text_as_it_was_meant(samples: list[Sample], source: str) -> None:
    class Fake:
        def keys(self, prefix: str) -> list[str]:
            return ["metric/x"]

        def get(self, key: str) -> object:
            return {**fold(None, samples), "source": source}

        def pressure(self) -> Pressure:
            return Pressure(Distribution().with_value(0.25), Distribution().with_value(3), 3)

    series = list(Metrics(Fake()).series())  # type: ignore[arg-type]
    assert {"store_lock_wait_seconds", "store_queue_depth"} <= {one.name for one in series}
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render(series))
        for sample in family.samples
    }
    for expected in series:
        labels = tuple(sorted({**expected.labels, "source": expected.source}.items()))
        if expected.kind is MetricKind.HISTOGRAM:
            assert found[f"{expected.name}_sum", labels] == expected.value
            assert found[f"{expected.name}_count", labels] == expected.buckets[-1]
        else:
            assert found[expected.name, labels] == expected.value


def test_the_text_file_is_whole(store: StateStore, tmp_path: Path) -> None:
    metrics = Metrics(store)
    metrics.add('a "quoted"\n\\source', count("runs_total", 3, mode="x"), observe("took_seconds", 0.2))
    write_textfile(metrics, tmp_path / "metrics.prom")
    families = list(text_string_to_metric_families((tmp_path / "metrics.prom").read_text()))
    assert [family.name for family in families if not family.name.startswith("store_")] == ["runs", "took_seconds"]
    assert families[0].samples[0].labels["source"] == 'a "quoted"\n\\source'
