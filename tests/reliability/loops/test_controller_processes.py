"""Loops and processes: several owners, SIGKILL at every step, steps in child processes that must end."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.reliability.durability import LeaseHeldError, LeaseLostError, identity_of, is_alive
from pytest_guardrails.reliability.loops import (
    ChildStep,
    LoopController,
    LoopReport,
    LoopSettings,
    LoopState,
    MaxIterations,
    Outcome,
    Reason,
    ResourceLimit,
    StepContext,
    StepKind,
    StepResult,
    Timeout,
)
from pytest_guardrails.reliability.loops.ledger import record_key
from pytest_guardrails.reliability.state import StateStore, open_store, thaw
from pytest_guardrails.reliability.telemetry import EventLog
from tests.reliability.processes import Child

STEPS = 50


def note(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


@pytest.mark.slow
def test_three_owners_of_one_loop_execute_its_twenty_iterations_once(tmp_path: Path) -> None:
    def own(say: Callable[[str], None]) -> str:
        with open_store(tmp_path / "state") as store:
            loop = LoopController("l", store, stop_when=MaxIterations(20))
            report = loop.run(lambda step: note(tmp_path / "done", str(step.iteration)), wait_s=60.0)
        return report.state.value

    owners = [Child(own) for _ in range(3)]
    assert [owner.result() for owner in owners] == ["completed"] * 3
    assert (tmp_path / "done").read_text().split() == [str(number) for number in range(1, 21)]


def act(context: StepContext) -> StepResult:
    """Work of which every judge has something to say: failures, costs, repeats, progress."""
    number = context.iteration
    kind = StepKind.ERROR if number % 7 == 0 else StepKind.RETRY if number % 3 == 1 else StepKind.OK
    feedback = f"answer to {('a', 'b', 'c', number)[number % 4]} of {number // 10} at step {number}"
    mark = number // 4
    return StepResult(value=number, kind=kind, feedback=feedback, progress=mark, cost_nano_usd=number, tokens=1)


def controller(store: StateStore) -> LoopController:
    limits = MaxIterations(STEPS) | Timeout(3600.0) | ResourceLimit(cost_nano_usd=10**9)
    return LoopController("l", store, stop_when=limits, settings=LoopSettings(failure_limit=5, attempts=9))


def comparable(store: StateStore) -> dict[str, Any]:
    """Everything that is kept of a run but times and memory."""
    record = thaw(store.get(record_key("l")))
    measured = ("elapsed_s", "cpu_s", "cpu_percent", "rss_bytes", "open_files")
    facts = {name: value for name, value in record["facts"].items() if name not in measured}
    history = [
        (found.number, found.outcome, found.value, found.error, found.verdict)
        for found in controller(store).iterations()
    ]
    kinds = [event.kind for event in EventLog(store) if event.kind not in ("loop.recovered",)]
    return {**record, "facts": facts, "started_at": 0, "history": history, "kinds": kinds}


@pytest.mark.slow
def test_a_run_that_is_killed_at_every_step_ends_as_one_that_was_not(tmp_path: Path) -> None:
    with open_store(tmp_path / "unbroken") as store:
        controller(store).run(act)
        unbroken = comparable(store)
    assert len(unbroken["history"]) == STEPS
    assert any(verdict for *_, verdict in unbroken["history"])

    def own(say: Callable[[str], None]) -> LoopReport:
        def step(context: StepContext) -> StepResult:
            if context.attempt == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(context)

        with open_store(tmp_path / "broken") as store:
            return controller(store).run(step)

    kills = 0
    while (child := Child(own)).wait() and os.WIFSIGNALED(child.status or 0):
        kills += 1
        assert kills <= STEPS
    assert kills == STEPS
    assert child.result().state is LoopState.COMPLETED
    with open_store(tmp_path / "broken") as store:
        assert comparable(store) == unbroken
        recovered = [event for event in EventLog(store) if event.kind == "loop.recovered"]
        assert len(recovered) == STEPS


@pytest.mark.slow
def test_a_step_that_kills_its_process_every_time_is_given_up(tmp_path: Path) -> None:
    settings = LoopSettings(attempts=2, failure_limit=2)

    def own(say: Callable[[str], None]) -> LoopReport:
        with open_store(tmp_path / "state") as store:
            return LoopController("l", store, stop_when=MaxIterations(9), settings=settings).run(
                lambda step: os.kill(os.getpid(), signal.SIGKILL)
            )

    kills = 0
    while (child := Child(own)).wait():
        kills += 1
        assert kills <= 4
    assert child.result().state is LoopState.FAILED
    with open_store(tmp_path / "state") as store:
        found = list(LoopController("l", store, stop_when=MaxIterations(9)).iterations())
    assert [iteration.outcome for iteration in found] == [Outcome.CRASHED, Outcome.CRASHED]


def test_a_loop_is_stopped_from_another_process_in_the_middle_of_a_step(tmp_path: Path) -> None:
    def own(say: Callable[[str], None]) -> LoopReport:
        def step(context: StepContext) -> None:
            say("inside")
            while True:
                pass

        with open_store(tmp_path / "state") as store:
            return LoopController("l", store, stop_when=MaxIterations(4)).run(step)

    child = Child(own)
    assert child.line() == "inside"
    with open_store(tmp_path / "state") as store:
        loop = LoopController("l", store, stop_when=MaxIterations(4))
        with pytest.raises(LeaseHeldError):
            loop.run(lambda step: None)
        loop.stop("enough")
    report = child.result()
    assert (report.state, report.reason, report.detail) == (LoopState.ABORTED, Reason.MANUAL, "enough")


def test_a_paused_loop_whose_owner_died_stays_paused_until_it_is_resumed(tmp_path: Path) -> None:
    def own(say: Callable[[str], None]) -> None:
        with open_store(tmp_path / "state") as store:
            loop = LoopController("l", store, stop_when=MaxIterations(4))
            loop.on_state.append(lambda report: say(report.state.value))
            loop.run(lambda step: loop.pause() if step.iteration == 2 else None)

    child = Child(own)
    assert [child.line(), child.line()] == ["running", "paused"]
    child.kill()
    with open_store(tmp_path / "state") as store:
        loop = LoopController("l", store, stop_when=MaxIterations(4))
        loop.start(lambda step: None)
        end = time.monotonic() + 20
        while "it stays paused" not in [event.message.split("; ")[-1] for event in EventLog(store)]:
            assert time.monotonic() < end
        assert loop.status().facts.iterations == 2
        loop.resume()
        assert loop.wait(20.0).facts.iterations == 4


# Steps that run in a child process.


def double(context: dict[str, Any]) -> StepResult:
    return StepResult(value=context["iteration"] * 2, tokens=7)


def refuse(context: dict[str, Any]) -> None:
    raise ValueError("no")


def vanish(context: dict[str, Any]) -> None:
    os._exit(3)


def hang_deaf(context: dict[str, Any]) -> None:
    """In C code, and deaf to polite requests."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(os.environ["PIDS"]).write_text(f"{os.getpid()}\n")
    os.read(os.pipe()[0], 1)


