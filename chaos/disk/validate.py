"""Holds the models against real file systems: every state that a real power cut leaves must be in the model's set.

A *miss*, a real state that the model forbids, means that a rule promises more than the file system keeps; it is shown
as the smallest workload found. The other way round each rule that promises little is *shown* by a real state that
the stronger rule would forbid; one that is never shown may be weaker than need be, which is no error (a promise that
nobody made may be kept by chance), and is told. `UNSHOWABLE` has the rules that images copied between calls can't show.
Read `models.py` for the rules themselves.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import Final, final

from chaos.disk.models import RULES, PersistenceModel
from chaos.disk.real import real_states
from chaos.disk.space import StateSpace
from chaos.disk.tree import Tree
from chaos.disk.workloads import Workload, minimise, random_workload

__all__ = ["BACKGROUND_S", "UNSHOWABLE", "Judge", "Miss", "Validation", "first_outside", "stronger", "validate"]

UNSHOWABLE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "failed_sync_drops_pages": "needs a device that fails",
        "overwrite_unit_bytes": "images are copied between calls, never in the middle of a page",
    }
)
# Mounting and copying dominate; a namespace and an mkfs are shared by this many workloads, all mounted at once where
# the background commit is waited for.
_BATCH = 100
# Dirty pages expire after 30 s and the flusher looks every 5 s; xfs pushes its log every 30 s: the kernel's defaults.
BACKGROUND_S: Final = 36.0
_WEAKER_FIRST: Final[Mapping[str, tuple[object, ...]]] = MappingProxyType(
    {
        "early_size": ("garbage", "zeroes", "in_block", "no"),
        "overwrite_unit_bytes": (512, 1024, 2048, 4096),
        "failed_sync_drops_pages": (True, False),
    }
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A real state that the model does not allow.

    Attributes:
        workload: the smallest found that shows it.
        point: after how many of its operations the power was cut.
        tree: what was found.
    """

    workload: Workload
    point: int
    tree: Tree


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What came of holding one model against one file system.

    Attributes:
        filesystem: which one.
        model: which model.
        workloads: how many were run.
        states: real states that were held against the model.
        misses: how many of the workloads left a state that the model forbids.
        smallest: one of these, made small; None where there is none.
        shown: rule that promises little -> in how many workloads a real state needs it to.
        unshown: such rules that no real state needed, but for those of `UNSHOWABLE`.
    """

    filesystem: str
    model: str
    workloads: int
    states: int
    misses: int
    smallest: Miss | None
    shown: Mapping[str, int]
    unshown: tuple[str, ...]


def stronger(model: PersistenceModel) -> dict[str, PersistenceModel]:
    """For each rule that could promise more: the model in which it does, by one degree."""
    found = {}
    for rule in RULES:
        values = _WEAKER_FIRST.get(rule, (False, True))
        place = values.index(getattr(model, rule))
        if place + 1 < len(values):
            found[rule] = replace(model, **{rule: values[place + 1]})  # type: ignore[arg-type]
    return found


@final
class Judge:
    """Holds real states against one model, and against those that differ from it by one stronger rule."""

    def __init__(self, model: PersistenceModel) -> None:
        self._model = model
        self._stronger = stronger(model)
        self.workloads = self.states = 0
        self.missed: list[Workload] = []
        self.shown: Counter[str] = Counter()

    def take(self, workload: Workload, states: Sequence[Tree]) -> None:
        """One workload and what was found after each of its operations."""
        self.workloads += 1
        self.states += len(states)
        if first_outside(workload, states, self._model) is not None:
            self.missed.append(workload)
            return
        for rule, model in self._stronger.items():
            if rule not in UNSHOWABLE and first_outside(workload, states, model) is not None:
                self.shown[rule] += 1

    @property
    def unshown(self) -> tuple[str, ...]:
        """Rules that promise little, and no real state needed them to."""
        return tuple(rule for rule in self._stronger if rule not in self.shown and rule not in UNSHOWABLE)


def validate(
    filesystem: str,
    model: PersistenceModel,
    *,
    count: int = 300,
    length: int = 10,
    seed: int = 0,
    wait_s: float = 0.0,
    progress: Callable[[int], None] = lambda _: None,
) -> Validation:
    """Run `count` random workloads on real images of `filesystem` and hold what they leave against `model`.

    Args:
        filesystem: one of `real.FILESYSTEMS`.
        model: the rules.
        count: how many workloads.
        length: operations in each, at most.
        seed: of the first; the others count up from it.
        wait_s: also look so long after the last operation, when the kernel has written back by itself.
        progress: told how many workloads are done.

    Raises:
        NotMeasured: this machine can't mount that file system.
    """
    judge = Judge(model)
    for batch in _batches(random_workload(seed + number, length) for number in range(count)):
        for workload, states in zip(batch, real_states(batch, filesystem, wait_s=wait_s), strict=True):
            judge.take(workload, states)
            progress(judge.workloads)
    return Validation(
        filesystem=filesystem,
        model=model.name,
        workloads=judge.workloads,
        states=judge.states,
        misses=len(judge.missed),
        smallest=_smallest(judge.missed[0], filesystem, model, wait_s) if judge.missed else None,
        shown=dict(judge.shown),
        unshown=judge.unshown,
    )


def first_outside(workload: Workload, states: Sequence[Tree], model: PersistenceModel) -> int | None:
    """The first of the states that the model does not allow; item i was found after i operations."""
    space = StateSpace(workload.trace, model)
    last = len(workload.trace.ops)
    return next((index for index, tree in enumerate(states) if not space.contains(min(index, last), tree)), None)


def _batches(workloads: Iterator[Workload]) -> Iterator[list[Workload]]:
    while batch := list(islice(workloads, _BATCH)):
        yield batch


def _smallest(workload: Workload, filesystem: str, model: PersistenceModel, wait_s: float) -> Miss:
    def judged(candidate: Workload) -> tuple[int | None, list[Tree]]:
        states = real_states([candidate], filesystem, wait_s=wait_s)[0]
        return first_outside(candidate, states, model), states

    # Waiting again for each smaller one would take minutes; most misses show without.
    if wait_s:
        wait_s, waited = 0.0, wait_s
        if judged(workload)[0] is None:
            wait_s = waited
    small = workload if wait_s else minimise(workload, lambda candidate: judged(candidate)[0] is not None)
    index, states = judged(small)
    if index is None:  # it showed once and not again
        index = len(states) - 1
    return Miss(workload=small, point=min(index, len(small.trace.ops)), tree=states[index])
