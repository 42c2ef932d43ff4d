"""The fixture `crash`, as its user meets it: pytest run on small test files, and what is printed."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.plugin.running import PLAIN_PROGRAM as PROGRAM
from tests.plugin.running import refused, replay_id, run, run_anew, told
from tests.warm import run_pytest

WEAK = PROGRAM + "def test_weak(crash):\n    crash(workload=overwrite, recover=load)\n"
SOUND = PROGRAM + "def test_sound(crash):\n    assert crash(workload=replace, recover=load).statistics.states > 5\n"


def failing(pytester: pytest.Pytester, body: str, *options: str) -> str:
    return run(pytester, PROGRAM + body, *options, failed=1)


def test_a_sound_program_passes_and_the_call_says_how_much_was_tried(pytester: pytest.Pytester) -> None:
    run(pytester, SOUND, passed=1)


@pytest.mark.usefixtures("every_plugin")
def test_a_weak_program_fails_explanation_first_and_replay_command_last(pytester: pytest.Pytester) -> None:
    printed = run_anew(pytester, WEAK, failed=1)
    lines = told(printed, "test_weak")
    assert lines[0].startswith("test_it.py:10 overwrite: recovery raises JSONDecodeError")
    assert lines[-1].startswith("replay: pytest test_it.py::test_weak --chaos-replay ")
    assert "      <- killed here" in lines
    assert "Traceback" not in printed


def test_the_replay_command_shows_the_finding_again_and_is_content_once_it_is_mended(pytester: pytest.Pytester) -> None:
    finding = replay_id(run(pytester, WEAK, failed=1))
    assert f"finding {finding} still shows" in run(pytester, WEAK, "--chaos-replay", finding, failed=1)
    tolerant = WEAK.replace("json.loads(path.read_text())", "json.loads(path.read_text() or '{\"n\": 0}')")
    run(pytester, tolerant, "--chaos-replay", finding, passed=1)


@pytest.mark.parametrize("by_environment", [False, True])
def test_the_command_that_replays_knows_where_findings_are_kept(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, by_environment: bool
) -> None:
    if by_environment:
        monkeypatch.setenv("CHAOS_REPORT", "kept here")
    printed = run(pytester, WEAK, *(() if by_environment else ("--chaos-report", "kept here")), failed=1)
    monkeypatch.delenv("CHAOS_REPORT", raising=False)
    (command,) = [line for line in printed.splitlines() if line.startswith("replay: pytest ")]
    done = run_pytest(pytester, "-p", "no:cacheprovider", *shlex.split(command)[2:])
    assert "still shows" in done.stdout.str()


def test_a_test_that_judges_nothing_of_what_recovery_returns_is_warned(pytester: pytest.Pytester) -> None:
    text = SOUND + "def test_open(crash):\n    crash(workload=replace, recover=lambda disk: open(__file__))\n"
    printed = run(pytester, text, passed=2, warnings=1)
    assert "only that recovery returns was tested: durable and atomic could not tell: recovery returned a " in printed
    assert "TextIOWrapper, which shows nothing of its state: return plain values; give a check" in printed


def test_a_recovery_that_always_returns_the_same_is_warned_of(pytester: pytest.Pytester) -> None:
    text = SOUND + "def test_blind(crash):\n    crash(workload=replace, recover=lambda disk: None)\n"
    printed = run(pytester, text, passed=2, warnings=1)
    assert "durable could not tell: recovery returned the same before and after all acknowledgements; let it" in printed


def test_a_replay_in_another_test_says_that_it_replayed_nothing(pytester: pytest.Pytester) -> None:
    finding = replay_id(run(pytester, WEAK, failed=1))
    other = (
        SOUND.replace("test_sound", "test_other").replace("assert crash", "crash").replace(".statistics.states > 5", "")
    )
    pytester.makepyfile(test_it=other)
    done = run_pytest(pytester, "--chaos-replay", finding)
    assert f"finding {finding} is of another test; nothing was replayed here" in done.stdout.str()
    assert done.ret == pytest.ExitCode.TESTS_FAILED


def test_an_unknown_finding_is_told_with_the_folder_that_was_looked_through(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=WEAK)
    done = pytester.runpytest_subprocess("--chaos-replay", "0123456789ab")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: --chaos-replay: no finding 0123456789ab is kept in {pytester.path / '.chaos'}" in done.stderr.str()
    assert "Traceback" not in done.stderr.str() + done.stdout.str()


WRONG = [
    ("crash(workload=replace, recover=load, modell='kill')", "no argument 'modell'.*did you mean model"),
    ("crash(workload=replace, recover=load, model='ext5')", "ext5"),
    ("crash(workload=replace, recover=load, budget='soon')", r"crash\(budget=...\): expected .*got 'soon'"),
    ("crash(workload=replace, recover=load, deadline=-1)", r"crash\(deadline=...\): expected"),
    ("crash(workload=replace, recover=load, isolation='thread')", "expected fork, batch or command"),
    ("crash(workload=replace, recover=load, oracles=['atomik'])", "atomik"),
    ("crash(workload=replace, recover=None)", "recover is None"),
    ("crash(workload=3, recover=load)", "expected a callable, 'module:object', or a list of commands, got 3"),
    ("crash(workload=replace, recover=load, oracles=5)", r"crash\(oracles=...\): expected a name, or a list of names"),
    ("crash(workload=replace, recover=load, model=[5])", r"crash\(model=...\): expected a name, or a list of names"),
    ("crash(workload=replace, recover=load, jobs='two')", r"crash\(jobs=...\): expected a number of processes"),
    ("crash(workload=replace, recover=load, bounds={'files': 1})", "a mapping with keys among memory, file"),
    ("crash(workload=replace, recover=load, bounds={'rounds': 0})", r"bounds\(rounds=...\): expected a number from 1"),
    ("crash(workload='no.such:thing', recover=load)", "no.such:thing"),
    ("crash(workload=[['no-such-program-here']], recover=load)", "no-such-program-here"),
    ("crash(workload=lambda disk, ack: None, recover=load)", "wrote nothing in the watched folder"),
    ("crash(workload=lambda disk, ack: 1 / 0, recover=load)", "ZeroDivisionError"),
]


def test_a_call_that_makes_no_sense_fails_with_one_message(pytester: pytest.Pytester) -> None:
    refused(pytester, PROGRAM, "crash", WRONG)


def test_the_marker_gives_arguments_and_the_call_overrules_them(pytester: pytest.Pytester) -> None:
    marked = (
        "@pytest.mark.crash(oracles=['clean'])\ndef test_{}(crash):\n    crash(workload=overwrite, recover=load{})\n"
    )
    body = marked.format("marked", "") + "\n\n" + marked.format("overruled", ", oracles=['recovers']")
    assert "FAILED test_it.py::test_overruled" in run(pytester, PROGRAM + body, passed=1, failed=1)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--chaos-seed=x", "--chaos-seed: expected a whole number"),
        ("--chaos-profile=slow", "--chaos-profile: expected one of quick, ci, deep"),
        ("--chaos-budget=never", "--chaos-budget: expected"),
    ],
)
def test_a_wrong_setting_is_named(pytester: pytest.Pytester, option: str, words: str) -> None:
    assert words in run(pytester, WEAK, option, failed=1)


def test_a_wrong_setting_is_named_by_where_it_stands(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\nchaos_engine = steam\n")
    assert "chaos_engine in the ini file: expected one of auto, syscalls, portable" in run(pytester, WEAK, failed=1)
    monkeypatch.setenv("CHAOS_ENGINE", "water")
    assert 'CHAOS_ENGINE: expected one of auto, syscalls, portable, got "water"' in run(pytester, WEAK, failed=1)


def test_settings_come_from_the_ini_file_too(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nchaos_report = kept\nchaos_budget = 500\n")
    run(pytester, WEAK, failed=1)
    (report,) = (pytester.path / "kept" / "runs").glob("*/report.json")
    (outcome,) = json.loads(report.read_text())["outcomes"]
    assert (outcome["scenario"], outcome["status"]) == ("test_it.py::test_weak", "violated")


@pytest.mark.usefixtures("every_plugin")
def test_functions_classes_and_asyncio_tests_beside_each_other(pytester: pytest.Pytester) -> None:
    body = """\
