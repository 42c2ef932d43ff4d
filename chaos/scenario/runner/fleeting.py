"""A scenario of kind `fleet` from beginning to end: fleets are run and judged, what goes wrong is shrunk and kept.

Read `chaos/fleet/` for how one is run, `course.py` for who calls.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from time import monotonic
from typing import Any, final

from chaos.child import values
from chaos.child.target import Target
from chaos.errors import NotMeasured, UsageError
from chaos.fleet.faults import Restart, RestartPolicy
from chaos.fleet.judging import aftermath_of, timeline
from chaos.fleet.places import Places
from chaos.fleet.plan import Plan, draw, parse_plan
from chaos.fleet.running import run_fleet
from chaos.fleet.settings import Course, FleetRoles, FleetSettings
from chaos.fleet.shrinking import shrunk
from chaos.observations import Bounds, Ending, Finding, Outcome
from chaos.oracles.fleets import FLEET_ORACLES, choose_fleet
from chaos.oracles.jury import Jury, Objected
from chaos.report import Statistics
from chaos.report.findings import finding_id
from chaos.report.live_replay import LiveReplay, dump_live_replay
from chaos.scenario.kinds import FLEET_MODEL, FLEET_ROLES, Fleet
from chaos.scenario.model import Budget, Profile, RunOptions
from chaos.scenario.runner.account import INTERRUPTED, Account
from chaos.scenario.runner.history_terms import refuse_unread_initial, terms_of
from chaos.scenario.runner.pace import Pace, is_spent, news_of

__all__ = ["fleet_from", "fleet_targets", "replay_fleet", "run_fleets"]

_RUNS = {Profile.QUICK: 1, Profile.CI: 3, Profile.DEEP: 50}
_SHRINK_S = {Profile.QUICK: 3.0, Profile.CI: 2.5, Profile.DEEP: 120.0}
# The processes' timing is their own. So a smaller plan must go wrong in two of three runs, lest one be kept that nobody
# sees go wrong again, and a finding's plan is run this often until it shows.
_TRIES, _SHOWN = 3, 2
_REPLAYS = 30


def run_fleets(account: Account, drive: Fleet) -> None:
    """Run fleets until the budget is spent or one goes wrong, and tell the account.

    Raises:
        ChaosError: what ended it.
    """
    _Fleets(account, drive).run()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One run, judged; what its folder had that is worth keeping."""

    course: Course
    objected: Objected | None
    lines: tuple[str, ...] = ()


@final
class _Trial:
    """Runs and judges fleets of one scenario."""

    def __init__(self, drive: Fleet, names: tuple[str, ...] | None) -> None:
        self.drive = drive
        self.terms = terms_of(drive.history, drive.initial, drive.search)
        self.oracles = choose_fleet(
            names,
            recovers=drive.recover is not None,
            checked=drive.check is not None,
            modelled=self.terms.model is not None,
            bounded=drive.bounds != Bounds(),
        )
        self.roles = FleetRoles(**{name: getattr(drive, name) for name in FLEET_ROLES})
        self.settings = FleetSettings(
            workers=drive.workers,
            faults=drive.faults,
            call_faults=drive.call_faults,
            restart=drive.restart,
            duration_s=drive.duration_s,
            progress_s=drive.progress_s,
            finish_s=drive.finish_s,
            deadline_s=drive.deadline_s,
            disk_bytes=drive.disk_bytes,
            look_first="no_lost_update" in self.oracles,
        )
        self._calm: Course | None = None

    def jury(self) -> Jury:
        return Jury(self.oracles, self.terms, table=FLEET_ORACLES)

    def run(self, plan: Plan, jury: Jury) -> _Seen:
        """Run a plan and judge what it leaves; its folder is gone afterwards."""
        if self._calm is None and "clean" in self.oracles and self.drive.finish_s is not None:
            with Places() as places:
                self._calm = run_fleet(self.roles, self.settings, Plan(workers=plan.workers, strikes=()), places)
        with Places() as places:
            course = run_fleet(self.roles, self.settings, plan, places)
            objected = jury.judge(aftermath_of(course, self.drive.bounds, calm=self._calm))
            lines = () if objected is None else timeline(course.chronicle, objected.position)
        return _Seen(course=course, objected=objected, lines=lines)


