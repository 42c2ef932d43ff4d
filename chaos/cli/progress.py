"""How a run shows that it moves: a bar on a terminal, plain lines elsewhere.

A bar shows what is tried per second and the time left; a log gets one line as a scenario begins to be explored, one for
each new cause of damage, and one at its end. Both say the same. The bar is imported where one is shown. Read
`running.py` for who is told.
"""

# ruff: noqa: PLC0415 - see above

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from rich.console import Console
from rich.markup import escape

from chaos.report import News, ScenarioResult, Status, status
from chaos.report.text import counted, printable, result_words, tried
from chaos.scenario import Scenario
from chaos.scenario.watching import Advance, Listener
from chaos.trace.model import Trace

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Bar", "Lines", "listener_for"]


@contextmanager
def listener_for(console: Console) -> Iterator[Listener]:
    """What suits the console: a bar where somebody watches, lines where it is a log."""
    if not console.is_terminal:
        yield Lines(console)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as bar:
        yield Bar(bar, console)


@final
class Lines:
    """One line for each thing worth knowing."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def began(self, scenario: Scenario) -> None:
        """Nothing is known yet."""

    def recorded(self, trace: Trace) -> None:
        """See `Listener.recorded`."""
        operations, acks = counted(len(trace.ops), "operation"), counted(len(trace.acks), "acknowledgement")
        self._say(f"  recorded {operations}, {acks} ({trace.command})")

    def advanced(self, progress: Advance) -> None:
        """A log is not a place to count in."""

    def found(self, news: News) -> None:
        """See `Listener.found`."""
        self._say(f"  found: {news.title} ({news.damage.value})")

    def ended(self, result: ScenarioResult) -> None:
        """See `Listener.ended`."""
        self._say(_end_words(result))

    def _say(self, text: str) -> None:
        self._console.print(printable(text), markup=False, soft_wrap=True)


@final
class Bar:
    """A bar for the scenario under way, and one line above it for each that is done."""

    def __init__(self, bar: "Progress", console: Console) -> None:
        self._bar, self._console = bar, console
        self._task: TaskID | None = None
        self._causes = 0

    def began(self, scenario: Scenario) -> None:
        """See `Listener.began`."""
        self._causes = 0
        self._name, self._unit = escape(printable(scenario.name)), scenario.drive.unit
        self._task = self._bar.add_task(f"{self._name}: beginning", total=None, pace="")

    def recorded(self, trace: Trace) -> None:
        """See `Listener.recorded`."""
        self._show(description=f"{self._name}: {counted(len(trace.ops), 'operation')}")

    def advanced(self, progress: Advance) -> None:
        """See `Listener.advanced`."""
        left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
        causes = f", {counted(self._causes, 'cause')} of damage" if self._causes else ""
        pace = f"{progress.states_per_s:.0f} {self._unit}s/s{left}{causes}"
        self._show(completed=progress.done, total=progress.total, pace=pace)

    def found(self, news: News) -> None:  # noqa: ARG002 - only counted here, told in full at the end
        """See `Listener.found`."""
        self._causes += 1

    def ended(self, result: ScenarioResult) -> None:
        """See `Listener.ended`."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        style = "green" if status(result) is Status.PASSED else "bold red"
        self._console.print(printable(_end_words(result)), style=style, markup=False, soft_wrap=True)

    def _show(self, **changes: object) -> None:
        if self._task is not None:
            self._bar.update(self._task, **changes)  # type: ignore[arg-type]


def _end_words(result: ScenarioResult) -> str:
    """How a scenario came out, on one line."""
    return f"{result.scenario}: {result_words(result)} ({tried([result])} in {result.duration_s:.1f} s)"