class TestGroup:
    def test_method(self, crash):
        crash(workload=replace, recover=load)


@pytest.mark.asyncio
async def test_coroutine(crash):
    crash(workload=replace, recover=load)


def test_twice(crash):
    crash(workload=replace, recover=load)
    crash(workload=overwrite, recover=load)
"""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    printed = run_anew(pytester, PROGRAM + body, passed=2, failed=1)
    assert "test_it.py::test_twice" in printed


@pytest.mark.usefixtures("every_plugin")
def test_every_worker_of_xdist_explores_and_reports(pytester: pytest.Pytester) -> None:
    body = "".join(
        f"def test_{n}(crash):\n    crash(workload={w}, recover=load)\n"
        for n, w in enumerate(("replace", "overwrite") * 2)
    )
    printed = run_anew(pytester, PROGRAM + body, "-n", "2", passed=2, failed=2)
    assert len(set(re.findall(r"--chaos-replay (\w+)", printed))) == 2


def test_targets_may_be_named_or_be_commands(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(program=PROGRAM)
    commands = [[sys.executable, "-c", "open('a', 'w').write('one')"], ["sh", "-c", "echo two > b"]]
    run(
        pytester,
        f"""
def test_named(crash):
    crash(workload="program:replace", recover="program:load")


def test_commands(crash):
    result = crash(workload={commands!r}, recover=[["ls"]], oracles=["recovers"])
    assert result.statistics.crash_points > 2
""",
        passed=2,
    )


def test_the_state_of_a_finding_is_kept_to_be_looked_at(pytester: pytest.Pytester) -> None:
    run(pytester, WEAK, failed=1)
    (state,) = (pytester.path / ".chaos" / "runs").glob("*/findings/*/state")
    assert (state / "state.json").read_bytes() == b""


def test_nothing_is_imported_or_written_where_the_fixture_is_not_used(pytester: pytest.Pytester) -> None:
    body = "import sys\n\ndef test_lean():\n    assert not any(name.split('.')[0] == 'chaos' for name in sys.modules)\n"
    run_anew(pytester, body, passed=1)
    assert not Path(pytester.path, ".chaos").exists()


def test_the_plugin_tells_its_options_and_its_marker(pytester: pytest.Pytester) -> None:
    assert "--chaos-replay=ID" in pytester.runpytest_subprocess("--help").stdout.str()
    assert "@pytest.mark.crash(model=" in run_pytest(pytester, "--markers").stdout.str()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("crash(workload=replace)", "crash: missing a required"),
        ("crash(replace, load)", "crash: too many positional arguments"),
        ("crash()", "crash: missing a required"),
    ],
)
def test_a_call_without_its_arguments_is_refused_in_one_message(
    pytester: pytest.Pytester, call: str, told: str
) -> None:
    printed = failing(pytester, f"def test_it(crash):\n    {call}\n")
    assert told in printed
    assert "  next: crash(workload=..., recover=...)" in printed
    assert "TypeError" not in printed
