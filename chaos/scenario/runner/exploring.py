"""The second half of a run: recovery on every crash state, judged, grouped and counted.

An interruption ends it early and keeps what was found so far. Nothing is written here; `course.py` does that.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import final

from chaos.child.target import UNKNOWN, CommandTarget, Roles
from chaos.disk import CrashState, PersistenceModel, StateSpace, Tree, apply, initial_tree
from chaos.disk import Fate as DiskFate
from chaos.disk.realmode import crash_states, is_real
from chaos.disk.relocating import misleading, missed
from chaos.errors import NotMeasured
from chaos.explore.exploration import Exploration
from chaos.explore.settings import Ask, Settings
from chaos.observations import Ending, Finding, Observation, Outcome, Reference
from chaos.oracles import ORACLES, OracleVerdict, Panel
from chaos.oracles.durable import blind
from chaos.report import Coverage, CrashMap, Fate, Findings, News, Statistics
from chaos.scenario.runner.finishing import Finisher
from chaos.scenario.runner.first_states import Judged
from chaos.scenario.runner.likeness import are_better, check_attributes, leaves_doubt
from chaos.scenario.watching import Listener
from chaos.trace.model import NodeType, Trace

__all__ = ["Explored", "ask_for", "describer", "explore"]

_SCANNED_BYTES = 1 << 28  # of one file: a larger one is a database or a disk's image, most of it holes
_RELATIVE = "let the program keep paths relative to its folder, or exclude that file by a glob"
_SCANNED_TREES = 100  # undamaged trees whose files are searched for NaN; more acknowledgements are sampled evenly


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """What an exploration came to; `interrupted` when somebody stopped it, `trace` as it was laid out."""

    findings: tuple[Finding, ...]
    verdicts: tuple[OracleVerdict, ...]
    coverage: Coverage
    statistics: Statistics
    isolation: str
    notes: tuple[str, ...]
    interrupted: bool
    reference: Reference
    trace: Trace


def explore(
    scenario: str,
    trace: Trace,
    roles: Roles,
    settings: Settings,
    oracles: Sequence[str],
    listener: Listener,
    cause: Callable[[News], None],
    judged: Judged | None = None,
) -> Explored:
    """Explore a trace.

    Args:
        scenario: its name.
        trace: the recorded run.
        roles: the target.
        settings: how; the questions to ask are added here.
        oracles: what must hold.
        listener: told of progress and of new causes.
        cause: told of new causes first, to keep them.
        judged: told of each state, for a second crash.

    Raises:
        UsageError: a target can't be imported, or a setting can't be carried out.
        NotMeasured: recovery fails alone where it looks for the folder of the recording, or where a file leads there.
        HarnessFault: a worker failed.
    """
    settings = replace(settings, ask=ask_for(oracles))
    with ExitStack() as stack:
        trace, exploration = _likened(trace, partial(_begun, stack, roles, settings, listener), oracles)
        reference = exploration.reference
        panel = Panel(reference, oracles, operations=len(trace.ops))
        probe = stack.enter_context(_Probe(trace, roles, settings))
        probe.closed = roles.workload == UNKNOWN  # only its trace is known
        finisher = Finisher(exploration, trace, roles, settings, oracles, probe)
        findings = _findings(scenario, trace, reference, settings, probe, finisher)
        crash_map = CrashMap(trace)
        # Where recovery fails though nothing was damaged, crash states can tell nothing more.
        if _recovers_undamaged(trace, panel, findings, files_too="finite" in oracles):
            try:
                for news in _judged(exploration, panel, crash_map, findings, judged):
                    cause(news)
                    listener.found(news)
            except KeyboardInterrupt:
                finisher.close()
        else:
            _check_findable(trace, reference)
        coverage = crash_map.finish()
        return Explored(
            findings=_followed(trace, settings, finisher.finish(findings)),
            verdicts=panel.verdicts(),
            coverage=coverage,
            statistics=_statistics(trace, exploration, coverage, finisher.interrupted),
            isolation=exploration.statistics().isolation.value,
            notes=_notes(reference, roles, oracles),
            interrupted=finisher.interrupted,
            reference=reference,
            trace=trace,
        )


def _begun(stack: ExitStack, roles: Roles, settings: Settings, listener: Listener, trace: Trace) -> Exploration:
    return stack.enter_context(Exploration(trace, roles, settings, listener.advanced, _states))


def _likened(trace: Trace, begun: Callable[[Trace], Exploration], oracles: Sequence[str]) -> tuple[Trace, Exploration]:
    """An exploration whose copies are like the real files, as far as recovery needs it, and its trace."""
    exploration = begun(trace)
    if leaves_doubt(trace, exploration.reference, oracles):
        exact = replace(trace, exact_times=True)
        other = begun(exact)
        if are_better(trace, other.reference, exploration.reference, oracles):
            trace, exploration, other = exact, other, exploration
        other.close()
    check_attributes(trace, exploration)
    return trace, exploration


def _findings(
    scenario: str, trace: Trace, reference: Reference, settings: Settings, probe: "_Probe", finisher: Finisher
) -> Findings:
    return Findings(
        scenario,
        trace,
        reference,
        models=[model.name for model in settings.models],
        describe=describer(trace, settings),
        probe=probe,
        shrink=finisher.shrinker,
        advise=finisher.advisor,
    )


def _states(space: StateSpace) -> Iterator[CrashState]:
    return crash_states(space) if is_real(space.model) else space.states()


def _recovers_undamaged(trace: Trace, panel: Panel, findings: Findings, *, files_too: bool) -> bool:
    undamaged = panel.judge_reference()
    findings.add_undamaged(undamaged)
    for point, files in _undamaged_files(trace) if files_too else ():
        findings.add_undamaged(panel.judge_files(files, state="", point=point))
    return not any(violation.oracle == "recovers" for violation in undamaged)


def _check_findable(trace: Trace, reference: Reference) -> None:
    """Object where recovery fails on undamaged copies, and names the folder that they were copied from."""
    if note := missed(trace.notes, [text for step in reference.steps for text in (step.error, step.output)]):
        raise NotMeasured(note, _RELATIVE)


def _followed(trace: Trace, settings: Settings, found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings; object where each is of a state in which a path leads to the recording's folder."""
    models = {model.name: model for model in settings.models}
    notes: list[str] = []
    for finding in found:
        model = models.get(finding.extra.get("witness_model", "") or finding.model)
        if model is None or not finding.state or is_real(model):
            return found
        space = StateSpace(trace, model, settings.bound, settings.seed)
        notes.append(misleading(trace.notes, space.tree(finding.state)))
    if notes and all(notes):
        raise NotMeasured(notes[0], _RELATIVE)
    return found


