"""Recovery: how errors are told apart, what is tried about them and how often, and that each is told exactly once."""

import errno
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.errors import (
    ConfigurationError,
    ConflictError,
    CorruptionError,
    DeadlineError,
    NewerFormatError,
)
from pytest_guardrails.reliability.loops import DependencyError
from pytest_guardrails.reliability.loops.error_classes import ErrorClass, ErrorRule, classify, retry_after_s
from pytest_guardrails.reliability.loops.recovery import RecoveryManager
from pytest_guardrails.reliability.loops.recovery_model import (
    Attempt,
    Recovery,
    RecoveryBusyError,
    RecoveryFailedError,
    RecoveryState,
)
from pytest_guardrails.reliability.loops.strategies import (
    DEFAULT_PLANS,
    Backoff,
    Plan,
    RecoveryPolicy,
    Rung,
    Strategy,
    choose,
)
from pytest_guardrails.reliability.state import StateStore, open_store
from pytest_guardrails.reliability.telemetry import EventLog, Metrics
from tests.reliability.clocks import MovedClock
from tests.reliability.processes import Child


class HttpError(Exception):
    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.headers = headers or {}


class ReadTimeout(Exception):  # noqa: N818 - as libraries call theirs
    pass


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "error_class"),
    [
        (TimeoutError(), ErrorClass.TRANSIENT),
        (DeadlineError("late"), ErrorClass.TRANSIENT),
        (subprocess.TimeoutExpired("x", 1), ErrorClass.TRANSIENT),
        (ReadTimeout(), ErrorClass.TRANSIENT),
        (ConnectionResetError(), ErrorClass.TRANSIENT),
        (ConflictError("busy"), ErrorClass.TRANSIENT),
        (HttpError(503), ErrorClass.TRANSIENT),
        (HttpError(429), ErrorClass.RATE_LIMITED),
        (HttpError(404), ErrorClass.PERMANENT),
        (RuntimeError("Too Many Requests"), ErrorClass.RATE_LIMITED),
        (RuntimeError("the request timed out"), ErrorClass.TRANSIENT),
        (OSError(errno.ENOSPC, "full"), ErrorClass.RESOURCE),
        (MemoryError(), ErrorClass.RESOURCE),
        (CorruptionError("torn"), ErrorClass.CORRUPTION),
        (DependencyError("gone"), ErrorClass.DEPENDENCY),
        (ConfigurationError("no"), ErrorClass.PERMANENT),
        (PermissionError(), ErrorClass.PERMANENT),
        (ZeroDivisionError(), ErrorClass.UNKNOWN),
        (caused(ValueError("x"), OSError(errno.ENOSPC, "full")), ErrorClass.RESOURCE),
    ],
)
def test_errors_are_told_apart(error: Exception, error_class: ErrorClass) -> None:
    assert classify(error) is error_class


def test_a_programs_own_rules_come_first_and_everything_in_a_rule_must_fit() -> None:
    rule = ErrorRule(error_class=ErrorClass.PERMANENT, types=(TimeoutError,), pattern="licence")
    assert classify(TimeoutError("no licence"), [rule]) is ErrorClass.PERMANENT
    assert classify(TimeoutError("late"), [rule]) is ErrorClass.TRANSIENT


@pytest.mark.parametrize("make", [dict, lambda: {"pattern": "("}])
def test_rules_that_make_no_sense_are_refused(make: Callable[[], dict[str, Any]]) -> None:
    with pytest.raises(ConfigurationError):
        ErrorRule(error_class=ErrorClass.UNKNOWN, **make())


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [({"Retry-After": "7"}, 7.0), ({"retry-after": "nan"}, 0.0), ({"Retry-After": "1e9"}, 3600.0), ({}, 0.0)],
)
def test_the_other_sides_wish_to_wait_is_heard_within_reason(headers: dict[str, str], wait_s: float) -> None:
    assert retry_after_s(HttpError(429, headers)) == wait_s


@given(st.integers(1, 10_000), st.integers(0, 99), st.floats(0, 100))
def test_a_pause_is_within_its_bound_and_never_shorter_than_asked(attempt: int, seed: int, asked_s: float) -> None:
    pause_s = Backoff(base_s=0.5, cap_s=60.0).pause_s(attempt, random.Random(seed), asked_s)
    assert asked_s <= pause_s <= asked_s + min(60.0, 0.5 * 2.0 ** min(attempt - 1, 60))


