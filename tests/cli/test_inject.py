"""The kind `inject` by the command: what a file says, what a run prints, and a finding once more."""

import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.shell import Result, chaos, nothing_left, put_scenario, start
from tests.cli.test_interrupt import GIVE_UP_S, wait_until

WRITES = '[[fault]]\ncall = "write"\nerrno = "ENOSPC"\nonwards = true\n'


def put(
    folder: Path, name: str = "one", *, fault: str = WRITES, top: tuple[str, ...] = (), workload: str = "overwrite"
) -> Path:
    path = put_scenario(folder, name, workload=workload, top=['kind = "inject"', *top])
    path.write_text(path.read_text() + fault)
    return path


def finding(folder: Path) -> Path:
    (found,) = (folder / ".chaos" / "runs").glob("*/findings/*")
    return found


@dataclass(frozen=True)
class Weak:
    """One run that found something; who changes its folder takes a copy."""

    folder: Path
    done: Result


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Weak:
    folder = tmp_path_factory.mktemp("weak")
    put(folder)
    return Weak(folder, chaos(folder, "run"))


def test_a_weak_program_is_found_and_replayed_by_its_id(weak: Weak) -> None:
    done = weak.done
    assert done.code == 1, done.out
    assert "targets.py:9 overwrite: write() of state.json failed with ENOSPC, and recovery raises" in done.out
    assert "1 violated; 2 runs in" in done.out
    replayed = chaos(weak.folder, "replay", finding(weak.folder).name.rpartition("-")[2])
    assert replayed.code == 1
    assert "targets.py:9 in overwrite: write() of state.json failed with ENOSPC" in replayed.out
    assert "still shows" in replayed.out


def test_a_finding_that_was_mended_is_gone(tmp_path: Path) -> None:
    put(tmp_path)
    chaos(tmp_path, "run")
    targets = tmp_path / "scenarios" / "targets.py"
    targets.write_text(targets.read_text().replace('json.loads((disk / "state.json").read_text())', "0"))
    replayed = chaos(tmp_path, "replay", str(finding(tmp_path)))
    assert (replayed.code, "is gone" in replayed.out) == (0, True)


def test_a_sound_program_holds_and_the_report_says_so(tmp_path: Path) -> None:
    put(tmp_path, workload="replace")
    done = chaos(tmp_path, "run", "--json", "report.json")
    assert done.code == 0, done.out
    (outcome,) = json.loads((tmp_path / "report.json").read_text())["outcomes"]
    assert outcome["status"] == "passed"
    (scenario,) = json.loads((tmp_path / "report.json").read_text())["run"]["scenarios"]
    assert (scenario["kind"], scenario["statistics"]["unit"], scenario["statistics"]["states"]) == ("inject", "run", 2)
    assert chaos(tmp_path, "report").code == 0


def test_an_expected_finding_is_no_violation_and_a_missing_one_is(tmp_path: Path) -> None:
    expected = '[[expect]]\noracle = "recovers"\nmodel = "injected fault"\nsource = "targets.py:9"\n'
    put(tmp_path, fault=WRITES + expected)
    assert chaos(tmp_path, "run").code == 0
    put(tmp_path, fault=WRITES + expected, workload="replace")
    assert chaos(tmp_path, "run").code == 1


def test_the_list_says_what_is_done(tmp_path: Path) -> None:
    put(tmp_path, top=('models = ["ext4"]',))
    printed = chaos(tmp_path, "list").out
    assert "faults: each write in turn and all after it fails with ENOSPC; crashed under: ext4" in printed


def test_commands_are_struck_as_well(tmp_path: Path) -> None:
    path = put_scenario(
        tmp_path,
        workload='[["sh", "-c", "echo 1 > state.json"], ["sh", "-c", "echo 2 > state.json"]]',
        top=['kind = "inject"'],
        recover='[["cat", "state.json"]]',
    )
    path.write_text(path.read_text() + '[[fault]]\ncall = "write"\nnth = 2\nerrno = "EIO"\n')
    done = chaos(tmp_path, "run")
    assert done.code == 1, done.out
    assert "write() of state.json failed with EIO, and" in done.out


