"""All loops of a store at a glance, what is unusual with them, and who is told."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.loops import (
    DependencyError,
    LoopController,
    MaxIterations,
    RecoveryManager,
    ResourceLimit,
    StepContext,
    StepKind,
    StepResult,
    Timeout,
)
from pytest_guardrails.reliability.loops.checking import loop_advances, loops_sound
from pytest_guardrails.reliability.loops.facts import Facts
from pytest_guardrails.reliability.loops.ledger import iteration_key, record_key
from pytest_guardrails.reliability.loops.overview import anomalies, overview, used_shares, usual_iterations
from pytest_guardrails.reliability.loops.watching import Watch, live_server
from pytest_guardrails.reliability.state import StateStore, open_store
from pytest_guardrails.reliability.telemetry import Metrics, gauge
from pytest_guardrails.reliability.telemetry.anomalies import AnomalyKind
from pytest_guardrails.reliability.telemetry.checks import CheckStatus
from tests.reliability.clocks import MovedClock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "state") as opened:
        yield opened


def kinds(found: list[Any]) -> list[AnomalyKind]:
    return [anomaly.kind for anomaly in found]


def run_of(store: StateStore, count: int) -> None:
    LoopController("a", store, stop_when=MaxIterations(100)).run(
        lambda step: StepResult(done=step.iteration == count), restart=True
    )


def seen_inside(store: StateStore, at: int, **limits: Any) -> list[Any]:
    """What is unusual while a loop is in an iteration, and the check's answer."""
    found: list[Any] = []

    def step(context: StepContext) -> StepResult:
        if context.iteration == at:
            found.extend(anomalies(store))
        return StepResult(tokens=10, **limits)

    LoopController("a", store, stop_when=MaxIterations(at) | ResourceLimit(tokens=1000), stuck=None).run(step)
    return found


def test_each_loop_has_a_row_and_what_is_unusual_is_told(store: StateStore) -> None:
    LoopController("a", store, stop_when=MaxIterations(3)).run(lambda step: StepResult(tokens=2))
    LoopController("b", store, stop_when=MaxIterations(3)).run(lambda step: 1 / 0)
    rows = overview(store)
    assert [(row["loop"], row["state"], row["iterations"], row["tokens"]) for row in rows] == [
        ("a", "completed", 3, 6),
        ("b", "failed", 3, 0),
    ]
    assert kinds(anomalies(store, {"a": 30})) == [AnomalyKind.PREMATURE_END]


def test_shares_of_all_budgets_are_told() -> None:
    condition = MaxIterations(10) | MaxIterations(90) | (Timeout(5.0) & ResourceLimit(tokens=100, cpu_s=2.0))
    facts = Facts(iterations=9, elapsed_s=1.0, tokens=50, cpu_s=4.0)
    assert used_shares(condition, facts) == {"iterations": 0.9, "time": 0.2, "tokens": 0.5, "cpu_s": 2.0}


def test_what_is_usual_is_learned_from_earlier_runs(store: StateStore) -> None:
    for count in (16, 17, 40):
        run_of(store, count)
    assert anomalies(store) == []
    assert [usual_iterations(store, "a", run) for run in (3, 4)] == [None, 17]  # two runs are no custom
    run_of(store, 2)
    (found,) = anomalies(store)
    assert found.kind is AnomalyKind.PREMATURE_END
    assert "after 2 iterations, where 17 are usual" in found.message


def test_a_budget_that_is_nearly_used_is_told_while_the_loop_runs(store: StateStore) -> None:
    found = seen_inside(store, 10)
    assert [(anomaly.kind, "iterations" in anomaly.message) for anomaly in found] == [(AnomalyKind.OVERUSE, True)]


def test_a_loop_that_does_not_get_on_is_told_while_it_runs(store: StateStore) -> None:
    found = seen_inside(store, 30, progress="same")
    assert AnomalyKind.INFINITE_LOOP in kinds(found)


def test_what_the_stuck_detector_warns_of_is_told_while_the_loop_runs(store: StateStore) -> None:
    found: list[Any] = []

    def step(context: StepContext) -> StepResult:
        if context.iteration == 4:
            found.extend(anomalies(store))
        return StepResult(kind=StepKind.RETRY, feedback="the header is missing")

    LoopController("a", store, stop_when=MaxIterations(90)).run(step)
    assert kinds(found) == [AnomalyKind.INFINITE_LOOP]
    assert "the header is missing" in found[0].message


