"""The fixture `race`, as its user meets it: pytest run on small test files, and what is printed."""

import re

import pytest

from tests.plugin.running import refused, replay_id, run, run_anew

PROGRAM = """\
import fcntl

import pytest


def setup(disk):
    (disk / "n").write_text("0")


def naive(disk, witness):
    (disk / "n").write_text(str(int((disk / "n").read_text() or 0) + 1))


def locked(disk, witness):
    with open(disk / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with witness.section():
            naive(disk, witness)


async def waits(disk, witness):
    naive(disk, witness)


def yields(disk):
    yield setup(disk)


def check(disk, results):
    assert int((disk / "n").read_text()) == len(results)


"""
WEAK = PROGRAM + "def test_weak(race):\n    race(naive, naive, setup=setup, check=check)\n"
SOUND = PROGRAM + (
    "def test_sound(race):\n"
    "    result = race(locked, locked, locked, setup=setup, check=check, budget=30)\n"
    "    assert result.statistics.states == 30\n"
)


def test_a_sound_program_passes_and_the_call_says_how_much_was_tried(pytester: pytest.Pytester) -> None:
    run(pytester, SOUND, passed=1)


def test_a_race_fails_its_test_with_the_order_of_calls_and_their_lines(pytester: pytest.Pytester) -> None:
    printed = run_anew(pytester, WEAK, failed=1)
    assert "the check of what the workers left raised AssertionError: assert 1 == 2" in printed
    assert re.search(r"\d \*worker [01]: \w+\(n\)  \[test_it\.py:11 naive\]", printed), printed
    assert "replay: pytest test_it.py::test_weak --chaos-replay " in printed


def test_a_finding_is_replayed_in_its_test_until_it_is_gone(pytester: pytest.Pytester) -> None:
    finding = replay_id(run(pytester, WEAK, failed=1))
    again = run(pytester, WEAK, "--chaos-replay", finding, failed=1)
    assert f"race: finding {finding} still shows" in again
    mended = WEAK.replace("race(naive, naive", "race(locked, locked")
    run(pytester, mended, "--chaos-replay", finding, passed=1)


def test_a_finding_of_another_test_is_not_taken_for_replayed(pytester: pytest.Pytester) -> None:
    finding = replay_id(run(pytester, WEAK, failed=1))
    other = WEAK.replace("test_weak", "test_other")
    assert "is of another test" in run(pytester, other, "--chaos-replay", finding, passed=1, errors=1)


def test_a_marker_gives_arguments_and_a_call_s_own_come_first(pytester: pytest.Pytester) -> None:
    text = PROGRAM + (
        "@pytest.mark.race(budget=7)\n"
        "def test_marked(race):\n"
        "    assert race(locked, locked, setup=setup).statistics.states == 7\n"
        "    assert race(locked, locked, setup=setup, budget=3).statistics.states == 3\n"
    )
    run(pytester, text, "--strict-markers", passed=1)


WRONG = [
    ("race(naive)", "two or more workers, got 1"),
    ("race(naive, 5)", r"race\(worker=...\): expected a callable"),
    ("race(naive, waits)", r"waits is an async function, .* asyncio\.run"),
    ("race(naive, naive, setup=yields)", "yields is a generator"),
    ("race(naive, naive, budgt=5)", r"did you mean budget\?"),
    ("race(naive, naive, deadline='soon')", r"race\(deadline=...\): expected"),
    ("race(naive, naive, oracles=['durable'])", "unknown oracle 'durable'"),
    ("race(*[lambda disk, witness: waits(disk, witness)] * 2)", "the target returned a coroutine, .* asyncio.run"),
    ("race(naive, naive, history='stack')", "there is no model 'stack'"),
    ("race(naive, naive, initial=3)", "initial is 3, .* no history is named"),
]


def test_a_call_that_makes_no_sense_fails_with_one_message(pytester: pytest.Pytester) -> None:
    refused(pytester, PROGRAM, "race", WRONG)


def test_a_worker_may_be_a_command_or_a_name(pytester: pytest.Pytester) -> None:
    text = "def work(disk, witness):\n    (disk / 'x').touch()\n\ndef test_it(race):\n" + (
        "    race([['sh', '-c', 'echo > y']], 'test_it:work', budget=3)\n"
    )
    run(pytester, text, passed=1)
