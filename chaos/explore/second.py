"""Second crashes: from each state that a first crash left, what happens next is recorded, and crashed as well.

The other end of `second_worker.py`: hands out first states as long as the budget lasts and gives back second runs,
in the order of the first states whatever the number of workers. It neither chooses first states nor judges. Read
`chaos/scenario/runner/second.py` for who does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from os import unlink
from types import TracebackType
from typing import Any, NamedTuple, final

from chaos.child.target import Roles
from chaos.explore.crew import Chunk, Crew
from chaos.explore.hiring import Trade
from chaos.explore.messages import outcome_of
from chaos.explore.second_worker import serve
from chaos.explore.server import Job
from chaos.explore.settings import Settings
from chaos.observations import Observation, Outcome
from chaos.trace.file import load
from chaos.trace.model import Ack, Trace
from chaos.trace.overlaps import Beside

__all__ = ["FirstState", "SecondExploration", "SecondRun", "Share"]

_TRADE = Trade("chaos.explore.second_worker", serve)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FirstState:
    """A state that a first crash may leave, from which a second run starts.

    Attributes:
        recipe: the state's, under the first of the models.
        models: numbers of the settings' models that allow it, the weakest first.
        point: its crash point.
        acked: how many of the first run's acknowledgements had been made.
    """

    recipe: str
    models: tuple[int, ...]
    point: int
    acked: int


class Share(NamedTuple):
    """What one second run may take of the budget; None = no limit."""

    states: int | None = None
    duration_s: float | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SecondRun:
    """What follows one first crash.

    Attributes:
        first: where it starts.
        problem: why it could not be recorded; everything below is empty then.
        path: the file with its trace, which has the acknowledgements of both runs; there until the next run is taken.
        exit_code: its end; other than 0 when the workload could not go on.
        operations: how many were recorded.
        acks: those of the first run that had been made, then its own.
        steps: recovery at its start, at each of its own acknowledgements, and at its end.
        settled: recovery once more on what its own recovery left, before the workload went on; None when that wrote
            nothing. A recovery that leaves something to see (a commit, a log entry) may return it from there on.
        observations: recovery on its crash states.
        recovered: for how many of these recovery was run; the others' trees were known from other second runs.
        beside: who worked side by side in it.
        left_out: what was not enumerated, one line each.
        exhaustive: nothing was left out, nor cut by the budget.
    """

    first: FirstState
    problem: str = ""
    path: str = ""
    exit_code: int = 0
    operations: int = 0
    acks: tuple[Ack, ...] = ()
    steps: tuple[Outcome, ...] = ()
    settled: Outcome | None = None
    observations: tuple[Observation, ...] = ()
    recovered: int = 0
    beside: Beside = field(default_factory=Beside)
    left_out: tuple[str, ...] = ()
    exhaustive: bool = True

    def trace(self) -> Trace:
        """The second run's trace.

        Raises:
            UsageError: it is gone, because the worker that had it is.
        """
        return load(self.path)


@final
class SecondExploration:
    """Second runs of one exploration; use it as a context manager.

    Guarantees: on leaving, no process and no folder of it is left, also after Ctrl-C (within two seconds). Threads:
    one thread only.
    """

    def __init__(self, trace: Trace, roles: Roles, settings: Settings) -> None:
        self._settings = replace(settings, ask=replace(settings.ask, second=True))
        self._crew = Crew(Job(trace=trace, roles=roles, settings=self._settings), _TRADE)

    def __enter__(self) -> "SecondExploration":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None
    ) -> None:
        self._crew.close()

    def runs(self, firsts: Sequence[FirstState], share: Callable[[int], Share | None]) -> Iterator[SecondRun]:
        """Second runs, in order.

        Args:
            firsts: where they start, in order.
            share: what the run of first state number so-and-so may take; None when nothing is left, which ends it.

        Raises:
            UsageError: the target can't be imported.
            HarnessFault: a worker failed, or a recording does not lead to the files that the run left.
        """
        self._crew.start()
        for number, (_, answers) in enumerate(self._crew.answered(_chunks(firsts, share))):
            run = self._run(firsts[number], answers[0][0] or {})
            yield run
            if run.path:
                with suppress(OSError):
                    unlink(run.path)

    def _run(self, first: FirstState, answer: dict[str, Any]) -> SecondRun:
        if "states" not in answer:
            lost = "the process that records it was lost"
            return SecondRun(first=first, problem=answer.get("problem") or lost)
        return SecondRun(
            first=first,
            path=answer["trace"],
            exit_code=answer["exit"],
            operations=answer["operations"],
            acks=tuple(Ack(after=after, process=process, value=value) for after, process, value in answer["acks"]),
            steps=tuple(map(outcome_of, answer["steps"])),
            settled=None if answer["settled"] is None else outcome_of(answer["settled"]),
            observations=tuple(self._observation(*state) for state in answer["states"]),
            recovered=answer["ran"],
            beside=Beside(
                writers=answer["writers"],
                overlaps=tuple((after, until) for after, until in answer["overlaps"]),
                halfway=frozenset(answer["halfway"]),
            ),
            left_out=tuple(answer["left_out"]),
            exhaustive=answer["exhaustive"],
        )

    def _observation(self, model: int, recipe: str, point: int, acked: int, found: list[Any]) -> Observation:
        first, again, resumed = found
        return Observation(
            state=recipe,
            model=self._settings.models[model].name,
            point=point,
            acked=acked,
            outcome=outcome_of(first),
            again=None if again is None else outcome_of(again),
            resumed=None if resumed is None else outcome_of(resumed),
        )


def _chunks(firsts: Sequence[FirstState], share: Callable[[int], Share | None]) -> Iterator[Chunk]:
    for number, first in enumerate(firsts):
        part = share(number)
        if part is None:
            return
        wanted = (first.recipe, first.acked, first.models, part.states, part.duration_s)
        yield Chunk(model=first.models[0], wanted=(wanted,), second=True)
