"""The exploration of one trace: recovery on undamaged trees first, then on every crash state, in order of interest.

It enumerates, hands states to the crew, and turns answers into `Observation`s; it does not judge. The same trace,
roles, settings and seed give the same sequence of observations whatever the number of jobs, unless a time budget
cuts it. Read `server.py` for what happens to one state, `crew.py` for how work is shared.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from time import monotonic
from types import TracebackType
from typing import final

from chaos.child.target import CommandTarget, Roles
from chaos.child.values import opaque
from chaos.disk import CrashState, Description, PersistenceModel, StateSpace
from chaos.disk import Statistics as SpaceStatistics
from chaos.errors import UsageError
from chaos.explore.crew import Chunk, Crew
from chaos.explore.messages import outcome_of
from chaos.explore.server import Answer, Job, can_batch
from chaos.explore.settings import Isolation, Settings, check_settings
from chaos.explore.tally import Progress, Statistics, Tally
from chaos.observations import Observation, Outcome, Reference
from chaos.trace.model import Trace
from chaos.trace.overlaps import halfway, overlaps, writers

__all__ = ["Exploration"]

_CHUNK_S = 0.2  # work handed out at a time: short against a budget, long against what a batch's process costs
_LARGEST_CHUNK = 2048
# At the end chunks get smaller, so that several workers end together: a quarter of a worker's share, and not less than
# an eighth of what they were.
_SHARE, _SMALLEST_PART = 4, 8
_FORESIGHT = 100_000  # states enumerated ahead of the workers while they are busy, so that the total is known early
_AT_A_TIME = 50
_FIRST_TURN = 16  # models take turns, so that a short budget sees something of each: so many states, then twice as many
_COUNT_S = 1.0  # how long a cut run goes on counting what it left out


@final
class Exploration:
    """One exploration; use it as a context manager.

    Guarantees: on leaving, no process and no folder of it is left, also after Ctrl-C (within two seconds).
    On crash: see `Crew`. Threads: one thread only. `observe` may be called while `observations` is under way.
    """

    def __init__(
        self,
        trace: Trace,
        roles: Roles,
        settings: Settings,
        listener: Callable[[Progress], None] | None = None,
        source: Callable[[StateSpace], Iterator[CrashState]] = StateSpace.states,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            trace: the recorded run.
            roles: what to run on the states.
            settings: how.
            listener: called as states are done.
            source: what gives the states of a model, in order of interest.

        Raises:
            UsageError: the settings can't be carried out.
        """
        check_settings(settings, roles)
        self._trace, self._roles, self._settings, self._listener = trace, roles, settings, listener
        self._crew = Crew(Job(trace=trace, roles=roles, settings=settings))
        self._spaces = [StateSpace(trace, model, bound=settings.bound, seed=settings.seed) for model in settings.models]
        self._source = source
        self._tally = Tally([model.name for model in settings.models], self._isolation())
        self._reference: Reference | None = None

    def __enter__(self) -> "Exploration":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers; anything asked afterwards starts new ones."""
        self._crew.close()

    @property
    def reference(self) -> Reference:
        """Recovery on the undamaged trees at the start, at each acknowledgement, and at the end, or what is given.

        Raises:
            UsageError: the target can't be imported.
            HarnessFault: a worker failed.
        """
        if self._reference is None:
            self._reference = self._known_reference() or self._make_reference()
        return self._reference

    def observations(self) -> Iterator[Observation]:
        """What recovery does on every crash state of every model, in order of interest, as far as the budget goes.

        Raises:
            UsageError: the target can't be imported.
            HarnessFault: a worker failed.
        """
        self._crew.start()  # before the clock of the budget does
        run = _Run(self._spaces, self._settings, self._tally, self._source)
        try:
            for chunk, answers in self._crew.answered(run.chunks(), run.look_ahead):
                run.learn(chunk)
                self._tally.reused += chunk.reused
                for state, answer in zip(run.taken(len(answers)), answers, strict=True):
                    assert chunk.model is not None
                    yield self._observed(state, self._settings.models[chunk.model], answer)
                if self._listener is not None:
                    self._listener(run.progress())
        finally:
            run.end()

    def observe(self, recipe: str, model: PersistenceModel) -> Observation:
        """Recovery on one state; for shrinking and replay, and not counted.

        Args:
            recipe: the state's.
            model: one of the settings' models.

        Raises:
            UsageError: the model is not among the settings, the recipe is not of this trace, or the target can't be
                imported.
            HarnessFault: a worker failed.
        """
        number = self._number_of(model)
        told = self._spaces[number].describe(recipe)
        chunk = Chunk(model=number, wanted=((recipe, told.acked),))
        ((_, (answer,)),) = self._crew.answered(iter([chunk]))
        return self._told(_observation(recipe, told, model, answer), model)

    def observe_attributes(self) -> Outcome:
        """Recovery on what the run left, with the extended attributes that its files had.

        Raises:
            UsageError: the target can't be imported.
            HarnessFault: a worker failed.
        """
        chunk = Chunk(model=None, wanted=((len(self._trace.ops), len(self._trace.acks), True),))
        ((_, (answer,)),) = self._crew.answered(iter([chunk]))
        return _outcome(answer[0])

    def observe_left(self, folder: str, acks: Sequence[str]) -> tuple[Outcome, Outcome | None, Outcome | None]:
        """Recovery on what some run of the workload left, again where that failed, and the workload run on when asked.

        Args:
            folder: what it left; it stays as it is.
            acks: what that run acknowledged, as canonical texts.

        Raises:
            UsageError: the target can't be imported.
            HarnessFault: a worker failed.
        """
        chunk = Chunk(model=None, wanted=((folder, list(acks)),), left=True)
        ((_, (answer,)),) = self._crew.answered(iter([chunk]))
        first, again, resumed = answer
        return (
            _outcome(first),
            None if again is None else outcome_of(again),
            None if resumed is None else outcome_of(resumed),
        )

    def statistics(self) -> Statistics:
        """What was done so far, and what was left out."""
        return self._tally.statistics(self._crew.replaced)

    def enumerations(self) -> tuple[SpaceStatistics, ...]:
        """How much of each model's states was enumerated so far, in the order of the models."""
        return tuple(space.statistics() for space in self._spaces)

    def _observed(self, state: CrashState, model: PersistenceModel, answer: list[Answer | None]) -> Observation:
        observation = self._told(_observation(state.recipe, state, model, answer), model)
        self._tally.count(observation)
        return observation

    def _told(self, observation: Observation, model: PersistenceModel) -> Observation:
        """With the operations that are damaged, where oracles need to know them."""
        given = self._settings.against
        if given is None or not given.diverged:
            return observation
        told = self._spaces[self._number_of(model)].describe(observation.state)
        return replace(observation, damaged=tuple(one.seq for one in told.damage))

    def _number_of(self, model: PersistenceModel) -> int:
        with suppress(ValueError):
            return self._settings.models.index(model)
        names = ", ".join(known.name for known in self._settings.models)
        raise UsageError(f"model {model.name} is not among those explored: {names}")

    def _isolation(self) -> Isolation:
        if isinstance(self._roles.recover, CommandTarget):
            return Isolation.COMMAND
        return self._settings.isolation if can_batch(self._roles, self._settings) else Isolation.FORK

    def _known_reference(self) -> Reference | None:
        """What is given; a run that went another way has undamaged steps of its own besides."""
        given = self._settings.against
        return replace(given, own=self._make_reference()) if given is not None and given.diverged else given

    def _make_reference(self) -> Reference:
        acks, last = self._trace.acks, len(self._trace.ops)
        wanted = [(0, 0), *((ack.after, number) for number, ack in enumerate(acks, start=1)), (last, len(acks))]
        # Once more at the end: two recoveries of one tree that differ make values useless for comparison.
        chunks = (Chunk(model=None, wanted=(one,)) for one in [*wanted, wanted[-1]])
        steps = [_outcome(answers[0][0]) for _, answers in self._crew.answered(chunks)]
        twin = steps.pop()
        return Reference(
            steps=tuple(steps),
            acks=acks,
            writers=writers(self._trace),
            names=frozenset(name for step in steps for name in step.names),
            checked=self._roles.check is not None,
            overlaps=overlaps(self._trace),
            halfway=halfway(self._trace),
            bounds=self._settings.allowed,
            vague=_vague([*steps, twin]),
        )


