"""Two crashes, one after the other, by every door: what only the second one shows, told from the first one on."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaos.report.folder import latest_run, load_run
from tests.cli.shell import ROOT, Result, chaos, nothing_left, put_scenario, start
from tests.cli.test_interrupt import GIVE_UP_S, wait_until
from tests.warm import run_pytest

# One backup of a number that is written twice, so that a torn one shows. `save` backs up whatever is there.
ORACLES = 'oracles = ["recovers", "durable", "atomic"]'  # a resume asks for one more by default
TARGETS = """\
import json, os, sys, time
from pathlib import Path

def setup(disk):
    for name in ("now", "before"):
        (disk / name).write_text("0 0")

def load(disk):
    for name in ("now", "before"):
        parts = (disk / name).read_text().split(" ")
        if len(parts) == 2 and parts[0] == parts[1]:
            return int(parts[0])
    raise ValueError("both are damaged")

def save(disk, ack, look=False):
    for number in range(load(disk) + 1, 2):
        if not look or not torn(disk):
            (disk / "before").write_text((disk / "now").read_text())
        (disk / "now").write_text(f"{number} {number}")
        ack(number)

def careful(disk, ack):
    save(disk, ack, look=True)

def torn(disk):
    parts = (disk / "now").read_text().split(" ")
    return len(parts) != 2 or parts[0] != parts[1]
"""


def put(folder: Path, *, workload: str = "save", more: str = "", top: list[str] | None = None, **roles: str) -> Path:
    roles = {"setup": '"targets:setup"', "recover": '"targets:load"', **roles}
    path = put_scenario(folder, workload=workload, top=["depth = 2"] if top is None else top, **roles)
    (folder / "scenarios" / "targets.py").write_text(TARGETS + more)
    return path


@dataclass(frozen=True)
class Twice:
    """One run of `save` with two crashes."""

    folder: Path
    done: Result
    result: dict[str, Any]


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Twice:
    folder = tmp_path_factory.mktemp("twice")
    put(folder)
    done = chaos(folder, "run", "--jobs", "2", "--json", "r.json")
    return Twice(folder, done, result_of(folder))


def result_of(folder: Path) -> dict[str, Any]:
    (scenario,) = json.loads((folder / "r.json").read_text())["run"]["scenarios"]
    found: dict[str, Any] = scenario
    return found


def test_a_save_that_destroys_the_only_copy_is_found_by_the_second_crash_and_not_by_the_first(twice: Twice) -> None:
    assert chaos(twice.folder, "run", "--depth", "1", "--json", "one.json").code == 0
    assert twice.done.code == 1
    assert "recovery raises ValueError (second crash, the first one at targets.py:" in twice.done.out
    assert "both are damaged" in twice.done.out


def test_the_sound_twin_is_clean_after_two_crashes(tmp_path: Path) -> None:
    put(tmp_path, workload="careful")
    done = chaos(tmp_path, "run", "--json", "r.json")
    assert done.code == 0, done.out
    statistics = result_of(tmp_path)["statistics"]
    one, two = statistics["by_depth"]
    assert (one["depth"], two["depth"]) == (1, 2)
    assert two["runs"] == two["starts"] > 5
    assert one["states"] + two["states"] == statistics["states"]
    assert two["states"] > one["states"]
    assert statistics["exhaustive"]
    assert f"{two['runs']} of {two['starts']} first states run on, {two['states']} states" in done.out


def test_a_finding_tells_both_crashes_with_what_was_between_them(twice: Twice) -> None:
    out = twice.done.out
    rows = out[out.index("first run:") :]
    assert rows.index("<- killed here") < rows.index("second run, started on what that left:")
    assert rows[rows.index("second run") :].index("<- killed here") > 0
    assert "first crash: targets.py:" in out
    assert "recovery was right then, it returned 0, and the program went on" in out
    assert "second crash: targets.py:" in out
    for finding in twice.result["findings"]:
        assert finding["damage"] == "cannot start"
        assert finding["state"] == f"{finding['extra']['first_state']} then {finding['extra']['second_state']}"


def test_the_simplest_first_crash_is_shown(twice: Twice) -> None:
    findings = twice.result["findings"]
    assert [one["extra"]["first_lost_or_torn"] for one in findings] == ["0"] * len(findings)
    assert max(int(one["extra"]["lost_or_torn"]) for one in findings) <= 1


def test_a_finding_of_two_crashes_is_replayed_by_its_id(twice: Twice) -> None:
    finding = twice.result["findings"][0]
    done = chaos(twice.folder, "replay", finding["id"])
    assert done.code == 1
    extra = finding["extra"]
    assert f"first crash: state {extra['first_state']} of model kill, point {extra['first_point']}; " in done.err
    assert f"second crash: state {extra['second_state']} of model kill, point {finding['point']}" in done.err
    folder = next(twice.folder.glob(f".chaos/runs/*/findings/*-{finding['id']}"))
    assert {path.name for path in (folder / "state").iterdir()} == {"now", "before"}
    mended = TARGETS.replace('raise ValueError("both are damaged")', "return 0")
    targets = twice.folder / "scenarios" / "targets.py"
    targets.write_text(mended)
    done = chaos(twice.folder, "replay", str(folder))
    targets.write_text(TARGETS)
    assert done.code == 0, done.out
    assert "is gone" in done.out


def test_the_number_of_jobs_changes_nothing(twice: Twice) -> None:
    chaos(twice.folder, "run", "--jobs", "1", "--json", "r.json")
    found = [
        ([(one["id"], one["state"], one["states"]) for one in result["findings"]], result["statistics"]["states"])
        for result in (twice.result, result_of(twice.folder))
    ]
    assert found[0] == found[1]


def test_what_one_crash_shows_is_not_told_again_and_states_that_are_wrong_are_not_run_on(tmp_path: Path) -> None:
    plain = "\ndef plain(disk, ack):\n    for number in (1, 2): (disk / 'now').write_text(str(number)); ack(number)\n"
    loading = "\ndef read(disk): return int((disk / 'now').read_text().split()[0])\n"
    put(tmp_path, workload="plain", recover='"targets:read"', more=plain + loading)
    done = chaos(tmp_path, "run", "--json", "r.json")
    assert done.code == 1
    assert len(result_of(tmp_path)["findings"]) == 1
    assert "states show what one crash shows already" in done.out
    assert "first states are wrong already and were not run on" in done.out


def test_a_recovery_that_does_damage_when_it_is_cut_is_found(tmp_path: Path) -> None:
    journal = """