WRONG = [
    ("", ':1: "fault" is missing; next: add [[fault]]'),
    ("[[fault]]\n", ":7: fault[0]: it does nothing"),
    ('[[fault]]\ncall = "write"\n', ":7: fault[0]: it does nothing; next: give exactly one of errno, short"),
    ('[[fault]]\nerrno = "ENOSPACE"\n', ":7: fault[0]: there is no errno 'ENOSPACE'; next: did you mean ENOSPC?"),
    ("[[fault]]\nerrno = 28\n", ':8: fault[0].errno: expected the name of an error, such as "ENOSPC", got 28'),
    ('[[fault]]\nerrno = "EIO"\ncall = "wirte"\n', ':9: fault[0].call: expected one of "write", "sync"'),
    ('[[fault]]\nerrno = "EIO"\nnht = 1\n', ':9: fault[0].nht: unknown key; next: did you mean "nth"?'),
    ('[[fault]]\nerrno = "EIO"\nnth = 0\n', ":9: fault[0].nth: expected a number from 1, got 0"),
    ("[[fault]]\nhang = false\n", ":8: fault[0].hang: expected true, got false"),
    ("[[fault]]\nshort = 0\n", ':8: fault[0].short: expected a number of bytes from 1, or "half", got 0'),
    ('[[fault]]\npause = "long"\n', ":8: fault[0].pause: expected a duration"),
    ('[[fault]]\nfull = "much"\n', ":8: fault[0].full: expected a size"),
    ("[[fault]]\nlie = true\nprobability = 2\n", ":9: fault[0].probability: expected a number above 0, at most 1"),
    ('[[fault]]\nlie = true\ncall = ["sync", "write"]\n', ":7: fault[0]: lie can't be done to"),
    ('[[fault]]\nerrno = "EIO"\n[bounds]\nfiles = 1\n', ':10: bounds.files: unknown key; next: did you mean "file"?'),
]


@pytest.mark.parametrize(("fault", "words"), WRONG, ids=[fault for fault, _ in WRONG])
def test_a_file_that_makes_no_sense_is_told_by_line_and_key(tmp_path: Path, fault: str, words: str) -> None:
    put(tmp_path, fault=fault)
    done = chaos(tmp_path, "run")
    assert done.code == 2
    assert words in done.err, done.err


def test_where_no_call_is_struck_the_exit_code_is_3(tmp_path: Path) -> None:
    put(tmp_path, fault='[[fault]]\ncall = "mkdir"\nerrno = "EIO"\n')
    done = chaos(tmp_path, "run")
    assert done.code == 3
    assert "no call was struck: each mkdir in turn fails with EIO" in done.out


def test_the_engine_without_faults_is_refused(tmp_path: Path) -> None:
    put(tmp_path)
    done = chaos(tmp_path, "run", "--engine", "portable")
    assert (done.code, "the portable engine injects no faults" in done.out) == (3, True)


@pytest.mark.parametrize(
    "change", [{"recipe": "none"}, {"recipe": '{"faults":[{"nth":1}],"seed":""}'}, {"settings": {"bounds": "["}}]
)
def test_a_damaged_replay_file_is_refused(tmp_path: Path, weak: Weak, change: dict[str, object]) -> None:
    folder = Path(shutil.copytree(weak.folder, tmp_path / "copy"))
    path = finding(folder) / "replay.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert chaos(folder, "replay", str(path)).code == 2


def test_ctrl_c_keeps_what_was_found_and_leaves_nothing(tmp_path: Path) -> None:
    hanging = '[[fault]]\ncall = "write"\nnth = 1\nhang = true\n'
    put(tmp_path, fault=hanging, top=('workload_deadline = "600s"',))
    with nothing_left(str(tmp_path)):
        process = start(tmp_path, "run")
        wait_until(tmp_path / ".chaos" / "runs" / "*" / "traces" / "one.trace")  # then come the struck runs
        os.kill(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 130, out
