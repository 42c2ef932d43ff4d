"""Anomalies, health checks and the live page."""

import http.client
import json
import math
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.state import StateStore, open_store
from pytest_guardrails.reliability.telemetry import Draft, EventLog, Metrics, count
from pytest_guardrails.reliability.telemetry.anomalies import (
    AnomalyKind,
    Ewma,
    LoopSigns,
    MetricWatch,
    loop_signs,
    outlier,
    trend,
)
from pytest_guardrails.reliability.telemetry.checks import (
    Answer,
    Check,
    CheckStatus,
    HealthChecks,
    disk_room,
    store_answers,
)
from pytest_guardrails.reliability.telemetry.live import LiveServer

CALM = [10.0, 10.2, 9.9, 10.1, 10.0, 9.8, 10.3, 10.0, 10.1]


def test_a_value_far_outside_is_an_outlier_even_among_wild_ones() -> None:
    assert outlier("m", [*CALM, 500.0, 900.0], 300.0) is not None
    assert outlier("m", CALM, 10.4) is None
    assert outlier("m", [7.0] * 20, 7.0) is None
    assert outlier("m", [7.0] * 20, 7.1) is not None
    assert outlier("m", CALM[:5], 1e9) is None


def test_what_differs_by_the_rounding_of_floats_alone_is_the_same() -> None:
    nearly = [0.3, 0.1 + 0.2] * 10
    assert outlier("m", nearly, 0.3 + 1e-13) is None
    assert outlier("m", [*nearly, *[0.2, 0.4] * 4], 0.4) is None
    mean = Ewma()
    for value in nearly:
        mean, found = mean.step("m", value)
        assert found is None


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20), st.floats())
def test_no_number_breaks_a_detector_and_scores_are_finite(history: list[float], value: float) -> None:
    watch, mean = MetricWatch(), Ewma()
    for old in history:
        mean, _ = mean.step("m", old)
        watch.update("m", old)
    mean, shift = mean.step("m", value)
    found = [outlier("m", history, value), shift, trend("m", history), *watch.update("m", value)]
    assert all(math.isfinite(anomaly.score) for anomaly in found if anomaly is not None)
    assert math.isfinite(mean.mean)
    assert math.isfinite(mean.variance)
    if not math.isfinite(value):
        assert shift is not None
        assert shift.kind is AnomalyKind.UNKNOWN


def test_a_shift_is_seen_by_the_weighted_mean() -> None:
    mean = Ewma()
    for value in CALM * 3:
        mean, found = mean.step("m", value)
        assert found is None
    _, found = mean.step("m", 12.0)
    assert found is not None
    assert found.kind is AnomalyKind.SHIFT


def test_a_steady_way_is_a_trend_and_chance_is_not() -> None:
    chance = random.Random(1)
    rising = [number + chance.random() * 3 for number in range(30)]
    found = trend("memory", rising)
    assert found is not None
    assert "rises" in found.message
    assert trend("memory", rising, least_slope=5.0) is None
    assert sum(trend("m", [chance.random() for _ in range(30)]) is not None for _ in range(200)) < 12


def test_a_watch_keeps_metrics_apart_and_is_bounded() -> None:
    watch = MetricWatch(window=20)
    for number in range(200):
        assert watch.update("a", CALM[number % 9]) == ()
        assert not any(found.kind is AnomalyKind.OUTLIER for found in watch.update("b", CALM[number % 9] * 1000))
    assert {found.kind for found in watch.update("a", 10_000.0)} >= {AnomalyKind.OUTLIER, AnomalyKind.SHIFT}
    assert all(len(values) <= 20 for values in watch._values.values())


@pytest.mark.parametrize(
    ("signs", "kinds"),
    [
        (LoopSigns(name="l", state="running", iterations=9), []),
        (LoopSigns(name="l", state="running", iterations=90, expected=40), [AnomalyKind.INFINITE_LOOP]),
        (LoopSigns(name="l", state="running", iterations=30, since_progress=20), [AnomalyKind.INFINITE_LOOP]),
        (LoopSigns(name="l", state="completed", iterations=3, expected=40), [AnomalyKind.PREMATURE_END]),
        (LoopSigns(name="l", state="completed", iterations=39, expected=40), []),
        (LoopSigns(name="l", state="running", iterations=1, shares={"cost": 0.81}), [AnomalyKind.OVERUSE]),
        (LoopSigns(name="l", state="running", iterations=1, shares={"cost": 0.8}), []),
        (LoopSigns(name="l", state="running", iterations=1, shares={"cost": math.nan}), [AnomalyKind.UNKNOWN]),
        (LoopSigns(name="l", state="running", iterations=1, failures=2), [AnomalyKind.INCONSISTENT]),
        (
            LoopSigns(name="l", state="completed", iterations=2, failures=1, consecutive_failures=1),
            [AnomalyKind.INCONSISTENT],
        ),
    ],
)
def test_a_loops_own_counters_tell_when_it_is_in_trouble(signs: LoopSigns, kinds: list[AnomalyKind]) -> None:
    assert [found.kind for found in loop_signs(signs)] == kinds


