"""What people see at the end of a run: a table of scenarios, then each finding that matters, then one last line.

It says the same without colour (words carry the verdict), fits 80 columns, and obeys NO_COLOR, which `rich` reads.
Texts of the target are never read as markup. Read `text.py` for the words.
"""

import os
from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chaos.observations import Damage, Finding
from chaos.report.results import RunResult, ScenarioResult, Status, exit_code, status
from chaos.report.text import facts, printable, result_words, tried, verdict_lines

__all__ = ["console_for_people", "print_finding", "print_run"]

_STYLES = {
    Status.PASSED: "green",
    Status.VIOLATED: "bold red",
    Status.NOT_MEASURED: "yellow",
    Status.USAGE: "yellow",
    Status.FAULT: "magenta",
    Status.INTERRUPTED: "yellow",
}
_TERMINAL_WIDTH = 80  # up to here a table has no room for whole names
_NAME_WIDTH = 30
_UNSEEN_WIDTH = 200  # where no terminal is: in a log or a pipe lines are searched, and breaking them helps nobody


def console_for_people() -> Console:
    """Standard output: as wide as its terminal, or as COLUMNS says; where there is neither, lines stay whole."""
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNSEEN_WIDTH
    return console


def _no_command(_: Finding) -> str:
    return ""


def print_run(
    run: RunResult,
    console: Console,
    *,
    replay: Callable[[Finding], str] = _no_command,
    verbose: bool = False,
) -> None:
    """Print a run.

    Args:
        run: what to tell.
        console: where to; its width and colours are its own.
        replay: the command that reproduces a finding, or "".
        verbose: tell expected and self-healed findings in full too.
    """
    console.print(_table(run, console.width))
    for result in run.scenarios:
        _print_scenario(result, console, replay, verbose)
    console.print(_last_line(run))


def print_finding(finding: Finding, console: Console, *, replay: str = "") -> None:
    """Print one finding in full, the command that replays it last."""
    console.print(_text(finding.title, style="bold red"))
    console.print(Padding(_text(facts(finding), style="dim"), (0, 0, 0, 2), expand=False))
    for line in finding.explanation:
        console.print(Padding(_text(line), (0, 0, 0, 2), expand=False))
    if finding.timeline:
        console.print()
        for row in finding.timeline:
            console.print(_text(row, style=_row_style(row)), soft_wrap=True)
    for line in finding.advice:
        console.print(Padding(_text(f"fix: {line}", style="green"), (0, 0, 0, 2), expand=False))
    if replay:
        console.print()
        # A command is copied: it is never broken over lines.
        console.print(_text(f"  replay: {replay}", style="cyan"), soft_wrap=True)
    console.print()


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _table(run: RunResult, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("scenario", max_width=_NAME_WIDTH if width <= _TERMINAL_WIDTH else None, overflow="fold")
    table.add_column("result")
    for heading in ("points", "tried", "per s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("engine", no_wrap=True)
    for result in run.scenarios:
        numbers = result.statistics
        table.add_row(
            _text(result.scenario),
            Text(result_words(result), style=_STYLES[status(result)]),
            str(numbers.crash_points),
            f"{numbers.states}{'' if numbers.exhaustive else '+'}",
            f"{numbers.states_per_s:.0f}",
            result.engine,
        )
    return table


def _print_scenario(result: ScenarioResult, console: Console, replay: Callable[[Finding], str], verbose: bool) -> None:
    notes = list(verdict_lines(result))
    if not notes and not result.findings:
        return
    console.print()
    console.print(_text(result.scenario, style="bold"))
    for note in notes:
        console.print(Padding(_text(note), (0, 0, 0, 2), expand=False))
    for finding in result.findings:
        if verbose or finding.id in result.expectation.surprises:
            console.print()
            print_finding(finding, console, replay=replay(finding))
        else:
            word = "self-healed" if finding.damage is Damage.SELF_HEALED else "expected"
            console.print(Padding(_text(f"{word}: {finding.title} ({facts(finding)})"), (0, 0, 0, 2), expand=False))


def _row_style(row: str) -> str:
    if "<-" in row[:8]:
        return "bold yellow"
    return "red" if row.endswith((" lost", " torn")) else ""


def _last_line(run: RunResult) -> Text:
    came = [status(result) for result in run.scenarios]
    words = [f"{came.count(one)} {one.value}" for one in Status if one in came]
    reused = sum(result.statistics.reused for result in run.scenarios)
    known = f", {reused} of which differ from others only in bytes that recovery never opened," if reused else ""
    cut = "" if all(result.statistics.exhaustive for result in run.scenarios) else " (+ = not all of them)"
    code = exit_code(run.scenarios, interrupted=not run.complete)
    text = f"{', '.join(words) or 'no scenario was run'}; {tried(run.scenarios)}{cut}{known} in {run.duration_s:.1f} s"
    return Text(text if run.complete else f"{text}; the run was cut", style="green" if code == 0 else "bold red")
