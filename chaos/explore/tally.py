"""The books of an exploration: what was run, how it ended, how fast, and what was left out and why."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import final

from chaos.explore.settings import Isolation
from chaos.observations import Ending, Observation

__all__ = ["Progress", "Statistics", "Tally"]


@final
@dataclass(frozen=True, slots=True)
class Progress:
    """How far an exploration is; total and seconds_left are None until they can be told."""

    done: int
    total: int | None
    states_per_s: float
    seconds_left: float | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What an exploration did.

    Attributes:
        states: crash states that have an answer.
        reused: of these, how many got it without running recovery, which could not have told them from others.
        by_model: the same, by model.
        known: states not run again, by model, because an earlier model had the same tree and acknowledgements.
        endings: how the first recoveries ended.
        seconds: from the first state handed out to the last one done.
        states_per_s: over that time.
        isolation: how recoveries were kept apart in fact.
        complete: every enumerated state was run.
        left_out: what a budget cut off, one line for each model.
        untried: models of which the budget left out every state that no earlier model has.
        workers_lost: worker processes that a recovery took down.
    """

    states: int
    reused: int
    by_model: Mapping[str, int]
    known: Mapping[str, int]
    endings: Mapping[Ending, int]
    seconds: float
    states_per_s: float
    isolation: Isolation
    complete: bool
    left_out: tuple[str, ...]
    untried: tuple[str, ...]
    workers_lost: int

    @property
    def hung(self) -> int:
        """Recoveries killed at their deadline."""
        return self.endings.get(Ending.HUNG, 0)

    @property
    def died(self) -> int:
        """Recoveries that a signal or a lack of memory ended."""
        return self.endings.get(Ending.KILLED, 0) + self.endings.get(Ending.MEMORY, 0)


@final
class Tally:
    """Counts while an exploration runs.

    Attributes:
        reused: states answered without running recovery.
    """

    def __init__(self, models: Sequence[str], isolation: Isolation) -> None:
        self._models = models
        self._isolation = isolation
        self._endings: Counter[Ending] = Counter()
        self._by_model: Counter[str] = Counter()
        self.begin()

    def begin(self) -> None:
        """A pass over the states begins: earlier counts are forgotten."""
        self._endings.clear()
        self._by_model.clear()
        self._known: Counter[str] = Counter()
        self.reused = 0
        self._given: Counter[str] = Counter()
        self._left_out: tuple[str, ...] = ()
        self._untried: tuple[str, ...] = ()
        self._complete = False
        self._began = monotonic()
        self._seconds: float | None = None

    @property
    def handed_out(self) -> int:
        """States given to workers."""
        return self._given.total()

    def known(self, model: int) -> None:
        """A state that an earlier model had."""
        self._known[self._models[model]] += 1

    def given(self, model: int, count: int) -> None:
        """States handed out."""
        self._given[self._models[model]] += count

    def count(self, observation: Observation) -> None:
        """A state that was run."""
        self._endings[observation.outcome.ending] += 1
        self._by_model[observation.model] += 1

    def end(self) -> None:
        """The clock stops."""
        self._seconds = monotonic() - self._began

    def leave_out(self, waiting: Mapping[int, int], enumerated: Collection[int]) -> None:
        """States enumerated and not run, by model; of a model that is not in `enumerated` there may be more."""
        lines, untried = [], []
        for number, name in enumerate(self._models):
            missing = waiting.get(number, 0) + self._given[name] - self._by_model[name]
            if not missing and number in enumerated:
                continue
            least = "" if number in enumerated else "at least "
            lines.append(f"{name}: {least}{missing} of {least}{missing + self._by_model[name]} states not run")
            if not self._by_model[name]:
                untried.append(name)
        self._left_out, self._untried = tuple(lines), tuple(untried)
        self._complete = not lines

    def statistics(self, workers_lost: int) -> Statistics:
        """The books as they stand."""
        states = self._by_model.total()
        seconds = monotonic() - self._began if self._seconds is None else self._seconds
        return Statistics(
            states=states,
            reused=self.reused,
            by_model=dict(self._by_model),
            known=dict(self._known),
            endings=dict(self._endings),
            seconds=seconds,
            states_per_s=states / seconds if seconds else 0.0,
            isolation=self._isolation,
            complete=self._complete,
            left_out=self._left_out,
            untried=self._untried,
            workers_lost=workers_lost,
        )
