"""The JSON report: its versioned shape, writing, reading, and its published schema.

    {"format": "chaos-report", "version": 1, "exit_code": 1,
     "outcomes": [{"scenario": "saver", "status": "violated", "why": ""}],
     "run": {...}}                                        one `RunResult`, see `results.py`

A reader refuses a newer version and other programs' files, and passes over keys that it does not know. Numbers are
always finite. The schema is `report-1.schema.json` beside this module, made by `published_schema` and held equal to
it by a test. Read `folder.py` next.
"""

from dataclasses import dataclass
from typing import Any, final

from chaos.errors import UsageError
from chaos.report.plain import from_plain, parse_json, schema_of, to_json
from chaos.report.results import RunResult, Status, exit_code, status, why

__all__ = [
    "FORMAT",
    "SCHEMA_FILE",
    "VERSION",
    "Document",
    "ScenarioOutcome",
    "check_format",
    "document",
    "dump",
    "load",
    "published_schema",
]

FORMAT = "chaos-report"
VERSION = 1
SCHEMA_FILE = "report-1.schema.json"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioOutcome:
    """How one scenario came out, for readers who want no more."""

    scenario: str
    status: Status
    why: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The whole report."""

    format: str
    version: int
    exit_code: int
    outcomes: tuple[ScenarioOutcome, ...]
    run: RunResult


def document(run: RunResult) -> Document:
    """The report of a run."""
    outcomes = [ScenarioOutcome(scenario=one.scenario, status=status(one), why=why(one)) for one in run.scenarios]
    return Document(
        format=FORMAT,
        version=VERSION,
        exit_code=exit_code(run.scenarios, interrupted=not run.complete),
        outcomes=tuple(outcomes),
        run=run,
    )


def dump(run: RunResult) -> bytes:
    """The report as JSON text.

    Raises:
        ValueError: a number is not finite; a fault of the harness.
    """
    return to_json(document(run), indent=2) + b"\n"


def load(content: bytes, name: str) -> RunResult:
    """Read a report back.

    Args:
        content: the file's bytes.
        name: the file's name, for errors.

    Raises:
        UsageError: it is not a report, is cut, or of a newer version.
    """
    data = parse_json(content, name)
    check_format(data, FORMAT, VERSION, name)
    return from_plain(Document, data, name).run


def check_format(data: dict[str, Any], wanted: str, version: int, name: str) -> None:
    """Refuse another format and newer versions.

    Raises:
        UsageError: what it is instead.
    """
    if data.get("format") != wanted:
        raise UsageError(f"{name} is not a {wanted} file: its format is {data.get('format')!r}")
    found = data.get("version")
    if not isinstance(found, int) or found < 1:
        raise UsageError(f"{name} has version {found!r}; a whole number from 1 was expected")
    if found > version:
        raise UsageError(f"{name} has version {found}; this program reads up to {version}", "update pytest-guardrails")


def published_schema() -> dict[str, Any]:
    """The JSON Schema of the report."""
    return schema_of(Document, title="Report of a chaos run", identifier=f"urn:pytest-guardrails:{SCHEMA_FILE}")
