"""Health checks of loops: whether what is kept of them fits together, and whether one of them gets on."""

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.loops.facts import LoopState
from pytest_guardrails.reliability.loops.ledger import LoopRecord, record_key
from pytest_guardrails.reliability.loops.overview import anomalies
from pytest_guardrails.reliability.state import StateStore
from pytest_guardrails.reliability.telemetry.anomalies import AnomalyKind
from pytest_guardrails.reliability.telemetry.checks import Answer, Check, CheckStatus

__all__ = ["loop_advances", "loops_sound"]


def loops_sound(store: StateStore) -> Check:
    """A check of readiness: fails when counters and history contradict each other, warns of all else that is unusual.

    It is skipped while there is no loop.
    """

    def ask() -> Answer:
        found = anomalies(store)
        said = "; ".join(f"{anomaly.name}: {anomaly.kind.value}, {anomaly.message}" for anomaly in found)
        if any(anomaly.kind is AnomalyKind.INCONSISTENT for anomaly in found):
            return CheckStatus.FAILED, said
        if found:
            return CheckStatus.WARNING, said
        loops = len(store.keys("loop/"))
        return (CheckStatus.PASSED, f"{loops} loops") if loops else (CheckStatus.SKIPPED, "there is no loop")

    return Check(name="loops", purpose="readiness", ask=ask)


def loop_advances(store: StateStore, loop_id: str, *, within_s: float, clock: Clock | None = None) -> Check:
    """A check of liveness: fails when a loop that runs has finished no iteration for so long.

    It is skipped while the loop does not run. Time counts from the first time that it was asked.

    Args:
        store: where the loop is kept.
        loop_id: which.
        within_s: how long an iteration may take, in seconds.
        clock: for that.
    """
    if not 0 < within_s < 1e9:
        raise ConfigurationError(f"within_s is above 0 and finite, not {within_s}")
    timer = clock or SystemClock()
    seen, since_s = (0, -1), 0.0

    def ask() -> Answer:
        nonlocal seen, since_s
        plain = store.get(record_key(loop_id))
        record = LoopRecord(loop_id=loop_id, run=0) if plain is None else LoopRecord.parse(plain)
        now_s, found = timer.monotonic(), (record.run, record.facts.iterations)
        if record.state not in (LoopState.RUNNING, LoopState.RECOVERED):
            seen = (0, -1)
            return CheckStatus.SKIPPED, f"it is {record.state.value}"
        if found != seen:
            seen, since_s = found, now_s
        if now_s - since_s > within_s:
            return CheckStatus.FAILED, f"no iteration for {now_s - since_s:.0f} s after {found[1]}"
        return CheckStatus.PASSED, f"{found[1]} iterations"

    return Check(name=f"loop {loop_id}", purpose="liveness", ask=ask)