@final
class _Fleets:
    def __init__(self, account: Account, drive: Fleet) -> None:
        self._account, self._drive = account, drive
        refuse_unread_initial(drive.initial, drive.history)
        self._trial = _Trial(drive, drive.oracles)
        self._jury = self._trial.jury()
        self._budget = _budget(account.options, account.scenario.budget)
        self._runs = self._fired = self._lives = self._stated = 0
        self._digests: list[str] = []
        self._failures = ""  # of workers that nothing had hurt, in words
        self._began = monotonic()

    def run(self) -> None:
        self._account.learn(engine="live", isolation="processes", models=(FLEET_MODEL,))
        wrong: tuple[Plan, _Seen] | None = None
        try:
            wrong = self._try_all()
            self._learn(())
            if wrong is not None:
                self._learn((self._finding(*wrong),))
        except KeyboardInterrupt:
            self._learn(() if wrong is None else (self._kept(wrong[0], wrong[1], "it was not shrunk"),))
            self._account.learn(stop=INTERRUPTED)
            return
        if wrong is None and not self._fired:
            raise NotMeasured(
                f"no fault struck: nothing was tried{self._failures}",
                "give it faults ([[fault]], or faults= in a test), or let them come sooner",
            )

    def _try_all(self) -> tuple[Plan, _Seen] | None:
        while not self._is_over():
            plan = self._plan(self._runs)
            self._runs += 1
            seen = self._trial.run(plan, self._jury)
            self._count(seen.course)
            spent_s = monotonic() - self._began
            total = self._budget.states
            left_s = None if total is None else spent_s / self._runs * (total - self._runs)
            self._account.listener.advanced(
                Pace(done=self._runs, total=total, states_per_s=self._runs / spent_s, seconds_left=left_s)
            )
            if seen.objected is not None:
                self._account.cause(news_of(seen.objected, FLEET_MODEL, plan.text, len(plan.strikes)))
                return plan, seen
        return None

    def _plan(self, run: int) -> Plan:
        drive = self._drive
        seed = f"{self._account.options.seed}/{run}"
        plan = draw(seed, drive.workers, drive.faults, drive.duration_s, calls=drive.call_faults)
        self._digests.append(plan.digest)
        return plan

    def _is_over(self) -> bool:
        return is_spent(self._budget, self._runs, monotonic() - self._began)

    def _count(self, course: Course) -> None:
        self._fired += course.fired
        self._lives += course.lives
        self._stated += course.stated
        if failed := [one.last_failure for one in course.crew if one.failed]:
            self._failures = f", and {len(failed)} of {len(course.crew)} workers failed by themselves: {failed[-1]}"

    def _finding(self, plan: Plan, seen: _Seen) -> Finding:
        wanted = seen.objected
        assert wanted is not None
        end = monotonic() + _SHRINK_S[self._account.options.profile]
        best = (plan, seen)

        def fails(smaller: Plan) -> bool:
            nonlocal best
            shown = well = 0
            is_bare = not _size(smaller)  # that no fault is needed is no question of time
            while well <= _TRIES - _SHOWN and (is_bare or monotonic() < end):
                again = self._trial.run(smaller, self._trial.jury())
                found = again.objected
                if found is None or (found.oracle, found.cause) != (wanted.oracle, wanted.cause):
                    well += 1
                elif (shown := shown + 1) == _SHOWN:
                    best = (smaller, again)
                    return True
            return False

        shrunk(plan, fails, goes_on=lambda: monotonic() < end)
        small = best[0]
        words = f"shrunk from {_size(plan)} faults on {plan.workers} workers to {_size(small)} on {small.workers}"
        return self._kept(*best, words)

    def _kept(self, plan: Plan, seen: _Seen, shrinking: str) -> Finding:
        objected = seen.objected
        assert objected is not None
        scenario = self._account.scenario.name
        strikes = [*(fault.words() for fault in plan.calls), *(str(strike) for strike in plan.strikes)]
        finding = Finding(
            id=finding_id(scenario, objected.oracle, objected.damage, objected.cause, []),
            scenario=scenario,
            oracle=objected.oracle,
            damage=objected.damage,
            model=FLEET_MODEL,
            title=objected.message,
            explanation=(
                f"first seen in run {self._runs}; {shrinking}",
                *(strikes[:5] or ["no fault is needed"]),
                *([f"and {len(strikes) - 5} more faults"] if len(strikes) > 5 else []),
                "processes keep their own timing, so one run of the plan need not show it: it is tried several times",
            ),
            source=next(iter((*seen.course.sources, *_outcome(seen).frames)), None),
            timeline=seen.lines,
            point=len(strikes),
            state=plan.text,
            states=1,
            outcome=_outcome(seen),
            extra={"unit": Fleet.unit, "message": objected.message, "digest": plan.digest},
        )
        self._keep(finding)
        return finding

    def _keep(self, finding: Finding) -> None:
        replay = LiveReplay(
            kind=Fleet.kind,
            finding=finding.id,
            scenario=finding.scenario,
            oracle=finding.oracle,
            recipe=finding.state,
            oracles=self._trial.oracles,
            seed=self._account.options.seed,
            origin=self._account.scenario.origin,
            settings=_settings(self._drive),
        )
        self._account.folder.keep(finding, dump_live_replay(replay, fleet_targets(self._drive)))

    def _learn(self, findings: tuple[Finding, ...]) -> None:
        spent_s = monotonic() - self._began
        self._account.learn(
            verdicts=self._jury.verdicts(),
            findings=findings,
            statistics=Statistics(
                unit=Fleet.unit,
                acks=self._stated,
                crash_points=self._fired,
                enumerated=self._runs,
                states=self._runs,
                states_per_s=self._runs / spent_s if spent_s else 0.0,
                explore_s=spent_s,
            ),
            notes=(
                f"{self._fired} faults struck {self._drive.workers} workers, which were started {self._lives} times "
                f"and made {self._stated} statements",
                f"plans of seed {self._account.options.seed}: {', '.join(self._digests[:5])}",
            ),
        )


