"""All loops of a store at a glance: rows for the live page, and what looks wrong with them. Reads only."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.reliability.loops.conditions import (
    AllOf,
    AnyOf,
    Condition,
    MaxIterations,
    ResourceLimit,
    Timeout,
    parse_condition,
)
from pytest_guardrails.reliability.loops.facts import Facts
from pytest_guardrails.reliability.loops.ledger import LoopRecord, iteration_key, iterations_of, record_key
from pytest_guardrails.reliability.loops.stuck_model import Level
from pytest_guardrails.reliability.state import StateStore
from pytest_guardrails.reliability.telemetry.anomalies import Anomaly, LoopSigns, loop_signs

__all__ = ["anomalies", "overview", "used_shares", "usual_iterations"]

_RUNS = 7  # that are looked back on
_LEAST_RUNS = 3  # fewer are no custom


def overview(store: StateStore) -> list[dict[str, Any]]:
    """A row for each loop, such as the live page shows."""
    return [_row(found) for found in _records(store)]


def anomalies(store: StateStore, expected: Mapping[str, int] | None = None) -> list[Anomaly]:
    """What looks wrong with the loops.

    Args:
        store: where they are.
        expected: by loop, how many iterations are usual; what its earlier runs took, if it is not said.
    """
    found: list[Anomaly] = []
    for record in _records(store):
        if isinstance(record, LoopRecord):
            found += loop_signs(_signs(store, record, expected or {}))
    return found


def usual_iterations(store: StateStore, loop_id: str, run: int) -> int | None:
    """How many iterations the runs before this one took, in the middle; None when there were fewer than three."""
    kept_from = (store.get(record_key(loop_id)) or {}).get("runs_from", 1)
    counts = [_last(store, loop_id, earlier) for earlier in range(max(kept_from, run - _RUNS), run)]
    return round(median(counts)) if len(counts) >= _LEAST_RUNS else None


def used_shares(condition: Condition, facts: Facts) -> dict[str, float]:
    """Of each budget in a condition, how much is used; 1 is all."""
    if isinstance(condition, (AnyOf, AllOf)):
        every = [pair for part in condition.parts for pair in used_shares(part, facts).items()]
        return dict(sorted(every, key=lambda pair: pair[1]))  # of one name the largest
    if isinstance(condition, MaxIterations):
        return {"iterations": facts.iterations / condition.limit}
    if isinstance(condition, Timeout):
        return {"time": facts.elapsed_s / condition.limit_s}
    if isinstance(condition, ResourceLimit):
        limits = {name: limit for name, limit in condition.plain().items() if name != "kind" and limit is not None}
        return {name: getattr(facts, name) / limit for name, limit in limits.items()}
    return {}


def _records(store: StateStore) -> Iterator[LoopRecord | str]:
    """Each loop's record, or why this program can't read it."""
    for key in store.keys("loop/"):
        plain = store.get(key)
        try:
            if plain is not None:
                yield LoopRecord.parse(plain)
        except NewerFormatError as error:
            yield str(error)


def _row(found: LoopRecord | str) -> dict[str, Any]:
    record = found if isinstance(found, LoopRecord) else LoopRecord(loop_id="", run=0)
    facts = record.facts
    return {
        "loop": record.loop_id,
        "run": record.run,
        "state": record.state.value,
        "reason": record.reason.value if record.reason else "",
        "iterations": facts.iterations,
        "failures": facts.failures,
        "seconds": round(facts.elapsed_s, 1),
        "tokens": facts.tokens,
        "USD": facts.cost_nano_usd / 1e9,
        "said": found if isinstance(found, str) else record.detail or record.advice,
    }


def _signs(store: StateStore, record: LoopRecord, expected: Mapping[str, int]) -> LoopSigns:
    facts = record.facts
    usual = expected.get(record.loop_id) or usual_iterations(store, record.loop_id, record.run)
    return LoopSigns(
        name=record.loop_id,
        state=record.state.value,
        iterations=facts.iterations,
        failures=facts.failures,
        consecutive_failures=facts.consecutive_failures,
        since_progress=facts.since_progress,
        expected=usual,
        shares=_shares(record),
        recorded=_recorded(store, record),
        stuck=record.advice if record.stuck_level >= Level.WARN else "",
    )


def _shares(record: LoopRecord) -> Mapping[str, float]:
    if record.state.final:
        return {}
    try:
        return used_shares(parse_condition(record.condition), record.facts)
    except ConfigurationError:  # a newer program's condition
        return {"the limits, which a newer program set": float("nan")}


def _recorded(store: StateStore, record: LoopRecord) -> int | None:
    """How many iterations the history has told of; None when an owner has just gone on."""
    found = _last(store, record.loop_id, record.run, record.kept_from)
    now = LoopRecord.parse(store.get(record_key(record.loop_id)) or record.plain())
    return found if (now.run, now.facts.iterations) == (record.run, record.facts.iterations) else None


def _last(store: StateStore, loop_id: str, run: int, first: int = 0) -> int:
    """The number of the last iteration in a run's history, mostly by some twenty looks whatever their number.

    Args:
        store: where it is.
        loop_id: of which loop.
        run: of which run.
        first: the number of the oldest one that is kept; 0 = it is looked for.
    """
    if not first:
        first = 1
        if store.get(iteration_key(loop_id, run, first)) is None:
            kept = store.keys(iterations_of(loop_id, run))
            return int(kept[-1].rpartition("/")[2]) if kept else 0

    def is_there(number: int) -> bool:
        return store.get(iteration_key(loop_id, run, first - 1 + number)) is not None

    above = 1
    while is_there(above):
        above *= 2
    known = above // 2
    while above - known > 1:
        middle = (known + above) // 2
        known, above = (middle, above) if is_there(middle) else (known, middle)
    return first - 1 + known
