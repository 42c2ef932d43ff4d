"""All loops of a store at a glance: rows for the live page, and what looks wrong with them. Reads only."""

from collections.abc import Mapping
from typing import Any

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
from pytest_guardrails.reliability.loops.ledger import LoopRecord
from pytest_guardrails.reliability.state import StateStore
from pytest_guardrails.reliability.telemetry.anomalies import Anomaly, LoopSigns, loop_signs

__all__ = ["anomalies", "overview", "used_shares"]


def overview(store: StateStore) -> list[dict[str, Any]]:
    """A row for each loop, such as the live page shows."""
    return [
        {
            "loop": record.loop_id,
            "run": record.run,
            "state": record.state.value,
            "reason": record.reason.value if record.reason else "",
            "iterations": record.facts.iterations,
            "failures": record.facts.failures,
            "seconds": round(record.facts.elapsed_s, 1),
            "tokens": record.facts.tokens,
            "USD": record.facts.cost_nano_usd / 1e9,
            "said": record.detail or record.advice,
        }
        for record in _records(store)
    ]


def anomalies(store: StateStore, expected: Mapping[str, int] | None = None) -> list[Anomaly]:
    """What looks wrong with the loops.

    Args:
        store: where they are.
        expected: by loop, how many iterations are usual.
    """
    usual = expected or {}
    found: list[Anomaly] = []
    for record in _records(store):
        facts = record.facts
        shares = used_shares(parse_condition(record.condition), facts) if not record.state.final else {}
        signs = LoopSigns(
            name=record.loop_id,
            state=record.state.value,
            iterations=facts.iterations,
            failures=facts.failures,
            consecutive_failures=facts.consecutive_failures,
            since_progress=facts.since_progress,
            expected=usual.get(record.loop_id),
            shares=shares,
        )
        found += loop_signs(signs)
    return found


def used_shares(condition: Condition, facts: Facts) -> dict[str, float]:
    """Of each budget in a condition, how much is used; 1 is all."""
    if isinstance(condition, (AnyOf, AllOf)):
        return {name: share for part in condition.parts for name, share in used_shares(part, facts).items()}
    if isinstance(condition, MaxIterations):
        return {"iterations": facts.iterations / condition.limit}
    if isinstance(condition, Timeout):
        return {"time": facts.elapsed_s / condition.limit_s}
    if isinstance(condition, ResourceLimit):
        limits = {name: limit for name, limit in condition.plain().items() if name != "kind" and limit is not None}
        return {name: getattr(facts, name) / limit for name, limit in limits.items()}
    return {}


def _records(store: StateStore) -> list[LoopRecord]:
    found = (store.get(key) for key in store.keys("loop/"))
    return [LoopRecord.parse(plain) for plain in found if plain is not None]
