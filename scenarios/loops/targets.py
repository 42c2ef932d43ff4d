"""A loop whose owner is killed anywhere and resumed, a recovery that is cut off, and a relay to a file.

Each step of the loop appends a line to a file, as an outside effect that is recorded as intended and done. What is
judged is what must not depend on where a crash came: iterations, counters, verdicts, history, and the events.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_guardrails.reliability.durability import write_atomic
from pytest_guardrails.reliability.loops import (
    Attempt,
    DependencyError,
    LoopController,
    LoopSettings,
    MaxIterations,
    RecoveryManager,
    StepContext,
    StepKind,
    StepResult,
    Strategy,
)
from pytest_guardrails.reliability.state import BackendKind, StateStore, open_store
from pytest_guardrails.reliability.telemetry import EventLog, Metrics
from pytest_guardrails.reliability.telemetry.relay import Relay
from pytest_guardrails.reliability.telemetry.sinks import JsonLinesSink

Ack = Callable[[object], None]
STEPS = 3


def _open(disk: Path, backend: BackendKind = "json") -> StateStore:
    return open_store(disk / "state", backend=backend)


def setup(disk: Path, backend: BackendKind = "json") -> None:
    with _open(disk, backend) as store:
        store.put("ready", True)


def setup_sqlite(disk: Path) -> None:
    setup(disk, "sqlite")


def _controller(store: StateStore) -> LoopController:
    settings = LoopSettings(failure_limit=None, attempts=100, watch_s=60.0)
    return LoopController("nightly", store, stop_when=MaxIterations(STEPS), settings=settings)


def _step(context: StepContext) -> StepResult:
    kind = StepKind.ERROR if context.iteration == 2 else StepKind.RETRY
    return StepResult(value=context.iteration, kind=kind, feedback="the header is missing", tokens=5)


def run_loop(disk: Path, ack: Ack, backend: BackendKind = "json") -> None:
    with _open(disk, backend) as store:
        controller = _controller(store)
        controller.on_iteration.append(lambda found: ack(found.number))
        controller.run(_step)


def run_loop_sqlite(disk: Path, ack: Ack) -> None:
    run_loop(disk, ack, "sqlite")


def run_three(disk: Path, ack: Ack) -> None:
    """Three processes start the same loop; each iteration is executed, and told, once."""
    owners = []
    for _ in range(3):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                with _open(disk) as store:
                    controller = _controller(store)
                    controller.on_iteration.append(lambda found: ack(found.number))
                    controller.run(_step, wait_s=60.0)
                status = 0
            finally:
                os._exit(status)
        owners.append(pid)
    statuses = [os.waitpid(pid, 0)[1] for pid in owners]
    if any(statuses):
        raise RuntimeError(f"the owners ended with {statuses}")


def recover_loop(disk: Path, backend: BackendKind = "json") -> dict[str, Any]:
    with _open(disk, backend) as store:
        controller = _controller(store)
        facts = controller.status().facts
        history = [(found.number, found.outcome.value, found.value, found.verdict) for found in controller.iterations()]
        counted = sum(found.value for found in Metrics(store).series() if found.name == "loop_iterations_total")
        failed = [event.scope for event in EventLog(store) if event.kind == "loop.iteration_failed"]
        if not (facts.iterations == len(history) == counted) or len(failed) != (facts.iterations >= 2):
            raise ValueError(f"history, counters and events differ: {facts}, {history}, {counted}, {failed}")
        return {"iterations": facts.iterations, "tokens": facts.tokens, "failures": facts.failures, "history": history}


def recover_loop_sqlite(disk: Path) -> dict[str, Any]:
    return recover_loop(disk, "sqlite")


def check_loop(value: dict[str, Any], acked: list[int]) -> None:
    if acked and value["iterations"] < acked[-1]:
        raise AssertionError(f"iteration {acked[-1]} was told, and {value['iterations']} are there")


# A loop that keeps the newest two iterations of its newest run.


def _forgetting(store: StateStore) -> LoopController:
    settings = LoopSettings(failure_limit=None, attempts=100, watch_s=60.0, keep_iterations=2, keep_runs=1)
    return LoopController("nightly", store, stop_when=MaxIterations(STEPS), settings=settings)


def setup_forgetting(disk: Path) -> None:
    def step(context: StepContext) -> None:
        context.effects.once("deploy", context.iteration, str)
        context.effects.begin("pay", context.iteration)

    with _open(disk) as store:
        _forgetting(store).run(step)


def run_forgetting(disk: Path, ack: Ack) -> None:
    with _open(disk) as store:
        controller = _forgetting(store)
        controller.on_iteration.append(lambda found: ack(found.number))
        controller.run(_step, restart=controller.status().run == 1)


def recover_forgetting(disk: Path) -> dict[str, Any]:
    with _open(disk) as store:
        report = _forgetting(store).status()
        done = report.facts.iterations
        kept = store.keys("loop-iteration/")
        wanted = [
            f"loop-iteration/nightly/{report.run:06d}/{number:09d}" for number in range(max(1, done - 1), done + 1)
        ]
        deployed = sum("/deploy/" in key for key in store.keys("effect/"))
        in_doubt = sum("/pay/" in key for key in store.keys("effect/"))
        if kept != wanted or deployed != (STEPS if report.run == 1 else 0) or in_doubt != STEPS:
            raise ValueError(
                f"run {report.run} has {done} iterations; {kept}, {deployed} deployed, {in_doubt} in doubt"
            )
        return {"iterations": done if report.run > 1 else 0, "kept": len(kept)}


# A recovery that is cut off in the middle of recovering.


def _manager(disk: Path, store: StateStore) -> RecoveryManager:
    def switch(attempt: Attempt) -> str:
        write_atomic(disk / "mirror", b"in use\n")
        return attempt.key

    return RecoveryManager(store, handlers={Strategy.ALTERNATE: switch})


def run_recovery(disk: Path, ack: Ack) -> None:
    with _open(disk) as store:
        manager = _manager(disk, store)
        known = manager.look("import/7")
        if known is None or not known.state.final:
            ack(manager.recover("import/7", DependencyError("the server is gone")).state.value)


def recover_recovery(disk: Path) -> dict[str, Any]:
    with _open(disk) as store:
        manager = _manager(disk, store)
        found = manager.look("import/7")
        kinds = [event.kind for event in EventLog(store)]
        ended = found is not None and found.state.final
        if kinds != ["recovery.started"] * (found is not None) + ["recovery.finished"] * ended:
            raise ValueError(f"the recovery is {found}, and what was told of it is {kinds}")
        return {"ended": ended, "told": kinds}


def check_recovery(value: dict[str, Any], acked: list[str]) -> None:
    if acked and not value["ended"]:
        raise AssertionError(f"it was {acked[-1]}, and is not")


# Events that are sent to a file, at least once each, in order, with the same ids.


def setup_events(disk: Path) -> None:
    with _open(disk) as store:
        _controller(store).run(_step)


def run_relay(disk: Path, ack: Ack) -> None:
    with _open(disk) as store:
        relay = Relay(EventLog(store), JsonLinesSink(disk / "events.log"), name="file", batch=2)
        relay.pump()
        ack(relay.statistics().position)


def recover_relay(disk: Path) -> dict[str, Any]:
    """Sends the rest, as the next start does; every event must be in the file by then."""
    with _open(disk) as store:
        log = EventLog(store)
        Relay(log, JsonLinesSink(disk / "events.log"), name="file", batch=2).pump()
        text = (disk / "events.log").read_text()
        missing = [event.id for event in log if event.id not in text]
    if missing:
        raise ValueError(f"never sent: {missing}")
    return {"sent": True}


# The canary: progress is kept in two transactions, so a crash in between counts an iteration that has no history.


def run_torn(disk: Path, ack: Ack) -> None:
    with _open(disk) as store:
        for number in range(1, STEPS + 1):
            store.put("iterations", number)
            store.put(f"iteration/{number}", {"number": number})
            ack(number)


def recover_torn(disk: Path) -> dict[str, Any]:
    with _open(disk) as store:
        iterations = store.get("iterations", 0)
        if len(store.keys("iteration/")) != iterations:
            raise ValueError(f"{iterations} were counted, {len(store.keys('iteration/'))} are there")
        return {"iterations": iterations}
