"""The oracle `terminates`: nobody waits for ever, neither for each other nor in a loop. Read `exclusive.py` next."""

from chaos.history import LiveRun
from chaos.observations import Damage, Ending
from chaos.oracles.answer import Answer, holds, violated

__all__ = ["terminates"]

_TOLD = 4  # of those who wait for each other; all are shown below the interleaving


def terminates(run: LiveRun) -> Answer:
    """Object to a deadlock, to a run that had to be cut, and to a worker that was still running."""
    if run.waiting:
        words = [f"{run.named(number)} in {what}" for number, what in run.waiting]
        more = [f"{len(words) - _TOLD} more"] if len(words) > _TOLD else []
        return violated(Damage.STUCK, f"deadlock: {', '.join([*words[:_TOLD], *more])}", cause="deadlock")
    if run.cut:
        return violated(Damage.STUCK, run.cut)
    hung = [number for number, outcome in enumerate(run.outcomes) if outcome.ending is Ending.HUNG]
    if hung:
        return violated(Damage.STUCK, f"worker {hung[0]} was still running at its deadline")
    return holds()
