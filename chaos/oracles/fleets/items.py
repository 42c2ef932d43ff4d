"""Oracles over what was acknowledged and what is there: `durable` and `no_lost_update`. Pure.

`durable` wants every acknowledged value among the recovered ones. `no_lost_update` counts: a number must have grown by
as much as was acknowledged, and in a list no acknowledged value may stand twice. An update that was under way when its
process died may have happened or not; each ended life is granted one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from chaos.child import values
from chaos.history import Said, operations_of
from chaos.observations import Damage, Ending, Outcome
from chaos.oracles.answer import Answer, holds, unknown, violated
from chaos.oracles.fleets.aftermath import Aftermath, some
from chaos.oracles.lost_update import lost_update

__all__ = ["durable", "no_lost_update"]

_NO_VALUE = "recovery returned no value"


def durable(aftermath: Aftermath) -> Answer:
    """Everything that was acknowledged is there in the end."""
    found = _value(aftermath.recovery)
    if isinstance(found, Answer):
        return found
    there = set(_members(found[0]))
    missing: list[Said] = []
    acknowledged = 0
    for one in _acknowledgements(aftermath.said()):
        acknowledged += 1
        if one.text[1:] not in there:
            missing.append(one)
    if not acknowledged:
        return unknown("nothing was acknowledged")
    if not isinstance(found[0], (list, tuple, set, frozenset, dict)):
        return unknown("what recovery returned is no collection of acknowledged values: return them, or give a check")
    if missing:
        words = some((values.render(one.text[1:], 60) for one in missing), len(missing))
        gone = f"{len(missing)} of {acknowledged} acknowledged values are gone: {words}"
        return violated(Damage.LOST, gone, position=missing[0].position)
    return holds()


def no_lost_update(aftermath: Aftermath) -> Answer:
    """What was counted is what was acknowledged, no less and no more."""
    found = _value(aftermath.recovery)
    if isinstance(found, Answer):
        return found
    value = found[0]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _counted(value, aftermath)
    if isinstance(value, (list, tuple)):
        return _listed(value, aftermath)
    return unknown("what recovery returned is neither a number nor a list: return one, or give a check")


def _counted(value: float, aftermath: Aftermath) -> Answer:
    before = _value(aftermath.initial)
    start = before[0] if isinstance(before, tuple) and isinstance(before[0], (int, float)) else 0
    calls = operations_of(one for one in aftermath.said() if one.text[:1] in "()/")
    if any(one.name == "add" for one in calls):
        told = lost_update(calls, value, initial=start)
        return violated(told.damage, told.words) if told else holds()
    acknowledged = sum(1 for _ in _acknowledgements(aftermath.said()))
    if not acknowledged:
        return unknown("no update was acknowledged")
    grown, most = value - start, acknowledged + aftermath.interrupted
    if grown < acknowledged:
        return violated(Damage.LOST, f"it grew by {grown:g}, and {acknowledged} updates were acknowledged")
    if grown > most:
        return violated(Damage.SILENT, f"it grew by {grown:g}, and at most {most} updates were made")
    return holds()


def _listed(value: Iterable[Any], aftermath: Aftermath) -> Answer:
    there = Counter(values.encode(one) for one in value)
    acknowledged = Counter(one.text[1:] for one in _acknowledgements(aftermath.said()))
    if not acknowledged:
        return unknown("nothing was acknowledged")
    twice = [text for text, times in acknowledged.items() if there[text] > times]
    fewer = [text for text, times in acknowledged.items() if there[text] < times]
    if fewer:
        words = some((values.render(text, 60) for text in fewer), len(fewer))
        return violated(
            Damage.LOST, f"there less often than acknowledged: {words}", position=_place(aftermath, fewer[0])
        )
    if twice:
        words = some((values.render(text, 60) for text in twice), len(twice))
        return violated(
            Damage.SILENT, f"there more often than acknowledged: {words}", position=_place(aftermath, twice[0])
        )
    return holds()


def _place(aftermath: Aftermath, text: str) -> int | None:
    return next((one.position for one in _acknowledgements(aftermath.said()) if one.text[1:] == text), None)


def _value(outcome: Outcome | None) -> tuple[Any] | Answer:
    """The recovered value, in a tuple, or why there is none."""
    if outcome is None:
        return unknown("there is no `recover` that says what is there in the end")
    if outcome.ending is not Ending.RETURNED:
        return unknown(_NO_VALUE)
    return (values.decode(outcome.value),)


def _acknowledgements(said: Iterable[Said]) -> Iterator[Said]:
    return (one for one in said if one.text[:1] == "a")


def _members(value: Any) -> Iterator[str]:
    """Everything inside a collection, at any depth, as text; keys as well."""
    inside: Iterable[Any] = ()
    if isinstance(value, dict):
        inside = [*value, *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = value
    for one in inside:
        yield values.encode(one)
        if isinstance(one, str):
            yield one  # JSON makes "1" of the key 1
        else:
            yield from _members(one)