def twice(disk, ack):
    for number in (1, 2):
        (disk / "todo.new").write_text(str(number))
        (disk / "todo.new").replace(disk / "todo")
        ack(number)
        roll(disk)

def roll(disk):
    if (disk / "todo").exists():
        number = (disk / "todo").read_text()
        (disk / "todo").unlink()
        if sys.argv:
            (disk / "now.new").write_text(f"{number} {number}")
            (disk / "now.new").replace(disk / "now")
    return load(disk)
"""
    put(tmp_path, workload="twice", recover='"targets:roll"', more=journal, top=[])
    done = chaos(tmp_path, "run", "--depth", "2", "--json", "r.json")
    assert done.code == 1
    lost = [one for one in result_of(tmp_path)["findings"] if one["damage"] == "lost acknowledgement"]
    assert any("depth" in one["extra"] and "roll" in one["title"] for one in lost) or "roll" in lost[0]["title"]


@pytest.mark.parametrize("acked_by", ["first", "second"])
def test_what_either_run_acknowledged_must_survive_the_second_crash(tmp_path: Path, acked_by: str) -> None:
    compacting = """
def lines(disk):
    return (disk / "log").read_text().split("\\n")[:-1] if (disk / "log").exists() else []

def append(disk, ack):
    with (disk / "log").open("a", buffering=1) as file:
        for word in ("a", "b"):
            file.write(word + "\\n")
            ack(word)

def first(disk, ack):
    kept = lines(disk)
    with (disk / "log").open("w") as file:  # from here on what the first run acknowledged is gone
        file.write("".join(word + "\\n" for word in kept))

def second(disk, ack):
    ack("c")  # too early
    kept = lines(disk)
    (disk / "new").write_text("".join(word + "\\n" for word in [*kept, "c"]))
    (disk / "new").replace(disk / "log")