def _judged(
    exploration: Exploration, panel: Panel, crash_map: CrashMap, findings: Findings, judged: Judged | None
) -> Iterator[News]:
    for observation in exploration.observations():
        violations = panel.judge(observation)
        crash_map.add(observation, violations)
        if judged is not None:
            judged.add(observation, violations)
        yield from findings.add(observation, violations)


def ask_for(oracles: Sequence[str]) -> Ask:
    """The questions that these oracles need answered on each state."""
    chosen = [ORACLES[name] for name in oracles]
    return Ask(
        names=any(one.needs_names for one in chosen),
        leftovers=any(one.needs_names for one in chosen),
        resume=any(one.needs_resumed for one in chosen),
        usage=any(one.needs_usage for one in chosen),
    )


def describer(trace: Trace, settings: Settings) -> Callable[[str, str], Sequence[Fate]]:
    """What tells which operations of a state are lost or torn."""
    spaces = {model.name: StateSpace(trace, model, settings.bound, settings.seed) for model in settings.models}

    def describe(recipe: str, model: str) -> Sequence[Fate]:
        if not recipe:
            return ()
        told = spaces[model].describe(recipe).with_fate(DiskFate.LOST, DiskFate.TORN)
        return [Fate(seq=one.seq, loss="torn" if one.fate is DiskFate.TORN else "lost", words=one.part) for one in told]

    return describe


