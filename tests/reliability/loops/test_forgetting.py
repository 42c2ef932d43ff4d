"""How many iterations and runs a record names, and in which steps it comes to that."""

from dataclasses import replace

import pytest

from pytest_guardrails.reliability.loops.facts import Facts
from pytest_guardrails.reliability.loops.forgetting import without_iterations, without_runs
from pytest_guardrails.reliability.loops.ledger import LoopRecord

RECORD = LoopRecord(loop_id="l")


@pytest.mark.parametrize(
    ("iterations", "kept_from", "keep", "first"),
    [(3, 1, 5, 1), (5, 1, 5, 1), (6, 1, 5, 2), (7, 2, 5, 3), (7, 3, 50, 3), (250, 1, 5, 101), (250, 101, 5, 201)],
)
def test_a_run_names_its_newest_iterations_and_loses_a_hundred_at_most_at_a_time(
    iterations: int, kept_from: int, keep: int, first: int
) -> None:
    record = replace(RECORD, facts=Facts(iterations=iterations), kept_from=kept_from)
    assert without_iterations(record, keep).kept_from == first


@pytest.mark.parametrize(
    ("run", "runs_from", "keep", "first"), [(2, 1, 2, 1), (3, 1, 2, 2), (4, 2, 9, 2), (40, 1, 2, 11), (41, 11, 2, 21)]
)
def test_a_loop_names_its_newest_runs_and_loses_ten_at_most_at_a_time(
    run: int, runs_from: int, keep: int, first: int
) -> None:
    before = replace(RECORD, run=run - 1, runs_from=runs_from)
    assert without_runs(replace(RECORD, run=run), before, keep).runs_from == first
