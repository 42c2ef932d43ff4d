"""Oracle `atomic`: recovery yields the value before or after the unacknowledged step, nothing between.

It needs no code of the user: the values seen on undamaged trees after whole steps are the only legal ones. With
several writers, or with values that differ between two readings of one tree, the steps say nothing, and where threads
work side by side, nothing in between; with a check of the user's own, that check decides. Of a run that faults sent
another way `struck.py` says which steps count. Read `durable.py` next.
"""

from chaos.child import values
from chaos.observations import Damage, Ending, Observation, Reference
from chaos.oracles.answer import Answer, holds, is_legal, legal_steps, unknown, violated
from chaos.oracles.struck import own_steps

__all__ = ["VALUE_LIMIT", "atomic", "comparable"]

VALUE_LIMIT = 60  # characters of a value in a message: two of them and a sentence fit on two lines


def comparable(observation: Observation, reference: Reference) -> tuple[Reference, str]:
    """The undamaged steps that a recovered value is compared with, and why it can't be; "" when it can."""
    if reference.checked:
        return reference, "a check was given, and it decides"
    steps, reason = own_steps(observation, reference)
    if reason:
        return steps, reason
    if steps.writers > 1:
        return steps, f"{steps.writers} processes acknowledge, so no step is whole; give a check"
    return steps, f"{steps.vague}; give a check" if steps.vague else ""


def atomic(observation: Observation, reference: Reference) -> Answer:
    """Compare the recovered value with those of the undamaged trees before and after the step in flight."""
    reference, reason = comparable(observation, reference)
    if reason:
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
