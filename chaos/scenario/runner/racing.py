"""A scenario of kind `race` from beginning to end: episodes are played and judged, what goes wrong is shrunk and kept.

Read `chaos/race/` for how an episode is played, `course.py` for who calls.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import final

from chaos.child import values
from chaos.child.target import Target
from chaos.errors import NotMeasured, UsageError
from chaos.observations import Finding, Outcome, Verdict
from chaos.oracles import OracleVerdict
from chaos.oracles.jury import Jury, Objected
from chaos.oracles.live import choose_live
from chaos.race.episode import Episode
from chaos.race.exploring import Search
from chaos.race.moves import Form
from chaos.race.policies import Switches
from chaos.race.shrinking import shrunk, switches_of
from chaos.race.stage import Played, Players, Stage
from chaos.race.wording import recipe_of, schedule_of
from chaos.report import Statistics
from chaos.report.findings import finding_id
from chaos.report.live_replay import LiveReplay, dump_live_replay
from chaos.report.places import user_frame
from chaos.report.text import counted
from chaos.scenario.kinds import RACE_MODEL, Race
from chaos.scenario.model import Budget, Profile, RunOptions
from chaos.scenario.runner.account import INTERRUPTED, Account
from chaos.scenario.runner.history_terms import refuse_unread_initial, terms_of
from chaos.scenario.runner.interleaving import blamed_frames, interleaving, live_run
from chaos.scenario.runner.pace import Pace, is_spent, news_of

__all__ = ["race_from", "race_targets", "replay_race", "run_race"]

_EPISODES = {Profile.QUICK: 100, Profile.CI: 500, Profile.DEEP: 20_000}
_DURATION_S = {Profile.QUICK: 10.0, Profile.CI: 60.0, Profile.DEEP: None}
_ACK = "a"  # as `chaos.child.witness` has it
_AFTER = 50  # episodes without a new cause, once there is one: then it is enough
# Where episodes are slow, as when they go on sleeping for ever: for waiting for a new cause, and for shrinking each.
_PATIENCE_S = {Profile.QUICK: 5.0, Profile.CI: 20.0, Profile.DEEP: 600.0}
_REPORT_S = 0.2
_UNSTEADY = (
    "it did not happen again in the same order of calls: the workers do something that differs from run to run, such "
    "as a clock, shared memory or threads that run at once"
)


def run_race(account: Account, drive: Race) -> None:
    """Play until the budget is spent, or until what was found seems to be all, and tell the account.

    Raises:
        ChaosError: what ended it.
    """
    _Race(account, drive).run()


@final
@dataclass(slots=True)
class _Cause:
    """What goes wrong in one way."""

    objected: Objected
    played: Played
    episode: int
    episodes: int = 1


@final
class _Race:
    def __init__(self, account: Account, drive: Race) -> None:
        self._account, self._drive = account, drive
        refuse_unread_initial(drive.initial, drive.history, counted="no_lost_update" in (drive.oracles or ()))
        self._terms = terms_of(drive.history, drive.initial, drive.search)
        self._oracles = choose_live(
            drive.oracles, checked=drive.check is not None, modelled=self._terms.model is not None
        )
        self._jury = Jury(self._oracles, self._terms)
        self._budget = _budget(account.options, account.scenario.budget)
        self._causes: dict[tuple[str, ...], _Cause] = {}
        self._mapped: set[str] = set()  # files that were changed through memory, out of sight
        self._had_choice = False  # whether there ever was more than one who could go
        self._last_news, self._last_news_s, self._told_s = 0, 0.0, 0.0
        self._patience_s = _PATIENCE_S[account.options.profile]

    def run(self) -> None:
        interrupted = False
        self._account.learn(engine="syscalls", isolation="fork", models=(RACE_MODEL,))
        with _stage(self._drive) as stage:
            search = Search(stage, seed=self._account.options.seed, participants=len(self._drive.workers))
            began = monotonic()
            try:
                self._play(search, began)
            except KeyboardInterrupt:
                interrupted = True
            self._learn(search, monotonic() - began, ())
            findings = [self._finding(cause, stage, shrink=not interrupted) for cause in self._causes.values()]
            self._learn(search, monotonic() - began, tuple(findings))
        if interrupted:
            self._account.learn(stop=INTERRUPTED)
        elif not self._causes:
            self._check_measured(search.steps)

    def _check_measured(self, steps: int) -> None:
        """Object to a race that found nothing because it could not."""
        if not self._had_choice:
            why = "there never was more than one worker that could go on" if steps else "no worker touched the folder"
            raise NotMeasured(
                f"nothing raced: {why}", "let two workers or more work on files of the folder that they get as `disk`"
            )
        if self._mapped:
            raise NotMeasured(
                f"workers change {min(self._mapped)} through shared memory: no call is made that could be held",
                "exclude the file by a glob if that is done under a lock",
            )

    def _play(self, search: Search, began: float) -> None:
        for played in search:
            self._judge(played, search.episodes, monotonic() - began)
            self._had_choice = self._had_choice or _had_choice(played.episode)
            self._mapped |= {step.move.path for step in played.episode.steps if step.move.form is Form.MAP}
            spent_s = monotonic() - began
            self._tell(search, spent_s)
            if self._is_over(search.episodes, spent_s):
                return

    def _judge(self, played: Played, episode: int, spent_s: float) -> None:
        objected = self._jury.judge(live_run(played))
        if objected is None:
            return
        key = (objected.oracle, objected.damage.value, objected.cause)
        if key in self._causes:
            self._causes[key].episodes += 1
            return
        self._causes[key] = _Cause(objected, played, episode)
        self._last_news, self._last_news_s = episode, spent_s
        recipe = recipe_of(switches_of(played.episode))
        self._account.cause(news_of(objected, RACE_MODEL, recipe, len(played.episode.steps)))

    def _is_over(self, episodes: int, spent_s: float) -> bool:
        return is_spent(self._budget, episodes, spent_s) or (
            bool(self._causes)
            and (episodes - self._last_news >= _AFTER or spent_s - self._last_news_s >= self._patience_s)
        )

    def _tell(self, search: Search, spent_s: float) -> None:
        if spent_s - self._told_s < _REPORT_S:
            return
        self._told_s = spent_s
        rate, total, limit_s = search.episodes / spent_s, self._budget.states, self._budget.duration_s
        left = [(total - search.episodes) / rate] if total else []
        left += [limit_s - spent_s] if limit_s else []
        self._account.listener.advanced(
            Pace(done=search.episodes, total=total, states_per_s=rate, seconds_left=min(left, default=None))
        )

    def _finding(self, cause: _Cause, stage: Stage, *, shrink: bool) -> Finding:
        """A cause, explained by the smallest schedule that shows it, once more with source lines."""
        objected, played = cause.objected, cause.played
        switches = switches_of(played.episode)
        notes: tuple[str, ...] = ()
        if shrink:
            try:
                switches, (played, objected) = shrunk(switches, self._judge_of(cause, stage), limit_s=self._patience_s)
                played, objected = self._again(stage, switches, objected) or (played, objected)
            except ValueError:
                notes = (_UNSTEADY,)
        scenario = self._account.scenario.name
        frames = blamed_frames(played, objected.position)
        finding = Finding(
            id=finding_id(scenario, objected.oracle, objected.damage, objected.cause, []),
            scenario=scenario,
            oracle=objected.oracle,
            damage=objected.damage,
            model=RACE_MODEL,
            title=objected.message,
            explanation=(*self._explanation(cause, switches, played), *notes),
            source=user_frame(frames),
            timeline=tuple(interleaving(played.episode, until=objected.position)),
            point=len(played.episode.steps),
            state=recipe_of(switches),
            states=cause.episodes,
            outcome=_worst(played),
            extra={
                "unit": Race.unit,
                "message": objected.message,
                "frames": "; ".join(f"{one.file}:{one.line} {one.function}" for one in frames),
            },
        )
        self._keep(finding)
        return finding

    def _explanation(self, cause: _Cause, switches: Mapping[int, int], shown: Played) -> tuple[str, ...]:
        played = self._account.result.statistics.states
        seen = f"seen in {cause.episodes} of {counted(played, 'episode')}, first in number {cause.episode}"
        if not shown.episode.steps:
            return (seen, "there was no call on the folder before")
        made = f"{counted(len(switches), 'switch')} that had to be made" if switches else "no switch had to be made"
        return (seen, f"shown below, * where another worker goes on: {made}")

    def _judge_of(self, cause: _Cause, stage: Stage) -> Callable[[Mapping[int, int]], tuple[Played, Objected] | None]:
        return lambda schedule: self._again(stage, schedule, cause.objected, sources=False)

    def _again(
        self, stage: Stage, schedule: Mapping[int, int], wanted: Objected, *, sources: bool = True
    ) -> tuple[Played, Objected] | None:
        """Play a schedule; what happened, when the same oracle objects for the same cause."""
        played = stage.play(Switches(schedule, participants=len(self._drive.workers)), sources=sources)
        objected = Jury(self._oracles, self._terms).judge(live_run(played))
        if objected is None or (objected.oracle, objected.cause) != (wanted.oracle, wanted.cause):
            return None
        return played, objected

    def _keep(self, finding: Finding) -> None:
        replay = LiveReplay(
            kind=Race.kind,
            finding=finding.id,
            scenario=finding.scenario,
            oracle=finding.oracle,
            recipe=finding.state,
            oracles=self._oracles,
            seed=self._account.options.seed,
            origin=self._account.scenario.origin,
            settings=_settings(self._drive),
        )
        self._account.folder.keep(finding, dump_live_replay(replay, race_targets(self._drive)))

    def _is_told(self, verdict: OracleVerdict) -> bool:
        """An oracle that nobody asked for and that had nothing to judge is no news."""
        asked = verdict.oracle in (self._drive.oracles or ())
        return asked or verdict.verdict is not Verdict.UNKNOWN or bool(verdict.fault)

    def _learn(self, search: Search, spent_s: float, findings: Sequence[Finding]) -> None:
        self._account.learn(
            verdicts=tuple(filter(self._is_told, self._jury.verdicts())),
            findings=tuple(findings),
            statistics=Statistics(
                unit=Race.unit,
                calls=search.steps,
                crash_points=search.steps,
                enumerated=search.different,
                states=search.episodes,
                exhaustive=search.exhausted,
                left_out=() if search.exhausted else (_left_out(search),),
                states_per_s=search.episodes / spent_s if spent_s else 0.0,
                explore_s=spent_s,
            ),
            notes=(
                f"{search.episodes} episodes from seed {self._account.options.seed}, {search.different} of them "
                f"different; digest of their histories: {search.digest}",
            ),
        )


def _had_choice(episode: Episode) -> bool:
    """Whether two did something else than acknowledging, which no oracle here looks at, and one could go first."""
    doing = {step.participant for step in episode.steps if step.move.text[:1] != _ACK or step.move.form is not Form.SAY}
    return len(doing) > 1 and any(len(ready) > 1 for ready in episode.ready)


def _left_out(search: Search) -> str:
    if search.switches < 0:
        return "orders of calls: those tried were drawn by chance"
    return f"orders of calls with more than {counted(search.switches, 'switch')} were drawn by chance"


def race_targets(drive: Race) -> dict[str, Target]:
    """A race's targets by the names that they have in a replay file."""
    named = {f"worker {number}": worker for number, worker in enumerate(drive.workers)}
    others = {"setup": drive.setup, "check": drive.check}
    return named | {name: target for name, target in others.items() if target is not None}


