"""Oracle `clean`: nothing is left behind that no one will remove: temporary files, processes, descriptors, locks.

A file counts as left over when no undamaged tree has its name after recovery. Whether a later run of the workload
removes it is told in the finding, and is no excuse: the program may never run again. Read `finite.py` next.
"""

import re

from chaos.observations import Damage, Observation, Reference
from chaos.oracles.answer import Answer, Objection, holds, legal_steps, unknown, violated

__all__ = ["clean", "undamaged_leftovers"]

_DIGITS = re.compile(r"\d+")


def clean(observation: Observation, reference: Reference) -> Answer:
    """Compare names and leftovers after recovery with those of undamaged trees."""
    outcome, run = observation.outcome, observation.run
    if run is not None and run.leftovers:
        return violated(Damage.UNCLEAN, f"the workload left behind: {_some(run.leftovers)}")
    usual = {_shape(line) for step in legal_steps(observation, reference) for line in step.leftovers}
    if running := [line for line in outcome.leftovers if _shape(line) not in usual]:
        return violated(Damage.UNCLEAN, f"recovery left behind: {_some(running)}")
    if not reference.names and not outcome.names:
        return unknown("the names in the folder were not asked for")
    left = [name for name in outcome.names if name not in reference.names]
    if not left:
        return holds()
    return violated(Damage.UNCLEAN, f"left over after recovery: {_some(left)}")


def undamaged_leftovers(reference: Reference) -> tuple[Objection, ...]:
    """Processes, descriptors and locks that recovery leaves behind on trees that nothing damaged."""
    return tuple(
        Objection(step=step, damage=Damage.UNCLEAN, message=f"recovery left behind: {_some(outcome.leftovers)}")
        for step, outcome in enumerate(reference.steps)
        if outcome.leftovers
    )


def _shape(line: str) -> str:
    """A leftover's line without its numbers: process ids differ from run to run."""
    return _DIGITS.sub("#", line)


def _some(lines: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    return ", ".join(lines[:3]) + more
