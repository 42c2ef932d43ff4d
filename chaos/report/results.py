"""What a run came to, as data: one `ScenarioResult` a scenario, one `RunResult` a run, and the exit code they mean.

Every report is made from these and nothing else, and they can be written to JSON and read back without loss. This
module must not run, read or print anything. Read `findings.py` for where findings come from, `document.py` next.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import final

from chaos.observations import Damage, Finding, Verdict
from chaos.oracles.panel import OracleVerdict
from chaos.report.coverage import Coverage
from chaos.report.expectations import ExpectationResult

__all__ = [
    "DepthCount",
    "RunResult",
    "ScenarioResult",
    "Statistics",
    "Status",
    "Stop",
    "exit_code",
    "status",
    "violations",
    "why",
]


@final
class Status(str, Enum):
    """How a scenario came out."""

    PASSED = "passed"  # everything held, or exactly what was expected was found
    VIOLATED = "violated"  # a violation that was not expected, or an expected finding that is missing
    NOT_MEASURED = "not measured"  # nothing, or not everything that was asked for, could be tested
    USAGE = "wrong usage"  # the scenario or the command is wrong
    FAULT = "harness fault"  # the harness failed; the target is not to blame
    INTERRUPTED = "interrupted"  # somebody stopped it


# What the command exits with; where scenarios differ, the first of these statuses decides.
_EXIT_CODES = {
    Status.INTERRUPTED: 130,
    Status.FAULT: 4,
    Status.USAGE: 2,
    Status.VIOLATED: 1,
    Status.NOT_MEASURED: 3,
    Status.PASSED: 0,
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DepthCount:
    """How much was tried with so many crashes one after the other.

    Attributes:
        depth: how many crashes.
        starts: from how many states a run could start: 1, and for the second crash, the states right after the first.
        runs: how many of these runs were recorded.
        states: crash states judged.
    """

    depth: int
    starts: int
    runs: int
    states: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """How much was tried.

    Attributes:
        calls: system calls that were trapped while recording.
        operations: those that changed or synced the watched files.
        acks: acknowledgements made.
        crash_points: positions in the trace at which a crash was tried; of other kinds, calls at which one could
            have gone otherwise.
        enumerated: crash states before equal ones were removed.
        states: crash states that were judged, of all depths; of other kinds, how many of their `unit`.
        reused: of these, at depth 1, those whose answer was that of another state: recovery never opened what differs.
        exhaustive: every state that the models allow was among them.
        left_out: what was not tried, one line each.
        untried: persistence models of which no state was tried that an earlier model does not have.
        states_per_s: over the exploration.
        record_s: wall time of recording, in seconds.
        explore_s: wall time of the exploration, in seconds.
        hung: recoveries that were killed at their deadline.
        died: recoveries that a signal or a lack of memory ended.
        by_model: states judged, by persistence model, as (model, states).
        by_depth: the same by the number of crashes; empty when only one was tried.
        unit: what is counted: "crash state", or what a kind tries ("episode").
    """

    calls: int = 0
    operations: int = 0
    acks: int = 0
    crash_points: int = 0
    enumerated: int = 0
    states: int = 0
    reused: int = 0
    exhaustive: bool = False
    left_out: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()
    states_per_s: float = 0.0
    record_s: float = 0.0
    explore_s: float = 0.0
    hung: int = 0
    died: int = 0
    by_model: tuple[tuple[str, int], ...] = ()
    by_depth: tuple[DepthCount, ...] = ()
    unit: str = "crash state"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """What ended a scenario before its end.

    Attributes:
        status: USAGE, NOT_MEASURED, FAULT or INTERRUPTED.
        message: what happened.
        hint: the next step, or "".
    """

    status: Status
    message: str
    hint: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """What became of one scenario.

    Attributes:
        scenario: its name.
        kind: how it was driven.
        description: for people.
        origin: the file or test it came from.
        engine: what recorded: "syscalls" or "portable"; "" when it did not come to that.
        isolation: how recoveries were kept apart.
        models: persistence models explored, weakest promise broken last.
        seed: of everything drawn by chance.
        verdicts: each oracle's verdict.
        asked: the oracles that the user named; unknown verdicts of these are not a pass.
        findings: what was found, most damage first.
        expectation: how the findings compare with those that the scenario expects.
        statistics: how much was tried.
        coverage: where it was tried.
        unmeasured: why this is no measurement, such as a watched file that could not be modelled; one line each.
        notes: remarks on the run, one line each.
        stop: what ended it early, if anything did.
        duration_s: wall time in all, in seconds.
    """

    scenario: str
    kind: str = "explore"
    description: str = ""
    origin: str = ""
    engine: str = ""
    isolation: str = ""
    models: tuple[str, ...] = ()
    seed: int = 0
    verdicts: tuple[OracleVerdict, ...] = ()
    asked: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    expectation: ExpectationResult = field(default_factory=ExpectationResult)
    statistics: Statistics = field(default_factory=Statistics)
    coverage: Coverage = field(default_factory=Coverage)
    unmeasured: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stop: Stop | None = None
    duration_s: float = 0.0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What became of one run of one or more scenarios.

    Attributes:
        id: the run folder's name.
        started: wall-clock time in ISO 8601, UTC.
        tool: this package's version.
        python: the interpreter's version.
        platform: kernel and machine.
        command: what was asked for, for people.
        scenarios: in the order run.
        duration_s: wall time in all, in seconds.
        complete: the run came to its end; False in what is read from a run that was killed.
    """

    id: str
    started: str
    tool: str = ""
    python: str = ""
    platform: str = ""
    command: str = ""
    scenarios: tuple[ScenarioResult, ...] = ()
    duration_s: float = 0.0
    complete: bool = True


