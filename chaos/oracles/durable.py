"""Oracle `durable`: everything acknowledged before the crash is there; an older state is a lost acknowledgement.

Two independent signs, neither of which needs code of the user:

1. the recovered value lacks an acknowledged value, where the run without a crash proves that recovery returns what was
   acknowledged: at its end all is there, and what was there once stayed. *There* is: inside a container, or the value
   itself, each following the one before. So an acknowledgement made too early (before a flush, say) is seen as well.
   What stood in its place before anything was done is no sign;
2. the recovered value is that of an older acknowledged step, and not that of a legal one.

Only the first is used where whole steps can't be compared (see `atomic.incomparable`), and where they are all alike,
nothing is claimed. A run that faults made go
another way is held against the proof of the run without them. A run that follows a crash may prove nothing of its own,
because what it acknowledges is lost without any further crash; there the run without a crash is the proof, and the
undamaged trees of the later one are held against it. Read `check.py` next.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from chaos.child import values
from chaos.observations import Damage, Ending, Observation, Reference
from chaos.oracles.answer import Answer, Objection, holds, is_legal, unknown, violated
from chaos.oracles.atomic import VALUE_LIMIT, incomparable

__all__ = ["SHOWS_NOTHING", "durable", "lost", "undamaged_losses"]

# Of a recovery that says "fine", or nothing, whatever was saved.
SHOWS_NOTHING = (
    "recovery returned the same before and after all acknowledgements; let it return what it finds, or give a check"
)


def durable(observation: Observation, reference: Reference) -> Answer:
    """Look for an older state, then for a missing acknowledged value."""
    outcome = observation.outcome
    if outcome.ending is not Ending.RETURNED:
        return unknown("recovery returned no value")
    reason = incomparable(reference)
    if not reason and not is_legal(outcome, observation, reference):
        older = [step for step, seen in enumerate(reference.steps[: observation.acked]) if seen.value == outcome.value]
        if older:
            return violated(
                Damage.LOST, f"{observation.acked} acknowledged, recovery returned the state {_at(older[-1])}"
            )
    missing = _missing(outcome.value, reference, observation.acked)
    if missing:
        return violated(Damage.LOST, _missing_words([reference.acks[number].value for number in missing]))
    if missing is None and not reason and _is_constant(reference):
        reason = SHOWS_NOTHING
    return unknown(reason) if reason and missing is None else holds()


def lost(observation: Observation, reference: Reference) -> frozenset[int]:
    """The acknowledgements, numbered from 0, that were made and are not there: by the first sign, or the second."""
    value, acked = observation.outcome.value, observation.acked
    if observation.outcome.ending is not Ending.RETURNED:
        return frozenset()
    missing = _missing(value, reference, acked)
    if missing:
        return frozenset(missing)
    older = [step for step, seen in enumerate(reference.steps[:acked]) if seen.value == value]
    return frozenset(range(older[-1], acked)) if older else frozenset()


def undamaged_losses(reference: Reference) -> tuple[Objection, ...]:
    """The end of a run that follows a crash, when what it acknowledged is not there, though nothing damaged it.

    What is there in the end was acknowledged too early at worst, which the crash states tell. Acknowledgements from
    before the crash are left to these, too: a program may well start afresh.
    """
    if reference.first is None or reference.diverged or (inside := _proven_rule(reference.first)) is None:
        return ()
    own = replace(reference, steps=reference.steps[reference.before :], acks=reference.acks[reference.before :])
    if inside is _followed and not _is_distinct(own):
        return ()
    if own.steps[-1].ending is not Ending.RETURNED:
        return ()
    there = inside(own.steps[-1].value, own) | _never_lost(inside, reference.first, own)
    missing = [ack.value for number, ack in enumerate(own.acks) if number not in there]
    if not missing:
        return ()
    return (Objection(step=len(reference.steps) - 1, damage=Damage.LOST, message=_missing_words(missing)),)


def _missing(value: str, reference: Reference, acked: int) -> list[int] | None:
    """Which of the first `acked` acknowledgements are not in `value`; None where the run does not prove the rule."""
    proof = reference.first if reference.diverged else reference
    inside = None if proof is None else _proven_rule(proof)
    if proof is None or inside is None:
        return None
    there = inside(value, reference) | _never_lost(inside, proof, reference)
    return [number for number in range(acked) if number not in there]


def _missing_words(missing: list[str]) -> str:
    shown = ", ".join(values.render(value, VALUE_LIMIT) for value in missing[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return f"acknowledged and not there: {shown}{more}"


_Rule = Callable[[str, Reference], frozenset[int]]


@lru_cache(maxsize=4)
def _proven_rule(reference: Reference) -> _Rule | None:
    """The way in which values hold acknowledgements, if the undamaged run follows one from its start to its end."""
    if not reference.acks or any(step.ending is not Ending.RETURNED for step in reference.steps[1:]):
        return None
    everything = frozenset(range(len(reference.acks)))
    for rule in (_contained, _followed):
        there = [rule(step.value, reference) for step in reference.steps[1:]]
        if there[-1] == everything and all(earlier <= later for earlier, later in pairwise(there)):
            return rule if rule is not _contained or _is_proof(reference) else None
    return None


def _is_proof(reference: Reference) -> bool:
    """Whether members of a container tell what was acknowledged: they keep their places, and came there in the run."""
    there = _there_from_the_start(reference)
    return any(ack.value not in there for ack in reference.acks) and _keep_their_places(reference)


def _never_lost(inside: _Rule, proof: Reference, reference: Reference) -> frozenset[int]:
    """Acknowledgements that a container can't be missed in."""
    there = _there_from_the_start(proof) if inside is _contained else frozenset[str]()
    return frozenset(number for number, ack in enumerate(reference.acks) if ack.value in there)