def hang(context: dict[str, Any]) -> None:
    """In C code, and obedient."""
    Path(os.environ["PIDS"]).write_text(f"{os.getpid()}\n")
    os.read(os.pipe()[0], 1)


def test_a_step_in_a_child_answers_with_all_that_a_step_can_say(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        loop = LoopController("l", store, stop_when=MaxIterations(2))
        report = loop.run(ChildStep(f"{__name__}:double", hard_deadline_s=60.0))
        assert (report.facts.value, report.facts.tokens) == (4, 14)
        assert report.facts.cpu_s > 0.01  # the child's
        assert report.state is LoopState.COMPLETED


@pytest.mark.parametrize(("name", "told"), [("refuse", "ValueError: no"), ("vanish", "status 3"), ("gone", "gone")])
def test_a_step_in_a_child_that_fails_is_a_failure_with_its_words(tmp_path: Path, name: str, told: str) -> None:
    with open_store(tmp_path / "state") as store:
        settings = LoopSettings(failure_limit=1)
        loop = LoopController("l", store, stop_when=MaxIterations(2), settings=settings)
        report = loop.run(ChildStep(f"{__name__}:{name}", hard_deadline_s=60.0))
        assert report.state is LoopState.FAILED
        assert told in next(loop.iterations()).error


class LateClock:
    """The machine's clock, until the child has said who it is; from then on it is an hour later."""

    def __init__(self, pids: Path) -> None:
        self._pids = pids

    def monotonic(self) -> float:
        said = self._pids.exists() and self._pids.read_text().endswith("\n")
        return time.monotonic() + (3600.0 if said else 0.0)

    def wall(self) -> float:
        return time.time()

    def sleep(self, duration_s: float) -> None:
        time.sleep(duration_s)


def assert_gone(pids: Path) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids.read_text()), 0)


