"""A scenario of kind `explore` from beginning to end: record, explore, judge, keep.

Read `recording.py` and `exploring.py` for its two halves, `second.py` for a second crash, `course.py` for who calls.
"""

import os
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import final

from chaos.child.target import Roles
from chaos.disk import StateSpace, Times, Tree, apply, initial_tree, materialise, model_named, weakest_first
from chaos.disk.recipes import parse_recipe
from chaos.errors import UsageError
from chaos.explore.settings import Isolation, Settings
from chaos.observations import Finding
from chaos.oracles import choose
from chaos.report import News
from chaos.report.replay import FirstCrashReplay, Replay, dump_replay
from chaos.scenario.model import Budget, Explore, RunOptions
from chaos.scenario.runner.account import INTERRUPTED, Account, budget_for
from chaos.scenario.runner.exploring import Explored, explore
from chaos.scenario.runner.first_states import Judged
from chaos.scenario.runner.recording import check_measured, record_scenario, unmeasured_words
from chaos.scenario.runner.second import Evidence, Subject, crash_again, first_budget
from chaos.trace.file import save
from chaos.trace.model import Trace

__all__ = ["keep_crash", "point_of", "replay_of", "run_exploration", "settings_for", "tree_of"]

_SECOND_TRACE = "second.trace"  # beside the replay file


def run_exploration(account: Account, drive: Explore, trace: Trace | None) -> None:
    """Run it, and tell the account what came of it; a `trace` that is given is explored instead of recording one.

    Raises:
        ChaosError: what ended it.
        KeyboardInterrupt: somebody stopped the recording.
    """
    account.learn(models=account.options.models or drive.models)
    _Exploration(account, drive).proceed(trace)


@final
class _Exploration:
    def __init__(self, account: Account, drive: Explore) -> None:
        self._account, self._drive = account, drive
        self._scenario, self._options = account.scenario, account.options
        self._folder, self._listener = account.folder, account.listener
        self._learn = account.learn

    def proceed(self, trace: Trace | None) -> None:
        scenario, drive = self._scenario, self._drive
        roles = drive.roles
        settings = settings_for(drive, self._options, scenario.budget)
        oracles = choose(drive.oracles, checked=roles.check is not None, resumes=roles.resume is not None)
        began = monotonic()
        if trace is None:
            trace = record_scenario(drive, self._options.engine or drive.engine)
        check_measured(trace)
        record_s = monotonic() - began
        save(trace, self._folder.trace_path(scenario.name))
        self._learn(engine=trace.engine, unmeasured=unmeasured_words(trace), notes=trace.notes)
        self._listener.recorded(trace)

        def cause(news: News) -> None:
            self._folder.cause(scenario.name, news)

        twice = (self._options.depth or drive.depth) == 2
        judged = Judged() if twice else None
        first = first_budget(settings) if twice else settings
        explored = explore(scenario.name, trace, roles, first, oracles, self._listener, cause, judged)
        if explored.trace is not trace:
            trace = explored.trace
            save(trace, self._folder.trace_path(scenario.name))
        self._learn_explored(explored, trace, record_s)
        for finding in explored.findings:
            keep_crash(self._account, roles, finding, trace, replay_of(self._account, finding, settings, oracles))
        if judged is None or explored.interrupted:
            return
        subject = Subject(scenario=scenario.name, trace=trace, roles=roles, settings=settings, oracles=oracles)
        second = crash_again(subject, explored, judged, self._listener, cause)
        self._learn_explored(second.explored, trace, record_s)
        self._learn(unmeasured=(*self._account.result.unmeasured, *second.unmeasured))
        for evidence in second.evidence:
            self._keep_second(evidence, replay_of(self._account, evidence.finding, settings, oracles))

    def _learn_explored(self, explored: Explored, trace: Trace, record_s: float) -> None:
        self._learn(
            isolation=explored.isolation,
            verdicts=explored.verdicts,
            findings=explored.findings,
            statistics=replace(explored.statistics, record_s=record_s),
            coverage=explored.coverage,
            notes=(*trace.notes, *explored.notes),
            stop=INTERRUPTED if explored.interrupted else None,
        )

    def _keep_second(self, evidence: Evidence, replay: Replay) -> None:
        """Keep a finding that takes two crashes, with the trace of the second run beside it."""
        folder = self._folder.finding_path(evidence.finding)
        folder.mkdir(parents=True, exist_ok=True)
        save(evidence.trace, folder / _SECOND_TRACE)
        first = FirstCrashReplay(
            trace=replay.trace,
            model=evidence.first_model,
            recipe=evidence.first.recipe,
            point=evidence.first.point,
            acked=evidence.first.acked,
        )
        keep_crash(
            self._account,
            self._drive.roles,
            evidence.finding,
            evidence.trace,
            replace(replay, trace=_SECOND_TRACE, recipe=evidence.recipe, first=first),
        )


def replay_of(account: Account, finding: Finding, settings: Settings, oracles: tuple[str, ...]) -> Replay:
    """The replay of a finding in a crash state of the scenario's own trace."""
    return Replay(
        finding=finding.id,
        scenario=finding.scenario,
        origin=account.scenario.origin,
        oracle=finding.oracle,
        oracles=oracles,
        trace=account.folder.replay_trace(finding.scenario),
        model=finding.extra.get("witness_model", finding.model),
        recipe=finding.state,
        point=finding.point,
        acked=int(finding.extra["acked"]),
        seed=settings.seed,
        deadline_s=settings.deadline_s,
        memory_bytes=settings.memory_bytes,
        bound=settings.bound,
    )


def keep_crash(account: Account, roles: Roles, finding: Finding, trace: Trace, replay: Replay) -> None:
    """Keep a finding with its crash state, which is one of `trace`."""
    tree = tree_of(replay, trace)

    def lay_out(path: Path) -> None:
        path.mkdir()
        materialise(tree, os.fspath(path), Times(trace).at(point_of(replay)))

    account.folder.keep(finding, dump_replay(replay, roles), lay_out)


def settings_for(drive: Explore, options: RunOptions, budget: Budget | None) -> Settings:
    """How to explore: the caller's word first, then the scenario's, then the explorer's own.

    Raises:
        UsageError: a model is unknown.
    """
    models = tuple(sorted(map(model_named, options.models or drive.models), key=weakest_first))
    limit = budget_for(options, budget)
    given = {
        "isolation": None if drive.isolation is None else Isolation(drive.isolation),
        "deadline_s": drive.deadline_s,
        "memory_bytes": drive.memory_bytes,
    }
    return Settings(
        models=models,
        jobs=options.jobs or len(os.sched_getaffinity(0)),
        budget_s=limit.duration_s,
        budget_states=limit.states,
        seed=options.seed,
        allowed=drive.bounds,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )


def point_of(replay: Replay) -> int:
    """How many operations had been issued at the crash that a replay file speaks of."""
    return parse_recipe(replay.recipe).point if replay.recipe else replay.point


def tree_of(replay: Replay, trace: Trace) -> Tree:
    """The tree that a replay file speaks of.

    Raises:
        UsageError: the recipe or the point is none of this trace.
    """
    if replay.recipe:
        model = model_named(replay.model)
        space = StateSpace(trace, model, seed=replay.seed, **({} if replay.bound is None else {"bound": replay.bound}))
        return space.tree(replay.recipe)
    if not 0 <= replay.point <= len(trace.ops):
        raise UsageError(f"crash point {replay.point} is outside the trace, which has {len(trace.ops)} operations")
    tree = initial_tree(trace)
    for op in trace.ops[: replay.point]:
        tree = apply(tree, op)
    return tree
