"""Oracle `terminates`, of programs that recover: they end before their deadlines, and within the rounds they may take.

A round is an acknowledgement of the workload: a loop that is fed the same again and again must give up at some point.
What a fault holds for ever (a disk that hangs) is no excuse: a program needs a deadline of its own. Read
`terminates.py` for processes side by side, `bounded.py` next.
"""

from chaos.observations import Damage, Ending, Observation, Reference
from chaos.oracles.answer import Answer, Objection, holds, violated

__all__ = ["in_time", "undamaged_rounds"]


def in_time(observation: Observation, reference: Reference) -> Answer:
    """Look at how the runs ended, and at the number of rounds."""
    run, rounds = observation.run, reference.bounds.rounds
    if run is not None and rounds is not None and len(run.acks) > rounds:
        return violated(Damage.STUCK, f"the workload went on for {len(run.acks)} rounds; {rounds} are allowed")
    if run is not None and run.ending is Ending.HUNG:
        return violated(Damage.STUCK, f"the workload did not end before its deadline{_after(run.error)}")
    if observation.outcome.ending is Ending.HUNG:
        return violated(Damage.STUCK, "recovery did not return before its deadline")
    resumed = observation.resumed
    if resumed is not None and resumed.ending is Ending.HUNG:
        return violated(Damage.STUCK, "run on, the workload did not end before its deadline")
    return holds()


def undamaged_rounds(reference: Reference) -> tuple[Objection, ...]:
    """A workload that goes on for too many rounds though nothing was hurt."""
    rounds, made = reference.bounds.rounds, len(reference.acks)
    if rounds is None or made <= rounds:
        return ()
    message = f"the workload went on for {made} rounds; {rounds} are allowed"
    return (Objection(step=len(reference.steps) - 1, damage=Damage.STUCK, message=message),)


def _after(words: str) -> str:
    return f" ({words})" if words else ""
