"""Terminal, plain text, JUnit and Markdown: readable without colour, at 80 columns, and safe with odd texts."""

import io
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from chaos.observations import Damage, Verdict
from chaos.oracles import OracleVerdict
from chaos.report.expectations import ExpectationResult, compare
from chaos.report.junit import junit_xml
from chaos.report.markdown import markdown
from chaos.report.places import operation_words
from chaos.report.results import RunResult, Statistics, Status, Stop
from chaos.report.terminal import console_for_people, print_run
from chaos.report.text import finding_lines, result_words
from chaos.trace.model import Kind, Op
from tests.report.making import finding, run_result, scenario_result

BROKEN = scenario_result(findings=(finding(),), expectation=compare((), [finding()]))
EXPECTED = scenario_result(
    scenario="canary", findings=(finding(),), expectation=ExpectationResult(expected=("oracle recovers",))
)
DOUBT = scenario_result(
    scenario="appender",
    verdicts=(OracleVerdict(oracle="atomic", verdict=Verdict.UNKNOWN, reason="2 processes acknowledge"),),
    statistics=Statistics(states=9, left_out=("kill: 3 of 12 states not run",)),
)
REPLAY = "chaos replay " + "/a/very/long/path" * 6 + "/findings/saver-0123456789ab"


def shown(run: RunResult, *, verbose: bool = False, replay: str = "chaos replay X") -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=80, color_system=None)
    print_run(run, console, replay=lambda _: replay, verbose=verbose)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "path", "words"),
    [(b"1", "a\nb", r"write() of 1 byte to a\nb"), (b"12", "ünï", "write() of 2 bytes to ünï")],
)
def test_an_operation_is_told_in_one_line_and_counts_one_byte_as_one(data: bytes, path: str, words: str) -> None:
    assert operation_words(Op(seq=0, kind=Kind.WRITE, call="write", path=path, data=data)) == words


def test_the_explanation_comes_first_and_the_replay_command_last() -> None:
    lines = finding_lines(finding(), REPLAY)
    assert lines[0] == "targets.py:12 save: recovery raises JSONDecodeError"
    assert lines[-1] == f"  replay: {REPLAY}"
    assert lines.index("  targets.py:12 in save: write() was cut") < lines.index("    0 openat    state.json")


def test_the_terminal_says_it_in_words_without_any_escape_code() -> None:
    text = shown(run_result(BROKEN, duration_s=1.25))
    assert "\x1b" not in text
    assert "VIOLATED: 1 violation" in text
    assert "targets.py:12 save: recovery raises JSONDecodeError" in text
    assert text.rstrip().endswith("1 violated; 40 crash states in 1.2 s")


def test_no_color_is_obeyed_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    print_run(run_result(BROKEN), Console(file=stream, width=80, force_terminal=True))
    assert "\x1b[31m" not in stream.getvalue()
    assert "\x1b[1;31m" not in stream.getvalue()


def test_everything_but_the_command_fits_80_columns_and_the_command_is_one_line() -> None:
    long = replace(finding(), title="t" * 300, explanation=("word " * 60,))
    result = replace(BROKEN, scenario="n" * 70, findings=(long,))
    lines = shown(run_result(result), replay=REPLAY).splitlines()
    assert f"  replay: {REPLAY}" in lines
    assert all(len(line) <= 80 for line in lines if "replay:" not in line)


def test_an_expected_finding_takes_one_line_unless_asked_for() -> None:
    assert "expected: targets.py:12 save" in shown(run_result(EXPECTED))
    assert "<- killed here" not in shown(run_result(EXPECTED))
    assert "<- killed here" in shown(run_result(EXPECTED), verbose=True)


def test_doubts_and_what_was_left_out_are_told() -> None:
    text = shown(run_result(DOUBT))
    assert "NOT MEASURED" in text
    assert "2 processes acknowledge" in text
    assert "left out: kill: 3 of 12 states not run" in text


def test_texts_of_the_target_are_not_read_as_markup() -> None:
    odd = replace(finding(), title="[bold]x[/nope]")
    assert "[bold]x[/nope]" in shown(run_result(replace(BROKEN, findings=(odd,))))