def answer(status: CheckStatus, message: str = "") -> Answer:
    return status, message


def broken() -> Answer:
    raise OSError("gone")


def test_a_check_that_raises_is_an_error_and_readiness_is_apart_from_liveness() -> None:
    report = HealthChecks(
        [
            Check(name="a", purpose="liveness", ask=lambda: answer(CheckStatus.PASSED)),
            Check(name="b", purpose="readiness", ask=broken),
            Check(name="c", purpose="readiness", ask=lambda: answer(CheckStatus.SKIPPED)),
        ]
    ).run()
    assert [found.status.name for found in report.results] == ["PASSED", "ERROR", "SKIPPED"]
    assert "OSError: gone" in report.results[1].message
    assert (report.holds("liveness"), report.holds("readiness")) == (True, False)


def test_a_check_that_hangs_is_an_error_and_is_not_asked_again_meanwhile() -> None:
    release, asked = threading.Event(), []

    def hang() -> Answer:
        asked.append(1)
        release.wait(20)
        return CheckStatus.WARNING, "slow"

    checks = HealthChecks([Check(name="h", purpose="liveness", ask=hang, deadline_s=0.05)])
    for _ in range(3):
        assert checks.run().results[0].status is CheckStatus.ERROR
    assert len(asked) == 1
    release.set()
    end = time.monotonic() + 20
    while checks.run().results[0].status is CheckStatus.ERROR:
        assert time.monotonic() < end
    assert checks.run("liveness").holds("liveness")


def test_names_of_checks_are_unique_and_deadlines_finite() -> None:
    check = Check(name="a", purpose="liveness", ask=broken)
    with pytest.raises(ConfigurationError):
        HealthChecks([check, check])
    with pytest.raises(ConfigurationError):
        Check(name="a", purpose="liveness", ask=broken, deadline_s=math.inf)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "state") as opened:
        yield opened


def test_the_store_and_the_room_on_its_disk_are_checked(store: StateStore, tmp_path: Path) -> None:
    report = HealthChecks([store_answers(store), disk_room(tmp_path, least_bytes=2**62)]).run()
    assert [found.status.name for found in report.results] == ["PASSED", "FAILED"]


@pytest.fixture
def server(store: StateStore) -> Iterator[LiveServer]:
    def fail() -> list[dict[str, object]]:
        raise ValueError("no view")

    with LiveServer(store, views={"loops": lambda: [{"loop": "<b>"}], "bad": fail}) as running:
        yield running


def get(server: LiveServer, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(server.url + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_page_state_metrics_and_health_are_served(store: StateStore, server: LiveServer) -> None:
    Metrics(store).add("s", count("runs_total"))
    status, page = get(server, "")
    assert (status, "EventSource" in page, "NONCE" in page) == (200, True, False)
    state = json.loads(get(server, "state")[1])
    assert state["views"]["loops"] == [{"loop": "<b>"}]
    assert "no view" in state["views"]["bad"][0]["error"]
    families = {family.name for family in text_string_to_metric_families(get(server, "metrics")[1])}
    assert {"runs", "store_lock_wait_seconds", "store_queue_depth"} <= families
    assert "store_queue_depth" in {row[0] for row in state["metrics"]}
    assert get(server, "readyz")[0] == get(server, "livez")[0] == 200
    assert get(server, "else")[0] == 404


def test_a_failed_check_is_told_by_the_status(store: StateStore) -> None:
    checks = HealthChecks([Check(name="b", purpose="readiness", ask=broken)])
    with LiveServer(store, checks=checks) as server:
        assert (get(server, "readyz")[0], get(server, "livez")[0]) == (503, 200)


def test_events_are_streamed_as_they_come_and_again_after_a_reconnect(store: StateStore, server: LiveServer) -> None:
    log = EventLog(store)
    log.emit(Draft(source="s", kind="first"))
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.split(":")[2].strip("/")), timeout=20)
    connection.request("GET", "/events")
    stream = connection.getresponse()

    def next_event() -> dict[str, object]:
        while not (line := stream.readline()).startswith(b"data: "):
            assert line
        return dict(json.loads(line[6:]))

    assert next_event()["kind"] == "first"
    log.emit(Draft(source="s", kind="second"))
    assert next_event()["kind"] == "second"
    connection.close()
    connection.request("GET", "/events", headers={"Last-Event-ID": "1"})
    stream = connection.getresponse()
    assert next_event()["kind"] == "second"
    connection.close()


def test_other_host_names_and_odd_numbers_are_refused(server: LiveServer) -> None:
    assert get(server, "state", Host="evil.example")[0] == 403
    assert get(server, "events?after=x")[0] == 400


def test_only_loopback_is_listened_on(store: StateStore) -> None:
    with pytest.raises(ConfigurationError, match="loopback"):
        LiveServer(store, host="0.0.0.0")  # type: ignore[arg-type]