"""
    parts = {"recover": '"targets:lines"', "resume": f'"targets:{acked_by}"', "setup": ""}
    put(tmp_path, workload="append", more=compacting, top=[ORACLES], **parts)
    assert chaos(tmp_path, "run").code == 0
    done = chaos(tmp_path, "run", "--depth", "2", "--json", "r.json")
    assert done.code == 1, done.out
    result = result_of(tmp_path)
    assert {one["extra"]["depth"] for one in result["findings"]} == {"2"}
    if acked_by == "first":
        assert "lost acknowledgement" in {one["damage"] for one in result["findings"]}
    else:
        assert any(
            "acknowledged and not there: 'c'" in line for one in result["findings"] for line in one["explanation"]
        )


def test_a_first_acknowledgement_that_the_second_crash_loses_is_replayed_as_such(tmp_path: Path) -> None:
    going_back = """
def put(disk, number):
    (disk / "new").write_text(f"{number} {number}")
    (disk / "new").replace(disk / "now")

def quiet(disk, ack):
    for number in (1, 2): put(disk, number); ack("saved")

def back(disk, ack):
    for number in (1, 3): put(disk, number)
    ack("saved")
"""
    put(tmp_path, workload="quiet", resume='"targets:back"', more=going_back, top=[ORACLES, "depth = 2"])
    assert chaos(tmp_path, "run", "--json", "r.json").code == 1
    lost = [one for one in result_of(tmp_path)["findings"] if one["oracle"] == "durable"]
    assert {one["damage"] for one in lost} == {"lost acknowledgement"}
    assert [chaos(tmp_path, "replay", one["id"]).code for one in lost] == [1] * len(lost)


def test_a_second_run_that_ends_wrong_without_a_crash_is_found(tmp_path: Path) -> None:
    forgetting = """
def forget(disk, ack):
    for name in ("before", "now"):
        (disk / name).write_text("damaged")
    (disk / "now").unlink()
    ack(9)
"""
    put(tmp_path, resume='"targets:forget"', more=forgetting, top=[ORACLES, "depth = 2"])
    done = chaos(tmp_path, "run", "--json", "r.json")
    assert done.code == 1
    (finding,) = result_of(tmp_path)["findings"]  # the crash states of that run are not told besides
    assert finding["title"].startswith("run on after a crash")
    assert "<- ran on to its end" in done.out
    again = chaos(tmp_path, "replay", finding["id"])
    assert again.code == 1
    assert "second crash: none" in again.err


def test_a_recovery_that_leaves_a_trace_of_itself_is_not_blamed(tmp_path: Path) -> None:
    counting = """
def starts(disk):
    count = int((disk / "starts").read_text()) + 1 if (disk / "starts").exists() else 1
    (disk / "new").write_text(str(count))
    (disk / "new").replace(disk / "starts")
    return count, (disk / "file").exists()

def work(disk, ack):
    (disk / "file").touch()
    ack("made")
"""
    put(tmp_path, workload="work", recover='"targets:starts"', setup="", more=counting)
    done = chaos(tmp_path, "run")
    assert done.code == 0, done.out


def test_a_budget_of_states_is_kept_and_what_it_left_out_of_the_second_crash_is_told(tmp_path: Path) -> None:
    put(tmp_path, workload="careful")
    done = chaos(tmp_path, "run", "--budget", "60", "--json", "r.json")
    assert done.code == 0
    statistics = result_of(tmp_path)["statistics"]
    assert statistics["states"] <= 60
    assert statistics["by_depth"][1]["states"] > 0
    assert not statistics["exhaustive"]
    assert "first states not run on" in done.out


def test_a_second_run_that_hangs_is_crashed_up_to_there(tmp_path: Path) -> None:
    hanging = "\ndef hang(disk, ack):\n    careful(disk, ack)\n    time.sleep(600)\n"
    top = [ORACLES, 'deadline = "2s"', "budget = 40", "depth = 2"]
    put(tmp_path, workload="careful", resume='"targets:hang"', more=hanging, top=top)
    done = chaos(tmp_path, "run", "--json", "r.json")
    assert done.code == 0, done.out
    twice = result_of(tmp_path)["statistics"]["by_depth"][1]
    assert f"from {twice['runs']} first states the workload did not run on to its end" in done.out
    assert twice["states"] > 0


def test_a_second_run_that_can_not_be_modelled_is_not_measured(tmp_path: Path) -> None:
    mapping = """
import mmap

def mapped(disk, ack):
    with open(disk / "odd", "w+b") as file:
        file.truncate(65 << 20)
        mmap.mmap(file.fileno(), 65 << 20)[0] = 1
