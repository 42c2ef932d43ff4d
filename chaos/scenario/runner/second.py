"""The second crash: what follows each first one is recorded, crashed and judged, by what both runs acknowledged.

The oracles judge a second run as they judge a first, against a reference of its own: what recovery returned after
the first crash must survive until the run makes another step, what either run acknowledged counts. Findings of one
cause are told once, with the simplest first crash; what one crash alone shows is not told again. Read
`chaos/explore/second.py` for how second runs are made, `course.py` for who asks.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import final

from chaos.child.target import Roles
from chaos.errors import UsageError
from chaos.explore.second import FirstState, SecondExploration, SecondRun, Share
from chaos.explore.settings import Settings
from chaos.explore.tally import Progress
from chaos.observations import Ending, Finding, Observation, Outcome, Reference, Violation
from chaos.oracles import Panel, joined, judge
from chaos.report import DepthCount, Findings, News, Statistics
from chaos.report.blame import blamed
from chaos.report.second_crash import FirstCrash, told_with_first
from chaos.report.timeline import timeline
from chaos.scenario.runner.exploring import Explored, ask_for, describer
from chaos.scenario.runner.first_states import FirstStates, Judged
from chaos.scenario.watching import Listener
from chaos.trace.model import Ack, Trace
from chaos.trace.overlaps import Beside

__all__ = ["Evidence", "Second", "Subject", "crash_again", "first_budget", "second_reference"]

_LEAST_STATES = 20  # of a second run, so that a small budget goes to few whole ones and not to a shred of each
_LEAST_S = 0.25


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is crashed again.

    Attributes:
        scenario: its name.
        trace: the first run.
        roles: the target.
        settings: those of the first crash, with the budget for both.
        oracles: what must hold.
    """

    scenario: str
    trace: Trace
    roles: Roles
    settings: Settings
    oracles: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a finding's replay needs: the state of the first crash, the second run, and its crash state."""

    finding: Finding
    first: FirstState
    first_model: str
    trace: Trace
    recipe: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """What the second crash added; `explored` is the whole, both crashes together."""

    explored: Explored
    evidence: tuple[Evidence, ...]
    unmeasured: tuple[str, ...]


