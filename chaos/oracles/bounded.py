"""Oracle `bounded`: memory, files and recovery time stay within the bounds that the user gives.

Memory is what recovery takes beyond what its process began with, as the kernel counts it; a file's size is the longest
that is left. Bounds on time are for what is much slower than it should be (a log that is read again from its start),
for machines differ. Read `clean.py` next.
"""

from chaos.observations import Bounds, Damage, Observation, Outcome, Reference
from chaos.oracles.answer import Answer, Objection, holds, unknown, violated

__all__ = ["bounded", "undamaged_excess"]


def bounded(observation: Observation, reference: Reference) -> Answer:
    """Compare what the runs took with what they may take."""
    bounds = reference.bounds
    if bounds == Bounds(rounds=bounds.rounds):
        return unknown("no bound is given")
    over = [*_over("recovery", observation.outcome, bounds)]
    if observation.run is not None:
        over += _over("the workload", observation.run, Bounds(file_bytes=bounds.file_bytes))
    return violated(Damage.EXCESS, "; ".join(over)) if over else holds()


def undamaged_excess(reference: Reference) -> tuple[Objection, ...]:
    """Steps of a run that nothing hurt, after which recovery takes too much."""
    found = []
    for step, outcome in enumerate(reference.steps):
        if over := _over("recovery", outcome, reference.bounds):
            found.append(Objection(step=step, damage=Damage.EXCESS, message="; ".join(over)))
    return tuple(found)


def _over(who: str, outcome: Outcome, bounds: Bounds) -> list[str]:
    found = []
    if bounds.memory_bytes is not None and outcome.memory_bytes > bounds.memory_bytes:
        found.append(f"{who} took {_size(outcome.memory_bytes)} of memory, above its {_size(bounds.memory_bytes)}")
    if bounds.file_bytes is not None and outcome.file_bytes > bounds.file_bytes:
        found.append(f"{who} left a file of {_size(outcome.file_bytes)}, above its {_size(bounds.file_bytes)}")
    if bounds.recovery_s is not None and outcome.duration_s > bounds.recovery_s:
        found.append(f"{who} took {outcome.duration_s:.3g} s, above its {bounds.recovery_s:g} s")
    return found


def _size(size_bytes: int) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size_bytes >= 1 << power:
            return f"{size_bytes / (1 << power):.4g} {unit}"
    return f"{size_bytes} bytes"
