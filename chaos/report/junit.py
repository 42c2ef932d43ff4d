"""JUnit XML, as CI servers read it: one suite a run, one case a scenario.

A violation is a failure, a harness fault or wrong usage an error, and what was not measured is an error too: a CI
server shows skipped cases as green. Read `markdown.py` for the summary on GitHub.
"""

import re
from xml.etree import ElementTree

from chaos.report.results import RunResult, ScenarioResult, Status, status, why
from chaos.report.text import finding_lines, result_words, verdict_lines

__all__ = ["junit_xml"]

# What XML 1.0 can't hold, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(run: RunResult) -> bytes:
    """The run as JUnit XML."""
    came = [status(result) for result in run.scenarios]
    failures = came.count(Status.VIOLATED)
    suite = ElementTree.Element(
        "testsuite",
        name="chaos",
        tests=str(len(came)),
        failures=str(failures),
        errors=str(len(came) - failures - came.count(Status.PASSED)),
        skipped="0",
        time=f"{run.duration_s:.3f}",
        timestamp=run.started,
    )
    suite.extend(_case(result) for result in run.scenarios)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    content: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return content


def _case(result: ScenarioResult) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", classname="chaos", name=_clean(result.scenario), time=f"{result.duration_s:.3f}"
    )
    came = status(result)
    if came is Status.PASSED:
        return case
    kind = "failure" if came is Status.VIOLATED else "error"
    body = ElementTree.SubElement(case, kind, type=came.value, message=_clean(why(result) or result_words(result)))
    lines = list(verdict_lines(result))
    for finding in result.findings:
        if finding.id in result.expectation.surprises:
            lines += ["", *finding_lines(finding)]
    body.text = _clean("\n".join(lines).strip())
    return case


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("?", text)
