"""Holds the models against real file systems: every state that a real power cut leaves must be in the model's set.

A miss means that a rule of the table promises more than the file system keeps; it is shown as the smallest workload
that still shows it. The opposite (the model allows what this kernel never does) is no error: a promise nobody made may
be kept by chance. Read `models.py` for the rules themselves.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import final

from chaos.disk.models import PersistenceModel
from chaos.disk.real import real_states
from chaos.disk.space import StateSpace
from chaos.disk.tree import Tree
from chaos.disk.workloads import minimise, random_workload
from chaos.trace.model import Trace

__all__ = ["Miss", "validate"]

# Mounting and copying dominate; a namespace and an mkfs are shared by this many workloads.
_BATCH = 25


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A real state that the model does not allow.

    Attributes:
        filesystem: which one left it.
        model: which model forbids it.
        trace: the smallest workload found that shows it.
        point: after how many of its operations the power was cut.
        tree: what was found.
    """

    filesystem: str
    model: str
    trace: Trace
    point: int
    tree: Tree


def validate(
    filesystem: str,
    model: PersistenceModel,
    *,
    count: int = 300,
    length: int = 10,
    seed: int = 0,
    commit: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Miss | None:
    """Run `count` random workloads on real images of `filesystem`; the first state outside `model`, made small.

    Raises:
        NotMeasured: this machine can't mount that file system.
    """
    traces = (random_workload(seed + number, length) for number in range(count))
    done = 0
    for batch in _batches(traces):
        for trace, states in zip(batch, real_states(batch, filesystem, commit=commit), strict=True):
            if _outside(trace, states, model) is not None:
                return _smallest(trace, filesystem, model, commit=commit)
            done += 1
            progress(done)
    return None


def _batches(traces: Iterator[Trace]) -> Iterator[list[Trace]]:
    while batch := list(islice(traces, _BATCH)):
        yield batch


def _outside(trace: Trace, states: list[Tree], model: PersistenceModel) -> int | None:
    space = StateSpace(trace, model)
    for index, tree in enumerate(states):
        if not space.contains(min(index, len(trace.ops)), tree):
            return index
    return None


def _smallest(trace: Trace, filesystem: str, model: PersistenceModel, *, commit: bool) -> Miss:
    def fails(candidate: Trace) -> bool:
        return _outside(candidate, real_states([candidate], filesystem, commit=commit)[0], model) is not None

    small = minimise(trace, fails)
    states = real_states([small], filesystem, commit=commit)[0]
    index = _outside(small, states, model)
    if index is None:  # it showed once and not again: report what was seen first
        small, states = trace, real_states([trace], filesystem, commit=commit)[0]
        index = _outside(trace, states, model) or 0
    return Miss(
        filesystem=filesystem,
        model=model.name,
        trace=small,
        point=min(index, len(small.ops)),
        tree=states[index],
    )