def race_from(replay: LiveReplay, targets: Mapping[str, Target]) -> Race:
    """The race that a replay file tells of.

    Raises:
        UsageError: the file lacks something.
    """
    settings = replay.settings
    workers = tuple(target for name, target in targets.items() if name.startswith("worker "))
    try:
        return Race(
            workers=workers,
            setup=targets.get("setup"),
            check=targets.get("check"),
            oracles=replay.oracles,
            history=settings.get("history"),
            initial=None if "initial" not in settings else values.decode(settings["initial"]),
            deadline_s=float(settings["deadline"]) if "deadline" in settings else None,
            steps=int(settings["steps"]) if "steps" in settings else None,
            search=tuple(settings.get("search", "").split(os.pathsep)),
        )
    except ValueError as error:
        raise UsageError(f"the settings of the replay file can't be read: {error}", "the file is damaged") from None


def replay_race(replay: LiveReplay, drive: Race) -> tuple[bool, tuple[str, ...]]:
    """Play a finding's schedule once more.

    Returns:
        whether the same oracle still objects, and what happened, line by line.

    Raises:
        ChaosError: a target can't be imported, or the harness failed.
    """
    jury = Jury(replay.oracles, terms_of(drive.history, drive.initial, drive.search))
    schedule = Switches(schedule_of(replay.recipe), participants=len(drive.workers))
    with _stage(drive) as stage:
        played = stage.play(schedule, sources=True)
    objected = jury.judge(live_run(played))
    position = None if objected is None else objected.position
    lines = list(interleaving(played.episode, until=position))
    if objected is not None:
        lines.append(f"{objected.oracle}: {objected.message} ({objected.damage.value})")
    return objected is not None and objected.oracle == replay.oracle, tuple(lines)


def _stage(drive: Race) -> Stage:
    players = Players(
        workers=drive.workers,
        setup=drive.setup,
        check=drive.check,
        steps=drive.steps,
        deadline_s=drive.deadline_s,
        exclude=drive.exclude,
    )
    return Stage(players)


def _settings(drive: Race) -> dict[str, str]:
    given = {
        "history": drive.history if isinstance(drive.history, str) else None,
        "initial": None if drive.initial is None else values.encode(drive.initial),
        "deadline": drive.deadline_s,
        "steps": drive.steps,
        "search": os.pathsep.join(drive.search) or None,
    }
    return {name: str(value) for name, value in given.items() if value is not None}


def _budget(options: RunOptions, budget: Budget | None) -> Budget:
    given = options.budget or budget
    return given or Budget(states=_EPISODES[options.profile], duration_s=_DURATION_S[options.profile])


def _worst(played: Played) -> Outcome:
    outcomes = [*played.outcomes, *([played.check] if played.check is not None else [])]
    return next((one for one in outcomes if one.ending.value != "returned"), replace(outcomes[0]))
