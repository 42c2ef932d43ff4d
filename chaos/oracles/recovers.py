"""Oracle `recovers`: the target starts again after the crash: no exception, no hang, no exit.

A failure that an undamaged tree shows at a legal step is legal: before its first save a program may well refuse to
start. Read `atomic.py` next.
"""

from chaos.observations import Damage, Ending, Observation, Outcome, Reference
from chaos.oracles.answer import Answer, Objection, ending_words, holds, is_legal, violated

__all__ = ["failure_damage", "recovers", "undamaged_failures"]

_FATAL = {Ending.KILLED, Ending.HUNG, Ending.MEMORY}


def failure_damage(outcome: Outcome) -> Damage:
    """The kind of a failed start, until someone has tried whether the workload can go on all the same."""
    return Damage.CANNOT_START if outcome.ending in _FATAL else Damage.LOUD


def recovers(observation: Observation, reference: Reference) -> Answer:
    """Judge the first recovery; a second one that is right makes the failure self-healed."""
    outcome = observation.outcome
    if outcome.ending is Ending.RETURNED or is_legal(outcome, observation, reference):
        return holds()
    words = f"recovery {ending_words(outcome)}"
    again = observation.again
    if again is not None and again.ending is Ending.RETURNED and is_legal(again, observation, reference):
        return violated(Damage.SELF_HEALED, f"{words}; a second start is right")
    return violated(failure_damage(outcome), words)


def undamaged_failures(reference: Reference) -> tuple[Objection, ...]:
    """Acknowledged trees, and the last one, on which recovery fails though nothing was damaged."""
    if reference.diverged:  # what is right after its steps nobody knows
        return ()
    return tuple(
        Objection(step=step, damage=failure_damage(outcome), message=f"recovery {ending_words(outcome)}")
        for step, outcome in enumerate(reference.steps)
        if step and outcome.ending is not Ending.RETURNED and step not in reference.halfway
    )
