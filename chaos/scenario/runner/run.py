"""A whole run: one run folder, one scenario after the other, one result.

Every door makes a `Run`. Read `course.py` for what happens to one scenario.
"""

import os
import platform
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import final

from chaos.observations import Finding
from chaos.report import RunResult, ScenarioResult
from chaos.report.folder import RunFolder, run_id
from chaos.scenario.model import RunOptions, Scenario
from chaos.scenario.runner.course import run_course
from chaos.scenario.watching import Listener, Silent
from chaos.trace.model import Trace
from pytest_guardrails import __version__

__all__ = ["Run"]


@final
class Run:
    """A run under way; use it as a context manager.

    Guarantees: everything that was reported so far is readable in the run folder, also after SIGKILL; no process and
    no temporary folder of a scenario outlives `scenario`. Does not: stop at a scenario that fails. Threads: one.

    Attributes:
        path: the run folder.
    """

    def __init__(
        self,
        options: RunOptions,
        *,
        command: str,
        listener: Listener | None = None,
        replay: Callable[[Finding], str] | None = None,
    ) -> None:
        """Make the run folder.

        Args:
            options: what the caller decides.
            command: what was asked for, for people.
            listener: told of each step.
            replay: the command that reproduces a finding; `chaos replay FOLDER` when None.

        Raises:
            UsageError: the run folder can't be made.
        """
        self._options, self._replay = options, replay
        self._listener: Listener = Silent() if listener is None else listener
        self._began = monotonic()
        self._results: list[ScenarioResult] = []
        now = datetime.now(timezone.utc)
        self._run = RunResult(
            id=run_id(now, os.urandom(2)),
            started=now.isoformat(timespec="seconds"),
            tool=__version__,
            python=platform.python_version(),
            platform=f"{platform.system()} {platform.release()} {platform.machine()}",
            command=command,
        )
        self._folder = RunFolder(options.report_dir, self._run)

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None
    ) -> None:
        self._folder.__exit__(kind, error, trail)

    @property
    def path(self) -> Path:
        """The run folder."""
        return self._folder.path

    def scenario(
        self, scenario: Scenario, *, trace: Trace | None = None, options: RunOptions | None = None
    ) -> ScenarioResult:
        """Run a scenario; all that goes wrong is in the result.

        Args:
            scenario: what to run.
            trace: explore this one instead of recording the workload.
            options: for this scenario; the run's own when None.
        """
        result = run_course(scenario, options or self._options, self._folder, self._listener, trace)
        self._results.append(result)
        return result

    def finish(self, *, complete: bool = True) -> RunResult:
        """Write the report, and close the run folder.

        Args:
            complete: False when the run was cut.
        """
        run = replace(
            self._run, scenarios=tuple(self._results), duration_s=monotonic() - self._began, complete=complete
        )
        self._folder.finish(run)
        return run

    def replay_command(self, finding: Finding) -> str:
        """The command line that reproduces a finding of this run."""
        if self._replay is not None:
            return self._replay(finding)
        return f"chaos replay {shlex.quote(os.path.relpath(self._folder.finding_path(finding)))}"
