"""Oracle `durable`: everything acknowledged before the crash is there; an older state is a lost acknowledgement.

Two independent signs, neither of which needs code of the user:

1. the recovered value lacks an acknowledged value, where the run without a crash proves that recovery returns what was
   acknowledged: at its end all is there, and what was there once stayed (`evidence.py` says how it may be there). So
   an acknowledgement made too early (before a flush, say) is seen as well. What stood in its place before anything was
   done is no sign;
2. the recovered value is that of an older acknowledged step, and not that of a legal one.

Only the first is used where whole steps can't be compared (see `atomic.comparable`), and where they are all alike,
nothing is claimed. Where the first can't be used, `blind` says so: nothing else sees acknowledgements made too early.
A run that faults made go another way is held against the proof of the run without them. A run that follows a crash may
prove nothing of its own, because what it acknowledges is lost without any further crash; there the run without a crash
is the proof, and the undamaged trees of the later one are held against it. Read `check.py` next.
"""

from dataclasses import replace

from chaos.child import values
from chaos.observations import Damage, Ending, Observation, Reference
from chaos.oracles.answer import Answer, Objection, holds, is_legal, unknown, violated
from chaos.oracles.atomic import VALUE_LIMIT, comparable
from chaos.oracles.evidence import followed, is_distinct, never_lost, proven_rule
from chaos.oracles.struck import own_steps

__all__ = ["BLIND", "SHOWS_NOTHING", "blind", "durable", "lost", "undamaged_losses"]

# Of a recovery that says "fine", or nothing, whatever was saved.
SHOWS_NOTHING = (
    "recovery returned the same before and after all acknowledgements; let it return what it finds, or give a check"
)
# Of a recovery in whose values nobody finds what was acknowledged.
BLIND = (
    "durable: acknowledgements made too early are not judged, because the recovered values do not show what is "
    "acknowledged; let recovery return it, or give a check"
)


def durable(observation: Observation, reference: Reference) -> Answer:
    """Look for an older state, then for a missing acknowledged value."""
    outcome = observation.outcome
    if outcome.ending is not Ending.RETURNED:
        return unknown("recovery returned no value")
    steps, reason = comparable(observation, reference)
    if not reason and not is_legal(outcome, observation, steps):
        older = [step for step, seen in enumerate(steps.steps[: observation.acked]) if seen.value == outcome.value]
        if older:
            return violated(
                Damage.LOST, f"{observation.acked} acknowledged, recovery returned the state {_at(older[-1])}"
            )
    missing = _missing(outcome.value, reference, observation.acked)
    if missing:
        return violated(Damage.LOST, _missing_words([reference.acks[number].value for number in missing]))
    if missing is None and not reason and _is_constant(steps):
        reason = SHOWS_NOTHING
    return unknown(reason) if reason and missing is None else holds()


def blind(reference: Reference) -> str:
    """What `durable` does not see though it judges: a loss that only acknowledged values tell; "" when it does."""
    told_otherwise = reference.checked or reference.writers > 1 or reference.vague or _is_constant(reference)
    return "" if told_otherwise or not reference.acks or proven_rule(reference) is not None else BLIND


def lost(observation: Observation, reference: Reference) -> frozenset[int]:
    """The acknowledgements, numbered from 0, that were made and are not there: by the first sign, or the second."""
    value, acked = observation.outcome.value, observation.acked
    if observation.outcome.ending is not Ending.RETURNED:
        return frozenset()
    missing = _missing(value, reference, acked)
    if missing:
        return frozenset(missing)
    steps, reason = own_steps(observation, reference)
    if reason:
        return frozenset()
    older = [step for step, seen in enumerate(steps.steps[:acked]) if seen.value == value]
    return frozenset(range(older[-1], acked)) if older else frozenset()


def undamaged_losses(reference: Reference) -> tuple[Objection, ...]:
    """The end of a run that follows a crash, when what it acknowledged is not there, though nothing damaged it.

    What is there in the end was acknowledged too early at worst, which the crash states tell. Acknowledgements from
    before the crash are left to these, too: a program may well start afresh.
    """
    if reference.first is None or reference.diverged or (inside := proven_rule(reference.first)) is None:
        return ()
    own = replace(reference, steps=reference.steps[reference.before :], acks=reference.acks[reference.before :])
    if inside is followed and not is_distinct(own):
        return ()
    if own.steps[-1].ending is not Ending.RETURNED:
        return ()
    there = inside(own.steps[-1].value, own) | never_lost(inside, reference.first, own)
    missing = [ack.value for number, ack in enumerate(own.acks) if number not in there]
    if not missing:
        return ()
    return (Objection(step=len(reference.steps) - 1, damage=Damage.LOST, message=_missing_words(missing)),)


def _missing(value: str, reference: Reference, acked: int) -> list[int] | None:
    """Which of the first `acked` acknowledgements are not in `value`; None where the run does not prove the rule."""
    proof = reference.first if reference.diverged else reference
    inside = None if proof is None else proven_rule(proof)
    if proof is None or inside is None:
        return None
    there = inside(value, reference) | never_lost(inside, proof, reference)
    return [number for number in range(acked) if number not in there]


def _missing_words(missing: list[str]) -> str:
    shown = ", ".join(values.render(value, VALUE_LIMIT) for value in missing[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return f"acknowledged and not there: {shown}{more}"


def _is_constant(reference: Reference) -> bool:
    """Whether the undamaged steps all look alike, so that an older one could not be told from the right one."""
    return bool(reference.acks) and len({(step.ending, step.value) for step in reference.steps}) == 1


def _at(step: int) -> str:
    return "at the start" if step == 0 else f"of acknowledgement {step}"