def first_budget(settings: Settings) -> Settings:
    """The settings for the first crash, which gets half of what there is for both."""
    return replace(
        settings,
        budget_s=None if settings.budget_s is None else settings.budget_s / 2,
        budget_states=None if settings.budget_states is None else max(1, settings.budget_states // 2),
    )


def second_reference(
    first: Reference, acked: int, acks: Sequence[Ack], steps: Sequence[Outcome], beside: Beside
) -> Reference:
    """What a second run is judged against.

    Args:
        first: of the first run.
        acked: how many of its acknowledgements had been made at the first crash.
        acks: these, then those of the second run.
        steps: recovery at the start of the second run, at each of its own acknowledgements, and at its end.
        beside: who worked side by side in the second run.
    """
    return replace(
        first,
        steps=(*first.steps[:acked], *steps),
        acks=tuple(acks),
        writers=max(first.writers, beside.writers),
        names=first.names | {name for step in steps for name in step.names},
        overlaps=beside.overlaps,
        halfway=beside.halfway | {step for step in first.halfway if step < acked},
        before=acked,
        first=first,
    )


def crash_again(
    subject: Subject, explored: Explored, judged: Judged, listener: Listener, cause: Callable[[News], None]
) -> Second:
    """Crash what follows each first crash.

    Args:
        subject: what is crashed.
        explored: what one crash showed.
        judged: which of its states were right.
        listener: told of progress and of new causes.
        cause: told of new causes first, to keep them.

    Raises:
        UsageError: a target can't be imported.
        HarnessFault: a worker failed, or a recording does not lead to the files that the run left.
    """
    starts = judged.first_states(subject.trace, subject.settings)
    settings = replace(subject.settings, ask=ask_for(subject.oracles))
    subject = replace(subject, settings=settings)
    books = _Books(subject, explored, starts)
    purse = _Purse(settings, explored.statistics, len(starts.states))
    interrupted = False
    try:
        with SecondExploration(subject.trace, subject.roles, settings) as exploration:
            for run in exploration.runs(starts.states, purse.share) if starts.states else ():
                for news in books.add(run):
                    cause(news)
                    listener.found(news)
                listener.advanced(purse.progress(books.states))
    except KeyboardInterrupt:
        interrupted = True
    return books.finish(interrupted=interrupted, duration_s=purse.spent_s)


@final
class _Purse:
    """What is left of the budget, and how it is shared."""

    def __init__(self, settings: Settings, spent: Statistics, starts: int) -> None:
        self._began = monotonic()
        self._starts, self._jobs = starts, settings.jobs
        self._states = None if settings.budget_states is None else max(0, settings.budget_states - spent.states)
        self._limit_s = None if settings.budget_s is None else max(0.0, settings.budget_s - spent.explore_s)

    @property
    def spent_s(self) -> float:
        """Since the beginning."""
        return monotonic() - self._began

    def share(self, number: int) -> Share | None:
        """What second run number so-and-so may take; None when nothing is left."""
        most_states = most_s = None
        if self._states is not None:
            each = max(_LEAST_STATES, self._states // self._starts)
            most_states = min(each, self._states - number * each)
            if most_states <= 0:
                return None
        if self._limit_s is not None:
            left_s = self._limit_s - self.spent_s
            if left_s <= 0:
                return None
            most_s = max(_LEAST_S, left_s * self._jobs / (self._starts - number))
        return Share(most_states, most_s)

    def progress(self, states: int) -> Progress:
        """How far it is, in states; how many there will be nobody knows."""
        left_s = None if self._limit_s is None else max(0.0, self._limit_s - self.spent_s)
        return Progress(states, None, states / self.spent_s if self.spent_s else 0.0, left_s)


@final
@dataclass(slots=True)
class _Case:
    """One cause, with the simplest two crashes that show it."""

    rank: tuple[int, ...]
    run: SecondRun
    trace: Trace
    finding: Finding
    states: int


@final
class _Books:
    """Judges second runs one after the other, and keeps counts and the simplest case of each cause."""

    def __init__(self, subject: Subject, explored: Explored, starts: FirstStates) -> None:
        self._subject, self._explored, self._starts = subject, explored, starts
        self._names = [model.name for model in subject.settings.models]
        self._describe = describer(subject.trace, subject.settings)
        # Objections to undamaged trees of the first run are told already.
        first = Panel(explored.reference, subject.oracles, operations=len(subject.trace.ops))
        self._told = {violation.oracle for violation in first.judge_reference()}
        self._verdicts = {one.oracle: one for one in explored.verdicts}
        self._cases: dict[str, _Case] = {}
        self._known = {finding.id for finding in explored.findings}
        self._by_model: Counter[str] = Counter()
        self._endings: Counter[Ending] = Counter()
        self._problems: Counter[str] = Counter()
        self._left_out: dict[str, None] = {}
        self._runs = self._recovered = self._stopped = self._cut = self.states = 0

    def add(self, run: SecondRun) -> Iterator[News]:
        """Count and judge a second run; the causes not seen before come back."""
        if run.problem:
            self._problems[run.problem] += 1
            return
        self._runs += 1
        self.states += len(run.observations)
        self._recovered += run.recovered
        self._stopped += run.exit_code != 0
        self._cut += not run.exhaustive
        self._left_out.update(dict.fromkeys(run.left_out))
        for observation in run.observations:
            self._by_model[observation.model] += 1
            self._endings[observation.outcome.ending] += 1
        yield from self._judge(run)

    def finish(self, *, interrupted: bool, duration_s: float) -> Second:
        """The whole: both crashes together."""
        evidence = self._evidence()
        explored = self._explored
        findings = (*explored.findings, *(one.finding for one in evidence))
        whole = replace(
            explored,
            findings=findings,
            verdicts=tuple(self._verdicts[one.oracle] for one in explored.verdicts),
            statistics=self._statistics(explored.statistics, duration_s, interrupted),
            notes=(*explored.notes, *self._notes()),
            interrupted=explored.interrupted or interrupted,
        )
        return Second(explored=whole, evidence=evidence, unmeasured=tuple(self._unmeasured()))

    def _unmeasured(self) -> Iterator[str]:
        yield from (f"{count} second runs: {problem}" for problem, count in self._problems.most_common(1))
        if self._starts.states and not self._runs and not self._problems:
            yield "no second crash was tried: the budget was spent on the first"
        elif self._runs and not self.states:
            yield "no second crash was tried: no second run wrote anything in the watched folder"

    def _judge(self, run: SecondRun) -> Iterator[News]:
        subject = self._subject
        reference = second_reference(self._explored.reference, run.first.acked, run.acks, run.steps, run.beside)
        panel = Panel(reference, subject.oracles, operations=run.operations)
        undamaged = [_no_second(one) for one in panel.judge_reference() if one.oracle not in self._told]
        wrong = self._violated(run, panel, reference, {one.oracle for one in undamaged})
        self._count(panel)
        if not undamaged and not wrong:
            return
        try:
            trace = run.trace()
        except UsageError:
            self._problems["the process that had the recording was lost"] += 1
            return
        findings = Findings(
            subject.scenario,
            trace,
            reference,
            models=self._names,
            describe=describer(trace, subject.settings),
            probe=lambda _: None,  # where it matters, the worker has tried already whether the workload can go on
        )
        news = [one for observation, found in wrong for one in findings.add(observation, found)]
        findings.add_undamaged(undamaged)
        for finding in findings.finish():
            case = _Case(self._rank(run, finding), run, trace, finding, finding.states)
            if self._is_new(case):
                yield from (_twice(run, one) for one in news if _tells(one, finding))

    def _violated(
        self, run: SecondRun, panel: Panel, reference: Reference, told: set[str]
    ) -> list[tuple[Observation, tuple[Violation, ...]]]:
        """The states that an oracle objects to, but for what it has against the run without a second crash (`told`).

        Before the second run's first own acknowledgement, what recovery returns once it has run is as right as what
        it returned at the start.
        """
        acked, oracles = run.first.acked, self._subject.oracles
        settled = replace(
            reference, steps=(*reference.steps[:acked], run.settled or run.steps[0], *reference.steps[acked + 1 :])
        )
        late = Panel(settled, oracles, operations=run.operations)
        wrong = []
        for observation in run.observations:
            early = run.settled is not None and observation.acked == acked
            asked = late if early and not judge(observation, settled, oracles) else panel
            found = tuple(one for one in asked.judge(observation) if one.oracle not in told)
            if found:
                wrong.append((observation, found))
        self._count(late)
        return wrong

    def _count(self, panel: Panel) -> None:
        for verdict in panel.verdicts():
            self._verdicts[verdict.oracle] = joined(self._verdicts[verdict.oracle], verdict)

    def _is_new(self, case: _Case) -> bool:
        """Keep the simpler of two cases of one cause; whether this is the first of its cause."""
        key = case.finding.id
        known = self._cases.get(key)
        if known is None:
            self._cases[key] = case
            return key not in self._known
        states = known.states + case.states
        self._cases[key] = case if case.rank < known.rank else known
        self._cases[key].states = states
        return False

    def _rank(self, run: SecondRun, finding: Finding) -> tuple[int, ...]:
        """Simple is: the model that allows least, few operations lost or torn, and both crashes early."""
        model = self._names[run.first.models[0]]
        first = len(self._describe(run.first.recipe, model))
        second = int(finding.extra.get("lost_or_torn", "0"))
        witness = self._names.index(finding.extra.get("witness_model", model))
        return witness, first + second, first, finding.point, run.first.point

    def _evidence(self) -> tuple[Evidence, ...]:
        found = []
        for case in sorted(self._cases.values(), key=lambda one: one.rank):
            if case.finding.id in self._known:
                continue
            model = self._names[case.run.first.models[0]]
            told = told_with_first(replace(case.finding, states=case.states), self._first_crash(case.run, model))
            found.append(
                Evidence(
                    finding=told,
                    first=case.run.first,
                    first_model=model,
                    trace=case.trace,
                    recipe=case.finding.state,
                )
            )
        return tuple(found)

    def _first_crash(self, run: SecondRun, model: str) -> FirstCrash:
        trace, first = self._subject.trace, run.first
        to_blame = blamed(trace, first.point, self._describe(first.recipe, model))
        return FirstCrash(
            recipe=first.recipe,
            model=model,
            point=first.point,
            acked=first.acked,
            blamed=to_blame,
            timeline=timeline(trace, first.point, to_blame, acked=first.acked, power=model != "kill"),
            outcome=run.steps[0],
        )

    def _statistics(self, first: Statistics, duration_s: float, interrupted: bool) -> Statistics:
        starts = len(self._starts.states)
        taken = self._runs + self._problems.total()
        left_out = [f"second crash: {line}" for line in self._left_out]
        if taken < starts:
            left_out.append(f"second crash: {starts - taken} of {starts} first states not run on")
        if self._cut:
            left_out.append(f"second crash: {self._cut} of {self._runs} second runs not crashed at every state")
        if not self._starts.complete:
            left_out.append("second crash: first states that were not run")
        states, explore_s = first.states + self.states, first.explore_s + duration_s
        by_model = Counter(dict(first.by_model)) + self._by_model
        return replace(
            first,
            states=states,
            enumerated=first.enumerated + self.states,
            exhaustive=first.exhaustive and not left_out and not interrupted,
            left_out=(*first.left_out, *left_out),
            explore_s=explore_s,
            states_per_s=states / explore_s if explore_s else 0.0,
            hung=first.hung + self._endings[Ending.HUNG],
            died=first.died + self._endings[Ending.KILLED] + self._endings[Ending.MEMORY],
            by_model=tuple(sorted(by_model.items())),
            by_depth=(
                DepthCount(depth=1, starts=1, runs=1, states=first.states),
                DepthCount(depth=2, starts=starts, runs=self._runs, states=self.states),
            ),
        )

    def _notes(self) -> Iterator[str]:
        starts = len(self._starts.states)
        yield (
            f"second crash: {self._runs} of {starts} first states run on, {self.states} states of a second crash "
            f"judged by {self._recovered} recoveries"
        )
        if self._starts.wrong:
            yield f"second crash: {self._starts.wrong} first states are wrong already and were not run on"
        if self._stopped:
            yield f"second crash: from {self._stopped} first states the workload did not run on to its end"
        known = sum(case.states for key, case in self._cases.items() if key in self._known)
        if known:
            yield f"second crash: {known} states show what one crash shows already"


def _no_second(violation: Violation) -> Violation:
    """An objection to a second run that was not crashed."""
    return replace(violation, message=violation.message.replace("nothing damaged", "no second crash"))


def _twice(run: SecondRun, news: News) -> News:
    return replace(news, title=f"{news.title} (second crash)", state=f"{run.first.recipe} then {news.state}")


def _tells(news: News, finding: Finding) -> bool:
    return news.oracle == finding.oracle and news.title == finding.title