def test_a_history_that_does_not_fit_its_counters_is_inconsistent_and_not_ready(store: StateStore) -> None:
    run_of(store, 5)
    assert loops_sound(store).ask()[0] is CheckStatus.PASSED
    store.delete(iteration_key("a", 1, 5))
    (found,) = anomalies(store)
    assert found.kind is AnomalyKind.INCONSISTENT
    assert "5 iterations were counted, and the history holds 4" in found.message
    assert loops_sound(store).ask()[0] is CheckStatus.FAILED


def test_loops_that_are_only_unusual_are_a_warning_and_no_loops_are_skipped(store: StateStore) -> None:
    assert loops_sound(store).ask()[0] is CheckStatus.SKIPPED
    for count in (9, 9, 9, 2):
        run_of(store, count)
    status, said = loops_sound(store).ask()
    assert (status, "premature" in said) == (CheckStatus.WARNING, True)


def test_a_loop_of_a_newer_program_has_a_row_that_says_so_and_hides_no_other(store: StateStore) -> None:
    run_of(store, 2)
    LoopController("b", store, stop_when=MaxIterations(1)).run(lambda step: None)
    store.update(record_key("a"), lambda found: {**found, "format": 99})
    assert [("99" in row["said"], row["loop"]) for row in overview(store)] == [(True, ""), (False, "b")]
    assert anomalies(store) == []


def test_a_condition_of_a_newer_program_leaves_its_budgets_unknown(store: StateStore) -> None:
    run_of(store, 2)
    store.update(record_key("a"), lambda found: {**found, "state": "running", "condition": {"kind": "moon"}})
    assert kinds(anomalies(store)) == [AnomalyKind.UNKNOWN]


def test_a_running_loop_that_finishes_no_iteration_is_not_alive(store: StateStore) -> None:
    clock = MovedClock()
    check = loop_advances(store, "a", within_s=60.0, clock=clock)
    assert check.purpose == "liveness"
    said: list[CheckStatus] = [check.ask()[0]]

    def step(context: StepContext) -> None:
        said.append(check.ask()[0])
        clock.monotonic_s += 61.0 if context.iteration == 2 else 50.0
        clock.wall_s += 7200.0
        said.append(check.ask()[0])

    LoopController("a", store, stop_when=MaxIterations(3)).run(step)
    said.append(check.ask()[0])
    passed, failed, skipped = CheckStatus.PASSED, CheckStatus.FAILED, CheckStatus.SKIPPED
    assert said == [skipped, passed, passed, passed, failed, passed, passed, skipped]
    with pytest.raises(ConfigurationError):
        loop_advances(store, "a", within_s=float("nan"))


def test_what_begins_to_be_unusual_is_an_event_once_whoever_tells_it(store: StateStore) -> None:
    run_of(store, 5)
    last = {"n": 0}

    def measure(value: float) -> None:
        last["n"] += 1
        Metrics(store).add("m", gauge("depth", value))

    watch = Watch(store, every_s=1e-9)
    for number in range(12):
        measure(10.0 + number % 2)
        assert watch.tell() == ()
    measure(900.0)
    (event, *_) = watch.tell()
    assert (event.kind, event.detail["kind"]) == ("anomaly.found", "outlier")
    assert "depth of m is 900" in event.message
    store.delete(iteration_key("a", 1, 5))
    assert [found.detail["kind"] for found in Watch(store).tell()] == ["state inconsistency"]
    assert Watch(store).tell() == ()


def test_the_page_shows_loops_recoveries_what_is_unusual_and_how_it_is(store: StateStore) -> None:
    run_of(store, 5)
    RecoveryManager(store, automatic=False).recover("import/7", DependencyError("the server is gone"))
    store.delete(iteration_key("a", 1, 5))
    with live_server(store, checks=[loop_advances(store, "a", within_s=60.0)]) as server:
        with urllib.request.urlopen(server.url + "state", timeout=20) as answer:
            views = json.load(answer)["views"]
        with urllib.request.urlopen(server.url + "livez", timeout=20) as answer:
            alive = json.load(answer)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server.url + "readyz", timeout=20)
        with refused.value as answer:
            ready = json.load(answer)
    assert (views["Loops"][0]["loop"], views["Loops"][0]["iterations"]) == ("a", 5)
    assert views["Unusual"][0]["what"] == "state inconsistency"
    assert (views["Open recoveries"][0]["item"], views["Open recoveries"][0]["class"]) == ("import/7", "dependency")
    assert (alive["holds"], [check["status"] for check in alive["checks"]]) == (True, ["skipped"])
    assert (ready["holds"], {check["name"]: check["status"] for check in ready["checks"]}["loops"]) == (False, "failed")