@given(st.sampled_from(ErrorClass), st.sets(st.sampled_from(Strategy)))
def test_every_plan_comes_to_an_end_whoever_is_able(error_class: ErrorClass, able: set[Strategy]) -> None:
    used: dict[str, int] = {}
    tried: list[Strategy] = []
    while not tried or tried[-1] is not Strategy.TERMINATE:
        tried.append(choose(DEFAULT_PLANS[error_class], used, sum(used.values()), able))
        used[tried[-1].value] = used.get(tried[-1].value, 0) + 1
        assert len(tried) < 30
    assert tried[-2] is Strategy.ESCALATE
    assert set(tried[:-2]) <= able


def test_an_item_has_so_many_attempts_over_all_its_recoveries() -> None:
    plan = Plan(rungs=(Rung(strategy=Strategy.RETRY, attempts=5),), limit=3)
    assert choose(plan, {}, 2, {Strategy.RETRY}) is Strategy.RETRY
    assert choose(plan, {}, 3, {Strategy.RETRY}) is Strategy.ESCALATE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "state") as opened:
        yield opened


def told(store: StateStore) -> list[str]:
    return [event.kind for event in EventLog(store)]


ONCE = ["recovery.started", "recovery.finished"]


def failing(times: int, error: Exception | None = None) -> Callable[[], str]:
    left = [times]

    def act() -> str:
        if left[0]:
            left[0] -= 1
            raise error or ConnectionResetError("by peer")
        return "done"

    return act


def test_what_is_transient_is_tried_again_until_it_works(store: StateStore) -> None:
    manager = RecoveryManager(store, clock=MovedClock())
    assert manager.run("item", failing(3)) == "done"
    found = manager.look("item")
    assert found is not None
    assert (found.state, found.used) == (RecoveryState.RECOVERED, {"retry": 3})
    assert told(store) == ONCE


def test_what_works_leaves_no_trace(store: StateStore) -> None:
    assert RecoveryManager(store).run("item", lambda: 7) == 7
    assert (told(store), store.keys()) == ([], [])


def test_retries_pause_longer_and_longer_and_as_long_as_asked(store: StateStore) -> None:
    clock = MovedClock()
    RecoveryManager(store, clock=clock).run("item", failing(2, HttpError(429, {"Retry-After": "20"})))
    assert 1040.0 <= clock.monotonic_s <= 1041.5


def test_each_strategy_has_its_turn_and_then_somebody_is_told(store: StateStore) -> None:
    tried: list[tuple[Strategy, int, str]] = []

    def fail(attempt: Attempt) -> None:
        tried.append((attempt.strategy, attempt.number, attempt.key))
        raise OSError("still bad")

    policy = RecoveryPolicy(
        plans={
            ErrorClass.UNKNOWN: Plan(
                rungs=(Rung(strategy=Strategy.RESTORE, attempts=2), Rung(strategy=Strategy.RESTART))
            )
        }
    )
    handlers = {
        Strategy.RESTORE: fail,
        Strategy.RESTART: fail,
        Strategy.ESCALATE: lambda attempt: tried.append((attempt.strategy, 1, "")),
    }
    manager = RecoveryManager(store, policy=policy, handlers=handlers)
    found = manager.recover("item", ZeroDivisionError("x"))
    assert found.state is RecoveryState.ESCALATED
    assert [strategy for strategy, *_ in tried] == [
        Strategy.RESTORE,
        Strategy.RESTORE,
        Strategy.RESTART,
        Strategy.ESCALATE,
    ]
    assert len({key for *_, key in tried}) == 4
    assert told(store) == ONCE


def test_when_even_telling_fails_it_is_terminated(store: StateStore) -> None:
    def fail(attempt: Attempt) -> None:
        raise OSError("no mail")

    found = RecoveryManager(store, handlers={Strategy.ESCALATE: fail}).recover("item", PermissionError("no"))
    assert found.state is RecoveryState.TERMINATED
    with pytest.raises(RecoveryFailedError, match="terminated") as caught:
        RecoveryManager(store, handlers={Strategy.ESCALATE: fail}).run("item", failing(9, PermissionError("no")))
    assert isinstance(caught.value.__cause__, PermissionError)


def test_what_a_retry_runs_into_is_told_apart_anew(store: StateStore) -> None:
    errors = [ConnectionResetError("once"), PermissionError("then")]

    def act() -> None:
        raise errors.pop(0) if len(errors) > 1 else errors[0]

    compensated: list[str] = []
    handlers = {Strategy.COMPENSATE: lambda attempt: compensated.append(attempt.error)}
    manager = RecoveryManager(store, handlers=handlers, clock=MovedClock())
    manager.run("item", act)
    assert compensated == ["PermissionError: then"]


