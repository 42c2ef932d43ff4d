"""All loops of a store at a glance."""

from pathlib import Path

from pytest_guardrails.reliability.loops import LoopController, MaxIterations, ResourceLimit, StepResult, Timeout
from pytest_guardrails.reliability.loops.facts import Facts
from pytest_guardrails.reliability.loops.overview import anomalies, overview, used_shares
from pytest_guardrails.reliability.state import open_store
from pytest_guardrails.reliability.telemetry.anomalies import AnomalyKind


def test_each_loop_has_a_row_and_what_is_unusual_is_told(tmp_path: Path) -> None:
    with open_store(tmp_path / "state") as store:
        LoopController("a", store, stop_when=MaxIterations(3)).run(lambda step: StepResult(tokens=2))
        LoopController("b", store, stop_when=MaxIterations(3)).run(lambda step: 1 / 0)
        rows = overview(store)
        assert [(row["loop"], row["state"], row["iterations"], row["tokens"]) for row in rows] == [
            ("a", "completed", 3, 6),
            ("b", "failed", 3, 0),
        ]
        assert [found.kind for found in anomalies(store, {"a": 30})] == [AnomalyKind.PREMATURE_END]


def test_shares_of_all_budgets_are_told() -> None:
    condition = MaxIterations(10) | (Timeout(5.0) & ResourceLimit(tokens=100, cpu_s=2.0))
    facts = Facts(iterations=9, elapsed_s=1.0, tokens=50, cpu_s=4.0)
    assert used_shares(condition, facts) == {"iterations": 0.9, "time": 0.2, "tokens": 0.5, "cpu_s": 2.0}
