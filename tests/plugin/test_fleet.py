"""The fixture `fleet`, as its user meets it: pytest run on small test files, and what is printed."""

import pytest

from tests.plugin.running import refused, replay_id, run, run_anew, told

PROGRAM = """\
import os
import time

import pytest

FAULTS = [{"kind": "kill", "statements": 20, "count": 3}]


def append(disk, witness):
    log = os.open(disk / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    number = 0
    while True:
        name = f"{witness.number}.{witness.life}.{number}"
        os.write(log, f"{name}\\n".encode())
        witness(name)
        number += 1
        time.sleep(0.0005)


def load(disk):
    return (disk / "log").read_text().splitlines()


def forget(disk):
    return load(disk)[3:]


"""
WEAK = PROGRAM + "def test_weak(fleet):\n    fleet(append, recover=forget, faults=FAULTS, budget=1)\n"
SOUND = PROGRAM + "def test_sound(fleet):\n    fleet(append, recover=load, faults=FAULTS, budget=2)\n"
QUICK = ("--chaos-profile", "quick")


@pytest.mark.slow
def test_a_sound_program_passes_and_the_call_says_how_much_was_tried(pytester: pytest.Pytester) -> None:
    body = SOUND.replace("    fleet(", "    result = fleet(") + "    assert result.statistics.states == 2\n"
    run(pytester, body + "    assert result.statistics.crash_points == 6\n", *QUICK, passed=1)


@pytest.mark.slow
def test_a_weak_program_fails_explanation_first_and_replay_command_last(pytester: pytest.Pytester) -> None:
    printed = run_anew(pytester, WEAK, *QUICK, failed=1)
    lines = told(printed, "test_weak")
    assert "acknowledged values are gone" in lines[0]
    assert "lost acknowledgement, oracle durable, model fleet" in lines[1]
    assert "   <- this one" in printed
    assert lines[-1].startswith("replay: pytest test_it.py::test_weak --chaos-replay ")
    assert "Traceback" not in printed


@pytest.mark.slow
def test_the_replay_command_shows_the_finding_again_and_is_content_once_it_is_mended(pytester: pytest.Pytester) -> None:
    finding = replay_id(run(pytester, WEAK, *QUICK, failed=1))
    assert f"finding {finding} still shows" in run(pytester, WEAK, "--chaos-replay", finding, *QUICK, failed=1)
    run(pytester, WEAK.replace("[3:]", ""), "--chaos-replay", finding, *QUICK, passed=1)


@pytest.mark.slow
def test_no_fault_means_nothing_was_measured(pytester: pytest.Pytester) -> None:
    body = PROGRAM + "def test_it(fleet):\n    fleet(append, recover=load, budget=1)\n"
    assert "fleet: not measured: no fault struck" in run(pytester, body, *QUICK, failed=1)


@pytest.mark.slow
def test_the_marker_gives_arguments_and_the_call_overrules_them(pytester: pytest.Pytester) -> None:
    marked = (
        "@pytest.mark.fleet(oracles=['terminates'], faults=FAULTS, budget=1)\n"
        "def test_{}(fleet):\n    fleet(append, recover=forget{})\n"
    )
    body = marked.format("marked", "") + "\n\n" + marked.format("overruled", ", oracles=['durable']")
    assert "FAILED test_it.py::test_overruled" in run(pytester, PROGRAM + body, *QUICK, passed=1, failed=1)


WRONG = [
    ("fleet(append, recoverr=load)", "no argument 'recoverr'.*did you mean recover"),
    ("fleet(append, workers=0)", r"fleet\(workers=...\): expected a number from 1, got 0"),
    ("fleet(append, duration='soon')", r"fleet\(duration=...\): expected a duration"),
    ("fleet(append, faults=[{'kind': 'kil', 'every': '1s'}])", "fault.kind: expected one of .*did you mean"),
    ("fleet(append, faults=[{'kind': 'kill'}])", "needs either `every` or `statements`"),
    ("fleet(append, faults={'kind': 'kill'})", r"fleet\(faults=...\): expected a list of tables"),
    ("fleet(append, call_faults=[5])", r"fleet\(call_faults=...\): expected a list of tables"),
    ("fleet(append, restart=5)", r"fleet\(restart=...\): expected a table such as"),
    ("fleet(append, faults=[{'kind': 'disk_full', 'every': '1s'}])", "a disk of its own"),
    ("fleet(append, restart={'policy': 'maybe'})", "restart.policy: expected one of"),
    ("fleet(append, bounds={'memroy': '1MB'}, faults=FAULTS)", "bounds.memroy: unknown key"),
    ("fleet(append, initial=3, faults=FAULTS)", "initial is 3, .* no history is named"),
    ("fleet(append, oracles=['durabel'], faults=FAULTS)", "unknown oracle 'durabel'"),
    ("fleet(append, history='registr', faults=FAULTS)", "no model 'registr'"),
    ("fleet(3)", "expected a callable, 'module:object', or a list of commands, got 3"),
    ("fleet('no.such:thing', faults=FAULTS)", "no.such:thing"),
]


def test_a_call_that_makes_no_sense_fails_with_one_message(pytester: pytest.Pytester) -> None:
    refused(pytester, PROGRAM, "fleet", WRONG)