def violations(result: ScenarioResult) -> tuple[Finding, ...]:
    """The findings that count: self-healed damage is reported and is not a violation."""
    return tuple(finding for finding in result.findings if finding.damage is not Damage.SELF_HEALED)


def status(result: ScenarioResult) -> Status:
    """How a scenario came out; doubt never counts as a pass."""
    if result.stop is not None and result.stop.status in (Status.INTERRUPTED, Status.FAULT, Status.USAGE):
        return result.stop.status
    if any(verdict.fault for verdict in result.verdicts):
        return Status.FAULT
    if result.expectation.surprises:
        return Status.VIOLATED
    if result.stop is not None or _untested(result):
        return Status.NOT_MEASURED
    return Status.VIOLATED if result.expectation.missing else Status.PASSED


def why(result: ScenarioResult) -> str:
    """The reason of a status that is neither passed nor a plain violation, one line; "" otherwise."""
    if result.stop is not None:
        return result.stop.message
    faults = [verdict.fault for verdict in result.verdicts if verdict.fault]
    if faults:
        return faults[0]
    if result.expectation.surprises:
        return ""
    if untested := _untested(result):
        return untested
    if result.expectation.missing:
        return f"expected and not found: {'; '.join(result.expectation.missing)}"
    return ""


def exit_code(results: Iterable[ScenarioResult], *, interrupted: bool = False) -> int:
    """What the command `chaos` exits with: 0, 1, 2, 3, 4 or 130.

    A run of no scenario at all tested nothing, and is 3.
    """
    found = {status(result) for result in results} | ({Status.INTERRUPTED} if interrupted else set())
    return next((code for one, code in _EXIT_CODES.items() if one in found), _EXIT_CODES[Status.NOT_MEASURED])


def _untested(result: ScenarioResult) -> str:
    """Why this is no measurement, or ""."""
    if result.unmeasured:
        return result.unmeasured[0]
    if result.findings and not result.statistics.states:
        return ""  # broken on an undamaged disk: no crash was needed
    if not result.statistics.states:
        return f"no {result.statistics.unit} was reached"
    if result.statistics.untried:
        models = ", ".join(result.statistics.untried)
        return f"the budget ended before any state of {models} alone was tried; give a larger one"
    known = [verdict for verdict in result.verdicts if verdict.verdict is not Verdict.UNKNOWN]
    if not known:
        reasons = [f"{verdict.oracle}: {verdict.reason}" for verdict in result.verdicts]
        return "no oracle could tell" + (f": {'; '.join(reasons)}" if reasons else "")
    unknown = [one for one in result.verdicts if one.verdict is Verdict.UNKNOWN and one.oracle in result.asked]
    return f"oracle {unknown[0].oracle}, asked for by name, could not tell: {unknown[0].reason}" if unknown else ""
