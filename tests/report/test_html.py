"""The HTML page and the crash coverage that it shows."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from chaos.observations import Damage
from chaos.report.coverage import Coverage, CrashMap, LineCoverage, PointCount
from chaos.report.expectations import compare
from chaos.report.html import bars, html
from tests.oracles.making import seen
from tests.report.making import finding, run_result, saver_trace, scenario_result, violation


def explored() -> Coverage:
    crashes = CrashMap(saver_trace(2))
    for point in (0, 1, 2, 2, 3):
        bad = (violation(),) if point == 2 else ()
        crashes.add(seen(1, point=point), bad)
    return crashes.finish()


def page(**changes: object) -> str:
    shown = replace(finding(), **changes)  # type: ignore[arg-type]
    result = scenario_result(findings=(shown,), expectation=compare((), [shown]), coverage=explored())
    return html(run_result(result), replay=lambda one: f"chaos replay {one.id}")


def test_coverage_counts_points_operations_and_lines() -> None:
    coverage = explored()
    assert (coverage.operations, coverage.tried, coverage.share) == (4, 3, 0.75)
    assert coverage.points[2] == PointCount(point=2, states=2, violations=2)
    lines = [(one.line, one.operations, one.tried, one.states, one.violations) for one in coverage.lines]
    assert lines == [(11, 2, 2, 2, 0), (12, 2, 1, 2, 2)]


def test_self_healed_states_do_no_harm() -> None:
    crashes = CrashMap(saver_trace(1))
    crashes.add(seen(1, point=1), (violation(damage=Damage.SELF_HEALED),))
    assert crashes.finish().points == (PointCount(point=1, states=1, violations=0),)


def test_programs_without_source_lines_are_one_row() -> None:
    trace = saver_trace(1)
    bare = replace(trace, ops=tuple(replace(op, source=()) for op in trace.ops))
    (line,) = CrashMap(bare).finish().lines
    assert line == LineCoverage(file="", line=0, function="", operations=2, tried=0, states=0, violations=0)


def test_the_map_takes_neighbours_together_and_loses_none() -> None:
    points = [PointCount(point=n, states=2, violations=n % 2) for n in range(10_001)]
    found = bars(points)
    assert len(found) <= 160
    assert sum(bar.states for bar in found) == 20_002
    assert (found[0].first, found[-1].last) == (0, 10_000)
    assert all(0 <= bar.bad <= 1 and 0 <= bar.height <= 1 for bar in found)


def test_the_page_shows_finding_timeline_map_and_lines() -> None:
    text = page()
    for words in ("targets.py:12 save: recovery raises", "&lt;- killed here", "<svg", "/home/ada/app/targets.py:12"):
        assert words in text
    assert "chaos replay 0123456789ab" in text


def test_texts_of_the_target_are_escaped() -> None:
    text = page(title="<script>alert(1)</script>\x1b[0m", explanation=("<img src=x>",))
    assert "<script" not in text
    assert "<img" not in text
    assert "\x1b" not in text


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    found: list[str] = []

    class Loads(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(f"{tag} {name}" for name, value in attrs if name in ("src", "action", "onload"))
            found.extend(tag for name, value in attrs if name == "href" and not (value or "").startswith("#"))

    Loads().feed(page())
    assert not found


@pytest.mark.parametrize("run", [run_result(), run_result(scenario_result(), complete=False)])
def test_empty_and_cut_runs_have_a_page(run: object) -> None:
    assert "<h1>" in html(run)  # type: ignore[arg-type]


def test_a_note_keeps_its_lines_and_a_scenario_without_verdicts_has_no_table_of_them() -> None:
    result = scenario_result(verdicts=(), notes=("the workload ended with exit code 1:\n    Traceback",))
    text = html(run_result(result))
    assert "white-space: pre-wrap" in text
    assert re.search(r'<p class="note">[^<]*exit code 1:\n    Traceback', text)
    assert "<th>verdict" not in text
    assert "<th>verdict" in page()