"""
    put(tmp_path, workload="careful", resume='"targets:mapped"', more=mapping, top=[ORACLES, "depth = 2"])
    done = chaos(tmp_path, "run", "--budget", "12")
    assert done.code == 3, done.out
    assert "second runs: can't be modelled: odd: written through a shared mapping" in done.out


@pytest.mark.parametrize("engine", ["syscalls", "portable"])
def test_commands_are_run_on_by_either_engine(tmp_path: Path, engine: str) -> None:
    path = put(tmp_path, top=[])
    command = f'[["{{python}}", "{path.parent / "main.py"}"]]'
    (path.parent / "main.py").write_text(
        "import sys\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(path.parent)!r})\nimport targets\ntargets.save(Path('.'), lambda value: None)\n"
    )
    put(tmp_path, workload=command, top=['oracles = ["recovers"]', "depth = 2"])
    done = chaos(tmp_path, "run", "--engine", engine, "--budget", "300", "--json", "r.json")
    assert done.code == 1, done.out
    assert result_of(tmp_path)["engine"] == engine
    assert "(second crash, the first one" in done.out


def test_the_list_says_which_scenarios_crash_twice(tmp_path: Path) -> None:
    put(tmp_path)
    assert "models: kill; and again after each crash" in chaos(tmp_path, "list").out


def test_the_environment_gives_the_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, top=[])
    monkeypatch.setenv("CHAOS_DEPTH", "2")
    assert chaos(tmp_path, "run").code == 1
    assert chaos(tmp_path, "run", "--depth", "3").code == 2


def test_an_interruption_keeps_what_both_crashes_showed_so_far_and_leaves_nothing(tmp_path: Path) -> None:
    waiting = """
def wait(disk, ack):
    (Path(__file__).parent / "began").touch()
    time.sleep(600)
"""
    put(tmp_path, resume='"targets:wait"', more=waiting, top=[ORACLES, 'deadline = "100s"', "depth = 2"])
    with nothing_left(str(tmp_path)):
        process = start(tmp_path, "run", "--jobs", "2")
        wait_until(tmp_path / "scenarios" / "began")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in out + err
    (scenario,) = load_run(latest_run(tmp_path / ".chaos")).scenarios
    assert scenario.statistics.states > 0


def test_a_test_asks_for_two_crashes_of_its_own_functions(pytester: pytest.Pytester) -> None:
    test = """
import pytest

@pytest.mark.parametrize("depth", [1, 2])
def test_it(crash, depth):
    crash(setup=lambda disk: setup(disk), workload=lambda disk, ack: save(disk, ack), recover=lambda disk: load(disk),
          depth=depth)

def test_wrong(crash):
    crash(workload=save, recover=load, depth=7)
"""
    pytester.makepyfile(TARGETS + test)
    done = run_pytest(pytester)
    done.assert_outcomes(passed=1, failed=2)
    done.stdout.fnmatch_lines(["*(second crash, the first one at*", "*expected a depth from 1 to 2, got 7*"])
    replay = next(line.split("replay: pytest ")[1] for line in done.outlines if "replay: pytest " in line)
    again = run_pytest(pytester, *[word.strip("'") for word in replay.split()])
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*still shows*"])


@pytest.mark.parametrize(
    ("budget", "resume", "why"),
    [
        ("1", "careful", "the budget was spent on the first"),
        ("200", "idle", "no second run wrote anything in the watched folder"),
    ],
)
def test_two_crashes_of_which_only_one_could_be_tried_are_no_pass(
    tmp_path: Path, budget: str, resume: str, why: str
) -> None:
    idle = "\ndef idle(disk, ack): pass\n"
    put(tmp_path, workload="careful", resume=f'"targets:{resume}"', more=idle, top=[ORACLES, "depth = 2"])
    done = chaos(tmp_path, "run", "--budget", budget)
    assert done.code == 3, done.out
    assert f"no second crash was tried: {why}" in done.out
    assert "modelled" not in done.out


@pytest.mark.parametrize("name", ["append-log-torn-tail", "append-log-cut-tail", "backup-twice", "backup-checked"])
def test_the_shipped_scenarios_of_two_crashes_come_out_as_expected(tmp_path: Path, name: str) -> None:
    done = chaos(ROOT, "run", name, "--report", str(tmp_path / "kept"))
    assert done.code == 0, done.out
