"""Faults compound with crashes: what a struck run did is crashed at every point, and recovery judged on each state.

What a crash shows without any fault is told as that, and not again. Findings of one cause are told once, with the
first run that shows them. Read `injecting.py` for who asks, `exploring.py` for how a run's crash states are explored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from chaos.child.target import Roles
from chaos.explore.settings import Settings
from chaos.observations import Ending, Finding, Reference, Verdict
from chaos.oracles import OracleVerdict, joined
from chaos.report import News
from chaos.report.strikes import blamed_strike, told_with_strikes
from chaos.scenario.runner.account import Account
from chaos.scenario.runner.crashing import keep_crash, replay_of
from chaos.scenario.runner.exploring import Explored, explore
from chaos.scenario.runner.faulty import FaultyRun
from chaos.scenario.watching import Silent
from chaos.trace.file import save
from chaos.trace.model import Trace

__all__ = ["Compounding"]

_STRUCK_TRACE = "struck.trace"  # beside the replay file
_SHARE = 8  # of the time that is left, one run's crash states get so manieth part
_LEAST_S = 1.0
_STATES = 1000  # of one run, where nobody gives a budget for them


@final
@dataclass(slots=True)
class _Case:
    finding: Finding
    trace: Trace
    states: int = 0


@final
class Compounding:
    """The crash states of all struck runs of one scenario.

    Attributes:
        states: how many were judged.
        left_out: what a budget cut off, one line each.
    """

    def __init__(self, account: Account, roles: Roles, settings: Settings, oracles: tuple[str, ...]) -> None:
        self._account, self._roles, self._settings, self._oracles = account, roles, settings, oracles
        self._known: dict[str, _Case] = {}
        self._cases: dict[str, _Case] = {}
        self._verdicts: dict[str, OracleVerdict] = {}
        self.states = 0
        self.left_out: list[str] = []

    def begin(self, clean: Trace, left_s: float | None) -> None:
        """Crash the run without faults first.

        Raises:
            KeyboardInterrupt: somebody stopped it.
        """
        for finding in self._explored(clean, left_s, whose="without faults").findings:
            if finding.state:
                self._known[finding.id] = _Case(finding, clean, finding.states)

    def add(self, run: FaultyRun, left_s: float | None) -> None:
        """Crash a struck run, unless it had to be killed.

        Raises:
            KeyboardInterrupt: somebody stopped it.
        """
        own = run.observation.run
        assert own is not None
        if own.ending is Ending.HUNG or not run.trace.ops or run.trace.unmeasured:
            return
        if left_s is not None and left_s <= 0:
            self.left_out.append(
                f"crash states of the run in which {blamed_strike(run.strikes).words}: the budget was spent"
            )
            return
        explored = self._explored(
            run.trace, left_s, against=run.reference, whose=f"of the run in which {blamed_strike(run.strikes).words}"
        )
        for finding in explored.findings:
            if not finding.state or finding.id in self._known:
                continue
            told = told_with_strikes(finding, run.plan.text(), run.strikes, own)
            case = self._cases.get(told.id)
            if case is None:
                case = self._cases[told.id] = _Case(told, run.trace)
                self._account.cause(_news(told))
            case.states += finding.states

    def finish(self) -> list[Finding]:
        """The findings, kept with the runs that they are in."""
        found = []
        for case in self._known.values():
            replay = replay_of(self._account, case.finding, self._settings, self._oracles)
            keep_crash(self._account, self._roles, case.finding, case.trace, replay)
            found.append(case.finding)
        for case in self._cases.values():
            finding = replace(case.finding, states=case.states)
            folder = self._account.folder.finding_path(finding)
            folder.mkdir(parents=True, exist_ok=True)
            save(case.trace, folder / _STRUCK_TRACE)
            replay = replay_of(self._account, finding, self._settings, self._oracles)
            keep_crash(
                self._account,
                self._roles,
                finding,
                case.trace,
                replace(replay, trace=_STRUCK_TRACE, clean=replay.trace),
            )
            found.append(finding)
        return found

    def verdicts(self, others: Sequence[OracleVerdict]) -> tuple[OracleVerdict, ...]:
        """What the oracles say of the crash states, and of what others judged."""
        return tuple(joined(one, self._verdicts[one.oracle]) if one.oracle in self._verdicts else one for one in others)

    def doubts(self) -> tuple[str, ...]:
        """Of oracles that judged some crash states and could not tell of others: how many, one line each."""
        return tuple(
            f"oracle {one.oracle} could not tell in {one.unknown} of them"
            for one in self._verdicts.values()
            if one.unknown and one.verdict is not Verdict.UNKNOWN
        )

    def _explored(
        self, trace: Trace, left_s: float | None, *, whose: str, against: Reference | None = None
    ) -> Explored:
        share = None if left_s is None else max(_LEAST_S, left_s / _SHARE)
        settings = replace(self._settings, budget_s=share, budget_states=_STATES, against=against)
        name = self._account.scenario.name
        explored = explore(name, trace, self._roles, settings, self._oracles, Silent(), lambda _: None)
        if explored.interrupted:
            raise KeyboardInterrupt
        self.states += explored.statistics.states
        self.left_out += [f"crash states {whose}: {line}" for line in explored.statistics.left_out]
        if not explored.statistics.states:
            reason = explored.findings[0].title if explored.findings else "there are none"
            self.left_out.append(f"crash states {whose}: none was judged ({reason})")
        for verdict in explored.verdicts:
            known = self._verdicts.get(verdict.oracle)
            self._verdicts[verdict.oracle] = verdict if known is None else joined(known, verdict)
        return explored


def _news(finding: Finding) -> News:
    return News(
        title=finding.title,
        oracle=finding.oracle,
        damage=finding.damage,
        model=finding.model,
        state=finding.state,
        point=finding.point,
    )
