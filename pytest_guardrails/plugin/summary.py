"""What was explored, told where nothing went wrong: a line at the end of the session, with `-v` one for each call.

Each call leaves one property with its test's report, as JSON text: so it comes through xdist, and into JUnit XML. Read
`session.py` for what is told of a test that fails.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from chaos.observations import Verdict
from chaos.oracles.durable import BLIND
from chaos.report import ScenarioResult, Status, status
from chaos.report.text import counted
from chaos.scenario import Explore, Inject
from pytest_guardrails.plugin.stash import PROPERTY

__all__ = ["call_line", "last_line", "property_of", "told"]

_HELD, _UNKNOWN = "held", "could not tell"


def property_of(fixture: str, result: ScenarioResult) -> tuple[str, str]:
    """A call as a property of its test: name, and JSON text."""
    numbers = result.statistics
    return PROPERTY, json.dumps(
        {
            "fixture": fixture,
            "result": status(result).value,
            "tried": numbers.states,
            "unit": numbers.unit,
            "all": numbers.exhaustive,
            "left_out": list(dict.fromkeys(numbers.left_out)),
            "points": numbers.crash_points if result.kind == "explore" else 0,
            "models": result.models if result.kind in (Explore.kind, Inject.kind) else (),
            "engine": result.engine,
            _HELD: [one.oracle for one in result.verdicts if one.verdict is Verdict.HOLDS],
            "blind": BLIND in result.notes,
            _UNKNOWN: [one.oracle for one in result.verdicts if one.verdict is Verdict.UNKNOWN],
        }
    )


def told(reports: Iterable[object]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Test and what is known of a call, for each call in these reports."""
    for report in reports:
        if isinstance(report, pytest.TestReport) and report.when == "call":
            for name, text in report.user_properties:
                if name == PROPERTY:
                    yield report.nodeid, json.loads(str(text))


def call_line(test: str, call: Mapping[str, Any]) -> str:
    """What one call tried, for people."""
    points = f" at {counted(call['points'], 'crash point')}" if call["points"] else ""
    parts = [f"{counted(call['tried'], call['unit'])}{points}{_extent(call)}"]
    if call["models"]:
        parts.append(f"model {', '.join(call['models'])}")
    if call["result"] == Status.PASSED.value:
        parts += [f"{what}: {', '.join(call[what])}" for what in (_HELD, _UNKNOWN) if call[what]]
    else:
        parts.append(call["result"])
    if call["blind"]:
        parts.append(BLIND)
    if call["engine"] == "portable":
        parts.append("portable engine: Python code alone was followed")
    return f"{test} {call['fixture']}: {'; '.join(parts)}"


def last_line(calls: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """What all calls tried, in one line."""
    numbers: dict[str, int] = {}
    tests, cut, portable, blind = set(), set(), set(), set()
    for test, call in calls:
        tests.add(test)
        numbers[call["unit"]] = numbers.get(call["unit"], 0) + call["tried"]
        if call["points"] and not call["all"]:
            cut.add(test)
        if call["engine"] == "portable":
            portable.add(test)
        if call["blind"]:
            blind.add(test)
    tried = ", ".join(counted(number, unit) for unit, number in numbers.items())
    more = [f"not all that there are in {counted(len(cut), 'test')}"] if cut else []
    more += [f"Python code alone, by the portable engine, in {counted(len(portable), 'test')}"] if portable else []
    more += (
        [f"acknowledgements made too early not judged in {counted(len(blind), 'test')} (-v says why)"] if blind else []
    )
    return "; ".join([f"{counted(len(tests), 'test')} tried {tried}", *more])


def _extent(call: Mapping[str, Any]) -> str:
    if not call["points"]:
        return ""
    if call["all"]:
        return ", all that there are"
    return (
        f", not all that there are ({'; '.join(call['left_out'])})" if call["left_out"] else ", not all that there are"
    )