@pytest.mark.slow
@pytest.mark.parametrize(("soft_deadline_s", "step"), [(None, "hang_deaf"), (900.0, "hang_deaf"), (1800.0, "hang")])
def test_a_child_that_hangs_in_c_code_is_ended_at_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soft_deadline_s: float | None, step: str
) -> None:
    pids = tmp_path / "pids"
    monkeypatch.setenv("PIDS", str(pids))
    with open_store(tmp_path / "state") as store:
        settings = LoopSettings(failure_limit=1)
        loop = LoopController("l", store, stop_when=MaxIterations(2), settings=settings)
        hard_s = 1800.0 if step == "hang_deaf" else 7200.0
        child = ChildStep(
            f"{__name__}:{step}", hard_deadline_s=hard_s, soft_deadline_s=soft_deadline_s, clock=LateClock(pids)
        )
        report = loop.run(child)
        assert "its deadline of 1800 s" in next(loop.iterations()).error
    assert (report.state, report.reason) == (LoopState.ABORTED, Reason.TIMEOUT)
    assert_gone(pids)


@pytest.mark.slow
def test_a_child_that_hangs_is_ended_when_the_run_is_out_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    monkeypatch.setenv("PIDS", str(pids))
    with open_store(tmp_path / "state") as store:
        settings = LoopSettings(lease_ttl_s=1e6)
        loop = LoopController("l", store, stop_when=Timeout(1800.0), settings=settings, clock=LateClock(pids))
        report = loop.run(ChildStep(f"{__name__}:hang_deaf", hard_deadline_s=7200.0))
    assert (report.state, report.reason) == (LoopState.ABORTED, Reason.TIMEOUT)
    assert_gone(pids)


@pytest.mark.slow
def test_an_owner_that_lost_its_lease_in_a_step_is_interrupted_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    monkeypatch.setenv("PIDS", str(pids))
    with open_store(tmp_path / "state") as store:
        loop = LoopController("l", store, stop_when=MaxIterations(2), clock=LateClock(pids))
        with pytest.raises(LeaseLostError):
            loop.run(ChildStep(f"{__name__}:hang_deaf", hard_deadline_s=7200.0))
        assert loop.status().facts.iterations == 0
    assert_gone(pids)


@pytest.mark.slow
def test_a_child_dies_with_the_owner_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))

    def own(say: Callable[[str], None]) -> None:
        with open_store(tmp_path / "state") as store:
            step = ChildStep(f"{__name__}:hang_deaf", hard_deadline_s=3600.0)
            LoopController("l", store, stop_when=MaxIterations(2)).run(step)

    owner = Child(own)
    end = time.monotonic() + 30
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text().endswith("\n"):
        assert time.monotonic() < end
        time.sleep(0.01)
    child = identity_of(int((tmp_path / "pids").read_text()))
    owner.kill()
    while is_alive(child):
        assert time.monotonic() < end
        time.sleep(0.01)
