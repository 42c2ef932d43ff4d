"""Numbers that are none (NaN, infinities) in an agent's metrics, in stored values and in a configuration file."""

import math
from collections.abc import Callable
from pathlib import Path

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.breakers.config import load_config
from pytest_guardrails.reliability.durability import JsonRefusedError
from pytest_guardrails.reliability.health import AgentMonitor
from pytest_guardrails.reliability.state import StateStore, open_store

Ack = Callable[[object], None]
GOOD = ([0.1] * 128, [0.0, 0.0, 0.0], "all is well", 0.3)


def _store(disk: Path) -> StateStore:
    return open_store(disk / "agents", backend="json")


def setup(disk: Path) -> None:
    (disk / "guardrails.yaml").write_text("circuit_breaker:\n  failure_threshold: 3\n  cooldown_seconds: .nan\n")
    with _store(disk) as store:
        monitor = AgentMonitor("agent", store)
        for _ in range(60):
            answer = monitor.process_update(*GOOD)
    if answer.status != "healthy":
        raise ValueError(f"the agent is {answer.status} before anything went wrong")


def feed(disk: Path, ack: Ack) -> None:
    with _store(disk) as store:
        monitor = AgentMonitor("agent", store)
        for update in (([0.1] * 127 + [math.nan], *GOOD[1:]), (GOOD[0], [0.0, -math.inf, 0.0], *GOOD[2:])):
            answer = monitor.process_update(*update)
            if answer.status == "healthy" or answer.decision == "proceed":
                raise ValueError(f"an update that is not finite was called {answer.status}")
            ack(answer.update_count)
        _refuse_to_store(store, math.nan)
    _refuse_to_configure(disk)


def _refuse_to_store(store: StateStore, number: float) -> None:
    try:
        store.put("metrics", {"loss": [0.5, number]})
    except JsonRefusedError as error:
        if error.path != "$.loss[1]":
            raise ValueError(f"the refusal names {error.path}") from error
    else:
        raise ValueError(f"{number} was stored")


def _refuse_to_configure(disk: Path) -> None:
    try:
        load_config(str(disk / "guardrails.yaml"), {})
    except ConfigurationError as error:
        if "guardrails.yaml:3: circuit_breaker.cooldown_seconds" not in str(error):
            raise ValueError(f"the refusal names no file, line and key: {error}") from error
    else:
        raise ValueError("a cool-down of NaN was taken")


def recover(disk: Path) -> dict[str, object]:
    """As soon as one bad update is counted the agent is not healthy; whatever is returned is finite."""
    with _store(disk) as store:
        monitor = AgentMonitor("agent", store)
        count, state = monitor.update_count(), monitor.state()
        if store.get("metrics") is not None:
            raise ValueError(f"this was stored: {store.get('metrics')}")
        status = monitor.process_update(*GOOD).status
    if (status == "healthy") != (count == 60):
        raise ValueError(f"{status} after {count - 60} bad updates")
    return {"updates": count, "coherence": state.coherence, "lambda1": state.lambda1}
