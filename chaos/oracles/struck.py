"""Which undamaged steps a crash state can be held against, also in a run that faults sent another way.

Such a run acknowledged something else than the run without faults, so that its steps are its own: what recovery
returns on its own undamaged trees. One is whole where both runs acknowledge the same two values one after the other.
In any other one something failed on the way, and what that did may be there or not: nothing can be said of a crash
within it, nor of a state that lacks some of it. It must not judge. Read `atomic.py` next.
"""

from bisect import bisect_right

from chaos.observations import Ending, Observation, Reference

__all__ = ["own_steps"]

_ASTRAY = "struck by faults, the run acknowledged something else than without them"
_HINT = "give a check"


def own_steps(observation: Observation, reference: Reference) -> tuple[Reference, str]:
    """The steps that count for a state, and why it can't be held against them; "" when it can."""
    if not reference.diverged:
        return reference, ""
    own, first = reference.own, reference.first
    if own is None or first is None:
        return reference, f"{_ASTRAY}; {_HINT}"
    made, usual = _values(own), _values(first)
    if len(set(usual)) < len(usual):
        return own, f"{_ASTRAY}, and acknowledged values that repeat do not tell in which step; {_HINT}"
    whole = _whole_steps(made, usual)
    if observation.acked not in whole:
        return own, f"{_ASTRAY}, and within such a step it is not known what is right; {_HINT}"
    after = [ack.after for ack in own.acks]
    if any(bisect_right(after, seq) not in whole for seq in observation.damaged):
        return own, f"{_ASTRAY}, and what a step did that failed may be lost; {_HINT}"
    if any(step.ending is not Ending.RETURNED for step in own.steps[observation.acked : observation.acked + 2]):
        return own, f"{_ASTRAY}, and recovery fails on its own undamaged trees; {_HINT}"
    return own, ""


def _values(reference: Reference) -> list[str]:
    return [ack.value for ack in reference.acks]


def _whole_steps(made: list[str], usual: list[str]) -> frozenset[int]:
    """The steps, by how many acknowledgements came before, that the run without faults has as well."""
    # Before the first acknowledgement and after the last one stands None, in both.
    known = set(zip([None, *usual], [*usual, None], strict=True))
    return frozenset(step for step, pair in enumerate(zip([None, *made], [*made, None], strict=True)) if pair in known)
