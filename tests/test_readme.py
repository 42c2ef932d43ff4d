"""The README's examples do what the README says that they do."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.warm import run_pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
# What differs from one Python to the next: where the standard library opens the file.
VARIES = re.compile(r" \(pathlib\.py:\d+ open\)| \(_local\.py:\d+ open\)|pathlib\.|_local\.|loud damage|cannot start")


def block(marker: str) -> str:
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.+?)\n```", README, re.DOTALL)
    assert found, marker
    return found.group(1)


def test_the_example_fails_with_the_output_shown(pytester: pytest.Pytester) -> None:
    (pytester.path / "test_counter.py").write_text(block("example: test_counter.py"))
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.assert_outcomes(failed=1)
    own = re.search(r"\n_+ test_counter_survives_a_kill _+\n(.+?)\n=+ ", "\n".join(done.outlines), re.DOTALL)
    assert own, done.outlines
    printed, shown = own.group(1), block("output: test_counter.py")
    assert VARIES.sub("", printed).splitlines() == VARIES.sub("", shown).splitlines()  # no line less, none more


def test_each_fixture_stands_in_the_table_and_each_option_is_told(pytester: pytest.Pytester) -> None:
    listed = run_pytest(pytester, "--fixtures").stdout.str()
    ours = re.findall(r"^(\w+) .*-- \S*pytest_guardrails/plugin/", listed, re.MULTILINE)
    table = re.findall(r"^\| `(\w+)` \| ", README.partition("## The fixtures")[2].partition("\n## ")[0], re.MULTILINE)
    assert sorted(ours) == sorted(table)
    assert len(ours) >= 10
    options = set(re.findall(r"--chaos-\w+", run_pytest(pytester, "--help").stdout.str()))
    assert options <= set(re.findall(r"--chaos-\w+", README))


def test_the_example_with_faults_passes(pytester: pytest.Pytester) -> None:
    (pytester.path / "test_full_disk.py").write_text(block("example: test_full_disk.py"))
    run_pytest(pytester, "-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_the_example_of_a_fleet_passes(pytester: pytest.Pytester) -> None:
    (pytester.path / "test_counting.py").write_text(block("example: test_counting.py"))
    run_pytest(pytester, "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_example_of_a_race_finds_what_it_says_and_plays_it_again(pytester: pytest.Pytester) -> None:
    (pytester.path / "test_visits.py").write_text(block("example: test_visits.py"))
    done = run_pytest(pytester, "-p", "no:cacheprovider")
    done.assert_outcomes(failed=1)
    printed = done.stdout.str()
    assert re.search(r"\d \*worker [01]: \w+\(visits\)  \[test_visits\.py:\d+ visit\]", printed)
    assert "ValueError: invalid literal for int() with base 10: ''" in printed
    assert "the check of what the workers left raised AssertionError" in printed
    finding = re.findall(r"--chaos-replay (\w+)", printed)[-1]
    again = run_pytest(pytester, "-p", "no:cacheprovider", "--chaos-replay", finding)
    again.assert_outcomes(failed=1)


def test_of_the_examples_with_an_llm_the_last_one_fails_with_the_output_shown(pytester: pytest.Pytester) -> None:
    (pytester.path / "test_agent.py").write_text(block("example: test_agent.py"))
    done = run_pytest(pytester, "-p", "no:cacheprovider")
    done.assert_outcomes(passed=2, failed=1)
    assert block("output: test_agent.py") in "\n".join(done.outlines)


def test_the_example_of_the_stack_runs_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(block("example: counting.py"))
    done = subprocess.run([sys.executable, "counting.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "9 [10, 9]"
    assert done.stdout.splitlines()[1].startswith("receipt effect/run/")
    assert (tmp_path / "report.txt").read_text() == "whole or not at all, also in a power cut\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["looping.py", "watching.py"])
def test_the_examples_of_loops_print_what_is_shown(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(block(f"example: {name}"))
    done = subprocess.run([sys.executable, name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == block(f"output: {name}").splitlines()


def test_the_example_of_breakers_processes_and_health_runs_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "guarding.py").write_text(block("example: guarding.py"))
    done = subprocess.run([sys.executable, "guarding.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:2] == ["no answer for 1", "no answer for 2"]
    assert lines[2].startswith("the call was not made: the breaker 'payments' lets nobody through (open); ask again in")
    assert lines[3:] == ["5", "True", "unknown review", "released"]
