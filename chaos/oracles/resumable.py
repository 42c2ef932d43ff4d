"""Oracle `resumable`: the workload, run on from the recovered state, ends where a run with no crash ends.

And it repeats no acknowledged step, as far as the acknowledged values are distinct and so tell steps apart. It needs
the extra run `Observation.resumed`. Read `clean.py` next.
"""

from chaos.child import values
from chaos.observations import Damage, Ending, Observation, Outcome, Reference
from chaos.oracles.answer import Answer, ending_words, holds, is_legal, unknown, violated
from chaos.oracles.atomic import VALUE_LIMIT

__all__ = ["resumable"]


def resumable(observation: Observation, reference: Reference) -> Answer:
    """Judge the run that went on: it returns, repeats nothing acknowledged, and ends in the right state."""
    resumed = observation.resumed
    if resumed is None:
        return unknown("the workload was not run on from this state")
    if observation.outcome.ending is not Ending.RETURNED and not is_legal(observation.outcome, observation, reference):
        return unknown("recovery had failed already")
    if resumed.ending is not Ending.RETURNED:
        return violated(Damage.CANNOT_START, f"the workload can't go on: it {ending_words(resumed)}")
    if repeated := _repeated(observation, resumed, reference):
        shown = ", ".join(values.render(value, VALUE_LIMIT) for value in repeated[:3])
        return violated(Damage.SILENT, f"steps that were acknowledged before the crash are done again: {shown}")
    if resumed.check:
        return violated(Damage.SILENT, f"the workload goes on, and then the check objects: {resumed.check}")
    return _final_state(resumed, reference)


def _repeated(observation: Observation, resumed: Outcome, reference: Reference) -> list[str]:
    every = [ack.value for ack in reference.acks]
    if len(set(every)) != len(every):
        return []
    before = set(every[: observation.acked])
    return [value for value in dict.fromkeys(resumed.acks) if value in before]


def _final_state(resumed: Outcome, reference: Reference) -> Answer:
    final = reference.steps[-1]
    if final.ending is not Ending.RETURNED:
        return unknown("recovery fails on the undamaged tree at the end, so there is no final state to compare with")
    if reference.vague:
        return unknown(reference.vague)
    if resumed.value == final.value:
        return holds()
    return violated(
        Damage.SILENT,
        f"run on, it ends with {values.render(resumed.value, VALUE_LIMIT)}; "
        f"without a crash it ends with {values.render(final.value, VALUE_LIMIT)}",
    )