@final
class _Run:
    """One pass over the states: enumeration ahead of the workers, chunks cut from it, the budget."""

    def __init__(
        self,
        spaces: list[StateSpace],
        settings: Settings,
        tally: Tally,
        source: Callable[[StateSpace], Iterator[CrashState]],
    ) -> None:
        self._settings, self._tally = settings, tally
        self._began = monotonic()
        self._ahead: deque[tuple[int, CrashState]] = deque()
        self._given: deque[CrashState] = deque()
        self._exhausted = False
        self._enumerated: set[int] = set()  # the models of which there are no more states
        self._size = 1
        self._done = 0
        self._source = self._enumerate(spaces, source)
        tally.begin()

    def chunks(self) -> Iterator[Chunk]:
        """Work as long as there is any and the budget lasts."""
        while self._within_budget() and (self._ahead or self._advance(1)):
            model = self._ahead[0][0]
            states: list[CrashState] = []
            room = self._room()
            while len(states) < room and (self._ahead or self._advance(_AT_A_TIME)):
                if self._ahead[0][0] != model:
                    break
                states.append(self._ahead.popleft()[1])
            self._given.extend(states)
            self._tally.given(model, len(states))
            yield Chunk(model=model, wanted=tuple((state.recipe, state.acked) for state in states))

    def look_ahead(self) -> bool:
        """Enumerate a little more; False when there is no more, or enough."""
        return len(self._ahead) < _FORESIGHT and self._advance(_AT_A_TIME)

    def taken(self, count: int) -> list[CrashState]:
        """The oldest states given out."""
        return [self._given.popleft() for _ in range(count)]

    def learn(self, chunk: Chunk) -> None:
        """Fit the size of chunks to how long one took."""
        self._done += len(chunk.wanted)
        if chunk.seconds > 0:
            fitting = int(_CHUNK_S * len(chunk.wanted) / chunk.seconds)
            self._size = max(1, min(fitting, 2 * self._size, _LARGEST_CHUNK))

    def progress(self) -> Progress:
        """How far the run is."""
        spent = monotonic() - self._began
        rate = self._done / spent if spent else 0.0
        total = self._total()
        left = None if total is None or not rate else (total - self._done) / rate
        if self._settings.budget_s is not None:
            left = min(self._settings.budget_s - spent if left is None else left, self._settings.budget_s - spent)
        return Progress(self._done, total, rate, None if left is None else max(0.0, left))

    def end(self) -> None:
        """Close the books: count what was left out, as far as that is quickly done."""
        self._tally.end()
        give_up = monotonic() + _COUNT_S
        while monotonic() < give_up and self._advance(_AT_A_TIME):
            pass
        self._tally.leave_out(Counter(model for model, _ in self._ahead), self._enumerated)

    def _enumerate(
        self, spaces: list[StateSpace], source: Callable[[StateSpace], Iterator[CrashState]]
    ) -> Iterator[tuple[int, CrashState]]:
        seen: set[tuple[bytes, int]] = set()
        waiting = {number: source(space) for number, space in enumerate(spaces)}
        turn, found = _FIRST_TURN, 0
        while waiting:
            share = self._share(turn, found, len(waiting))
            for number, states in list(waiting.items()):
                new = islice(self._new(number, states, seen), share)
                before = found
                for state in new:
                    found += 1
                    yield number, state
                if found < before + share:
                    self._enumerated.add(number)
                    del waiting[number]
            turn *= 2

    def _new(self, number: int, states: Iterator[CrashState], seen: set[tuple[bytes, int]]) -> Iterator[CrashState]:
        """States of a model that no other had before; those that one had take no part of a turn."""
        for state in states:
            key = (state.digest, state.acked)
            if key in seen:
                self._tally.known(number)
                continue
            seen.add(key)
            yield state

    def _share(self, turn: int, found: int, models: int) -> int:
        """How many states each model gives next: of what is left of a budget no model takes more than another."""
        budget = self._settings.budget_states
        return turn if budget is None or budget <= found else max(1, min(turn, (budget - found) // models))

    def _advance(self, count: int) -> bool:
        before = len(self._ahead)
        for _, item in zip(range(count), self._source, strict=False):
            self._ahead.append(item)
        self._exhausted = self._exhausted or len(self._ahead) < before + count
        return len(self._ahead) > before

    def _within_budget(self) -> bool:
        settings = self._settings
        spent = settings.budget_s is not None and monotonic() - self._began >= settings.budget_s
        return not spent and self._room() > 0

    def _room(self) -> int:
        size = self._size
        if self._exhausted and self._settings.jobs > 1:
            share = len(self._ahead) // (_SHARE * self._settings.jobs)
            size = max(1, min(size, share), size // _SMALLEST_PART)
        if self._settings.budget_states is None:
            return size
        return min(size, self._settings.budget_states - self._tally.handed_out)

    def _total(self) -> int | None:
        if not self._exhausted:
            return None
        found = self._tally.handed_out + len(self._ahead)
        return found if self._settings.budget_states is None else min(found, self._settings.budget_states)


def _vague(steps: Sequence[Outcome]) -> str:
    """Why values can't be compared, given the outcomes on undamaged trees, the last two of which are of one tree."""
    if (steps[-1].ending, steps[-1].value) != (steps[-2].ending, steps[-2].value):
        return "two recoveries of one undamaged tree returned different values"
    kind = next(filter(None, (opaque(step.value) for step in steps)), "")
    return f"recovery returned a {kind}, which shows nothing of its state: return plain values" if kind else ""


def _outcome(answer: Answer | None) -> Outcome:
    assert answer is not None
    return outcome_of(answer)


def _observation(
    recipe: str, state: CrashState | Description, model: PersistenceModel, answer: list[Answer | None]
) -> Observation:
    first, again, resumed = answer
    return Observation(
        state=recipe,
        model=model.name,
        point=state.point,
        acked=state.acked,
        outcome=_outcome(first),
        again=None if again is None else outcome_of(again),
        resumed=None if resumed is None else outcome_of(resumed),
    )
