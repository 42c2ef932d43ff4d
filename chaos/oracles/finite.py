"""Oracle `finite`: no NaN and no infinity in what recovery returns, in acknowledged values, or in the files.

A number that undamaged trees hold as well is the program's own doing, and is reported once, on the undamaged tree.
Files are scanned by content, each distinct content once (`FileScan`). Read `contents.py` next.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import final

from chaos.child import values
from chaos.observations import Damage, Ending, Observation, Reference
from chaos.oracles.answer import Answer, Objection, holds, unknown, violated
from chaos.oracles.contents import non_finite_places

__all__ = ["FileScan", "finite", "undamaged_non_finite"]


def finite(observation: Observation, reference: Reference) -> Answer:
    """Judge the recovered value and the values acknowledged by the run that went on."""
    outcome = observation.outcome
    usual = {place for step in reference.steps for place in _places(step.value)}
    later = () if observation.resumed is None else observation.resumed.acks
    usual_acks = {ack.value for ack in reference.acks}
    new = [place for place in _places(outcome.value) if place not in usual]
    if new:
        return violated(Damage.SILENT, f"recovery returned a number that is not finite, at {_some(new)}")
    if any(_places(value) for value in later if value not in usual_acks):
        return violated(Damage.SILENT, "the workload, run on, acknowledged a number that is not finite")
    if outcome.ending is not Ending.RETURNED:
        return unknown("recovery returned no value")
    return holds()


def undamaged_non_finite(reference: Reference) -> tuple[Objection, ...]:
    """Values of undamaged trees, and acknowledged ones, that hold NaN or an infinity."""
    found = [
        Objection(step=step, damage=Damage.SILENT, message=f"the value is not finite at {_some(places)}")
        for step, outcome in enumerate(reference.steps)
        if (places := _places(outcome.value))
    ]
    found += [
        Objection(step=step, damage=Damage.SILENT, message=f"acknowledged a number that is not finite: {ack.value}")
        for step, ack in enumerate(reference.acks, start=1)
        if _places(ack.value)
    ]
    return tuple(sorted(found, key=lambda objection: objection.step))


@final
class FileScan:
    """Scans the files of many trees, each distinct content once; what is kept is a digest a content."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def new_places(self, files: Mapping[str, bytes]) -> tuple[str, ...]:
        """Where files not seen before hold NaN or an infinity, as `path: place`."""
        found = []
        for name in sorted(files):
            if self._is_new(name, files):
                found += [f"{name}: {place}" for place in non_finite_places(name, files)]
        return tuple(found)

    def _is_new(self, name: str, files: Mapping[str, bytes]) -> bool:
        # A database is read together with its journals, and a kind is told by the name: all of it is the key.
        digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16)
        for part in (name, name + "-wal", name + "-journal"):
            digest.update(blake2b(files.get(part, b""), digest_size=16).digest())
        key = digest.digest()
        if key in self._seen:
            return False
        self._seen.add(key)
        return True


def _places(value: str) -> tuple[str, ...]:
    return tuple(str(place) for place in values.non_finite(value)) if value else ()


def _some(places: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return ", ".join(places[:3]) + more
