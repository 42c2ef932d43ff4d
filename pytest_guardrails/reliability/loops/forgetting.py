"""What a loop's history loses, so that it does not grow for ever: the oldest iterations of a run, and the oldest runs.

Both go in the transaction of what takes their place. Of a run that is forgotten the side effects go as well, but for
those whose outcome nobody knows. Of each key that is removed the store remembers that it was there, in a few bytes,
until its `prune`. Read `controller.py` for who asks.
"""

from dataclasses import replace

from pytest_guardrails.reliability.loops.ledger import LoopRecord, iteration_key, iterations_of
from pytest_guardrails.reliability.state import Transaction, forget_effects

__all__ = ["effects_of", "forget_iterations", "forget_runs", "without_iterations", "without_runs"]

# At once, so that a loop whose limit was lowered, or which an older version wrote, is shortened step by step.
_ITERATIONS, _RUNS = 100, 10


def effects_of(loop_id: str, run: int) -> str:
    """The name under which a run's side effects are recorded."""
    return f"loop/{loop_id}/{run}"


def without_iterations(record: LoopRecord, keep: int) -> LoopRecord:
    """The record once no more iterations of the run are kept than that, or somewhat fewer are too many."""
    first = min(record.facts.iterations - keep + 1, record.kept_from + _ITERATIONS)
    return replace(record, kept_from=max(record.kept_from, first))


def forget_iterations(transaction: Transaction, before: LoopRecord, after: LoopRecord) -> None:
    """Remove the iterations that the second record of a run does not name any more."""
    for number in range(before.kept_from, after.kept_from):
        transaction.delete(iteration_key(after.loop_id, after.run, number), keep_versions=1)


def without_runs(record: LoopRecord, before: LoopRecord, keep: int) -> LoopRecord:
    """The record of a new run after `before`, once no more runs are kept than that, or somewhat fewer are too many."""
    first = min(record.run - keep + 1, before.runs_from + _RUNS)
    return replace(record, runs_from=max(before.runs_from, first))


def forget_runs(transaction: Transaction, before: LoopRecord, after: LoopRecord) -> None:
    """Remove the runs that the second record does not name any more."""
    for run in range(before.runs_from, after.runs_from):
        for key in transaction.keys(iterations_of(after.loop_id, run)):
            transaction.delete(key, keep_versions=1)
        forget_effects(transaction, effects_of(after.loop_id, run))
