"""Oracles over how it ended: `recovers`, `check`, `finite`, `terminates`, `clean`, `bounded`. Pure."""

from collections.abc import Mapping

from chaos.child import values
from chaos.observations import Bounds, Damage, Ending, Outcome
from chaos.oracles.answer import Answer, ending_words, holds, unknown, violated
from chaos.oracles.fleets.aftermath import Aftermath, some

__all__ = ["bounded", "check", "clean", "finite", "recovers", "terminates"]


def recovers(aftermath: Aftermath) -> Answer:
    """Recovery returns: no exception, no hang, no exit."""
    outcome = aftermath.recovery
    if outcome is None:
        return unknown("there is no `recover`")
    if outcome.ending is Ending.RETURNED:
        return holds()
    return violated(Damage.CANNOT_START, f"recovery {ending_words(outcome)}")


def check(aftermath: Aftermath) -> Answer:
    """The user's own check accepts the value."""
    outcome = aftermath.recovery
    if outcome is None or outcome.ending is not Ending.RETURNED:
        return unknown("recovery returned no value")
    return violated(Damage.SILENT, outcome.check) if outcome.check else holds()


def finite(aftermath: Aftermath) -> Answer:
    """No NaN and no infinity in what was acknowledged or recovered."""
    for one in aftermath.said():
        if one.text[:1] == "a" and (places := values.non_finite(one.text[1:])):
            return violated(
                Damage.SILENT, f"acknowledged a number that is not finite, at {places[0]}", position=one.position
            )
    value = _returned(aftermath.recovery)
    if value is not None and (places := values.non_finite(value)):
        return violated(Damage.SILENT, f"recovery returned a number that is not finite, at {places[0]}")
    return holds()


def terminates(aftermath: Aftermath) -> Answer:
    """Once the faults are over every worker goes on, and one that should return does."""
    if aftermath.stuck:
        damage = Damage.CANNOT_START if any(aftermath.stuck.values()) else Damage.STUCK
        return violated(damage, f"no progress once the faults were over: {_who(aftermath.stuck)}")
    if aftermath.unfinished:
        return violated(Damage.STUCK, f"did not return: {_who(aftermath.unfinished)}")
    return holds()


def clean(aftermath: Aftermath) -> Answer:
    """No process and no file is left behind that no one will remove."""
    if aftermath.strays:
        return violated(Damage.UNCLEAN, f"processes left behind: {some(aftermath.strays, len(aftermath.strays))}")
    if aftermath.left is None:
        return unknown("workers that are killed in the end may leave files: give `finish` to workers that return")
    if aftermath.left:
        return violated(Damage.UNCLEAN, f"files left behind: {some(aftermath.left, len(aftermath.left))}")
    return holds()


def bounded(aftermath: Aftermath) -> Answer:
    """Memory, disk and recovery time stay within what was given."""
    bounds, outcome = aftermath.bounds, aftermath.recovery
    if bounds == Bounds():
        return unknown("no bound is given")
    peak = max(aftermath.peaks, default=0)
    if bounds.memory_bytes is not None and peak > bounds.memory_bytes:
        return violated(Damage.EXCESS, f"a worker held {peak} bytes of memory, and {bounds.memory_bytes} are allowed")
    longest = max(aftermath.sizes, key=lambda name: aftermath.sizes[name], default="")
    if bounds.file_bytes is not None and aftermath.sizes.get(longest, 0) > bounds.file_bytes:
        much = f"{longest} has {aftermath.sizes[longest]} bytes"
        return violated(Damage.EXCESS, f"{much} in the end, and {bounds.file_bytes} are allowed")
    total = sum(aftermath.sizes.values())
    if bounds.disk_bytes is not None and total > bounds.disk_bytes:
        much = f"{total} bytes of files"
        return violated(Damage.EXCESS, f"{much} are there in the end, and {bounds.disk_bytes} are allowed")
    if bounds.recovery_s is not None:
        if outcome is None:
            return unknown("there is no `recover`")
        if outcome.duration_s > bounds.recovery_s:
            return violated(
                Damage.EXCESS, f"recovery took {outcome.duration_s:.3g} s, and {bounds.recovery_s:g} s are allowed"
            )
    return holds()


def _returned(outcome: Outcome | None) -> str | None:
    return outcome.value if outcome is not None and outcome.ending is Ending.RETURNED else None


def _who(workers: Mapping[int, str]) -> str:
    return some((f"worker {worker}" + (f" ({why})" if why else "") for worker, why in workers.items()), len(workers))
