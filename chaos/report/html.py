"""The self-contained HTML report: one file, no script, nothing loaded from elsewhere.

It shows each scenario's verdicts, its findings with their timelines, a map of crash points, and coverage by source
line. Every text is escaped by the template engine; the map is plain SVG. Read `report.html.jinja` for the page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import final

import jinja2

from chaos.observations import Finding
from chaos.report.coverage import PointCount
from chaos.report.results import RunResult, exit_code, status
from chaos.report.text import facts, printable, result_words, verdict_lines

__all__ = ["Bar", "bars", "html"]

_TEMPLATE = "report.html.jinja"
_BARS = 160  # at four pixels each they fit a page


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One column of the crash-state map: neighbouring crash points taken together.

    Attributes:
        first: its first crash point.
        last: its last one.
        states: crash states tried there.
        violations: how many of them violate something.
        height: of the column, 0 to 1.
        bad: the part of the column that stands for violations, 0 to 1.
    """

    first: int
    last: int
    states: int
    violations: int
    height: float
    bad: float


def html(run: RunResult, *, replay: Callable[[Finding], str] | None = None) -> str:
    """The run as one HTML page.

    Args:
        run: what to show.
        replay: the command that reproduces a finding.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["printable"] = printable
    template = environment.from_string(resources.files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        run=run,
        code=exit_code(run.scenarios, interrupted=not run.complete),
        status=status,
        words=result_words,
        notes=verdict_lines,
        facts=facts,
        bars=bars,
        replay=replay or (lambda _: ""),
    )


def bars(points: Sequence[PointCount]) -> tuple[Bar, ...]:
    """The crash-state map's columns, at most `_BARS`."""
    if not points:
        return ()
    width = -(-len(points) // _BARS)
    groups = [points[start : start + width] for start in range(0, len(points), width)]
    most = max(sum(one.states for one in group) for group in groups) or 1
    return tuple(_bar(group, most) for group in groups)


def _bar(group: Sequence[PointCount], most: int) -> Bar:
    states, violations = sum(one.states for one in group), sum(one.violations for one in group)
    return Bar(
        first=group[0].point,
        last=group[-1].point,
        states=states,
        violations=violations,
        height=states / most,
        bad=violations / states if states else 0.0,
    )