def _size(plan: Plan) -> int:
    return len(plan.strikes) + len(plan.calls)


def fleet_targets(drive: Fleet) -> dict[str, Target]:
    """A fleet's targets by the names that they have in a replay file."""
    return {name: target for name in FLEET_ROLES if (target := getattr(drive, name)) is not None}


def fleet_from(replay: LiveReplay, targets: Mapping[str, Target]) -> Fleet:
    """The fleet that a replay file tells of.

    Raises:
        UsageError: the file lacks something.
    """
    try:
        given: dict[str, Any] = {name: json.loads(text) for name, text in replay.settings.items()}
        policy = given.pop("restart", {})
        initial = given.pop("initial", None)
        bounds = Bounds(**given.pop("bounds", {}))
        restart = Restart(**{**policy, "policy": RestartPolicy(policy.get("policy", "always"))})
        return Fleet(
            **{**targets, **given, "search": tuple(given.get("search", ()))},
            oracles=replay.oracles,
            restart=restart,
            bounds=bounds,
            initial=None if initial is None else values.decode(initial),
        )
    except (ValueError, TypeError) as error:
        raise UsageError(f"the settings of the replay file can't be read: {error}", "the file is damaged") from None


def replay_fleet(replay: LiveReplay, drive: Fleet) -> tuple[bool, tuple[str, ...]]:
    """Carry a finding's plan out again, several times if need be.

    Returns:
        whether the same oracle still objects, and what happened, line by line.

    Raises:
        ChaosError: a target can't be imported, or the harness failed.
    """
    plan = parse_plan(replay.recipe)
    trial = _Trial(drive, replay.oracles)
    for number in range(1, _REPLAYS + 1):
        seen = trial.run(plan, trial.jury())
        if seen.objected is not None and seen.objected.oracle == replay.oracle:
            told = f"{seen.objected.oracle}: {seen.objected.message} ({seen.objected.damage.value})"
            return True, (*seen.lines, f"run {number} of at most {_REPLAYS}", told)
    return False, (f"{_REPLAYS} runs of the plan went well",)


_PLAIN = ("workers", "duration_s", "progress_s", "finish_s", "deadline_s", "disk_bytes", "search")


def _settings(drive: Fleet) -> dict[str, str]:
    given: dict[str, Any] = {name: getattr(drive, name) for name in _PLAIN}
    given["history"] = drive.history if isinstance(drive.history, str) else None
    given["initial"] = None if drive.initial is None else values.encode(drive.initial)
    given["bounds"] = asdict(drive.bounds)
    given["restart"] = {one.name: getattr(drive.restart, one.name) for one in fields(Restart)}
    given["restart"]["policy"] = drive.restart.policy.value
    return {name: json.dumps(value) for name, value in given.items() if value is not None}


def _budget(options: RunOptions, budget: Budget | None) -> Budget:
    return options.budget or budget or Budget(states=_RUNS[options.profile])


def _outcome(seen: _Seen) -> Outcome:
    """Recovery, its value left out where it is long: it is told by the oracle."""
    outcome = seen.course.recovery or Outcome(ending=Ending.RETURNED, value="null")
    return outcome if len(outcome.value) < 2000 else replace(outcome, value=values.encode("(long)"))
