"""Writes a run's reports where the user wants them, all or nothing; a form's code is imported when it is wanted."""

# ruff: noqa: PLC0415 - see above

from collections.abc import Callable
from pathlib import Path

from chaos.errors import UsageError
from chaos.observations import Finding
from chaos.report import RunResult
from chaos.report.document import dump
from pytest_guardrails.errors import GuardrailsError
from pytest_guardrails.reliability.durability import write_atomic

__all__ = ["write_reports"]

_Maker = Callable[[RunResult], bytes]


def write_reports(
    run: RunResult,
    *,
    json: Path | None = None,
    junit: Path | None = None,
    page: Path | None = None,
    summary: Path | None = None,
    replay: Callable[[Finding], str] | None = None,
) -> None:
    """Write the reports that have a path: JSON, JUnit XML, an HTML page, a summary in Markdown.

    Args:
        run: what they tell of.
        json: the path of each, or None.
        junit: likewise.
        page: likewise.
        summary: likewise.
        replay: the command line that reproduces a finding, or "", for people.

    Raises:
        UsageError: one can't be written there.
    """
    wanted: list[tuple[Path | None, _Maker]] = [
        (json, dump),
        (junit, _junit),
        (page, lambda result: _page(result, replay)),
        (summary, _summary),
    ]
    for path, make in wanted:
        if path is not None:
            _write(path, make(run))


def _junit(run: RunResult) -> bytes:
    from chaos.report.junit import junit_xml

    return junit_xml(run)


def _page(run: RunResult, replay: Callable[[Finding], str] | None) -> bytes:
    from chaos.report.html import html

    return html(run, replay=replay).encode()


def _summary(run: RunResult) -> bytes:
    from chaos.report.markdown import markdown

    return markdown(run).encode()


def _write(path: Path, content: bytes) -> None:
    if not path.parent.is_dir():
        raise UsageError(f"the report {path} can't be written: no such folder", "name a file in a folder that exists")
    try:
        if path.exists() and not path.is_file():  # such as /dev/stdout, or a shell's >(...)
            path.write_bytes(content)
        else:
            write_atomic(path, content, durability="process")
    except (GuardrailsError, OSError) as error:
        raise UsageError(f"the report {path} can't be written: {error}", "name another file") from None
