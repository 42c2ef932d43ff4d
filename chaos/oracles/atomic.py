"""Oracle `atomic`: recovery yields the value before or after the unacknowledged step, nothing between.

It needs no code of the user: the values seen on undamaged trees after whole steps are the only legal ones. With
several writers, or with values that differ between two readings of one tree, the steps say nothing, and where threads
work side by side, nothing in between; with a check of the user's own, that check decides. Read `durable.py` next.
"""

from chaos.child import values
from chaos.observations import Damage, Ending, Observation, Reference
from chaos.oracles.answer import Answer, holds, is_legal, legal_steps, unknown, violated

__all__ = ["VALUE_LIMIT", "atomic", "incomparable"]

VALUE_LIMIT = 60  # characters of a value in a message: two of them and a sentence fit on two lines


def incomparable(reference: Reference) -> str:
    """Why recovered values can't be compared with those of the undamaged steps; "" when they can."""
    if reference.checked:
        return "a check was given, and it decides"
    if reference.diverged:
        return "struck by faults, the run acknowledged something else than without them; give a check"
    if reference.writers > 1:
        return f"{reference.writers} processes acknowledge, so no step is whole; give a check"
    return f"{reference.vague}; give a check" if reference.vague else ""


def atomic(observation: Observation, reference: Reference) -> Answer:
    """Compare the recovered value with those of the undamaged trees before and after the step in flight."""
    if reason := incomparable(reference):
        return unknown(reason)
    outcome = observation.outcome
    if outcome.ending is not Ending.RETURNED:
        return unknown("recovery returned no value")
    if is_legal(outcome, observation, reference):
        return holds()
    if any(after < observation.point <= until for after, until in reference.overlaps):
        return unknown("several threads or processes were at work side by side, so no step is whole; give a check")
    shown = values.render(outcome.value, VALUE_LIMIT)
    older = any(step.value == outcome.value for step in reference.steps[: observation.acked])
    return violated(
        Damage.LOST if older else Damage.SILENT,
        f"recovery returned {shown}; right is {_legal_words(observation, reference)}",
    )


def _legal_words(observation: Observation, reference: Reference) -> str:
    returned = [step.value for step in legal_steps(observation, reference) if step.ending is Ending.RETURNED]
    words = [values.render(value, VALUE_LIMIT) for value in dict.fromkeys(returned)]
    return " or ".join(words) if words else "to refuse, as on the undamaged disk"