def test_a_cut_run_says_so() -> None:
    assert "the run was cut" in shown(run_result(BROKEN, complete=False))


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (scenario_result(), "holds"),
        (EXPECTED, "as expected: 1 finding"),
        (
            replace(EXPECTED, expectation=ExpectationResult(expected=("a",), missing=("a",))),
            "VIOLATED: 1 expected not found",
        ),
        (DOUBT, "NOT MEASURED"),
        (scenario_result(stop=Stop(status=Status.FAULT, message="x")), "HARNESS FAULT"),
    ],
)
def test_results_in_a_few_words(result: object, words: str) -> None:
    assert result_words(result) == words  # type: ignore[arg-type]


# JUnit

MANY = run_result(BROKEN, EXPECTED, DOUBT, duration_s=2.0)


def test_junit_counts_violations_as_failures_and_doubts_as_errors() -> None:
    (suite,) = ElementTree.fromstring(junit_xml(MANY))
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
    }
    assert [[child.tag for child in case] for case in suite] == [["failure"], [], ["error"]]


def test_junit_tells_the_finding() -> None:
    failure = ElementTree.fromstring(junit_xml(MANY)).find(".//failure")
    assert failure is not None
    assert "targets.py:12 in save: write() was cut" in (failure.text or "")


def test_junit_stays_xml_whatever_the_texts_hold() -> None:
    odd = replace(finding(), title="a\x00b\x1b[0m\udc80\uffff<&>]]>")
    ElementTree.fromstring(junit_xml(run_result(replace(BROKEN, scenario="\x01", findings=(odd,)))))


# Markdown


def test_markdown_has_a_row_a_scenario_and_details_of_what_did_not_pass() -> None:
    text = markdown(MANY)
    assert "| ❌ | `saver` | VIOLATED: 1 violation | 7 | 40 |" in text
    assert "| ✅ | `canary` | as expected: 1 finding | 7 | 40 |" in text
    assert "| ⚠️ | `appender` | NOT MEASURED | 0 | 9+ |" in text
    assert "### `saver`" in text
    assert "### `canary`" not in text


def test_markdown_fences_are_longer_than_any_inside() -> None:
    odd = replace(finding(), title="x\n```\n<script>")
    text = markdown(run_result(replace(BROKEN, scenario="a|b`c", findings=(odd,))))
    assert "````text\nx\n```\n<script>" in text
    assert "`a\\|b'c`" in text


def test_self_healed_findings_are_called_so() -> None:
    healed = finding(damage=Damage.SELF_HEALED)
    assert "self-healed: targets.py:12" in shown(run_result(scenario_result(findings=(healed,))))


def test_texts_of_the_target_can_not_steer_the_terminal_nor_break_the_encoding() -> None:
    odd = replace(finding(), title="a\x1b[2Jb\udc80\u202ec", explanation=("tab\tand\x07",))
    result = replace(BROKEN, scenario="s\x1b", findings=(odd,))
    for text in (shown(run_result(result)), markdown(run_result(result)), "\n".join(finding_lines(odd))):
        text.encode()
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "a\\x1b[2Jb\\udc80\\u202ec" in text


def test_lines_stay_whole_where_no_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = replace(finding(), title="t" * 120)
    print_run(run_result(replace(BROKEN, scenario="n" * 70, findings=(long,))), console_for_people())
    printed = capsys.readouterr().out
    assert "n" * 70 + "  " in printed
    assert "t" * 120 in printed
    monkeypatch.setenv("COLUMNS", "80")
    print_run(run_result(replace(BROKEN, scenario="n" * 70)), console_for_people())
    assert "n" * 31 not in capsys.readouterr().out.partition("\n\n")[0]


def test_what_several_models_leave_out_is_told_once() -> None:
    doubled = replace(DOUBT, statistics=Statistics(states=9, left_out=("the same", "another", "the same")))
    assert shown(run_result(doubled)).count("left out: the same") == 1
