"""A scenario of kind `inject` from beginning to end: run after run with a fault in it, judged, shrunk, kept.

A fault for each call in turn strikes the first matching call in one run, the second in the next, until a run ends
untouched; then everything was tried [SQLite's out-of-memory and I/O error tests]. Read `faulty.py` for one run,
`course.py` for who calls.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from time import monotonic
from typing import final

from chaos.disk import Tree, apply, initial_tree, materialise
from chaos.errors import NotMeasured
from chaos.explore.exploration import Exploration
from chaos.explore.settings import Settings
from chaos.explore.tally import Progress
from chaos.faults.fault import Fault
from chaos.faults.plan import Plan, explicit, parse_plan, smaller
from chaos.observations import Ending, Finding
from chaos.oracles import ORACLES
from chaos.report import Findings, News, Statistics
from chaos.report.live_replay import LiveReplay, dump_live_replay
from chaos.report.strikes import strike_signature, struck_finding, workload_words
from chaos.report.text import counted
from chaos.scenario.kinds.inject import INJECT_MODEL, Inject
from chaos.scenario.model import RunOptions
from chaos.scenario.runner.account import INTERRUPTED, Account, budget_for
from chaos.scenario.runner.compounding import Compounding
from chaos.scenario.runner.crashing import keep_crash, replay_of, settings_for
from chaos.scenario.runner.exploring import ask_for
from chaos.scenario.runner.faulty import FaultyRun, FaultyRuns
from chaos.scenario.runner.inject_terms import base_of, inject_settings, inject_targets, oracles_of, patient
from chaos.scenario.runner.recording import record_scenario, unmeasured_words
from chaos.trace.file import save
from chaos.trace.model import Trace

__all__ = ["replay_injection", "run_injection"]

_WIDER = "widen the fault, or let the workload make such calls in the folder that it is given"
_TRIES = 40  # runs to shrink one finding: three faults of ten are alone after some twenty
_SLOW_TRIES = 4  # where each costs the whole deadline
_OVERTIME_S = 10.0  # what shrinking may take beyond the budget


def run_injection(account: Account, drive: Inject) -> None:
    """Run it, and tell the account what came of it.

    Raises:
        ChaosError: what ended it.
        KeyboardInterrupt: somebody stopped the recording of the first run.
    """
    if account.options.engine == "portable":
        raise NotMeasured(
            "the portable engine injects no faults", "`chaos doctor` says why engine syscalls does not work"
        )
    drive = replace(drive, models=account.options.models or drive.models)
    account.learn(models=(INJECT_MODEL, *drive.models), engine="syscalls")
    began = monotonic()
    base = base_of(drive)
    clean = record_scenario(base, "syscalls")
    save(clean, account.folder.trace_path(account.scenario.name))
    account.learn(unmeasured=unmeasured_words(clean), notes=clean.notes)
    account.listener.recorded(clean)
    settings = settings_for(base, account.options, account.scenario.budget)
    oracles = oracles_of(drive)
    with Exploration(clean, drive.roles, replace(settings, jobs=1, ask=ask_for(oracles))) as exploration:
        runs = FaultyRuns(patient(base, monotonic() - began), clean, exploration, oracles)
        injection = _Injection(account, drive, runs, oracles, settings)
        injection.run(clean, record_s=monotonic() - began)


@final
class _Injection:
    """All runs of one scenario."""

    def __init__(
        self, account: Account, drive: Inject, runs: FaultyRuns, oracles: tuple[str, ...], settings: Settings
    ) -> None:
        self._account, self._drive, self._runs, self._oracles = account, drive, runs, oracles
        self._settings = settings
        self._name, self._seed = account.scenario.name, account.options.seed
        self._budget = budget_for(account.options, account.scenario.budget)
        self._began = monotonic()
        self._cases: dict[str, FaultyRun] = {}
        self._counts: dict[str, int] = {}
        self._findings: list[Finding] = []
        self._made = self._struck = 0
        self._idle = set(range(len(drive.faults)))  # faults that struck nothing so far
        self._played: set[tuple[Fault, ...]] = set()  # nothing is learnt from a run with the same faults again
        self._digest = blake2b(digest_size=8)
        self._left_out: list[str] = []
        self._stopped = False
        self._compounding = Compounding(account, drive.roles, settings, oracles) if drive.models else None

    def run(self, clean: Trace, *, record_s: float) -> None:
        """Make the runs, and tell the account."""
        interrupted = False
        self._stopped = not self._works_undamaged(clean)
        if not self._stopped:
            try:
                if self._compounding is not None:
                    self._compounding.begin(clean, self._left_s())
                for run in self._all():
                    self._take(run)
            except KeyboardInterrupt:
                interrupted = True
            interrupted = self._finish(interrupted=interrupted)
        self._learn(record_s, interrupted=interrupted)
        if self._idle and not interrupted and not self._stopped:
            words = "; ".join(self._drive.faults[number].words() for number in sorted(self._idle))
            raise NotMeasured(f"no call was struck: {words}", _WIDER if not self._left_out else "give a larger budget")

    def _works_undamaged(self, clean: Trace) -> bool:
        """Where recovery fails though nothing was hurt, faults can tell nothing more."""
        undamaged = self._runs.undamaged
        if not undamaged:
            return True
        findings = Findings(self._name, clean, self._runs.reference, models=["kill"], describe=lambda *_: ())
        findings.add_undamaged(undamaged)
        for finding in findings.finish():
            self._findings.append(finding)
            replay = replay_of(self._account, finding, self._settings, self._oracles)
            keep_crash(self._account, self._drive.roles, finding, clean, replay)
        return not any(violation.oracle == "recovers" for violation in undamaged)

    def _all(self) -> Iterator[FaultyRun]:
        """Every run that is to be made, as long as the budget lasts."""
        faults = self._drive.faults
        each = [number for number, fault in enumerate(faults) if fault.is_each]
        beside = tuple(fault for fault in faults if not fault.is_each)
        for number in each:
            yield from self._in_turn(number, beside)
        if not each:
            plan = Plan(faults=faults)
            rounds = self._drive.runs if plan.is_drawn else 1
            for nth in range(rounds):
                run = self._play(replace(plan, seed=f"{self._seed} {nth}"), range(len(faults)))
                if run is None:
                    self._left_out.append(f"{rounds - nth} of {rounds} runs: the budget was spent")
                    return
                yield run

    def _in_turn(self, number: int, beside: tuple[Fault, ...]) -> Iterator[FaultyRun]:
        """One fault at the first call, at the second, and so on, until a run ends untouched by it."""
        fault = self._drive.faults[number]
        others = [other for other, one in enumerate(self._drive.faults) if not one.is_each]
        nth = 0
        while True:
            nth += 1
            plan = Plan(faults=(fault.at(nth), *beside), seed=f"{self._seed} {number} {nth}")
            run = self._play(plan, [number, *others])
            if run is None:
                self._left_out.append(f"{fault.words()}: from call {nth} on, for the budget was spent")
                return
            yield run
            if not any(one.fault == 0 for one in run.struck) and run.matched[0] < nth:
                return

    def _play(self, plan: Plan, numbers: Sequence[int]) -> FaultyRun | None:
        """One run, or None when the budget is spent; `numbers` are its faults' places in the scenario."""
        budget, left_s = self._budget, self._left_s()
        if (left_s is not None and left_s <= 0) or (budget.states is not None and self._made >= budget.states):
            return None
        run = self._runs.play(plan)
        self._made += 1
        if not plan.is_drawn:
            self._played.add(plan.faults)
        self._struck += bool(run.struck)
        self._digest.update(repr([(one.fault, one.nth, one.call.name) for one in run.struck]).encode())
        self._idle -= {numbers[one.fault] for one in run.struck}
        for line in unmeasured_words(run.trace):
            if line not in self._account.result.unmeasured:
                self._account.learn(unmeasured=(*self._account.result.unmeasured, line))
        spent = monotonic() - self._began
        self._account.listener.advanced(Progress(self._made, None, self._made / spent if spent else 0.0, left_s))
        return run

    def _left_s(self) -> float | None:
        limit = self._budget.duration_s
        return None if limit is None else limit - (monotonic() - self._began)

    def _take(self, run: FaultyRun) -> None:
        """Count a run's objection, if it has one, and crash what it left."""
        if not run.struck:
            return
        key = _cause(run)
        if key:
            self._counts[key] = self._counts.get(key, 0) + 1
            known = self._cases.get(key)
            if known is None:
                finding = self._told(run)
                state, point = run.plan.text(), run.observation.point
                self._account.cause(
                    News(
                        title=finding.title,
                        oracle=finding.oracle,
                        damage=finding.damage,
                        model=INJECT_MODEL,
                        state=state,
                        point=point,
                    )
                )
            if known is None or run.plan.size < known.plan.size:
                self._cases[key] = run
        if self._compounding is not None:
            self._compounding.add(run, self._left_s())

    def _told(self, run: FaultyRun) -> Finding:
        assert run.violation is not None
        return struck_finding(
            self._name, INJECT_MODEL, run.trace, run.strikes, (run.observation, run.violation), run.reference
        )

    def _finish(self, *, interrupted: bool) -> bool:
        """Make the findings; whether somebody lost patience, now or before."""
        for key, run in self._cases.items():
            told = run
            try:
                told = run if interrupted else self._shrunk(run)
            except KeyboardInterrupt:
                interrupted = True
            self._add(replace(self._told(told), states=self._counts[key]), told)
        if self._compounding is not None:
            self._findings += self._compounding.finish()
        return interrupted

    def _add(self, finding: Finding, run: FaultyRun) -> None:
        """A finding, or more runs that show one that is known: shrunk, two may turn out to be one."""
        for place, known in enumerate(self._findings):
            if known.id == finding.id:
                self._findings[place] = replace(known, states=known.states + finding.states)
                return
        self._findings.append(finding)
        self._keep(finding, run)

    def _shrunk(self, run: FaultyRun) -> FaultyRun:
        """The least that shows the same: nothing left to chance, few faults, early ones."""
        own, same = run.observation.run, _same(run)
        tries = _SLOW_TRIES if own is not None and own.ending is Ending.HUNG else _TRIES
        pinned = explicit(run.plan, [(one.fault, one.nth) for one in run.struck])
        if pinned != run.plan:
            again = self._tried(pinned)
            if again is None or _same(again) != same:
                return run  # what it shows hangs on more than the faults: it is replayed as it was drawn
            run = again
        while True:
            for plan in smaller(run.plan):
                again = self._tried(plan) if tries > 0 else None
                tries -= again is not None
                if again is not None and again.struck and _same(again) == same:
                    run = again
                    break
            else:
                return run

    def _tried(self, plan: Plan) -> FaultyRun | None:
        """A run with less in it; None for one that was made already, or when the time is over."""
        left_s = self._left_s()
        if plan.faults in self._played or (left_s is not None and left_s < -_OVERTIME_S):
            return None
        self._played.add(plan.faults)
        return self._runs.play(plan, counted=False)

    def _keep(self, finding: Finding, run: FaultyRun) -> None:
        replay = LiveReplay(
            kind=Inject.kind,
            finding=finding.id,
            scenario=finding.scenario,
            oracle=finding.oracle,
            recipe=run.plan.text(),
            oracles=self._oracles,
            seed=self._seed,
            origin=self._account.scenario.origin,
            settings=inject_settings(self._drive),
        )
        tree = _left_by(run.trace)

        def lay_out(path: Path) -> None:
            path.mkdir()
            materialise(tree, os.fspath(path))

        self._account.folder.keep(finding, dump_live_replay(replay, inject_targets(self._drive)), lay_out)

    def _learn(self, record_s: float, *, interrupted: bool) -> None:
        spent = monotonic() - self._began
        crashes, verdicts = self._compounding, self._runs.verdicts()
        notes = (
            *self._account.result.notes,
            f"{counted(self._made, 'run')} from seed {self._seed}, {self._struck} of them struck; "
            f"digest of what was struck: {self._digest.hexdigest()}",
        )
        if crashes is not None:
            verdicts = crashes.verdicts(verdicts)
            self._left_out += crashes.left_out
            notes = (*notes, f"{crashes.states} crash states of the struck runs were judged", *crashes.doubts())
        self._account.learn(
            verdicts=verdicts,
            findings=tuple(self._findings),
            notes=notes,
            statistics=Statistics(
                unit=Inject.unit,
                states=self._struck,
                enumerated=self._made,
                crash_points=self._struck,
                exhaustive=not self._left_out and not interrupted,
                left_out=tuple(self._left_out),
                states_per_s=self._made / spent if spent else 0.0,
                record_s=record_s,
                explore_s=spent,
            ),
            stop=INTERRUPTED if interrupted else None,
        )