def test_an_item_can_be_left_out(store: StateStore) -> None:
    policy = RecoveryPolicy(plans={ErrorClass.UNKNOWN: Plan(rungs=(Rung(strategy=Strategy.SKIP),))})
    found = RecoveryManager(store, policy=policy).recover("item", ZeroDivisionError())
    assert found.state is RecoveryState.SKIPPED


def test_the_end_of_a_recovery_is_told_again_and_not_done_again(store: StateStore) -> None:
    calls: list[str] = []
    handlers = {Strategy.ALTERNATE: lambda attempt: calls.append(attempt.item)}
    for _ in range(3):
        found = RecoveryManager(store, handlers=handlers).recover("item", DependencyError("x"), failure="run 7")
        assert (found.state, found.incident) == (RecoveryState.RECOVERED, 1)
    assert (calls, told(store)) == (["item"], ONCE)
    assert (
        RecoveryManager(store, handlers=handlers).recover("item", DependencyError("x"), failure="run 8").incident == 2
    )


def test_items_do_not_touch_one_another(store: StateStore) -> None:
    manager = RecoveryManager(store, clock=MovedClock())
    manager.run("a", failing(1))
    manager.run("../a", failing(1))
    assert [event.scope for event in EventLog(store)] == ["a/1", "a/1", "../a/1", "../a/1"]


def test_without_automatic_recovery_it_is_noted_until_somebody_says_so(store: StateStore) -> None:
    manager = RecoveryManager(store, automatic=False, clock=MovedClock())
    assert manager.recover("item", ConnectionResetError("x")).state is RecoveryState.OPEN
    assert manager.recover("item", ConnectionResetError("x")).incident == 1
    assert [found.item for found in manager.open_items()] == ["item"]
    assert told(store) == ["recovery.started"]
    assert manager.recover_open("item", act=lambda: 5).value == 5
    assert (manager.open_items(), told(store)) == ([], ONCE)
    with pytest.raises(ConflictError):
        manager.recover_open("item")


def test_state_that_is_not_sound_afterwards_is_no_recovery(store: StateStore) -> None:
    store.put("sound", True)

    def validate(found: StateStore) -> None:
        if not found.get("sound"):
            raise CorruptionError("not sound")

    def spoil(attempt: Attempt) -> None:
        store.put("sound", False)

    def mend(attempt: Attempt) -> None:
        store.put("sound", True)

    built_on: list[str] = []
    handlers = {
        Strategy.RESUME: spoil,
        Strategy.ALTERNATE: lambda attempt: built_on.append(attempt.key),
        Strategy.RESTORE: mend,
    }
    rungs = tuple(Rung(strategy=strategy) for strategy in handlers)
    policy = RecoveryPolicy(plans={ErrorClass.UNKNOWN: Plan(rungs=rungs)})
    manager = RecoveryManager(store, policy=policy, handlers=handlers, validate=validate)
    found = manager.recover("item", ZeroDivisionError())
    assert (found.state, found.strategy) == (RecoveryState.RECOVERED, Strategy.RESTORE)
    assert built_on == []  # nothing builds on what is not sound, and what mends it is let
    told = [(entry.what, entry.strategy) for entry in manager.audit("item")]
    assert told[1:] == [
        ("tried", "resume"),
        ("failed", "resume"),
        ("tried", "alternate"),
        ("failed", "alternate"),
        ("tried", "restore"),
        ("ended", "restore"),
    ]


