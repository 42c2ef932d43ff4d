"""`chaos race` and the other commands on races: what they print and what they exit with."""

import os
import re
import signal
from pathlib import Path

import pytest

from chaos.child.target import CommandTarget
from chaos.cli.settings import target_named
from chaos.report.folder import latest_run, load_run
from tests.cli.shell import chaos, nothing_left, start
from tests.cli.test_interrupt import GIVE_UP_S, wait_until, wait_until_gone

COUNT_UP = ("sh", "-c", "n=$(cat n); echo $((n+1)) > n")
SETUP = ("--setup", "sh -c 'echo 0 > n'")
CHECK = ("--check", "sh -c 'test $(cat n) = 2'")
TARGETS = """\
def setup(disk):
    (disk / "n").write_text("0")

def naive(disk, witness):
    with witness.call("add", 1):
        (disk / "n").write_text(str(int((disk / "n").read_text() or 0) + 1))

def safe(disk, witness):
    (disk / str(witness.number)).touch()

def total(disk, results):
    return int((disk / "n").read_text())
"""


def test_command_lines_race_and_the_lost_update_is_told_and_replayed(tmp_path: Path) -> None:
    done = chaos(tmp_path, "race", *SETUP, *CHECK, "--budget", "12", "--", *COUNT_UP, "--", *COUNT_UP)
    assert done.code == 1, done
    assert "worker 0's child 1" in done.out
    replay = next(line.split("replay: ")[1] for line in done.out.splitlines() if "replay: " in line)
    again = chaos(tmp_path, *replay.split()[1:])
    assert again.code == 1
    assert "still shows" in again.out
    assert chaos(tmp_path, *replay.split()[1:], "--shell").code == 2


def test_command_lines_that_touch_nothing_are_not_measured(tmp_path: Path) -> None:
    done = chaos(tmp_path, "race", "--", "true", "--", "true")
    assert done.code == 3
    assert "nothing raced" in done.out


def test_functions_of_the_current_folder_race_too(tmp_path: Path) -> None:
    (tmp_path / "targets_of_race.py").write_text(TARGETS)
    named = [f"targets_of_race:{name}" for name in ("setup", "total", "naive", "naive")]
    done = chaos(
        tmp_path, "race", "--setup", named[0], "--check", named[1], "--oracle", "no_lost_update", "--budget", "60",
        "--", named[2], "--", named[3],
    )  # fmt: skip
    assert done.code == 1
    assert "[targets_of_race.py:6 naive]" in done.out


def test_a_sound_race_passes_with_0(tmp_path: Path) -> None:
    (tmp_path / "targets_of_race.py").write_text(TARGETS)
    done = chaos(tmp_path, "race", "--budget", "10", "--", "targets_of_race:safe", "--", "targets_of_race:safe")
    assert done.code == 0
    assert "1 passed; 10 episodes" in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--", "true"), "two or more command lines"),
        (("--oracle", "durable", "--", "true", "--", "true"), "--oracle: expected one of"),
        (("--budget", "soon", "--", "true", "--", "true"), "--budget: expected"),
        (("--check", "'", "--", "true", "--", "true"), "--check: No closing quotation"),
        (("--check", "test -e n && true", "--", "true", "--", "true"), "--check: && would be an argument of test"),
    ],
)
def test_wrong_usage_exits_with_2(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = chaos(tmp_path, "race", *words)
    assert done.code == 2
    assert told in done.err


@pytest.mark.parametrize("text", ["grep '|' f", 'sh -c "a || b"', "find . -exec ls {} +"])
def test_what_a_shell_would_read_may_be_quoted(text: str) -> None:
    assert isinstance(target_named("--check", text), CommandTarget)


def test_a_command_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    done = chaos(tmp_path, "race", "--", "no-such-program", "--", "true")
    assert done.code == 2
    assert "not on the PATH" in done.out


def scenario(folder: Path, *, worker: str = "naive", top: str = 'oracles = ["no_lost_update"]') -> None:
    shelf = folder / "scenarios"
    shelf.mkdir()
    (shelf / "targets.py").write_text(TARGETS)
    (shelf / "counter.toml").write_text(
        f'name = "counter"\nkind = "race"\nbudget = 40\n{top}\n[target]\nsetup = "targets:setup"\n'
        f'workers = ["targets:{worker}", "targets:{worker}"]\ncheck = "targets:total"\n'
    )


def test_a_race_is_listed_run_reported_and_replayed_by_its_id(tmp_path: Path) -> None:
    scenario(tmp_path)
    assert "race of 2 processes; oracles: no_lost_update" in chaos(tmp_path, "list").out
    done = chaos(tmp_path, "run")
    assert done.code == 1
    found = re.search(r"id (\w{12})", done.out)
    assert found
    assert chaos(tmp_path, "replay", found[1]).code == 1
    shown = chaos(tmp_path, "report", "--html", "r.html", "--markdown", "r.md", "--junit", "r.xml")
    assert shown.code == 0
    assert "acknowledged updates make it 2" in (tmp_path / "r.html").read_text()
    assert " episodes, " in (tmp_path / "r.md").read_text()


def test_a_race_has_no_recorded_workload_to_be_killed(tmp_path: Path) -> None:
    scenario(tmp_path, worker="safe", top="")
    done = chaos(tmp_path, "validate", "--kills", "1")
    assert done.code == 3
    assert "counter: not measured: it has no recorded workload" in done.out


HANGING = """
import threading
from pathlib import Path

def hang(disk, witness):
    (disk / "x").touch()
    if witness.number == 1:
        (Path(__file__).parent / "began").touch()
        threading.Event().wait()
"""


def hanging(folder: Path) -> None:
    scenario(folder, worker="hang", top='deadline = "100s"')
    targets = folder / "scenarios" / "targets.py"
    targets.write_text(targets.read_text() + HANGING)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_race_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    hanging(tmp_path)
    with nothing_left(str(tmp_path)):
        process = start(tmp_path, "run")
        wait_until(tmp_path / "scenarios" / "began")
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in out + err
    assert not load_run(latest_run(tmp_path / ".chaos")).complete


def test_the_harness_killed_in_a_race_leaves_no_process_and_a_readable_run(tmp_path: Path) -> None:
    hanging(tmp_path)
    process = start(tmp_path, "run")
    wait_until(tmp_path / "scenarios" / "began")
    process.kill()
    process.communicate(timeout=GIVE_UP_S)
    wait_until_gone(tmp_path)
    assert not load_run(latest_run(tmp_path / ".chaos")).complete
    with nothing_left(str(tmp_path)):  # the next run removes the temporary folder of the one that was killed
        done = start(tmp_path, "race", "--budget", "2", "--", "touch", "a", "--", "touch", "b")
        done.communicate(timeout=GIVE_UP_S)
    assert done.returncode == 0
