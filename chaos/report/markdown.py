"""A summary in GitHub's Markdown, for a job's summary page or a comment on a pull request.

Texts of the target stand in code spans and fenced blocks longer than any fence inside them, so that nothing in them
is read as Markdown or HTML. Read `html.py` for the full report.
"""

import re

from chaos.report.results import RunResult, ScenarioResult, Status, status
from chaos.report.text import counted, finding_lines, printable, result_words, tried, verdict_lines

__all__ = ["markdown"]

_MARKS = {Status.PASSED: "✅", Status.VIOLATED: "❌"}
_LIMIT = 20  # findings told in full; GitHub cuts summaries at 1 MiB


def markdown(run: RunResult) -> str:
    """The run as Markdown."""
    lines = [
        "## Chaos run",
        "",
        f"{counted(len(run.scenarios), 'scenario')}, {tried(run.scenarios)}, {run.duration_s:.1f} s"
        + ("" if run.complete else " (the run was cut)"),
        "",
        "| | scenario | result | points | tried |",
        "| --- | --- | --- | ---: | ---: |",
        *(_row(result) for result in run.scenarios),
    ]
    for result in run.scenarios:
        lines += _details(result)
    return "\n".join(lines) + "\n"


def _row(result: ScenarioResult) -> str:
    numbers = result.statistics
    states = f"{numbers.states}{'' if numbers.exhaustive else '+'}"
    mark = _MARKS.get(status(result), "⚠️")
    return f"| {mark} | {_code(result.scenario)} | {result_words(result)} | {numbers.crash_points} | {states} |"


def _details(result: ScenarioResult) -> list[str]:
    if status(result) is Status.PASSED:
        return []
    lines = ["", f"### {_code(result.scenario)}"]
    notes = list(verdict_lines(result))
    if notes:
        lines += ["", *_fenced(printable("\n".join(notes)))]
    surprises = [finding for finding in result.findings if finding.id in result.expectation.surprises]
    for finding in surprises[:_LIMIT]:
        lines += ["", *_fenced("\n".join(finding_lines(finding)))]
    if len(surprises) > _LIMIT:
        lines += ["", f"and {len(surprises) - _LIMIT} more findings"]
    return lines


def _code(text: str) -> str:
    plain = printable(text).replace("`", "'").replace("|", "\\|").replace("\n", " ")
    return f"`{plain}`"


def _fenced(text: str) -> list[str]:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text, fence]
