"""The fixture `faults`, as its user meets it: pytest run on small test files, and what is printed."""

import re

import pytest

PROGRAM = """\
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


FULL = {"call": "write", "errno": "ENOSPC", "onwards": True}


"""
WEAK = PROGRAM + "def test_weak(faults):\n    faults(workload=overwrite, recover=load, fault=FULL)\n"
SOUND = PROGRAM + "def test_sound(faults):\n    result = faults(workload=replace, recover=load, fault=FULL)\n"


def run(pytester: pytest.Pytester, text: str, *options: str, failed: int = 0, passed: int = 0) -> str:
    pytester.makepyfile(test_it=text)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)
    done.assert_outcomes(failed=failed, passed=passed)
    printed = done.stdout.str()
    assert "plugin/faults.py:" not in printed, printed
    return printed


def test_a_sound_program_passes_and_the_call_says_how_many_runs_were_struck(pytester: pytest.Pytester) -> None:
    run(pytester, SOUND + "    assert result.statistics.states == 2\n", passed=1)


def test_a_weak_program_fails_explanation_first_and_replay_command_last(pytester: pytest.Pytester) -> None:
    printed = run(pytester, WEAK, failed=1)
    _, _, told = printed.partition("test_weak ___")
    lines = [line for line in told.partition("short test summary")[0].splitlines()[1:] if line.strip()][:-1]
    assert lines[0].startswith("test_it.py:10 overwrite: write() of state.json failed with ENOSPC, and recovery raises")
    assert lines[-1].startswith("replay: pytest test_it.py::test_weak --chaos-replay ")
    assert "2 runs" in told


def test_the_replay_command_shows_the_finding_again_and_is_content_once_it_is_mended(pytester: pytest.Pytester) -> None:
    found = re.search(r"--chaos-replay (\w+)", run(pytester, WEAK, failed=1))
    assert found
    printed = run(pytester, WEAK, "--chaos-replay", found[1], failed=1)
    assert f"finding {found[1]} still shows" in printed
    assert "write() of state.json failed with ENOSPC" in printed
    run(pytester, WEAK.replace("workload=overwrite", "workload=replace"), "--chaos-replay", found[1], passed=1)


def test_a_crash_after_a_fault_is_found_and_replayed(pytester: pytest.Pytester) -> None:
    body = """
def synced(disk, ack):
    with (disk / "new").open("w") as file:
        file.write('{"n": 1}')
        file.flush()
        os.fsync(file.fileno())
    (disk / "new").replace(disk / "state.json")
    folder = os.open(disk, os.O_RDONLY)
    os.fsync(folder)
    ack(1)


def test_lie(faults):
    faults(workload=synced, recover=load, fault={"lie": True, "every": 1}, model="posix", oracles=["durable"])


def test_truth(faults):
    faults(workload=synced, recover=load, fault={"call": "sync", "delay": 0.01}, model="posix", oracles=["durable"])
"""
    printed = run(pytester, PROGRAM + body, failed=1, passed=1)
    assert "returned 0 and synced nothing" in printed
    found = re.search(r"--chaos-replay (\w+)", printed)
    assert found
    assert "still shows" in run(pytester, PROGRAM + body, "--chaos-replay", found[1], "-k", "lie", failed=1)


CHILD = """
def save(path, text):
    with open(path, "w") as file:
        file.write(text)
    return len(text)


def test_raises(faults, tmp_path):
    with faults.child(tmp_path, call="write", nth=1, onwards=True, errno="ENOSPC") as child:
        with pytest.raises(OSError, match="No space left"):
            child(save, tmp_path / "f", "text")
    assert child.struck == ["test_it.py:34 in save: write() of f failed with ENOSPC"] * 2
    assert (tmp_path / "f").read_text() == ""


def test_returns(faults, tmp_path):
    with faults.child(tmp_path, {"call": "open", "nth": 1, "delay": "10ms"}, {"full": 1000}) as child:
        assert child(save, tmp_path / "f", text="text") == 4
        assert child(save, tmp_path / "g", "text") == 4
    assert (tmp_path / "g").read_text() == "text"


def test_killed(faults, tmp_path):
    with faults.child(tmp_path, call="write", nth=1, kill="inside", bytes=2) as child:
        with pytest.raises(ChildProcessError, match="killed by signal 9"):
            child(save, tmp_path / "f", "text")
    assert (tmp_path / "f").read_text() == "te"


def test_hung(faults, tmp_path):
    with faults.child(tmp_path, call="write", nth=1, hang=True, deadline="2s") as child:
        with pytest.raises(TimeoutError, match="within 2 s"):
            child(save, tmp_path / "f", "text")


def test_left(faults, tmp_path):
    with faults.child(tmp_path, call="open", nth=1, delay=0.01) as child:
        with pytest.raises(ChildProcessError, match="exit code 3"):
            child(lambda: save(tmp_path / "f", "text") and os._exit(3))
"""


def test_a_function_is_called_in_a_struck_child(pytester: pytest.Pytester) -> None:
    run(pytester, PROGRAM + CHILD, passed=5)


WRONG = [
    ("faults(workload=replace, recover=load, fault={'errno': 'ENOSPACE'})", "no errno 'ENOSPACE'.*ENOSPC"),
    ("faults(workload=replace, recover=load, fault={'errno': 'EIO', 'nht': 1})", "no key 'nht'.*did you mean nth"),
    ("faults(workload=replace, recover=load, fault={'delay': 'soon'})", "delay: expected a duration"),
    ("faults(workload=replace, recover=load, fault=[])", "no fault is given"),
    (
        "faults(workload=replace, recover=load, fault={'call': 'mkdir', 'errno': 'EIO'})",
        "no call was struck: each mkdir",
    ),
    ("faults(workload=replace, recover=load, fault=FULL, runz=3)", "no argument 'runz'.*did you mean runs"),
    ("faults(workload=replace, recover=load, fault=FULL, bounds={'files': 1})", "a mapping with keys among"),
    ("faults(workload=replace, recover=load, fault=FULL, bounds={'file': 'big'})", "expected a size"),
    ("faults(workload=replace, recover=load, fault=FULL, model='ext5')", "ext5"),
    ("with faults.child(tmp_path) as child: child(print)", "no fault is given"),
    ("with faults.child(tmp_path, errno='EIO') as child: child(print)", "takes many runs"),
    ("with faults.child(tmp_path, errno='EIO', nth=1) as child: child(print)", "no call was struck"),
    ("with faults.child(tmp_path / 'none', errno='EIO', nth=1) as child: child(print)", "does not exist"),
    ("with faults.child(tmp_path, errno='EIO', nth=1) as child: child(lambda: lambda: 0)", "can't be sent back"),
]


def test_a_call_that_makes_no_sense_fails_with_one_message(pytester: pytest.Pytester) -> None:
    tests = (f"def test_{number}(faults, tmp_path):\n    {call}\n" for number, (call, _) in enumerate(WRONG))
    printed = run(pytester, PROGRAM + "\n\n".join(tests), failed=len(WRONG))
    told = re.split(r"_{3,} test_\d+ _{3,}", printed)[1:]
    for (call, words), message in zip(WRONG, told, strict=True):
        assert re.search(words, message, re.DOTALL), (call, message)


def test_nothing_is_imported_where_the_fixture_is_not_used(pytester: pytest.Pytester) -> None:
    body = "import sys\n\ndef test_lean():\n    assert not any(name.split('.')[0] == 'chaos' for name in sys.modules)\n"
    run(pytester, body, passed=1)
