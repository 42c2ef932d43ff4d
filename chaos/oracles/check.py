"""Oracle `check`: the user's own predicate over the recovered value and the acknowledged values accepts it.

An objection that the check also makes on the undamaged tree of a legal step is not the crash's doing. Read
`durable.py` next.
"""

from chaos.observations import Damage, Ending, Observation, Reference
from chaos.oracles.answer import Answer, Objection, holds, legal_steps, same, unknown, violated

__all__ = ["check", "undamaged_objections"]


def check(observation: Observation, reference: Reference) -> Answer:
    """Judge by the message that the user's check left in the outcome."""
    if not reference.checked:
        return unknown("no check was given")
    outcome = observation.outcome
    if outcome.ending is not Ending.RETURNED:
        return unknown("recovery returned no value to check")
    if not outcome.check:
        return holds()
    if any(same(outcome, step) and step.check for step in legal_steps(observation, reference)):
        return holds()
    return violated(Damage.SILENT, f"recovery returned, and the check objects: {outcome.check}")


def undamaged_objections(reference: Reference) -> tuple[Objection, ...]:
    """Acknowledged trees, and the last one, whose value the check rejects though nothing was damaged."""
    return tuple(
        Objection(step=step, damage=Damage.SILENT, message=f"the check objects: {outcome.check}")
        for step, outcome in enumerate(reference.steps)
        if step and outcome.check
    )
