"""The run folder and what is shown from it."""

from chaos.report.blame import Fate
from chaos.report.coverage import Coverage, CrashMap
from chaos.report.expectations import ExpectationResult, Expected, compare
from chaos.report.findings import Findings, News, Shrunk
from chaos.report.results import (
    DepthCount,
    RunResult,
    ScenarioResult,
    Statistics,
    Status,
    Stop,
    exit_code,
    status,
    violations,
    why,
)

__all__ = [
    "Coverage",
    "CrashMap",
    "DepthCount",
    "ExpectationResult",
    "Expected",
    "Fate",
    "Findings",
    "News",
    "RunResult",
    "ScenarioResult",
    "Shrunk",
    "Statistics",
    "Status",
    "Stop",
    "compare",
    "exit_code",
    "status",
    "violations",
    "why",
]
