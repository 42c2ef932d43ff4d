"""Ctrl-C at any moment: exit code 130, what was found is kept, and nothing is left running or lying about."""

import os
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep

import pytest

from chaos.report.folder import latest_run, load_run
from tests.cli.shell import nothing_left, put_scenario, start

GIVE_UP_S = 30.0
BODIES = {
    "set-up": "def hang(disk): (Path(__file__).parent / 'began').touch(); time.sleep(600)",
    "recording": (
        "def hang(disk, ack):\n"
        "    for _ in range(2): os.fork()\n"
        "    (disk / 'f').write_text('x'); (Path(__file__).parent / 'began').touch(); time.sleep(600)"
    ),
    "exploration": (
        "def hang(disk):\n"
        "    if (disk / 'state.json').read_text() == '2': (Path(__file__).parent / 'began').touch(); time.sleep(600)\n"
        "    return load(disk)"
    ),
    # Each damaged state is another one, is tried twice, and is a finding; the tenth one hangs, when the first has long
    # been told.
    "later damage": (
        "def many(disk, ack):\n"
        "    for number in range(20):\n"
        "        (disk / str(number)).touch(); (disk / 'state.json').write_text(str(number)); ack(number)\n"
        "def hang(disk):\n"
        "    seen = Path(__file__).parent / 'seen'\n"
        "    if (disk / 'state.json').read_text() == '':\n"
        "        with seen.open('a') as file: file.write('x')\n"
        "        if seen.stat().st_size >= 20:\n"
        "            (Path(__file__).parent / 'began').touch(); time.sleep(600)\n"
        "    return load(disk)"
    ),
}
ROLES = {"set-up": "setup", "recording": "workload", "exploration": "recover", "later damage": "recover"}


def wait_until(path: Path) -> None:
    """Wait until there is such a path; `*` in its name stands for anything."""
    give_up = monotonic() + GIVE_UP_S
    while not list(Path(path.anchor).glob(str(path.relative_to(path.anchor)))):
        assert monotonic() < give_up, f"{path} did not appear"
        sleep(0.01)


def hanging(folder: Path, when: str, workload: str = "overwrite") -> None:
    top = ['deadline = "100s"', 'workload_deadline = "100s"']
    if when == "recording":
        put_scenario(folder, workload="hang", top=top)
    else:
        put_scenario(folder, workload=workload, top=top, **{ROLES[when]: '"targets:hang"'})
    targets = folder / "scenarios" / "targets.py"
    targets.write_text(targets.read_text() + BODIES[when] + "\n")


@pytest.mark.parametrize("when", ["set-up", "recording", "exploration"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(tmp_path: Path, when: str, number: signal.Signals) -> None:
    hanging(tmp_path, when)
    with nothing_left(str(tmp_path)):
        process = start(tmp_path, "run", "--jobs", "2")
        wait_until(tmp_path / "scenarios" / "began")
        # A terminal sends it to all processes of the group.
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in out + err
    assert not load_run(latest_run(tmp_path / ".chaos")).complete


def test_impatience_does_not_cut_the_clean_up_short(tmp_path: Path) -> None:
    hanging(tmp_path, "exploration")
    with nothing_left(str(tmp_path)):
        process = start(tmp_path, "run")
        wait_until(tmp_path / "scenarios" / "began")
        while process.poll() is None:
            os.kill(process.pid, signal.SIGINT)
            sleep(0.005)
        out, err = process.communicate()
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in out + err


def test_what_was_found_before_the_interruption_is_kept(tmp_path: Path) -> None:
    hanging(tmp_path, "later damage", workload="many")
    process = start(tmp_path, "run", "--jobs", "1")
    wait_until(tmp_path / "scenarios" / "began")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=GIVE_UP_S)
    assert "found: " in out
    (scenario,) = load_run(latest_run(tmp_path / ".chaos")).scenarios
    assert scenario.findings
    assert all(finding.title in out for finding in scenario.findings)


def test_a_reader_that_goes_away_is_no_error_and_no_verdict(tmp_path: Path) -> None:
    put_scenario(tmp_path)
    process = start(tmp_path, "list")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(GIVE_UP_S) == 128 + signal.SIGPIPE
    process.stderr.close()


def test_the_harness_killed_outright_leaves_no_process_and_a_readable_run(tmp_path: Path) -> None:
    hanging(tmp_path, "recording")
    with nothing_left(str(tmp_path)):
        process = start(tmp_path, "run")
        wait_until(tmp_path / "scenarios" / "began")
        process.kill()
        process.communicate(timeout=GIVE_UP_S)
        wait_until_gone(tmp_path)
        put_scenario(tmp_path, "after", workload="replace")
        done = start(tmp_path, "run", "after")  # removes the temporary folder of the one that was killed
        done.communicate(timeout=GIVE_UP_S)
        assert done.returncode == 0
    runs = sorted((tmp_path / ".chaos" / "runs").iterdir())
    assert [load_run(run).complete for run in runs] == [False, True]


def wait_until_gone(folder: Path) -> None:
    give_up = monotonic() + GIVE_UP_S
    while subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, check=False).stdout:
        assert monotonic() < give_up, "the target outlives the harness"
        sleep(0.02)
