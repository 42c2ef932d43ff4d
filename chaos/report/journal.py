"""The journal of a run: one JSON object a line, appended as things happen, readable at every moment.

    {"event": "run", "format": "chaos-journal", "version": 1, "run": {...}}      first line: `RunResult`, still empty
    {"event": "scenario", "scenario": "saver"}                                 it starts
    {"event": "cause", "scenario": "saver", "cause": {...}}                    a cause not seen before (`News`)
    {"event": "finding", "finding": {...}}                                     one finding, explained
    {"event": "result", "result": {...}}                                       a scenario is done: `ScenarioResult`
    {"event": "end", "duration_s": 1.5}                                        the run is done

Each line is written with one call, so SIGKILL of the harness loses nothing that was written; causes, findings and
results are also synced, so that a power cut loses at most the lines after the last of them. A torn last line is
passed over when reading. The writer holds a lock on the file as long as it lives. Read `folder.py` next.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, final

from chaos.errors import UsageError
from chaos.observations import Finding
from chaos.report.document import check_format
from chaos.report.findings import News
from chaos.report.plain import from_plain, parse_json, to_json, to_plain
from chaos.report.results import RunResult, ScenarioResult, Status, Stop
from pytest_guardrails.reliability.durability.kernel import LockUnsupportedError, try_lock, unlock

__all__ = ["FORMAT", "VERSION", "Journal", "is_in_use", "read_journal"]

FORMAT = "chaos-journal"
VERSION = 1


@final
class Journal:
    """Appends to one journal.

    On crash: what was written stays, see above. Threads and processes: one writer, one thread; any number of readers.
    """

    def __init__(self, path: Path, run: RunResult) -> None:
        """Create the file, which must not exist, and take its lock."""
        self._file = path.open("xb", buffering=0)
        try_lock(self._file.fileno(), "exclusive")  # nobody else knows the file yet
        self._write({"event": "run", "format": FORMAT, "version": VERSION, "run": to_plain(run)}, sync=True)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trail: TracebackType | None
    ) -> None:
        self.close()

    def scenario(self, name: str) -> None:
        """A scenario starts."""
        self._write({"event": "scenario", "scenario": name}, sync=False)

    def cause(self, scenario: str, news: News) -> None:
        """A cause not seen before, while the exploration still runs."""
        self._write({"event": "cause", "scenario": scenario, "cause": to_plain(news)}, sync=True)

    def finding(self, finding: Finding) -> None:
        """A finding, explained."""
        self._write({"event": "finding", "finding": to_plain(finding)}, sync=True)

    def result(self, result: ScenarioResult) -> None:
        """A scenario is done."""
        self._write({"event": "result", "result": to_plain(result)}, sync=True)

    def end(self, duration_s: float) -> None:
        """The run is done."""
        self._write({"event": "end", "duration_s": duration_s}, sync=True)

    def close(self) -> None:
        """Let go of file and lock; closing twice is fine."""
        self._file.close()

    def _write(self, record: dict[str, Any], *, sync: bool) -> None:
        self._file.write(to_json(record) + b"\n")
        if sync:
            os.fsync(self._file.fileno())


def is_in_use(path: Path) -> bool:
    """Whether a living writer holds the journal."""
    try:
        with path.open("rb+") as file:
            if not try_lock(file.fileno(), "exclusive"):
                return True
            unlock(file.fileno())
    except LockUnsupportedError:
        return True  # it may be: nothing here can tell
    except OSError:
        return False
    return False


def read_journal(content: bytes, name: str) -> RunResult:
    """What is known of a run from its journal; `complete` says whether it came to its end.

    A scenario that was under way is given with what it had found, and a stop that says so.

    Args:
        content: the journal's bytes, whole or cut anywhere.
        name: the file's name, for errors.

    Raises:
        UsageError: not a journal, a newer one, or one with a damaged line that is not the last.
    """
    records = list(_records(content, name))
    if not records or records[0].get("event") != "run":
        raise UsageError(f"{name} has no first line that names its run", "the run was killed as it began: delete it")
    check_format(records[0], FORMAT, VERSION, name)
    run = from_plain(RunResult, records[0].get("run"), name)
    reading = _Reading(name)
    for record in records[1:]:
        reading.take(record)
    return reading.run(run)


def _records(content: bytes, name: str) -> Iterator[dict[str, Any]]:
    *whole, torn = content.split(b"\n")
    for number, line in enumerate(whole, start=1):
        yield parse_json(line, f"{name}:{number}")
    del torn  # the line being written when the run was killed, or nothing


@final
class _Reading:
    """A run taking shape from its events."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._done: list[ScenarioResult] = []
        self._current: str | None = None
        self._causes: list[str] = []
        self._findings: list[Finding] = []
        self._duration_s: float | None = None

    def take(self, record: dict[str, Any]) -> None:
        event = record.get("event")
        if event == "scenario":
            self._current, self._causes, self._findings = str(record.get("scenario")), [], []
        elif event == "cause":
            news = from_plain(News, record.get("cause"), self._name)
            self._causes.append(f"found: {news.title} (model {news.model}, point {news.point}, state {news.state})")
        elif event == "finding":
            self._findings.append(from_plain(Finding, record.get("finding"), self._name))
        elif event == "result":
            self._done.append(from_plain(ScenarioResult, record.get("result"), self._name))
            self._current = None
        elif event == "end":
            self._duration_s = float(record.get("duration_s", 0.0))

    def run(self, began: RunResult) -> RunResult:
        scenarios = list(self._done)
        if self._current is not None:
            stop = Stop(status=Status.INTERRUPTED, message="the run ended before this scenario was done")
            scenarios.append(
                ScenarioResult(
                    scenario=self._current, findings=tuple(self._findings), notes=tuple(self._causes), stop=stop
                )
            )
        fields = {name: getattr(began, name) for name in ("id", "started", "tool", "python", "platform", "command")}
        return RunResult(
            **fields,
            scenarios=tuple(scenarios),
            duration_s=self._duration_s or 0.0,
            complete=self._duration_s is not None,
        )
