"""NaN and infinity are no limits: compared with them nothing is ever too much, so nobody can set them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.durability import Lease
from pytest_guardrails.reliability.loops import (
    Ladder,
    LoopSettings,
    Plan,
    Rung,
    Strategy,
    StuckDetector,
    StuckSettings,
)
from pytest_guardrails.reliability.state import BackendSettings, Checkpoints, StateStore, open_store
from pytest_guardrails.reliability.telemetry import EventLog
from pytest_guardrails.reliability.telemetry.channel import Channel
from pytest_guardrails.reliability.telemetry.relay import Relay
from pytest_guardrails.reliability.telemetry.sinks import JsonLinesSink, LoggingSink

LIMITS: dict[str, Callable[[Any, StateStore, Path], object]] = {
    "keep_versions": lambda no, _store, _path: BackendSettings(keep_versions=no),
    "deadline_s of a store": lambda no, _store, _path: BackendSettings(deadline_s=no),
    "schema": lambda no, _store, path: open_store(path / "other", schema=no),
    "prune keep_versions": lambda no, store, _path: store.prune(keep_versions=no),
    "prune older_than_s": lambda no, store, _path: store.prune(older_than_s=no),
    "keep of checkpoints": lambda no, store, _path: Checkpoints(store, keep=no),
    "deadline_s of a lease": lambda no, _store, path: Lease(path / "lease", ttl_s=1.0).acquire(deadline_s=no),
    "failure_limit": lambda no, _store, _path: LoopSettings(failure_limit=no),
    "attempts of a loop": lambda no, _store, _path: LoopSettings(attempts=no),
    "history": lambda no, _store, _path: LoopSettings(history=no),
    "attempts of a rung": lambda no, _store, _path: Rung(strategy=Strategy.RETRY, attempts=no),
    "limit of a plan": lambda no, _store, _path: Plan(rungs=(), limit=no),
    "window": lambda no, _store, _path: StuckSettings(window=no),
    "groups": lambda no, _store, _path: StuckSettings(groups=no),
    "rung of a ladder": lambda no, _store, _path: StuckSettings(errors=Ladder(1, 2, 3, no)),
    "ladder": lambda no, _store, _path: StuckSettings(errors=no),
    "max_consecutive_retries": lambda no, _store, _path: StuckDetector(no),
    "capacity of events": lambda no, store, _path: EventLog(store, capacity=no),
    "capacity of a channel": lambda no, _store, _path: Channel(LoggingSink(), capacity=no),
    "batch": lambda no, store, _path: Relay(EventLog(store), LoggingSink(), name="relay", batch=no),
    "max_bytes": lambda no, _store, path: JsonLinesSink(path / "lines", max_bytes=no),
    "keep of a sink": lambda no, _store, path: JsonLinesSink(path / "lines", keep=no),
}


@pytest.mark.parametrize("value", [math.nan, math.inf, -1])
@pytest.mark.parametrize("limit", LIMITS)
def test_what_is_no_limit_is_refused(tmp_path: Path, limit: str, value: float) -> None:
    with open_store(tmp_path / "store") as store, pytest.raises(ConfigurationError, match=r"must be|is above 0"):
        LIMITS[limit](value, store, tmp_path)


def test_a_loop_that_is_asked_for_a_round_that_is_no_number_ends() -> None:
    aborts, why = StuckDetector(10).check_retry_loop("retry", "again", 1, max_rounds=math.nan)  # type: ignore[arg-type]
    assert aborts
    assert why is not None