def _same(run: FaultyRun) -> str:
    """What two runs have in common that show the same, wherever they were struck; "" for one that shows nothing."""
    violation, outcome = run.violation, run.observation.outcome
    if violation is None:
        return ""
    error = f" {outcome.ending.value} {outcome.error_type}" if violation.oracle == "recovers" else ""
    return f"{violation.oracle} {violation.damage.value}{error}"


def _cause(run: FaultyRun) -> str:
    """Likewise, and where it was struck, if one fault alone struck it."""
    same = _same(run)
    alone = len({one.fault for one in run.struck}) == 1 and not run.plan.is_drawn
    return f"{same} {strike_signature(run.strikes[0])}" if same and alone else same


def _left_by(trace: Trace) -> Tree:
    tree = initial_tree(trace)
    for op in trace.ops:
        tree = apply(tree, op)
    return tree


def replay_injection(replay: LiveReplay, drive: Inject) -> tuple[bool, tuple[str, ...]]:
    """Run a finding's plan once more.

    Returns:
        whether the same oracle still objects, and what happened, line by line.

    Raises:
        ChaosError: a target can't be imported, or the harness failed.
    """
    base, plan, began = base_of(drive), parse_plan(replay.recipe), monotonic()
    clean = record_scenario(base, "syscalls")
    settings = settings_for(base, RunOptions(seed=replay.seed), None)
    oracles = tuple(name for name in replay.oracles if name in ORACLES)
    with Exploration(clean, drive.roles, replace(settings, jobs=1, ask=ask_for(oracles))) as exploration:
        run = FaultyRuns(patient(base, monotonic() - began), clean, exploration, oracles).play(plan)
    own = run.observation.run
    assert own is not None
    lines = list(dict.fromkeys(strike.sentence for strike in run.strikes)) or ["no call was struck"]
    lines.append(f"the workload {workload_words(own)}")
    violation = run.violation
    if violation is not None:
        lines.append(f"{violation.oracle}: {violation.message} ({violation.damage.value})")
    return violation is not None and violation.oracle == replay.oracle, tuple(lines)
