"""Oracle `durable`: everything acknowledged before the crash is there; an older state is a lost acknowledgement.

Two independent signs, neither of which needs code of the user:

1. the recovered value is that of an older acknowledged step, and not that of a legal one;
2. the recovered value is a container that lacks an acknowledged value, where every undamaged tree's value contains
   all the values acknowledged by then. That makes the rule prove itself on the run before it is applied.

Only the second is used where whole steps can't be compared (see `atomic.incomparable`). Read `check.py` next.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from chaos.child import values
from chaos.observations import Damage, Ending, Observation, Reference
from chaos.oracles.answer import Answer, holds, is_legal, unknown, violated
from chaos.oracles.atomic import VALUE_LIMIT, incomparable

__all__ = ["durable"]


def durable(observation: Observation, reference: Reference) -> Answer:
    """Look for an older state, then for a missing acknowledged value."""
    outcome = observation.outcome
    if outcome.ending is not Ending.RETURNED:
        return unknown("recovery returned no value")
    reason = incomparable(reference)
    if not reason:
        if is_legal(outcome, observation, reference):
            return holds()
        older = [step for step, seen in enumerate(reference.steps[: observation.acked]) if seen.value == outcome.value]
        if older:
            return violated(
                Damage.LOST, f"{observation.acked} acknowledged, recovery returned the state {_at(older[-1])}"
            )
    return _contains_acknowledged(observation, reference, reason)


def _contains_acknowledged(observation: Observation, reference: Reference, reason: str) -> Answer:
    if not _references_contain_acknowledged(reference):
        return unknown(reason) if reason else holds()
    acked = tuple(ack.value for ack in reference.acks[: observation.acked])
    missing = _missing(observation.outcome.value, acked)
    if not missing:
        return holds()
    shown = ", ".join(values.render(value, VALUE_LIMIT) for value in missing[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return violated(Damage.LOST, f"acknowledged and not there: {shown}{more}")


@lru_cache(maxsize=4)
def _references_contain_acknowledged(reference: Reference) -> bool:
    """Whether each undamaged value after an acknowledgement holds all the values acknowledged by then."""
    if not reference.acks:
        return False
    acked = tuple(ack.value for ack in reference.acks)
    return all(
        step.ending is Ending.RETURNED and not _missing(step.value, acked[:count])
        for count, step in enumerate(reference.steps)
        if count
    )


def _missing(value: str, acked: tuple[str, ...]) -> list[str]:
    members = set(_members(values.decode(value)))
    return [one for one in acked if one not in members]


def _members(value: Any) -> Iterator[str]:
    """Everything inside a container, at any depth, as text; strings as themselves too: JSON makes "1" of the key 1."""
    if isinstance(value, dict):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = list(value)
    else:
        return
    for one in inside:
        yield values.encode(one)
        if isinstance(one, str):
            yield one
        yield from _members(one)


def _at(step: int) -> str:
    return "at the start" if step == 0 else f"of acknowledgement {step}"
