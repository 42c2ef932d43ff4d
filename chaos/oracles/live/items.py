"""Oracles over what was acknowledged and what is there: `durable` and `no_lost_update`. Pure.

`durable` wants every acknowledged value among the recovered ones. `no_lost_update` counts: a number must have grown by
as much as was acknowledged, and in a list no acknowledged value may stand twice. An update that was under way when its
process died may have happened or not; each ended life is granted one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from chaos.child import values
from chaos.history import Answer, Operation, Said, operations_of
from chaos.observations import Damage, Ending, Outcome
from chaos.oracles.live.aftermath import Aftermath, LiveAnswer, holds, some, unknown, violated

__all__ = ["durable", "no_lost_update"]

_NO_VALUE = "recovery returned no value"


def durable(aftermath: Aftermath) -> LiveAnswer:
    """Everything that was acknowledged is there in the end."""
    found = _value(aftermath.recovery)
    if isinstance(found, LiveAnswer):
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
        return violated(Damage.LOST, gone, (one.position for one in missing[:3]))
    return holds()


def no_lost_update(aftermath: Aftermath) -> LiveAnswer:
    """What was counted is what was acknowledged, no less and no more."""
    found = _value(aftermath.recovery)
    if isinstance(found, LiveAnswer):
        return found
    value = found[0]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _counted(value, aftermath)
    if isinstance(value, (list, tuple)):
        return _listed(value, aftermath)
    return unknown("what recovery returned is neither a number nor a list: return one, or give a check")


def _counted(value: float, aftermath: Aftermath) -> LiveAnswer:
    before = _value(aftermath.initial)
    start = before[0] if isinstance(before, tuple) and isinstance(before[0], (int, float)) else 0
    adds = [one for one in operations_of(_calls(aftermath.said())) if one.name == "add"]
    least, most = _sums(adds) if adds else _acknowledged(aftermath)
    if not most:
        return unknown("no update was made")
    grown = value - start
    if grown < least:
        return violated(Damage.LOST, f"it grew by {grown:g}, and {least:g} were acknowledged: {least - grown:g} lost")
    if grown > most:
        return violated(Damage.SILENT, f"it grew by {grown:g}, and at most {most:g} were added: {grown - most:g} too many")
    return holds()


def _sums(adds: Iterable[Operation]) -> tuple[float, float]:
    sure = unsure_less = unsure_more = 0.0
    for one in adds:
        if one.answer is Answer.OK:
            sure += one.argument
        elif one.answer is Answer.UNKNOWN:
            unsure_less += min(0, one.argument)
            unsure_more += max(0, one.argument)
    return sure + unsure_less, sure + unsure_more


def _acknowledged(aftermath: Aftermath) -> tuple[float, float]:
    acknowledged = sum(1 for _ in _acknowledgements(aftermath.said()))
    return acknowledged, acknowledged + aftermath.interrupted if acknowledged else 0


def _listed(value: Iterable[Any], aftermath: Aftermath) -> LiveAnswer:
    there = Counter(values.encode(one) for one in value)
    acknowledged = Counter(one.text[1:] for one in _acknowledgements(aftermath.said()))
    if not acknowledged:
        return unknown("nothing was acknowledged")
    twice = [text for text, times in acknowledged.items() if there[text] > times]
    fewer = [text for text, times in acknowledged.items() if there[text] < times]
    if fewer:
        words = some((values.render(text, 60) for text in fewer), len(fewer))
        return violated(Damage.LOST, f"there less often than acknowledged: {words}", _places(aftermath, set(fewer[:3])))
    if twice:
        words = some((values.render(text, 60) for text in twice), len(twice))
        return violated(Damage.SILENT, f"there more often than acknowledged: {words}", _places(aftermath, set(twice[:3])))
    return holds()


def _places(aftermath: Aftermath, texts: set[str]) -> Iterator[int]:
    return (one.position for one in _acknowledgements(aftermath.said()) if one.text[1:] in texts)


def _value(outcome: Outcome | None) -> tuple[Any] | LiveAnswer:
    """The recovered value, in a tuple, or why there is none."""
    if outcome is None:
        return unknown("there is no `recover` that says what is there in the end")
    if outcome.ending is not Ending.RETURNED:
        return unknown(_NO_VALUE)
    return (values.decode(outcome.value),)


def _acknowledgements(said: Iterable[Said]) -> Iterator[Said]:
    return (one for one in said if one.text[:1] == "a")


def _calls(said: Iterable[Said]) -> Iterator[Said]:
    return (one for one in said if one.text[:1] in "()x")


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