def test_the_cache_is_cleared_before_the_state_is_judged(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    clear = StateStore.clear_cache

    def cleared(self: StateStore) -> None:
        done.append("cleared")
        clear(self)

    monkeypatch.setattr(StateStore, "clear_cache", cleared)
    handlers = {Strategy.ALTERNATE: lambda attempt: done.append("handled")}

    def judge(found: StateStore) -> None:
        done.append("judged")

    manager = RecoveryManager(store, handlers=handlers, validate=judge)
    manager.recover("item", DependencyError("x"))
    assert done == ["cleared", "judged", "handled", "cleared", "judged"]


@pytest.mark.slow
def test_a_handler_that_hangs_is_interrupted_and_the_next_strategy_has_its_turn(store: StateStore) -> None:
    def spin(attempt: Attempt) -> None:
        while True:
            pass

    policy = RecoveryPolicy(handler_deadline_s=0.05)
    handlers = {Strategy.RESUME: spin, Strategy.RESTORE: lambda attempt: "restored"}
    found = RecoveryManager(store, policy=policy, handlers=handlers).recover("item", ZeroDivisionError())
    assert (found.state, found.value) == (RecoveryState.RECOVERED, "restored")


def test_nothing_is_tried_beside_a_handler_that_still_runs(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_guardrails.reliability.loops.recovery._GRACE_S", 0.05)
    reader, writer = os.pipe()
    policy = RecoveryPolicy(handler_deadline_s=0.05)
    handlers = {Strategy.RESUME: lambda attempt: os.read(reader, 1), Strategy.RESTORE: lambda attempt: "restored"}
    found = RecoveryManager(store, policy=policy, handlers=handlers).recover("item", ZeroDivisionError())
    assert (found.state, dict(found.used)) == (RecoveryState.ESCALATED, {"resume": 1, "escalate": 1})
    os.write(writer, b"x")
    os.close(writer)


def test_a_recovery_that_is_out_of_time_tries_nothing_more(store: StateStore) -> None:
    clock = MovedClock()

    def act() -> None:
        clock.monotonic_s += 1000.0
        raise ConnectionResetError("by peer")

    found = RecoveryManager(store, clock=clock).recover("item", ConnectionResetError("by peer"), act=act)
    assert (found.state, dict(found.used)) == (RecoveryState.ESCALATED, {"retry": 1, "escalate": 1})


def test_one_thread_at_a_time_works_at_an_item(store: StateStore) -> None:
    inside, leave = threading.Event(), threading.Event()

    def stay(attempt: Attempt) -> None:
        inside.set()
        leave.wait(20)

    manager = RecoveryManager(store, handlers={Strategy.ALTERNATE: stay})
    thread = threading.Thread(target=manager.recover, args=("item", DependencyError("x")))
    thread.start()
    assert inside.wait(20)
    for other in (manager, RecoveryManager(store, handlers={Strategy.ALTERNATE: lambda attempt: None})):
        with pytest.raises(RecoveryBusyError):
            other.recover("item", DependencyError("x"))
    leave.set()
    thread.join()
    assert told(store) == ONCE


def test_a_recovery_killed_in_the_middle_goes_on_with_one_set_of_events(tmp_path: Path) -> None:
    def recover(say: Callable[[str], None]) -> Recovery:
        def handler(attempt: Attempt) -> str:
            if attempt.number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return attempt.key

        policy = RecoveryPolicy(
            plans={ErrorClass.DEPENDENCY: Plan(rungs=(Rung(strategy=Strategy.ALTERNATE, attempts=2),))}
        )
        with open_store(tmp_path / "state") as store:
            manager = RecoveryManager(store, policy=policy, handlers={Strategy.ALTERNATE: handler})
            return manager.recover("item", DependencyError("x"))

    assert Child(recover).wait() != 0
    found = Child(recover).result()
    assert (found.state, found.incident, found.value) == (RecoveryState.RECOVERED, 1, "item/1/alternate/2")
    with open_store(tmp_path / "state") as store:
        assert told(store) == ONCE


@pytest.mark.slow
def test_of_three_processes_that_meet_one_failure_one_recovers_and_tells(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        store.put("begun", True)

    def recover(say: Callable[[str], None]) -> str:
        def handler(attempt: Attempt) -> None:
            with open(tmp_path / "handled", "a") as file:
                file.write("x")

        with open_store(tmp_path / "state") as store:
            manager = RecoveryManager(store, handlers={Strategy.ALTERNATE: handler})
            while True:
                with suppress(RecoveryBusyError):
                    return manager.recover("item", DependencyError("x"), failure="run 7").state.value

    children = [Child(recover) for _ in range(3)]
    assert [child.result() for child in children] == ["recovered"] * 3
    assert (tmp_path / "handled").read_text() == "x"
    with open_store(tmp_path / "state") as store:
        assert told(store) == ONCE


def test_a_handler_that_kills_its_process_every_time_is_not_tried_forever(tmp_path: Path) -> None:
    def recover(say: Callable[[str], None]) -> Recovery:
        handlers = {Strategy.ALTERNATE: lambda attempt: os.kill(os.getpid(), signal.SIGKILL)}
        with open_store(tmp_path / "state") as store:
            return RecoveryManager(store, handlers=handlers).recover("item", DependencyError("x"))

    assert Child(recover).wait() != 0
    assert Child(recover).result().state is RecoveryState.ESCALATED


def test_a_living_process_is_left_to_its_work(tmp_path: Path) -> None:
    def recover(say: Callable[[str], None]) -> None:
        def stay(attempt: Attempt) -> None:
            say("inside")
            signal.pause()

        with open_store(tmp_path / "state") as store:
            RecoveryManager(store, handlers={Strategy.ALTERNATE: stay}).recover("item", DependencyError("x"))

    child = Child(recover)
    assert child.line() == "inside"
    with open_store(tmp_path / "state") as store:
        manager = RecoveryManager(store, handlers={Strategy.ALTERNATE: lambda attempt: None})
        with pytest.raises(RecoveryBusyError, match=str(child.pid)):
            manager.recover("item", DependencyError("x"))
        child.kill()
        assert manager.recover("item", DependencyError("x")).state is RecoveryState.ESCALATED


def test_recoveries_are_measured_and_audited(store: StateStore) -> None:
    manager = RecoveryManager(store, clock=MovedClock())
    manager.run("item", failing(2))
    found = {(series.name, series.labels.get("outcome")): series.value for series in Metrics(store).series()}
    took = next(series for series in Metrics(store).series() if series.name == "recovery_seconds")
    assert (took.buckets[-1], took.value > 0) == (1, True)
    assert found["recovery_attempts_total", "failed"] == 1
    assert found["recovery_attempts_total", "recovered"] == 1
    assert [(entry.what, entry.strategy) for entry in manager.audit("item")] == [
        ("begun", ""),
        ("tried", "retry"),
        ("failed", "retry"),
        ("tried", "retry"),
        ("ended", "retry"),
    ]


def test_what_a_newer_program_wrote_is_kept_and_a_newer_format_refused(store: StateStore) -> None:
    manager = RecoveryManager(store, automatic=False, clock=MovedClock())
    manager.recover("item", ConnectionResetError("x"))
    (key,) = store.keys("recovery/")
    store.update(key, lambda found: {**found, "mood": "sunny"})
    manager.recover_open("item", act=lambda: 5)
    assert store.get(key)["mood"] == "sunny"
    for changed in (key, store.keys("recovery-audit/")[0]):
        store.update(changed, lambda found: {**found, "format": 99})
    with pytest.raises(NewerFormatError, match="99"):
        manager.look("item")
    with pytest.raises(NewerFormatError, match="99"):
        list(manager.audit("item"))


def test_a_step_of_the_wall_clock_shortens_no_pause_and_ends_no_recovery(store: StateStore) -> None:
    clock = MovedClock()

    def act() -> str:
        clock.wall_s += 3600.0 * (-1) ** int(clock.monotonic_s)
        return failing_once()

    failing_once = failing(1, HttpError(429, {"Retry-After": "20"}))
    policy = RecoveryPolicy(deadline_s=100.0)
    assert RecoveryManager(store, policy=policy, clock=clock).run("item", act) == "done"
    assert clock.monotonic_s >= 1020.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rung(strategy=Strategy.RETRY, attempts=0),
        lambda: Backoff(base_s=2.0, cap_s=1.0),
        lambda: RecoveryPolicy(deadline_s=float("inf")),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        make()


def test_of_an_item_the_newest_entries_of_the_audit_are_kept(store: StateStore) -> None:
    manager = RecoveryManager(store, policy=RecoveryPolicy(keep_audit=4))
    for _ in range(5):
        manager.recover("item", ZeroDivisionError("once more"), act=lambda: None)
    kept = store.keys("recovery-audit/")
    assert len(kept) == 4
    entries = list(manager.audit("item"))
    assert len(entries) == 4
    assert entries[-1].what == "ended"
    found = manager.look("item")
    assert found is not None
    assert entries[-1].incident == found.incident == 5


def test_an_audit_that_has_grown_long_is_shortened_step_by_step(store: StateStore) -> None:
    patient = RecoveryManager(store)
    for _ in range(45):
        patient.recover("item", ZeroDivisionError(), act=lambda: None)
    before = len(store.keys("recovery-audit/"))
    hasty = RecoveryManager(store, policy=RecoveryPolicy(keep_audit=4))
    hasty.recover("item", ZeroDivisionError(), act=lambda: None)
    assert before > 104
    assert len(store.keys("recovery-audit/")) == len(list(hasty.audit("item"))) == 4
