"""Runs of pytest that share what was imported share nothing else."""

import pytest

from tests.warm import run_pytest

LEAVES = """
import os
import sys


def test_it():
    assert "left" not in os.environ
    assert "left" not in sys.modules
    os.environ["left"] = "here"
    sys.modules["left"] = sys.modules["os"]
    os.chdir("/")
    with open("/dev/null") as nothing:
        os.dup2(nothing.fileno(), 0)
"""
ENDINGS = "import os\n\ndef test_it():\n    {}\n"


def test_what_one_run_leaves_behind_is_not_there_for_the_next(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LEAVES)
    for _ in range(2):
        run_pytest(pytester).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("body", "code"), [("pass", 0), ("assert False", 1), ("os._exit(7)", 7), ("os.kill(os.getpid(), 9)", -9)]
)
def test_the_exit_code_is_that_of_the_run(pytester: pytest.Pytester, body: str, code: int) -> None:
    pytester.makepyfile(ENDINGS.format(body))
    assert run_pytest(pytester).ret == code


def test_an_option_that_pytest_does_not_know_is_told_on_standard_error(pytester: pytest.Pytester) -> None:
    done = run_pytest(pytester, "--no-such-option")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "unrecognized arguments: --no-such-option" in done.stderr.str()
    assert done.stdout.str() == ""
