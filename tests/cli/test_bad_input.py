"""Whatever is wrong with scenario, target or machine: one clear message, the right exit code, nothing left behind."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from chaos.trace.file import FORMAT_VERSION
from tests.cli.shell import chaos, put_scenario

WRONG_USAGE, NOT_MEASURED = 2, 3


def target(folder: Path, body: str, *, workload: str = "bad", top: Sequence[str] = (), **roles: str) -> None:
    """A scenario whose targets have a `body` more."""
    put_scenario(folder, workload=workload, top=top, **roles)
    targets = folder / "scenarios" / "targets.py"
    targets.write_text(targets.read_text() + body)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nothing"], 'chaos: "nothing" is neither a file nor the name of a scenario'),
        (["run", "--budget", "lots"], "chaos: --budget: expected a number of states"),
        (["run", "--profile", "dep"], 'did you mean "deep"?'),
        (["run", "--model", "kil"], 'did you mean "kill"?'),
        (["run", "--engine", "magic"], 'chaos: --engine: expected one of auto, syscalls, portable, got "magic"'),
        (["run", "--jobs", "-1"], "--jobs"),
        (["run", "--report", "scenarios/one.toml"], "chaos: the run folder"),
        (["rnu"], "No such command"),
        (["report"], "chaos: no run is kept in .chaos"),
        (["report", "nowhere"], "chaos: there is no run folder nowhere"),
        (["replay", "0123456789ab"], "chaos: no finding 0123456789ab is kept in .chaos"),
        (["replay", "nowhere"], "chaos: nowhere can't be read"),
        (["replay", "scenarios/one.toml"], "chaos: scenarios/one.toml"),
        (["explore", "nowhere", "--check", "true"], "chaos: "),
        (["explore", "scenarios/one.toml", "--check", "true"], "chaos: "),
        (["explore", "scenarios/one.toml"], "--check"),
        (["record", "-o", "t.trace"], "COMMAND"),
        (["record", "-o", "../t.trace", "--", "no-such-command"], "chaos: the command no-such-command is not found"),
        (["record", "-o", "t.trace", "--", "true"], "chaos: the trace t.trace would lie in the watched folder"),
        (["record", "-o", "t.trace", "--folder", "nowhere", "--", "true"], "chaos: the watched folder nowhere"),
    ],
)
def test_wrong_usage_is_one_message_and_exit_code_2(tmp_path: Path, words: list[str], message: str) -> None:
    put_scenario(tmp_path)
    done = chaos(tmp_path, *words)
    assert done.code == WRONG_USAGE, (done.out, done.err)
    assert message in done.err
    assert len(done.err.strip().splitlines()) <= 4


def test_a_bad_scenario_is_named_with_its_line(tmp_path: Path) -> None:
    path = put_scenario(tmp_path)
    path.write_text(path.read_text().replace('"targets:overwrite"', "42"))
    done = chaos(tmp_path, "run")
    assert done.code == WRONG_USAGE
    assert 'scenarios/one.toml:4: target.workload: expected "module:object" or a list of commands, got 42' in done.err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise RuntimeError('no import today')", "no import today"),
        ("def unrelated(): pass", "has no attribute 'bad'"),
        ("bad = 3", "is a int, which can't be called"),
        ("def bad(:", "SyntaxError"),
    ],
)
def test_a_target_that_can_not_be_imported_is_wrong_usage(tmp_path: Path, body: str, message: str) -> None:
    target(tmp_path, body, setup="")
    done = chaos(tmp_path, "run")
    assert done.code == WRONG_USAGE, (done.out, done.err)
    assert message in done.out


def test_a_recovery_that_can_not_be_imported_is_wrong_usage(tmp_path: Path) -> None:
    put_scenario(tmp_path, recover='"nowhere:load"')
    done = chaos(tmp_path, "run")
    assert done.code == WRONG_USAGE
    assert "nowhere" in done.out


def test_a_command_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    put_scenario(tmp_path, workload="x", setup='[["no-such-program"]]')
    done = chaos(tmp_path, "run")
    assert done.code == WRONG_USAGE
    assert "no-such-program" in done.out


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def fail(disk): raise OSError('disk is sad')", "disk is sad"),
        ("def fail(disk): os._exit(7)", "ended with exit code 7"),
        ("def fail(disk): os.kill(os.getpid(), 9)", "was killed by signal 9"),
    ],
)
def test_a_set_up_that_fails_is_wrong_usage(tmp_path: Path, body: str, message: str) -> None:
    target(tmp_path, body, setup='"targets:fail"')
    done = chaos(tmp_path, "run")
    assert done.code == WRONG_USAGE, (done.out, done.err)
    assert message in done.out


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def bad(disk, ack): raise KeyError('lost my keys')", "lost my keys"),
        ("def bad(disk, ack): sys.exit(3)", "ended with exit code 3"),
        ("def bad(disk, ack): os._exit(7)", "ended with exit code 7"),
        ("def bad(disk, ack): os.kill(os.getpid(), 11)", "was killed by signal 11"),
        ("def bad(disk, ack): pass", "wrote nothing in the watched folder"),
        ("def bad(disk, ack): open(os.devnull, 'w').write('x')", "wrote nothing in the watched folder"),
        (
            "def bad(disk, ack):\n  import tempfile\n  with tempfile.TemporaryFile() as f: f.write(b'x'); f.flush()",
            "writing calls went elsewhere",
        ),
    ],
)
def test_a_workload_that_tests_nothing_is_not_measured(tmp_path: Path, body: str, message: str) -> None:
    target(tmp_path, body)
    done = chaos(tmp_path, "run")
    assert done.code == NOT_MEASURED, (done.out, done.err)
    assert message in done.out


@pytest.mark.parametrize("body", ["time.sleep(600)", "exec('while True: pass')"])
def test_a_workload_that_hangs_is_not_measured(tmp_path: Path, body: str) -> None:
    target(tmp_path, f"def bad(disk, ack): {body}", setup="", top=['workload_deadline = "300ms"'])
    done = chaos(tmp_path, "run")
    assert done.code == NOT_MEASURED, (done.out, done.err)
    assert "was killed at its deadline of 0.3 s" in done.out


def test_a_set_up_that_hangs_is_wrong_usage(tmp_path: Path) -> None:
    hangs = "def fail(disk): time.sleep(600)"
    target(tmp_path, hangs, setup='"targets:fail"', top=['workload_deadline = "300ms"'])
    done = chaos(tmp_path, "run")
    assert done.code == WRONG_USAGE, (done.out, done.err)
    assert "setup targets:fail was killed at its deadline of 0.3 s" in done.out


FORKS_AWAY = """
def bad(disk, ack):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    replace(disk, ack)
"""
CLOSES_ALL = """
def bad(disk, ack):
    os.closerange(0, 65536)
    replace(disk, ack)
