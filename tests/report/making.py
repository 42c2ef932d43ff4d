"""Traces, witnesses and results that the tests of reports share: a counter saved by json.dump over the old file."""

from collections.abc import Sequence
from typing import Any

from chaos.child import values
from chaos.observations import Damage, Ending, Finding, Outcome, Reference, Verdict, Violation
from chaos.oracles import OracleVerdict
from chaos.report.blame import Fate
from chaos.report.findings import Findings
from chaos.report.results import RunResult, ScenarioResult, Statistics
from chaos.trace.model import Ack, Frame, Kind, Op, Trace
from tests.oracles.making import returned

__all__ = [
    "DUMP",
    "LIBRARY",
    "OPEN",
    "collector",
    "finding",
    "no_fates",
    "reference",
    "run_result",
    "saver_trace",
    "scenario_result",
    "violation",
]

OPEN = Frame("/home/ada/app/targets.py", 11, "save")
DUMP = Frame("/home/ada/app/targets.py", 12, "save")
LIBRARY = Frame("/usr/lib/python3.11/json/__init__.py", 180, "dump")


def saver_trace(saves: int = 3, path: str = "state.json") -> Trace:
    """Each save: open with truncation, then one write of 9000 bytes, then an acknowledgement."""
    ops: list[Op] = []
    acks = []
    for number in range(saves):
        ops.append(Op(seq=len(ops), kind=Kind.TRUNCATE, call="openat", node=1, path=path, source=(OPEN,)))
        ops.append(
            Op(seq=len(ops), kind=Kind.WRITE, call="write", node=1, path=path, data=b"x" * 9000, source=(LIBRARY, DUMP))
        )
        acks.append(Ack(after=len(ops), process=0, value=values.encode(number)))
    return Trace(engine="syscalls", command="targets:workload", initial=(), ops=tuple(ops), acks=tuple(acks))


def reference(trace: Trace) -> Reference:
    steps = (returned(-1), *(returned(number) for number in range(len(trace.acks))), returned(len(trace.acks) - 1))
    return Reference(steps=steps, acks=trace.acks, writers=1)


def no_fates(recipe: str, model: str) -> Sequence[Fate]:
    return ()


def collector(trace: Trace, **more: Any) -> Findings:
    options = {"models": ("kill", "ext4", "posix"), "describe": no_fates, **more}
    return Findings("saver", trace, reference(trace), **options)


def violation(oracle: str = "recovers", damage: Damage = Damage.LOUD, **more: Any) -> Violation:
    options = {"message": "recovery raised ValueError: bad", "state": "s", "point": 4, **more}
    return Violation(oracle=oracle, damage=damage, **options)


def finding(**more: Any) -> Finding:
    options: dict[str, Any] = {
        "id": "0123456789ab",
        "scenario": "saver",
        "oracle": "recovers",
        "damage": Damage.CANNOT_START,
        "model": "kill",
        "title": "targets.py:12 save: recovery raises JSONDecodeError",
        "explanation": ("targets.py:12 in save: write() was cut", "then recovery raised JSONDecodeError"),
        "source": DUMP,
        "timeline": ("    0 openat    state.json", "      <- killed here"),
        "point": 4,
        "state": "4/100",
        "states": 7,
        "outcome": Outcome(ending=Ending.RAISED, error_type="json.decoder.JSONDecodeError", frames=(DUMP,)),
        "extra": {"acked": "1"},
    }
    return Finding(**{**options, **more})


def scenario_result(**more: Any) -> ScenarioResult:
    options: dict[str, Any] = {
        "scenario": "saver",
        "engine": "syscalls",
        "models": ("kill",),
        "verdicts": (OracleVerdict(oracle="recovers", verdict=Verdict.HOLDS, held=40),),
        "statistics": Statistics(operations=6, acks=3, crash_points=7, enumerated=50, states=40, exhaustive=True),
    }
    return ScenarioResult(**{**options, **more})


def run_result(*scenarios: ScenarioResult, **more: Any) -> RunResult:
    return RunResult(
        **{"id": "20260102-030405-abcd", "started": "2026-01-02T03:04:05+00:00", "scenarios": scenarios, **more}
    )
