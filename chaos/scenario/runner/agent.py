"""A scenario of kind `agent` from beginning to end: runs under the fake LLM are judged, what goes wrong is kept.

First the script as it is; then each trouble at each request in turn, until a run ends untouched. Read `agent_runs.py`
for one run, `course.py` for who calls.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import final

from chaos.child.target import Target
from chaos.errors import NotMeasured, UsageError
from chaos.faults.llm_script import Script, Trouble
from chaos.faults.network_rules import rule_data, rule_from
from chaos.observations import Finding
from chaos.oracles.agents import AGENT_ORACLES, choose_agent
from chaos.oracles.jury import Jury, Objected
from chaos.oracles.live import Terms
from chaos.report import Statistics
from chaos.report.findings import finding_id
from chaos.report.live_replay import LiveReplay, dump_live_replay
from chaos.report.plain import from_plain, to_plain
from chaos.report.text import counted
from chaos.scenario.kinds import AGENT_MODEL, Agent
from chaos.scenario.runner.account import INTERRUPTED, Account, budget_for
from chaos.scenario.runner.agent_runs import AgentRuns, Blow, Seen
from chaos.scenario.runner.pace import Pace, is_spent, news_of
from chaos.trace.model import Frame

__all__ = ["agent_from", "replay_agent", "run_agent"]


def run_agent(account: Account, drive: Agent) -> None:
    """Run the agent until all was tried or the budget is spent, and tell the account.

    Raises:
        ChaosError: what ended it.
    """
    _Agents(account, drive).run()


@final
@dataclass(slots=True)
class _Cause:
    """What goes wrong in one way."""

    objected: Objected
    seen: Seen
    blow: Blow
    runs: int = 1


@final
class _Agents:
    def __init__(self, account: Account, drive: Agent) -> None:
        self._account, self._drive = account, drive
        self._oracles = choose_agent(drive.oracles, checked=drive.check is not None)
        self._jury = Jury(self._oracles, Terms(), table=AGENT_ORACLES)
        self._budget = budget_for(account.options, account.scenario.budget)
        self._causes: dict[tuple[str, ...], _Cause] = {}
        self._runs = self._requests = self._connections = 0
        self._injected: Counter[str] = Counter()
        self._left_out = ""

    def run(self) -> None:
        self._account.learn(isolation="fork", models=(AGENT_MODEL,))
        began = monotonic()
        interrupted = False
        with AgentRuns(self._drive, self._account.options.seed) as agent:
            try:
                self._try_all(agent, began)
            except KeyboardInterrupt:
                interrupted = True
        self._learn(monotonic() - began, ())
        if self._drive.network and not (self._injected or self._causes or interrupted):
            raise NotMeasured("nothing was done to any connection", "let the rules of [[network]] fit what is sent")
        findings = tuple(self._finding(cause) for cause in self._causes.values())
        self._learn(monotonic() - began, findings)
        if interrupted:
            self._account.learn(stop=INTERRUPTED)

    def _try_all(self, agent: AgentRuns, began: float) -> None:
        for blow in self._blows(agent):
            spent_s = monotonic() - began
            pace = self._runs / spent_s if spent_s else 0.0
            self._account.listener.advanced(Pace(done=self._runs, total=None, states_per_s=pace, seconds_left=None))
            if is_spent(self._budget, self._runs, spent_s):
                self._left_out = f"from {blow} on: the budget was spent"
                return

    def _blows(self, agent: AgentRuns) -> Iterator[Blow]:
        """Try one blow after the other; what is yielded is the next one."""
        plain = self._try(agent, Blow())
        if not plain and not (self._drive.network and self._connections):
            raise NotMeasured(
                "the agent asked nothing", "let it find the LLM by OPENAI_BASE_URL, as openai.OpenAI() does"
            )
        for trouble in self._drive.troubles:
            for nth in range(1, self._drive.rounds + 1):
                blow = Blow(nth, trouble)
                yield blow
                if self._try(agent, blow) < nth:
                    break  # it ended before the trouble came: untouched

    def _try(self, agent: AgentRuns, blow: Blow) -> int:
        """One run; how many requests it made."""
        seen = agent.run(blow)
        asked = len(seen.exchanges)
        self._runs, self._requests = self._runs + 1, self._requests + asked
        self._connections += seen.connections
        self._injected.update(seen.injected)
        objected = self._jury.judge(seen.run)
        if objected is not None:
            self._note(objected, seen, blow)
        return asked

    def _note(self, objected: Objected, seen: Seen, blow: Blow) -> None:
        key = (objected.oracle, objected.damage.value, objected.cause, blow.trouble.value if blow.trouble else "")
        if key in self._causes:
            self._causes[key].runs += 1
            return
        self._causes[key] = _Cause(objected, seen, blow)
        self._account.cause(news_of(objected, AGENT_MODEL, str(blow), len(seen.exchanges)))

    def _finding(self, cause: _Cause) -> Finding:
        objected, scenario = cause.objected, self._account.scenario.name
        trouble = cause.blow.trouble.value if cause.blow.trouble else ""
        finding = Finding(
            id=finding_id(scenario, objected.oracle, objected.damage, f"{objected.cause} {trouble}", []),
            scenario=scenario,
            oracle=objected.oracle,
            damage=objected.damage,
            model=AGENT_MODEL,
            title=objected.message,
            explanation=(
                f"with {cause.blow}: {trouble} in the place of the LLM's answer to request {cause.blow.nth}"
                if trouble
                else "with the script as it is",
                *((f"it printed: {cause.seen.run.outcome.output[-200:]!r}",) if cause.seen.run.outcome.output else ()),
            ),
            source=_source(cause.seen),
            timeline=cause.seen.lines(),
            point=len(cause.seen.exchanges),
            state=str(cause.blow),
            states=cause.runs,
            outcome=cause.seen.run.outcome,
            extra={"unit": "run", "message": objected.message},
        )
        replay = LiveReplay(
            kind=Agent.kind,
            finding=finding.id,
            scenario=scenario,
            oracle=finding.oracle,
            recipe=finding.state,
            oracles=self._oracles,
            seed=self._account.options.seed,
            origin=self._account.scenario.origin,
            settings=_settings(self._drive),
        )
        self._account.folder.keep(finding, dump_live_replay(replay, _targets(self._drive)))
        return finding

    def _learn(self, spent_s: float, findings: tuple[Finding, ...]) -> None:
        self._account.learn(
            verdicts=self._jury.verdicts(),
            findings=findings,
            statistics=Statistics(
                unit=Agent.unit,
                crash_points=self._requests,
                states=self._runs,
                states_per_s=self._runs / spent_s if spent_s else 0.0,
                explore_s=spent_s,
                exhaustive=not self._left_out,
                left_out=(self._left_out,) if self._left_out else (),
            ),
            notes=(
                f"{counted(self._requests, 'request')} in {counted(self._runs, 'run')}, "
                f"seed {self._account.options.seed}",
                *([f"done to connections: {_told(self._injected)}"] if self._injected else []),
            ),
        )


def agent_from(replay: LiveReplay, targets: Mapping[str, Target]) -> Agent:
    """The agent that a replay file tells of.

    Raises:
        UsageError: the file lacks something.
    """
    settings = replay.settings
    try:
        return Agent(
            agent=targets["agent"],
            setup=targets.get("setup"),
            check=targets.get("check"),
            script=from_plain(Script, json.loads(settings["script"]), "settings.script"),
            troubles=tuple(map(Trouble, json.loads(settings["troubles"]))),
            network=tuple(map(rule_from, json.loads(settings["network"]))),
            oracles=replay.oracles,
            rounds=int(settings["rounds"]),
            deadline_s=float(settings["deadline"]) if "deadline" in settings else None,
        )
    except (KeyError, ValueError) as error:
        raise UsageError(f"the settings of the replay file can't be read: {error}", "the file is damaged") from None


def replay_agent(replay: LiveReplay, drive: Agent) -> tuple[bool, tuple[str, ...]]:
    """Do to the agent once more what a finding tells of.

    Returns:
        whether the same oracle still objects, and what was said, line by line.

    Raises:
        ChaosError: a target can't be imported, or the harness failed.
    """
    with AgentRuns(drive, replay.seed) as agent:
        seen = agent.run(Blow.parse(replay.recipe))
    objected = Jury(replay.oracles, Terms(), table=AGENT_ORACLES).judge(seen.run)
    lines = list(seen.lines())
    if objected is not None:
        lines.append(f"{objected.oracle}: {objected.message} ({objected.damage.value})")
    return objected is not None and objected.oracle == replay.oracle, tuple(lines)


def _settings(drive: Agent) -> dict[str, str]:
    given = {
        "script": json.dumps(to_plain(drive.script)),
        "troubles": json.dumps([one.value for one in drive.troubles]),
        "network": json.dumps([rule_data(rule) for rule in drive.network]),
        "rounds": str(drive.rounds),
    }
    return given | ({} if drive.deadline_s is None else {"deadline": str(drive.deadline_s)})


def _told(injected: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {times}" for what, times in sorted(injected.items()))


def _targets(drive: Agent) -> dict[str, Target]:
    named = {"agent": drive.agent, "setup": drive.setup, "check": drive.check}
    return {name: target for name, target in named.items() if target is not None}


def _source(seen: Seen) -> Frame | None:
    """The line of the agent's own code that raised: the innermost that is not a library's."""
    frames = seen.run.outcome.frames
    return next((one for one in frames if "site-packages" not in one.file and "/lib/python" not in one.file), None)