"""


@pytest.mark.parametrize("body", [FORKS_AWAY, CLOSES_ALL])
def test_a_workload_that_forks_away_or_closes_every_descriptor_is_still_measured(tmp_path: Path, body: str) -> None:
    target(tmp_path, body)
    done = chaos(tmp_path, "run")
    assert done.code == 0, (done.out, done.err)
    assert "2 acknowledgements" in done.out


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("time.sleep(600)", "recovery hangs"),
        ("os._exit(5)", "exit"),
        ("bytearray(1 << 30)", "memory"),
    ],
)
def test_a_recovery_that_takes_its_process_down_is_a_finding(tmp_path: Path, body: str, message: str) -> None:
    deadline = "500ms" if "hangs" in message else "100s"  # no other one is cut off where the machine is slow
    body = f"def bad(disk):\n  if not (disk / 'state.json').read_text(): {body}\n  return load(disk)\n"
    target(
        tmp_path,
        body,
        workload="overwrite",
        recover='"targets:bad"',
        top=[f'deadline = "{deadline}"', 'memory = "200MB"'],
    )
    done = chaos(tmp_path, "run")
    assert done.code == 1, (done.out, done.err)
    assert "VIOLATED" in done.out
    assert message in done.out


def test_a_recovery_that_fails_without_any_crash_is_a_finding(tmp_path: Path) -> None:
    target(tmp_path, "def bad(disk): raise ValueError('always')", workload="overwrite", recover='"targets:bad"')
    done = chaos(tmp_path, "run")
    assert done.code == 1
    assert "on an undamaged disk" in done.out


def test_io_that_can_not_be_modelled_is_not_measured_unless_excluded(tmp_path: Path) -> None:
    body = """
def bad(disk, ack):
    import mmap
    replace(disk, ack)
    with open(disk / "odd", "w+b") as file:
        file.truncate(65 << 20)
        mmap.mmap(file.fileno(), 65 << 20)[0] = 1
"""
    target(tmp_path, body)
    refused = chaos(tmp_path, "run")
    assert refused.code == NOT_MEASURED, (refused.out, refused.err)
    assert "can't be modelled: odd: written through a shared mapping" in refused.out
    put_scenario(tmp_path, workload="bad", top=['exclude = ["odd"]'])
    assert chaos(tmp_path, "run").code == 0


def test_no_scenario_at_all_is_wrong_usage(tmp_path: Path) -> None:
    done = chaos(tmp_path, "run")
    assert done.code == WRONG_USAGE
    assert "there is no folder ./scenarios here" in done.err


def test_a_cut_trace_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    assert chaos(tmp_path, "record", "-o", "t.trace", "--folder", "w", "--", "sh", "-c", "echo x > f").code == 0
    content = (tmp_path / "t.trace").read_bytes()
    (tmp_path / "t.trace").write_bytes(content[:-7])
    done = chaos(tmp_path, "explore", "t.trace", "--check", "true")
    assert done.code == WRONG_USAGE
    assert "t.trace" in done.err
    (tmp_path / "t.trace").write_bytes(content.replace(b"trace %d\n" % FORMAT_VERSION, b"trace 99\n", 1))
    assert chaos(tmp_path, "explore", "t.trace", "--check", "true").code == WRONG_USAGE


def test_a_replay_whose_trace_is_gone_is_wrong_usage(tmp_path: Path) -> None:
    put_scenario(tmp_path)
    assert chaos(tmp_path, "run").code == 1
    (trace,) = tmp_path.glob(".chaos/runs/*/traces/*.trace")
    trace.unlink()
    (finding,) = tmp_path.glob(".chaos/runs/*/findings/*")
    done = chaos(tmp_path, "replay", str(finding))
    assert done.code == WRONG_USAGE
    assert "one.trace" in done.err