@lru_cache(maxsize=4)
def _there_from_the_start(reference: Reference) -> frozenset[str]:
    """Acknowledged values that are found, all along, where they stood before anything was done: by chance, that is.

    A counter's 1 and 2 are in a list of settings, too, which holds 1, 2 and 3 and has nothing to do with it.
    """
    if reference.steps[0].ending is not Ending.RETURNED:
        return frozenset()
    places = [_places(values.decode(step.value)) for step in reference.steps]
    found = set()
    for number, ack in enumerate(reference.acks, start=1):
        held = [one.get(ack.value, frozenset[str]()) for one in (places[0], *places[number:])]
        if held[0].intersection(*held[1:]):
            found.add(ack.value)
    return frozenset(found)


def _keep_their_places(reference: Reference) -> bool:
    """Whether each acknowledged value, once there, stays in one place: what only turns up again proves nothing.

    A balance of 10 in one account, and later in another, is not the same 10. In lists and sets any place is the same.
    """
    decoded = [values.decode(step.value) for step in reference.steps[1:]]
    places = [_places(value) for value in decoded]
    for number, ack in enumerate(reference.acks):
        held = [found[ack.value] for found in places[number:] if ack.value in found]
        if not frozenset[str]().union(*held[:1]).intersection(*held):
            return False
    return True


def _places(value: Any) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for place, text in _members(value):
        found.setdefault(text, set()).add(place)
    return {text: frozenset(where) for text, where in found.items()}


def _contained(value: str, reference: Reference) -> frozenset[int]:
    """Acknowledged values that are members of a container."""
    members = {text for _, text in _members(values.decode(value))}
    return frozenset(number for number, ack in enumerate(reference.acks) if ack.value in members)


def _followed(value: str, reference: Reference) -> frozenset[int]:
    """A value that is itself an acknowledged one stands for all before it; each must have been another.

    What was never acknowledged nor there at the start (a torn value) says nothing.
    """
    if not _is_distinct(reference):
        return frozenset()
    order = {reference.steps[0].value: -1}
    order.update((ack.value, number) for number, ack in enumerate(reference.acks))
    return frozenset(range(order.get(value, len(reference.acks)) + 1))


def _is_distinct(reference: Reference) -> bool:
    return len({reference.steps[0].value, *(ack.value for ack in reference.acks)}) == len(reference.acks) + 1


def _members(value: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """Everything inside a container, at any depth: its place, and itself as text.

    Strings come as themselves too: JSON makes "1" of the key 1.
    """
    if isinstance(value, dict):
        inside = [(f"{above}/keys", key) for key in value]
        inside += [(f"{above}/{values.encode(key)}", content) for key, content in value.items()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = [(f"{above}/any", one) for one in value]
    else:
        return
    for place, one in inside:
        yield place, values.encode(one)
        if isinstance(one, str):
            yield place, one
        yield from _members(one, place)


def _is_constant(reference: Reference) -> bool:
    """Whether the undamaged steps all look alike, so that an older one could not be told from the right one."""
    return bool(reference.acks) and len({(step.ending, step.value) for step in reference.steps}) == 1


def _at(step: int) -> str:
    return "at the start" if step == 0 else f"of acknowledgement {step}"
