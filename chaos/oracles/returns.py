"""The oracle `returns`: every worker comes to its end by returning. Read `terminates.py` for those that never end."""

from chaos.history import LiveRun
from chaos.observations import Damage, Ending
from chaos.oracles.answer import Answer, ending_words, holds, violated

__all__ = ["returns"]


def returns(run: LiveRun) -> Answer:
    """Object to the first worker that raised, exited or died; one that hangs is the affair of `terminates`."""
    for number, outcome in enumerate(run.outcomes):
        if outcome.ending not in (Ending.RETURNED, Ending.HUNG):
            return violated(Damage.LOUD, f"worker {number} {ending_words(outcome)}", cause=outcome.error_type)
    return holds()
