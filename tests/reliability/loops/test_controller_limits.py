"""What a loop may use, what is refused of a step, who is told first of several endings, and what old programs keep."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.reliability.durability import JsonRefusedError
from pytest_guardrails.reliability.loops import (
    ConsecutiveFailures,
    Custom,
    LoopController,
    LoopReport,
    LoopSettings,
    LoopState,
    MaxIterations,
    Reason,
    RecoveryManager,
    ResourceLimit,
    StepContext,
    StepInterrupted,
    StepKind,
    StepResult,
    StuckDetector,
    Timeout,
    parse_condition,
)
from pytest_guardrails.reliability.loops.ledger import iteration_key, record_key, request_key
from pytest_guardrails.reliability.state import StateStore, open_store, thaw
from tests.reliability.clocks import MovedClock
from tests.reliability.processes import Child

ONE = MaxIterations(1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "state") as opened:
        yield opened


def burn(_: StepContext) -> None:
    sum(range(300_000))


@pytest.mark.parametrize(
    ("limit", "step"),
    [
        (ResourceLimit(cpu_s=1e-6), burn),
        (ResourceLimit(cpu_percent=1.0), burn),
        (ResourceLimit(rss_bytes=1_000_000), lambda step: None),
        (ResourceLimit(open_files=3), lambda step: None),
        (ResourceLimit(cost_nano_usd=5), lambda step: StepResult(cost_nano_usd=5)),
        (ResourceLimit(tokens=5), lambda step: StepResult(tokens=5)),
    ],
)
def test_each_resource_that_runs_out_ends_the_loop_aborted(
    store: StateStore, limit: ResourceLimit, step: Callable[[StepContext], Any]
) -> None:
    (name,) = (name for name, value in limit.plain().items() if name != "kind" and value is not None)
    report = LoopController("l", store, stop_when=MaxIterations(50) | limit).run(step)
    assert (report.state, report.reason) == (LoopState.ABORTED, Reason.RESOURCE_LIMIT)
    assert report.facts.iterations == 1
    assert name in report.detail


@pytest.mark.parametrize(
    "limit",
    [
        ResourceLimit(cpu_s=1e6),
        ResourceLimit(cpu_percent=1e6),
        ResourceLimit(rss_bytes=10**13),
        ResourceLimit(open_files=10**6),
        ResourceLimit(cost_nano_usd=3),
        ResourceLimit(tokens=3),
    ],
)
def test_a_resource_that_is_left_ends_nothing(store: StateStore, limit: ResourceLimit) -> None:
    report = LoopController("l", store, stop_when=MaxIterations(2) | limit).run(
        lambda step: StepResult(cost_nano_usd=1, tokens=1)
    )
    assert (report.state, report.reason) == (LoopState.COMPLETED, Reason.MAX_ITERATIONS)


@pytest.mark.parametrize("second", [Timeout(60.0), ResourceLimit(tokens=1)])
def test_a_limit_that_is_reached_with_the_last_iteration_is_the_one_that_is_told(
    store: StateStore, second: Timeout | ResourceLimit
) -> None:
    clock = MovedClock()

    def step(context: StepContext) -> StepResult:
        clock.monotonic_s += 100.0
        return StepResult(tokens=1)

    settings = LoopSettings(interruptible=False)
    report = LoopController("l", store, stop_when=ONE | second, settings=settings, clock=clock).run(step)
    wanted = Reason.TIMEOUT if isinstance(second, Timeout) else Reason.RESOURCE_LIMIT
    assert (report.state, report.reason) == (LoopState.ABORTED, wanted)


@pytest.mark.slow
def test_a_last_iteration_that_was_cut_off_ends_the_loop_by_a_time_out(store: StateStore) -> None:
    def spin(step: StepContext) -> None:
        while True:
            pass

    settings = LoopSettings(step_deadline_s=0.05)
    report = LoopController("l", store, stop_when=ONE, settings=settings).run(spin)
    assert (report.state, report.reason) == (LoopState.ABORTED, Reason.TIMEOUT)
    assert "cut off" in report.detail


@pytest.mark.parametrize("name", ["cost_nano_usd", "tokens"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, -1, True, "7"])
def test_an_amount_that_is_no_whole_number_makes_the_iteration_a_failure(
    store: StateStore, name: str, value: object
) -> None:
    settings = LoopSettings(failure_limit=2)
    loop = LoopController("l", store, stop_when=MaxIterations(9), settings=settings)
    report = loop.run(lambda step: StepResult(**{name: value}))  # type: ignore[arg-type]
    assert (report.state, report.facts.failures) == (LoopState.FAILED, 2)
    assert f"{name} is a whole number from 0, not {value!r}" in next(loop.iterations()).error


def test_how_it_went_may_be_told_by_its_name_and_by_no_other() -> None:
    assert StepResult(kind="error").kind is StepKind.ERROR  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="excellent"):
        StepResult(kind="excellent")  # type: ignore[arg-type]


def test_a_step_is_given_what_a_resumed_run_would_be_given_and_may_change_it(store: StateStore) -> None:
    kept: dict[str, Any] = {"pages": (1, 2)}
    seen: list[Any] = []

    def step(context: StepContext) -> Any:
        seen.append(context.value)
        if context.iteration == 2:
            context.value["pages"].append(3)
            kept["pages"] = ()
            raise ZeroDivisionError
        return kept

    loop = LoopController("l", store, stop_when=MaxIterations(3))
    loop.run(step)
    assert seen == [None, {"pages": [1, 2, 3]}, None]
    assert next(loop.iterations()).value == {"pages": [1, 2]}
    assert loop.recent()[0].value == {"pages": [1, 2]}


def test_an_error_without_words_is_a_failure_like_any_other(store: StateStore) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def step(context: StepContext) -> None:
        raise MuteError

    loop = LoopController("l", store, stop_when=MaxIterations(9), settings=LoopSettings(failure_limit=2))
    assert loop.run(step).state is LoopState.FAILED
    assert next(loop.iterations()).error == "MuteError: its text can't be made: RuntimeError"
    assert "can't be made" in RecoveryManager(store).recover("item", MuteError()).error


def test_a_predicate_that_fails_ends_the_loop_failed_with_its_words(store: StateStore) -> None:
    loop = LoopController(
        "l", store, stop_when=MaxIterations(9) | Custom("odd"), predicates={"odd": lambda facts: 1 / 0 > 1}
    )
    report = loop.run(lambda step: "kept")
    assert (report.state, report.reason) == (LoopState.FAILED, Reason.ERROR)
    assert "'odd' can't be judged: ZeroDivisionError" in report.detail
    assert [found.value for found in loop.iterations()] == ["kept"]


def test_the_time_that_earlier_owners_used_counts_whatever_their_clock_said(store: StateStore) -> None:
    settings = LoopSettings(interruptible=False)

    def own(clock: MovedClock, step_s: float, leave_at: int) -> LoopReport:
        def step(context: StepContext) -> None:
            if context.iteration == leave_at:
                raise KeyboardInterrupt
            clock.monotonic_s += step_s

        return LoopController("l", store, stop_when=Timeout(60.0), settings=settings, clock=clock).run(step)

    with pytest.raises(KeyboardInterrupt):
        own(MovedClock(monotonic_s=1e6), 20.0, leave_at=3)
    report = own(MovedClock(monotonic_s=5.0), 15.0, leave_at=0)  # after a restart of the machine
    assert (report.reason, report.facts.iterations, report.facts.elapsed_s) == (Reason.TIMEOUT, 4, 70.0)


def test_conditions_joined_and_kept_are_those_that_a_resumed_run_ends_by(tmp_path: Path) -> None:
    stop_when = (MaxIterations(3) & ResourceLimit(tokens=40)) | Timeout(3600.0) | (MaxIterations(30) & Custom("never"))

    def own(_: Callable[[str], None]) -> None:
        with open_store(tmp_path / "state") as store:
            loop = LoopController("l", store, stop_when=stop_when, predicates={"never": lambda facts: False})
            loop.run(lambda step: os.kill(os.getpid(), signal.SIGKILL) if step.iteration == 2 else StepResult(tokens=9))

    assert Child(own).wait() != 0
    with open_store(tmp_path / "state") as store:
        kept = parse_condition(thaw(store.get(record_key("l")))["condition"])
        assert kept == stop_when | ConsecutiveFailures(3)  # the default of the settings
        loop = LoopController("l", store, stop_when=stop_when, predicates={"never": lambda facts: False})
        report = loop.run(lambda step: StepResult(tokens=9))
        assert (report.reason, report.facts.iterations, report.facts.tokens) == (Reason.RESOURCE_LIMIT, 5, 45)


@pytest.mark.slow
def test_what_ends_the_program_ends_the_step_before_the_loop_is_let_go(store: StateStore) -> None:
    seen: list[str] = []

    def step(context: StepContext) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                pass
        except StepInterrupted:
            seen.append("interrupted")
            raise

    loop = LoopController("l", store, stop_when=MaxIterations(2))
    with pytest.raises(KeyboardInterrupt):
        loop.run(step)
    assert seen == ["interrupted"]
    again = LoopController("l", store, stop_when=MaxIterations(2)).run(lambda step: step.attempt)
    assert (again.state, again.facts.iterations) == (LoopState.COMPLETED, 2)


@pytest.mark.slow
def test_a_stop_that_meets_a_hanging_step_is_a_stop_and_no_time_out(store: StateStore) -> None:
    reader, writer = os.pipe()
    began, left = threading.Event(), threading.Event()

    def hang(step: StepContext) -> None:
        began.set()
        try:
            os.read(reader, 1)
        finally:
            left.set()

    loop = LoopController("l", store, stop_when=MaxIterations(9), settings=LoopSettings(grace_s=0.1))
    loop.start(hang)
    assert began.wait(20)
    loop.stop("go home \udc80")
    report = loop.wait(20.0)
    os.write(writer, b"x")
    assert left.wait(20)
    os.close(reader)
    os.close(writer)
    assert (report.state, report.reason) == (LoopState.ABORTED, Reason.MANUAL)
    assert report.detail.startswith("go home \\udc80; ")
    assert "child process" in report.detail


def test_fields_of_a_newer_program_survive_in_every_record_of_a_run(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(4))
    loop.signal("before")
    store.update(request_key("l"), lambda found: {**found, "mood": "sunny"})

    def step(context: StepContext) -> StepResult:
        if context.iteration == 2:
            loop.stop("for now")
        return StepResult(feedback="hello")

    loop.run(step)

    def add(found: Any) -> Any:
        plain = thaw(found)
        plain["facts"]["mood"] = plain["detector"]["mood"] = plain["mood"] = "sunny"
        return {**plain, "state": "running", "reason": None}

    store.update(record_key("l"), add)
    store.update(request_key("l"), lambda found: {**found, "stop": None})
    report = loop.run(lambda step: StepResult(feedback="again"))
    assert report.state is LoopState.COMPLETED
    record = thaw(store.get(record_key("l")))
    assert (record["mood"], record["facts"]["mood"], record["detector"]["mood"]) == ("sunny", "sunny", "sunny")
    assert store.get(request_key("l"))["mood"] == "sunny"


def test_a_newer_format_of_any_record_is_refused(store: StateStore) -> None:
    loop = LoopController("l", store, stop_when=MaxIterations(1))
    loop.signal("x")
    loop.run(lambda step: StepResult(feedback="hello"))
    asks: dict[str, Callable[[], object]] = {
        iteration_key("l", 1, 1): lambda: list(loop.iterations()),
        request_key("l"): lambda: loop.run(lambda step: None),
        record_key("l"): loop.status,
    }
    for key, ask in asks.items():
        assert store.get(key)["format"] == 1
        store.update(key, lambda found: {**found, "format": 99})
        with pytest.raises(NewerFormatError, match="99"):
            ask()
    with pytest.raises(NewerFormatError, match="99"):
        StuckDetector().restore_state({"format": 99})


def test_an_id_that_json_can_not_keep_is_refused_and_leaves_nothing(store: StateStore) -> None:
    with pytest.raises(JsonRefusedError):
        LoopController("\udc80", store, stop_when=ONE).run(lambda step: None)
    assert store.keys() == []


def test_an_empty_id_is_refused(store: StateStore) -> None:
    with pytest.raises(ConfigurationError, match="at least one character"):
        LoopController("", store, stop_when=ONE)
    with pytest.raises(ConfigurationError, match="at least one character"):
        RecoveryManager(store).recover("", ValueError())


@pytest.mark.parametrize("name", [".", "..", "../x", "a/../../b", "/etc/passwd", "x" * 4000, "a\0b", "ä ☃", "@x"])
def test_hostile_ids_are_ids_like_any_other(tmp_path: Path, name: str) -> None:
    (tmp_path / "inner").mkdir()
    with open_store(tmp_path / "inner" / "state") as store:
        loop = LoopController(name, store, stop_when=MaxIterations(2))
        assert loop.run(lambda step: step.iteration).state is LoopState.COMPLETED
        assert len(list(loop.iterations())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
    assert all(path.is_file() for path in (tmp_path / "inner").iterdir())
