"""What the tests of the fixtures share: pytest run on a small test file in a process of its own, and what it prints.

Read `warm.py` for what `run` spares; each fixture has a test whose pytest starts from nothing, by `run_anew`.
"""

import re
from collections.abc import Sequence

import pytest

from tests.warm import run_pytest

__all__ = ["PLAIN_PROGRAM", "refused", "replay_id", "run", "run_anew", "told"]

# The insides of plugin and harness, which are none of a test's reader's business.
_INSIDES = re.compile(r"^\S*(?:pytest_guardrails|chaos)/\S+\.py:\d+", re.MULTILINE)

# A test file's top: a workload that a crash breaks, one that no kill breaks, and their recovery.
PLAIN_PROGRAM = """\
import json
import os
import time

import pytest


def overwrite(disk, ack):
    for number in range(1, 3):
        (disk / "state.json").write_text(json.dumps({"n": number}))
        ack(number)


def replace(disk, ack):
    for number in range(1, 3):
        try:
            (disk / "new").write_text(json.dumps({"n": number}))
            (disk / "new").replace(disk / "state.json")
        except OSError:
            return
        ack(number)


def load(disk):
    path = disk / "state.json"
    return json.loads(path.read_text()) if path.exists() else {"n": 0}


"""


def run(pytester: pytest.Pytester, text: str, *options: str, **outcomes: int) -> str:
    """What pytest prints for one test file that has these outcomes; no traceback may show the insides or a chain."""
    pytester.makepyfile(test_it=text)
    return _printed(run_pytest(pytester, "-p", "no:cacheprovider", *options), outcomes)


def run_anew(pytester: pytest.Pytester, text: str, *options: str, **outcomes: int) -> str:
    """What `run` returns, of an interpreter that has imported nothing before."""
    pytester.makepyfile(test_it=text)
    return _printed(pytester.runpytest_subprocess("-p", "no:cacheprovider", *options), outcomes)


def _printed(done: pytest.RunResult, outcomes: dict[str, int]) -> str:
    done.assert_outcomes(**outcomes)
    printed = done.stdout.str()
    assert not _INSIDES.search(printed), printed
    assert "During handling" not in printed, printed
    return printed


def told(printed: str, test: str) -> list[str]:
    """The lines that are told of one failed test, without empty ones."""
    _, _, rest = printed.partition(f"{test} ___")
    of_it = re.split(r"^(?:_{3}|={3})", rest.partition("\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return [line for line in of_it.splitlines() if line.strip()]


def replay_id(printed: str) -> str:
    """The finding that was told last."""
    found = re.findall(r"--chaos-replay (\w+)", printed)
    assert found, printed
    return str(found[-1])


def refused(pytester: pytest.Pytester, program: str, fixtures: str, wrong: Sequence[tuple[str, str]]) -> None:
    """Check that each of these calls, in a test of its own, fails with one message, in which its words are.

    Args:
        pytester: runs them.
        program: the test file's top.
        fixtures: that each test takes.
        wrong: calls, and patterns of what they are told.
    """
    tests = (f"def test_{number}({fixtures}):\n    {call}\n" for number, (call, _) in enumerate(wrong))
    printed = run(pytester, program + "\n\n".join(tests), failed=len(wrong))
    for number, (call, words) in enumerate(wrong):
        message = "\n".join(told(printed, f"test_{number}"))
        assert re.search(words, message, re.DOTALL), (call, message)
