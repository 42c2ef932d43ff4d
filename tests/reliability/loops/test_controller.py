"""The loop controller: how loops end, what is asked of them from outside, what is kept and what is refused."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError, CorruptionError, DeadlineError, NewerFormatError, StorageError
from pytest_guardrails.reliability.durability import FencedError, LeaseHeldError
from pytest_guardrails.reliability.loops import (
    Custom,
    DependencyError,
    External,
    Ladder,
    LoopController,
    LoopReport,
    LoopSettings,
    LoopState,
    MaxIterations,
    NoProgress,
    Outcome,
    Reason,
    ResourceLimit,
    StepContext,
    StepInterrupted,
    StepKind,
    StepResult,
    StuckSettings,
    Timeout,
)
from pytest_guardrails.reliability.loops.course import source_of
from pytest_guardrails.reliability.loops.ledger import record_key
from pytest_guardrails.reliability.loops.overview import anomalies, usual_iterations
from pytest_guardrails.reliability.state import StateStore, Transaction, open_store, thaw
from pytest_guardrails.reliability.telemetry import Draft, Event, EventLog, Metrics, Sample
from tests.reliability.clocks import MovedClock


@pytest.fixture(params=["sqlite", "json"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "state", backend=request.param) as opened:
        yield opened


def end_of(report: LoopReport) -> tuple[LoopState, Reason | None]:
    return report.state, report.reason


def events(store: StateStore) -> list[str]:
    return [event.kind for event in EventLog(store)]


def wait_until(holds: object) -> None:
    end = time.monotonic() + 20
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def fail(step: StepContext) -> None:
    raise ZeroDivisionError("always")


def test_its_iterations_are_executed_and_it_is_completed(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(4))
    report = loop.run(lambda step: step.iteration * 10)
    assert end_of(report) == (LoopState.COMPLETED, Reason.MAX_ITERATIONS)
    assert [(found.number, found.value) for found in loop.iterations()] == [(1, 10), (2, 20), (3, 30), (4, 40)]
    assert events(store) == ["loop.running", "loop.completed"]


def test_of_a_run_the_newest_iterations_are_kept_and_it_is_sound(store: StateStore) -> None:
    settings = LoopSettings(keep_iterations=3)
    loop = LoopController("l", store, stop_when=MaxIterations(8), settings=settings)
    kept: list[int] = []
    loop.on_iteration.append(lambda _: kept.append(len(store.keys("loop-iteration/"))))
    loop.run(lambda step: step.iteration)
    assert kept == [1, 2, 3, 3, 3, 3, 3, 3]
    assert [found.number for found in loop.iterations()] == [6, 7, 8]
    assert store.history("loop-iteration/l/000001/000000001")[0].deleted
    assert anomalies(store) == []


def test_of_a_loop_the_newest_runs_are_kept_with_their_effects_and_all_doubts(store: StateStore) -> None:
    def deploy(step: StepContext) -> object:
        if step.run == 2:
            with suppress(ZeroDivisionError):
                step.effects.once("pay", step.iteration, lambda _: 1 / 0)
        return step.effects.once("deploy", step.iteration, lambda key: key)

    loop = LoopController("l", store, stop_when=MaxIterations(2), settings=LoopSettings(keep_runs=2))
    for _ in range(5):
        loop.run(deploy, restart=True)
    runs = [[found.number for found in loop.iterations(run)] for run in range(1, 6)]
    assert runs == [[], [], [], [1, 2], [1, 2]]
    assert usual_iterations(store, "l", 6) is None  # of two runs nothing can be told
    effects = store.keys("effect/")
    assert sum("deploy" in key for key in effects) == 4
    assert sum("pay" in key for key in effects) == 2  # nobody knows what came of these


def test_a_step_that_always_fails_ends_failed_after_its_limit(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(50), settings=LoopSettings(failure_limit=7))
    report = loop.run(fail)
    assert end_of(report) == (LoopState.FAILED, Reason.ERROR)
    assert report.facts.failures == 7
    assert [found.error for found in loop.iterations()] == ["ZeroDivisionError: always"] * 7


def test_without_a_limit_of_failures_the_last_iteration_still_does_not_complete_it(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(5), settings=LoopSettings(failure_limit=None))
    assert end_of(loop.run(fail)) == (LoopState.FAILED, Reason.MAX_ITERATIONS)


def test_a_step_that_is_to_be_done_again_to_the_last_does_not_complete_it(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(3))
    report = loop.run(lambda step: StepResult(kind=StepKind.RETRY, feedback="abc"[step.iteration - 1]))
    assert end_of(report) == (LoopState.FAILED, Reason.MAX_ITERATIONS)
    assert "to be done again" in report.detail


def test_a_level_that_stays_is_told_once(store: StateStore) -> None:
    patience = StuckSettings(waiting=Ladder(3, 50, 60, 70))
    loop = LoopController("l", store, stop_when=MaxIterations(10), stuck=patience)
    loop.run(lambda step: StepResult(kind=StepKind.WAITING, feedback="not yet"))
    assert events(store).count("loop.stuck") == 1


def test_a_run_that_was_stopped_can_be_started_again(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(2))
    loop.stop("not now")
    assert end_of(loop.run(lambda step: None)) == (LoopState.ABORTED, Reason.MANUAL)
    assert end_of(loop.run(lambda step: None, restart=True)) == (LoopState.COMPLETED, Reason.MAX_ITERATIONS)


def test_a_step_that_says_so_completes_it(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(50))
    report = loop.run(lambda step: StepResult(done=step.iteration == 3))
    assert (end_of(report), report.facts.iterations) == ((LoopState.COMPLETED, Reason.COMPLETED), 3)


@pytest.mark.slow
def test_a_step_that_hangs_in_python_is_interrupted_by_the_time_limit_of_the_run(store: StateStore) -> None:
    cleaned = []

    def hang(step: StepContext) -> None:
        try:
            while True:
                pass
        except StepInterrupted:
            cleaned.append(step.iteration)
            raise

    report = LoopController("l", store, stop_when=Timeout(0.2)).run(hang)
    assert end_of(report) == (LoopState.ABORTED, Reason.TIMEOUT)
    assert cleaned == [1]


@pytest.mark.slow
def test_a_step_that_hangs_in_c_code_ends_the_loop_and_is_told(store: StateStore) -> None:
    settings = LoopSettings(step_deadline_s=0.1, grace_s=0.1)
    reader, writer = os.pipe()
    loop = LoopController("l", store, stop_when=MaxIterations(9), settings=settings)
    report = loop.run(lambda step: os.read(reader, 1).hex())
    assert end_of(report) == (LoopState.ABORTED, Reason.TIMEOUT)
    assert "child process" in report.detail
    os.write(writer, b"x")  # it comes back, meets the interruption, and its thread ends
    os.close(writer)
    wait_until(lambda: not _step_threads())
    os.close(reader)


def _step_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.daemon and thread.name.endswith("(_execute)")]


@pytest.mark.slow
def test_steps_that_always_miss_their_deadline_end_it_aborted(store: StateStore) -> None:
    settings = LoopSettings(step_deadline_s=0.05, failure_limit=2)

    def spin(step: StepContext) -> None:
        while True:
            pass

    report = LoopController("l", store, stop_when=MaxIterations(9), settings=settings).run(spin)
    assert end_of(report) == (LoopState.ABORTED, Reason.TIMEOUT)
    assert report.facts.failures == 2


def test_a_step_that_is_bound_to_its_thread_runs_in_the_callers(store: StateStore) -> None:
    clock, threads = MovedClock(), []

    def step(context: StepContext) -> None:
        threads.append(threading.get_ident())
        clock.monotonic_s += 40.0

    settings = LoopSettings(interruptible=False)
    report = LoopController("l", store, stop_when=Timeout(60.0), settings=settings, clock=clock).run(step)
    assert (threads, report.reason) == ([threading.get_ident()] * 2, Reason.TIMEOUT)
    with pytest.raises(ConfigurationError, match="interruptible"):
        LoopSettings(interruptible=False, step_deadline_s=1.0)


def test_a_resource_limit_ends_it_aborted(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(50) | ResourceLimit(cost_nano_usd=1000, tokens=999))
    report = loop.run(lambda step: StepResult(cost_nano_usd=300, tokens=1))
    assert (end_of(report), report.facts.iterations) == ((LoopState.ABORTED, Reason.RESOURCE_LIMIT), 4)


def test_processor_time_memory_and_open_files_are_measured(store: StateStore) -> None:
    report = LoopController("l", store, stop_when=MaxIterations(1)).run(lambda step: sum(range(200_000)))
    assert report.facts.cpu_s > 0
    assert report.facts.rss_bytes > 1_000_000
    assert report.facts.open_files > 2
    limited = LoopController("m", store, stop_when=MaxIterations(5) | ResourceLimit(rss_bytes=1000))
    assert end_of(limited.run(lambda step: None)) == (LoopState.ABORTED, Reason.RESOURCE_LIMIT)


def test_a_missing_dependency_ends_it_failed_at_once(store: StateStore) -> None:
    def need(step: StepContext) -> None:
        raise DependencyError("the database is gone")

    report = LoopController("l", store, stop_when=MaxIterations(50)).run(need)
    assert end_of(report) == (LoopState.FAILED, Reason.DEPENDENCY_FAILURE)
    assert report.facts.iterations == 1


def test_a_predicate_of_the_program_ends_it(store: StateStore) -> None:
    predicates = {"enough": lambda facts: (facts.value or 0) > 6}
    loop = LoopController("l", store, stop_when=Custom("enough"), predicates=predicates)
    assert end_of(loop.run(lambda step: (step.value or 0) + 2)) == (LoopState.COMPLETED, Reason.CONDITION_MET)
    with pytest.raises(ConfigurationError, match="enough"):
        LoopController("m", store, stop_when=Custom("enough"))


def test_a_loop_that_goes_round_is_stopped_with_evidence_after_it_was_told(store: StateStore) -> None:
    advice = []

    def step(context: StepContext) -> StepResult:
        advice.append(context.advice_level)
        return StepResult(kind=StepKind.RETRY, feedback="the header is missing")

    report = LoopController("l", store, stop_when=MaxIterations(50)).run(step)
    assert end_of(report) == (LoopState.ABORTED, Reason.STUCK)
    assert "the header is missing" in report.detail
    assert [int(level) for level in advice] == [0, 0, 1, 2, 3]
    assert events(store).count("loop.stuck") == 4


def test_no_progress_ends_it_as_stuck(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=NoProgress(5), stuck=None)
    report = loop.run(lambda step: StepResult(progress=min(step.iteration, 3)))
    assert (end_of(report), report.facts.iterations) == ((LoopState.ABORTED, Reason.STUCK), 8)


def test_a_loop_that_ended_is_not_executed_again(store: StateStore) -> None:
    LoopController("l", store, stop_when=MaxIterations(3)).run(lambda step: None)
    again = LoopController("l", store, stop_when=MaxIterations(3)).run(fail)
    assert (again.state, again.facts.iterations, again.run) == (LoopState.COMPLETED, 3, 1)


def test_a_restart_is_a_new_run_with_its_own_budget_and_history(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(3))
    loop.run(lambda step: "old")
    report = loop.run(lambda step: "new", restart=True)
    assert (report.run, report.facts.iterations) == (2, 3)
    assert [found.value for found in loop.iterations(1)] == ["old"] * 3
    assert [found.value for found in loop.iterations()] == ["new"] * 3


def test_a_value_that_is_not_finite_is_refused_with_its_place_and_is_a_failure(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(3))
    report = loop.run(lambda step: {"loss": [1.0, float("nan")]})
    assert report.state is LoopState.FAILED
    assert "$.loss[1]" in next(loop.iterations()).error


def test_it_pauses_and_goes_on_and_the_pause_is_not_counted(store: StateStore) -> None:
    clock = MovedClock()
    loop = LoopController("l", store, stop_when=MaxIterations(6) | Timeout(100.0), clock=clock)
    other = LoopController("l", store, stop_when=MaxIterations(6) | Timeout(100.0))

    def step(context: StepContext) -> None:
        clock.monotonic_s += 1.0
        if context.iteration == 2:
            other.pause()

    loop.start(step)
    wait_until(lambda: loop.status().state is LoopState.PAUSED)
    assert loop.status().facts.iterations == 2
    clock.monotonic_s += 10.0
    other.resume()
    report = loop.wait(20.0)
    assert (report.state, report.facts.iterations) == (LoopState.COMPLETED, 6)
    assert 6.0 <= report.facts.elapsed_s < 7.0
    assert "loop.paused" in events(store)


@pytest.mark.slow
def test_a_stop_interrupts_the_step_under_way(store: StateStore) -> None:
    began = threading.Event()
    loop = LoopController("l", store, stop_when=MaxIterations(6))

    def spin(step: StepContext) -> None:
        began.set()
        while True:
            pass

    loop.start(spin)
    assert began.wait(20)
    LoopController("l", store, stop_when=MaxIterations(6)).stop("enough for today")
    report = loop.wait(20.0)
    assert end_of(report) == (LoopState.ABORTED, Reason.MANUAL)
    assert report.detail == "enough for today"


def test_a_signal_raised_elsewhere_ends_it(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=External("approved"))

    def step(context: StepContext) -> None:
        if context.iteration == 3:
            LoopController("l", store, stop_when=External("approved")).signal("approved")

    report = loop.run(step)
    assert (end_of(report), report.facts.iterations) == ((LoopState.COMPLETED, Reason.CONDITION_MET), 3)


def refusing(store: StateStore, monkeypatch: pytest.MonkeyPatch, times: int, error: Exception) -> None:
    """Commits of loops are refused so often."""
    left, append = [times], EventLog.append

    def refuse(self: EventLog, transaction: Transaction, *drafts: Draft) -> tuple[Event, ...]:
        if any(draft.kind == "loop.completed" for draft in drafts) and left[0]:
            left[0] -= 1
            raise error
        return append(self, transaction, *drafts)

    monkeypatch.setattr(EventLog, "append", refuse)


def test_a_commit_that_is_refused_for_a_moment_does_not_repeat_the_step(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(store, monkeypatch, 3, StorageError("no room"))
    executed: list[int] = []
    loop = LoopController("l", store, stop_when=MaxIterations(2), clock=MovedClock())
    report = loop.run(lambda step: executed.append(step.iteration))
    assert (report.state, executed) == (LoopState.COMPLETED, [1, 2])
    assert events(store) == ["loop.running", "loop.completed"]


def test_a_commit_that_is_refused_late_tells_nothing_of_what_it_did_not_write(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, record = [3], Metrics.record

    def refuse(self: Metrics, transaction: Transaction, source: str, *samples: Sample) -> None:
        if left[0] and any(sample.name == "loop_iterations_total" for sample in samples):
            left[0] -= 1
            raise StorageError("no room")
        record(self, transaction, source, *samples)

    monkeypatch.setattr(Metrics, "record", refuse)
    settings = LoopSettings(failure_limit=1)
    LoopController("l", store, stop_when=MaxIterations(2), settings=settings, clock=MovedClock()).run(fail)
    assert events(store) == ["loop.running", "loop.iteration_failed", "loop.failed"]


def test_a_disk_that_stays_full_is_told_and_the_next_owner_goes_on(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(store, monkeypatch, 99, StorageError("no room"))
    with pytest.raises(StorageError, match="no room"):
        LoopController("l", store, stop_when=MaxIterations(2), clock=MovedClock()).run(lambda step: step.attempt)
    monkeypatch.undo()
    report = LoopController("l", store, stop_when=MaxIterations(2)).run(lambda step: step.attempt)
    assert (report.state, report.facts.value) == (LoopState.COMPLETED, 2)


def test_damage_is_told_at_once(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(store, monkeypatch, 1, CorruptionError("torn"))
    with pytest.raises(CorruptionError):
        LoopController("l", store, stop_when=MaxIterations(2), clock=MovedClock()).run(lambda step: None)


def test_it_has_one_owner_at_a_time(store: StateStore) -> None:
    inside, leave = threading.Event(), threading.Event()
    loop = LoopController("l", store, stop_when=MaxIterations(1))

    def stay(step: StepContext) -> bool:
        inside.set()
        return leave.wait(20)

    loop.start(stay)
    assert inside.wait(20)
    with pytest.raises(LeaseHeldError, match="loop l"):
        LoopController("l", store, stop_when=MaxIterations(1)).run(fail)
    with pytest.raises(DeadlineError):
        loop.wait(0.01)
    leave.set()
    assert loop.wait(20.0).state is LoopState.COMPLETED


def test_an_owner_that_was_succeeded_writes_nothing_more(store: StateStore) -> None:
    def lose(step: StepContext) -> None:
        with store.transaction() as transaction:  # as a successor with a later token does
            transaction.fence(record_key("l"), 99)

    with pytest.raises(FencedError):
        LoopController("l", store, stop_when=MaxIterations(3)).run(lose)
    loop = LoopController("l", store, stop_when=MaxIterations(3))
    assert (loop.status().facts.iterations, list(loop.iterations())) == (0, [])


def test_other_conditions_than_it_was_started_with_are_refused_unless_meant(store: StateStore) -> None:
    class Broken(BaseException):
        pass

    def break_off(step: StepContext) -> None:
        if step.iteration == 2:
            raise Broken

    with pytest.raises(Broken):
        LoopController("l", store, stop_when=MaxIterations(3)).run(break_off)
    with pytest.raises(ConfigurationError, match="amend"):
        LoopController("l", store, stop_when=MaxIterations(5)).run(lambda step: None)
    report = LoopController("l", store, stop_when=MaxIterations(5)).run(lambda step: None, amend=True)
    assert (report.state, report.facts.iterations) == (LoopState.COMPLETED, 5)


def test_a_listener_that_fails_does_not_harm_the_loop_and_is_told(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(3))
    numbers: list[int] = []
    loop.on_iteration += [lambda found: numbers.append(found.number), lambda found: fail(None)]  # type: ignore[arg-type]
    states: list[LoopState] = []
    loop.on_state.append(lambda report: states.append(report.state))
    assert loop.run(lambda step: None).state is LoopState.COMPLETED
    assert (numbers, states) == ([1, 2, 3], [LoopState.RUNNING, LoopState.COMPLETED])
    assert events(store).count("loop.listener_failed") == 3  # of the last iteration, too


def test_memory_holds_the_last_iterations_and_the_store_all(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(12), settings=LoopSettings(history=4))
    loop.run(lambda step: None)
    assert [found.number for found in loop.recent()] == [9, 10, 11, 12]
    assert [found.number for found in loop.iterations()] == list(range(1, 13))


def test_a_step_of_the_wall_clock_changes_no_verdict(store: StateStore) -> None:
    clock = MovedClock()
    loop = LoopController("l", store, stop_when=MaxIterations(4) | Timeout(60.0), clock=clock)

    def step(context: StepContext) -> None:
        clock.wall_s += 3600 * (-1) ** context.iteration

    assert end_of(loop.run(step)) == (LoopState.COMPLETED, Reason.MAX_ITERATIONS)


def test_what_a_newer_program_wrote_is_kept_and_a_newer_format_refused(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(1))
    loop.run(lambda step: None)
    store.update(record_key("l"), lambda found: {**found, "mood": "sunny"})
    loop.run(lambda step: None, restart=True)
    assert store.get(record_key("l"))["mood"] == "sunny"
    store.update(record_key("l"), lambda found: {**found, "format": 99})
    with pytest.raises(NewerFormatError):
        loop.run(lambda step: None)


def test_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    with open_store(tmp_path / "inner" / "state") as store:
        for name in ("../../x", "a/b", "/etc/x"):
            assert LoopController(name, store, stop_when=MaxIterations(1)).run(lambda step: None).loop_id == name
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
    assert all(path.is_file() for path in (tmp_path / "inner").iterdir())


def test_what_was_executed_is_measured_in_the_same_store(store: StateStore) -> None:
    LoopController("l", store, stop_when=MaxIterations(6), settings=LoopSettings(failure_limit=2)).run(
        lambda step: 1 / (step.iteration % 3)
    )
    found = {
        (series.name, series.labels.get("outcome")): series.value
        for series in Metrics(store).series()
        if series.source == source_of("l")
    }
    assert found[("loop_iterations_total", "ok")] == 4
    assert found[("loop_iterations_total", "failed")] == 2
    assert thaw(store.get(record_key("l")))["facts"]["failures"] == 2
    changes = {
        series.labels["state"]: series.value
        for series in Metrics(store).series()
        if series.name == "loop_state_changes_total"
    }
    assert changes == {"running": 1, "failed": 1}
    assert [series.buckets[-1] for series in Metrics(store).series() if series.name == "loop_step_seconds"] == [6]


def test_an_outcome_is_good_or_not() -> None:
    assert [outcome.good for outcome in Outcome] == [True, False, False, False]


@pytest.mark.parametrize("settings", [{"attempts": 0}, {"history": 0}, {"grace_s": 0.0}, {"watch_s": float("inf")}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        LoopSettings(**settings)  # type: ignore[arg-type]
