"""The run folder: where a run keeps its journal, its report, its traces, and each finding's crash state.

    .chaos/                              has a .gitignore of its own
      runs/20260102-030405.678-1f2e/
        journal.jsonl                    appended while the run goes on, see `journal.py`
        report.json                      written at the end, all or nothing, see `document.py`
        traces/saver.trace               recorded once; crash states are rebuilt from it
        findings/saver-0123456789ab/
          replay.json                    see `replay.py` and `live_replay.py`
          state/                         the crash state itself, as a directory to open

A run's folder is readable at every moment and after SIGKILL of the harness. Retention: as a run begins, the oldest
folders are removed until `KEEP` remain, the new one included; a folder whose run is still alive, and anything that
is not a run folder, is left alone. Read `chaos/report/terminal.py` for what people see.
"""

import re
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import final

from chaos.errors import UsageError
from chaos.observations import Finding
from chaos.report.document import dump, load
from chaos.report.findings import News
from chaos.report.journal import Journal, is_in_use, read_journal
from chaos.report.results import RunResult, ScenarioResult
from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.durability import write_atomic

__all__ = ["KEEP", "RunFolder", "finding_path", "latest_run", "load_run", "remove_old_runs", "run_id"]

KEEP = 20  # a day of work at hand; a finding's state and a trace are a few megabytes at most
_RUN = re.compile(r"\d{8}-\d{6}(\.\d{3})?-[0-9a-f]{4,}")
_GOING = ".removing"
_JOURNAL, _REPORT = "journal.jsonl", "report.json"
_NAME_LIMIT = 100  # characters: a file name holds 255 bytes, and gets additions
_SAFE = re.compile(r"[^A-Za-z0-9._-]")


def run_id(now: datetime, token: bytes) -> str:
    """A name that sorts by time.

    Args:
        now: wall-clock time with its zone.
        token: two or more random bytes, against two runs in one millisecond.
    """
    utc = now.astimezone(timezone.utc)
    return f"{utc:%Y%m%d-%H%M%S}.{utc.microsecond // 1000:03}-{token.hex()}"


@final
class RunFolder:
    """One run's folder, while the run writes it; use it as a context manager.

    Guarantees: see the head of this module. Does not: keep the journal of two runs. On crash: all that was reported
    so far is readable. Threads and processes: one thread of one process writes.
    """

    def __init__(self, root: Path, run: RunResult, *, keep: int = KEEP) -> None:
        """Make `root/runs/<run.id>`, and remove the oldest runs.

        Args:
            root: usually `.chaos`.
            run: the run as it begins: identity without scenarios.
            keep: how many runs remain, this one included; at least 1.

        Raises:
            UsageError: the folder can't be made.
        """
        self.path = root / "runs" / run.id
        try:
            (root / "runs").mkdir(parents=True, exist_ok=True)
            ignore = root / ".gitignore"
            if not ignore.exists():
                write_atomic(ignore, b"*\n", durability="process")
            self.path.mkdir()
            self._journal = Journal(self.path / _JOURNAL, run)
        except (OSError, StorageError) as error:
            raise UsageError(f"the run folder {self.path} can't be made: {error}", "choose another --report") from error
        remove_old_runs(root, keep=keep)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None
    ) -> None:
        self._journal.close()

    def trace_path(self, scenario: str) -> Path:
        """Where the trace of a scenario belongs; the folder is there."""
        folder = self.path / "traces"
        folder.mkdir(exist_ok=True)
        return folder / f"{_safe(scenario)}.trace"

    def begin(self, scenario: str) -> None:
        """A scenario starts."""
        self._journal.scenario(scenario)

    def cause(self, scenario: str, news: News) -> None:
        """A cause not seen before."""
        self._journal.cause(scenario, news)

    def keep(self, finding: Finding, replay: bytes, materialise: Callable[[Path], None] | None = None) -> Path:
        """Keep a finding with its replay file and its crash state.

        Args:
            finding: goes into the journal last, so that what it points to is there.
            replay: its replay file's content; paths in it are relative to the returned folder (`replay_trace`).
            materialise: lays the crash state out as a directory at the given path, which does not exist.

        Returns:
            the finding's folder.
        """
        folder = self.finding_path(finding)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "replay.json", replay, durability="power")
        if materialise is not None:
            shutil.rmtree(folder / "state", ignore_errors=True)
            materialise(folder / "state")
        self._journal.finding(finding)
        return folder

    def finding_path(self, finding: Finding) -> Path:
        """A finding's folder, whether or not it is kept yet."""
        return finding_path(self.path, finding)

    def replay_trace(self, scenario: str) -> str:
        """The path of a scenario's trace as a replay file names it."""
        return f"../../traces/{_safe(scenario)}.trace"

    def result(self, result: ScenarioResult) -> None:
        """A scenario is done."""
        self._journal.result(result)

    def finish(self, run: RunResult) -> Path:
        """Write the report and close the journal; returns the report's path."""
        report = self.path / _REPORT
        write_atomic(report, dump(run), durability="power")
        self._journal.end(run.duration_s)
        self._journal.close()
        return report


def load_run(folder: Path) -> RunResult:
    """Read a run back: its report, or, where there is none, as much as its journal tells.

    Raises:
        UsageError: it is not a run folder, or its files are damaged.
    """
    for name, read in ((_REPORT, load), (_JOURNAL, read_journal)):
        try:
            content = (folder / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(f"{folder / name} can't be read: {error}") from error
        return read(content, str(folder / name))
    raise UsageError(f"{folder} is not a run folder: it has neither {_REPORT} nor {_JOURNAL}")


def finding_path(run_folder: Path, finding: Finding) -> Path:
    """A finding's folder in a run's, whether or not it is kept."""
    return run_folder / "findings" / f"{_safe(finding.scenario)}-{finding.id}"


def latest_run(root: Path) -> Path:
    """The newest run folder below `root`.

    Raises:
        UsageError: there is none.
    """
    runs = _runs(root)
    if not runs:
        raise UsageError(f"no run is kept in {root / 'runs'}", "run `chaos run` first, or name the folder")
    return runs[-1]


def remove_old_runs(root: Path, *, keep: int = KEEP) -> tuple[str, ...]:
    """Remove the oldest runs until `keep` remain; runs still alive are not touched. Returns the names removed."""
    for half in (root / "runs").glob(f"*{_GOING}"):
        if _RUN.fullmatch(half.name.removesuffix(_GOING)) and not half.is_symlink():
            shutil.rmtree(half, ignore_errors=True)
    removed = []
    for run in _runs(root)[: -max(1, keep)]:
        if not is_in_use(run / _JOURNAL):
            # Renamed first: a removal cut half-way must not leave what looks like a run.
            going = run.rename(run.with_name(run.name + _GOING))
            shutil.rmtree(going, ignore_errors=True)
            removed.append(run.name)
    return tuple(removed)


def _runs(root: Path) -> list[Path]:
    folder = root / "runs"
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if _RUN.fullmatch(one.name) and one.is_dir() and not one.is_symlink())


def _safe(name: str) -> str:
    """A scenario's name as a file name; names from tests may hold anything."""
    safe = _SAFE.sub("_", name)[:_NAME_LIMIT].lstrip(".")
    if safe == name:
        return name
    return f"{safe}-{blake2b(name.encode('utf-8', 'surrogateescape'), digest_size=4).hexdigest()}"