@final
class _Probe:
    """Tries whether the workload can go on after a failed recovery; started when first asked."""

    def __init__(self, trace: Trace, roles: Roles, settings: Settings) -> None:
        self._trace, self._roles = trace, roles
        self._settings = replace(settings, jobs=1, ask=Ask(resume=True))
        self._exploration: Exploration | None = None
        self.closed = False

    def __enter__(self) -> "_Probe":
        return self

    def __exit__(self, *_: object) -> None:
        if self._exploration is not None:
            self._exploration.close()

    def __call__(self, observation: Observation) -> Outcome | None:
        """The outcome of going on, or None when there is no time left to try."""
        if self.closed:
            return None
        if self._exploration is None:
            self._exploration = Exploration(self._trace, self._roles, self._settings)
        return self._exploration.observe(observation.state, self._model(observation.model)).resumed

    def _model(self, name: str) -> PersistenceModel:
        return next(model for model in self._settings.models if model.name == name)


def _notes(reference: Reference, roles: Roles, oracles: Sequence[str]) -> tuple[str, ...]:
    first, notes = reference.steps[0], []
    if first.ending is not Ending.RETURNED:
        told = f"{first.error_type}: {first.error}" if first.error else first.ending.value
        notes.append(
            f"recovery fails on the files as they were before the run ({told[:200]}): "
            "until the first acknowledgement that is no violation"
        )
    # The end of a command that acknowledges nothing by itself stands for it, and can't come too early.
    if "durable" in oracles and (unseen := blind(reference)) and not _by_their_ends(reference, roles):
        notes.append(unseen)
    return tuple(notes)


def _by_their_ends(reference: Reference, roles: Roles) -> bool:
    values = [ack.value for ack in reference.acks]
    return isinstance(roles.workload, CommandTarget) and values == [str(number) for number in range(len(values))]


def _undamaged_files(trace: Trace) -> Iterator[tuple[int, dict[str, bytes]]]:
    """The files before the run, at the acknowledgements, and at its end, with their crash points."""
    points = sorted({0, *(ack.after for ack in trace.acks), len(trace.ops)})
    if len(points) > _SCANNED_TREES:
        points = [points[index * (len(points) - 1) // (_SCANNED_TREES - 1)] for index in range(_SCANNED_TREES)]
    tree, done = initial_tree(trace), 0
    for point in points:
        for op in trace.ops[done:point]:
            tree = apply(tree, op)
        done = point
        yield point, _files(tree)


def _files(tree: Tree) -> dict[str, bytes]:
    nodes = ((path, tree.nodes[number]) for path, number in tree.paths())
    files = ((path, node.content) for path, node in nodes if node.type is NodeType.FILE)
    return {path: bytes(content) for path, content in files if content.size <= _SCANNED_BYTES}


def _statistics(trace: Trace, exploration: Exploration, coverage: Coverage, interrupted: bool) -> Statistics:
    tally = exploration.statistics()
    spaces = exploration.enumerations()
    left_out = [line for space in spaces for line in space.left_out]
    return Statistics(
        calls=trace.calls,
        operations=len(trace.ops),
        acks=len(trace.acks),
        crash_points=len(coverage.points),
        enumerated=sum(space.generated for space in spaces),
        states=tally.states,
        reused=tally.reused,
        exhaustive=tally.complete and not interrupted and all(space.exhaustive for space in spaces),
        left_out=(*tally.left_out, *dict.fromkeys(left_out)),
        untried=tally.untried,
        states_per_s=tally.states_per_s,
        explore_s=tally.seconds,
        hung=tally.hung,
        died=tally.died,
        by_model=tuple(sorted(tally.by_model.items())),
    )
