"""The fixture `faults`, as its user meets it: pytest run on small test files, and what is printed."""

import pytest

from tests.plugin.running import PLAIN_PROGRAM, refused, replay_id, run, run_anew, told

PROGRAM = (
    PLAIN_PROGRAM
    + """\
FULL = {"call": "write", "errno": "ENOSPC", "onwards": True}


"""
)
WEAK = PROGRAM + "def test_weak(faults):\n    faults(workload=overwrite, recover=load, fault=FULL)\n"
SOUND = PROGRAM + "def test_sound(faults):\n    result = faults(workload=replace, recover=load, fault=FULL)\n"


def test_a_sound_program_passes_and_the_call_says_how_many_runs_were_struck(pytester: pytest.Pytester) -> None:
    run(pytester, SOUND + "    assert result.statistics.states == 2\n", passed=1)


def test_a_weak_program_fails_explanation_first_and_replay_command_last(pytester: pytest.Pytester) -> None:
    printed = run_anew(pytester, WEAK, failed=1)
    lines = told(printed, "test_weak")
    assert lines[0].startswith("test_it.py:10 overwrite: write() of state.json failed with ENOSPC, and recovery raises")
    assert lines[-1].startswith("replay: pytest test_it.py::test_weak --chaos-replay ")
    assert "2 runs" in lines


def test_the_replay_command_shows_the_finding_again_and_is_content_once_it_is_mended(pytester: pytest.Pytester) -> None:
    finding = replay_id(run(pytester, WEAK, failed=1))
    printed = run(pytester, WEAK, "--chaos-replay", finding, failed=1)
    assert f"faults: finding {finding} still shows" in printed
    assert "  what was left: " in printed
    assert "write() of state.json failed with ENOSPC" in printed
    run(pytester, WEAK.replace("workload=overwrite", "workload=replace"), "--chaos-replay", finding, passed=1)


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
    finding = replay_id(printed)
    again = run(pytester, PROGRAM + body, "--chaos-replay", finding, "-k", "lie", failed=1, deselected=1)
    assert "still shows" in again


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
        "faults(workload=replace, recover=load, fault='write')",
        r"faults\(fault=...\): expected a list of tables such as",
    ),
    (
        "with faults.child(tmp_path, 'EIO') as child: child(print)",
        r"faults.child\(fault=...\): expected a list of tabl",
    ),
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
    ("with faults.child(5, errno='EIO', nth=1) as child: pass", "expected a folder, got 5"),
    ("with faults.child(tmp_path / 'none', errno='EIO', nth=1) as child: child(print)", "does not exist"),
    ("with faults.child(tmp_path, errno='EIO', nth=1) as child: child(lambda: lambda: 0)", "can't be sent back"),
]


def test_a_call_that_makes_no_sense_fails_with_one_message(pytester: pytest.Pytester) -> None:
    refused(pytester, PROGRAM, "faults, tmp_path", WRONG)


def test_nothing_is_imported_where_the_fixture_is_not_used(pytester: pytest.Pytester) -> None:
    body = "import sys\n\ndef test_lean():\n    assert not any(name.split('.')[0] == 'chaos' for name in sys.modules)\n"
    run_anew(pytester, body, passed=1)
