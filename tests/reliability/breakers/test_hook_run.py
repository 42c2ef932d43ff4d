"""`hook run -- COMMAND` as a program: what it prints, returns, records, and what it must not load."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.reliability.breakers import HookState, hook_run
from pytest_guardrails.reliability.breakers.config import Config, load_config
from pytest_guardrails.reliability.breakers.hook_store import book_of, open_hooks, store_path
from pytest_guardrails.reliability.state import Incident, StoreCorruptedError

START = [sys.executable, "-m", "pytest_guardrails.cli", "hook", "run"]
PYTHON = sys.executable


class Home:
    """A home of its own, and hooks run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "HOME": str(folder)}

    def run(self, *command: str, options: Sequence[str] = (), stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*START, *options, "--", *command],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            timeout=60.0,
        )

    def start(self, *command: str, options: Sequence[str] = ()) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*START, *options, "--", *command], env=self.environment, stdout=subprocess.PIPE, text=True
        )

    def record(self, command: str) -> dict[str, object]:
        state = open_hooks(load_config(None, {}))
        found = state.get_hook_state(command)
        state.store.close()
        return {**found._asdict(), "state": found.state}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Home(tmp_path)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_gone(pid: int) -> bool:
    deadline = time.monotonic() + 20.0
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return gone(pid)


def test_input_output_and_exit_code_are_the_hooks_own(home: Home) -> None:
    done = home.run("sh", "-c", "cat; echo said >&2; exit 3", stdin="given")
    assert (done.returncode, done.stdout, done.stderr) == (3, "given", "said\n")
    record = home.record("sh -c 'cat; echo said >&2; exit 3'")
    assert (record["failure_count"], record["last_error"]) == (1, "exit code 3: said")


def test_a_hook_that_succeeds_is_recorded_so(home: Home) -> None:
    assert home.run("true").returncode == 0
    assert home.record("true")["consecutive_successes"] == 1


def test_after_three_failures_it_is_skipped_with_the_documented_answer(home: Home) -> None:
    ran = home.folder / "ran"
    hook = ("sh", "-c", f"echo ran >> {ran}; exit 1")
    assert [home.run(*hook).returncode for _ in range(3)] == [1, 1, 1]
    done = home.run(*hook)
    answer = json.loads(done.stdout)
    assert done.returncode == 0
    assert (list(answer), answer["result"], answer["success"]) == (["result", "message", "success"], "continue", True)
    assert ran.read_text() == "ran\n" * 3


def test_fail_closed_blocks_what_it_skips(home: Home) -> None:
    for _ in range(3):
        home.run("false")
    done = home.run("false", options=["--policy", "fail-closed"])
    assert (done.returncode, json.loads(done.stdout)["result"]) == (2, "block")


def test_exit_codes_that_mean_no_failure_can_be_named(home: Home) -> None:
    assert home.run("sh", "-c", "exit 2", options=["--success-codes=0,2"]).returncode == 2
    assert home.record("sh -c 'exit 2'")["failure_count"] == 0


def test_bytes_that_are_not_unicode_pass_and_are_no_failure(home: Home) -> None:
    done = home.run("printf", "\\377\\376 \udcff")
    assert done.stdout == "\udcff\udcfe \udcff"
    assert done.returncode == 0
    done = home.run("sh", "-c", "printf '\\377' >&2; exit 1")
    assert done.stderr == "\udcff"
    assert home.record("sh -c 'printf '\"'\"'\\377'\"'\"' >&2; exit 1'")["last_error"] == "exit code 1: \ufffd"


def test_long_error_output_passes_whole_and_is_recorded_bounded(home: Home) -> None:
    code = "import sys; sys.stderr.write('x' * 300_000 + 'end'); sys.exit(1)"
    done = home.run(PYTHON, "-c", code)
    assert len(done.stderr) == 300_003
    state = open_hooks(load_config(None, {}))
    error = state.get_all_hooks()[0].last_error
    assert error is not None
    assert (len(error), error[-3:]) == (1000, "end")


def test_a_program_that_is_not_there_is_a_failure_with_the_shells_code(home: Home) -> None:
    done = home.run("no-such-program")
    assert (done.returncode, done.stderr) == (127, "no-such-program: No such file or directory\n")
    assert home.record("no-such-program")["failure_count"] == 1


def test_a_hook_finds_signals_as_in_a_shell(home: Home) -> None:
    """Python ignores SIGPIPE for itself; a hook that inherited that would complain instead of ending quietly."""
    done = home.run("sh", "-c", "yes | head -n 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "y\n", "")


def test_no_shell_looks_at_the_command(home: Home) -> None:
    assert home.run("echo", "$HOME", "a  b", "; false").stdout == "$HOME a  b ; false\n"


@pytest.mark.slow
def test_a_timeout_ends_the_whole_process_group(home: Home) -> None:
    script = "trap '' TERM; sleep 300 & echo $!; echo $$; wait; wait"
    done = home.run("sh", "-c", script, options=["--timeout", "0.3"])
    assert done.returncode == 124
    assert [gone(int(pid)) for pid in done.stdout.split()] == [True, True]
    state = open_hooks(load_config(None, {}))
    assert str(state.get_all_hooks()[0].last_error).startswith("it was stopped after 0.3 s")


@pytest.mark.slow
def test_after_a_timeout_nothing_is_left_of_those_who_would_not_hear(home: Home) -> None:
    done = home.run("sh", "-c", "(trap '' TERM; sleep 300) & echo $!; wait", options=["--timeout", "0.3"])
    assert (done.returncode, wait_gone(int(done.stdout))) == (124, True)


def test_damage_that_was_mended_on_the_way_is_no_reason_to_give_up(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    incident = Incident(reason="torn", quarantine="q", restored_version=1, witnessed_version=1, at=0.0)
    errors = [StoreCorruptedError("path", incident)]

    def opened(config: Config, **listeners: Any) -> HookState:
        if errors:
            raise errors.pop()
        return open_hooks(config, **listeners)

    monkeypatch.setattr(hook_run, "open_hooks", opened)
    assert hook_run.run_hook(["--", "touch", str(tmp_path / "ran")]) == 0
    assert home.record(f"touch {tmp_path}/ran")["consecutive_successes"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_runner_ends_the_hook_and_is_no_failure(home: Home, number: int) -> None:
    runner = home.start("sh", "-c", "echo $$; exec sleep 300")
    assert runner.stdout is not None
    pid = int(runner.stdout.readline())
    runner.send_signal(number)
    assert runner.wait(30.0) == 128 + number
    runner.stdout.close()
    assert gone(pid)
    assert home.record("sh -c 'echo $$; exec sleep 300'")["failure_count"] == 0


def read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1000)
    except OSError:  # the other side is closed
        return b""


def test_a_hook_can_read_from_a_terminal_though_its_group_is_its_own(home: Home) -> None:
    pid, terminal = pty.fork()
    if not pid:
        os.execve(sys.executable, [*START, "--", "sh", "-c", "read x; echo got $x"], home.environment)
    os.write(terminal, b"hello\n")
    said, deadline = b"", time.monotonic() + 30.0
    while b"got hello" not in said and select.select([terminal], [], [], deadline - time.monotonic())[0]:
        more = read_terminal(terminal)
        said += more
        if not more:
            break
    if b"got hello" not in said:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert (b"got hello" in said, os.waitstatus_to_exitcode(status)) == (True, 0)


def test_a_background_process_left_on_purpose_is_not_waited_for(home: Home) -> None:
    done = home.run("sh", "-c", "sleep 300 > /dev/null & echo $!")
    pid = int(done.stdout)
    assert (done.returncode, gone(pid)) == (0, False)
    os.kill(pid, signal.SIGKILL)
    assert wait_gone(pid)


def test_a_killed_runner_gives_its_probe_back(home: Home) -> None:
    script = "test -e fine || exit 1; echo $$; exec sleep 300"
    home.environment["GUARDRAILS_CIRCUIT_BREAKER_COOLDOWN_SECONDS"] = "0"
    in_home = ["env", "-C", str(home.folder), "sh", "-c", script]
    for _ in range(3):
        assert home.run(*in_home).returncode == 1
    (home.folder / "fine").touch()
    runner = home.start(*in_home)
    assert runner.stdout is not None
    pid = int(runner.stdout.readline())
    assert "skipped (probing" in home.run(*in_home).stdout
    runner.kill()
    runner.wait()
    runner.stdout.close()
    os.killpg(pid, signal.SIGKILL)
    (home.folder / "fine").unlink()
    assert home.run(*in_home).returncode == 1


def test_a_probe_keeps_its_permit_for_as_long_as_it_may_run(home: Home) -> None:
    state = open_hooks(load_config(None, {}), longest_run_s=7200.0)
    state.transition_to_half_open("slow")
    assert state.admit("slow").allowed
    state.store.close()
    refused = open_hooks(load_config(None, {})).admit("slow")
    assert refused.retry_in_s is not None
    assert (refused.reason, 7200.0 < refused.retry_in_s <= 7230.0) == ("probing", True)
    done = home.run("slow", options=["--timeout", "7200"])
    assert "skipped (probing" in done.stdout


def test_bad_configuration_stops_it_and_runs_nothing(home: Home) -> None:
    (home.folder / ".claude").mkdir()
    (home.folder / ".claude/guardrails.yaml").write_text("circuit_breaker:\n  failure_threshold: 0\n")
    done = home.run("touch", str(home.folder / "ran"))
    assert done.returncode == 1
    assert "guardrails.yaml:2: circuit_breaker.failure_threshold" in done.stderr
    assert not (home.folder / "ran").exists()


def test_a_breaker_that_is_switched_off_watches_nothing(home: Home) -> None:
    home.environment["GUARDRAILS_CIRCUIT_BREAKER_ENABLED"] = "false"
    assert [home.run("false").returncode for _ in range(4)] == [1, 1, 1, 1]
    assert not (home.folder / ".claude").exists()


@pytest.mark.parametrize(("command", "complaint"), [([], "no command"), ([""], "is empty"), (["", "x"], "is empty")])
def test_a_command_without_a_program_is_wrong_usage(home: Home, command: list[str], complaint: str) -> None:
    done = home.run(*command)
    assert (done.returncode, complaint in done.stderr, "usage:" in done.stderr) == (2, True, True)
    assert not (home.folder / ".claude").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--timeout", "nan"], "--timeout must be"),
        (["--timeout"], "--timeout needs a value"),
        (["--policy", "maybe"], "--policy must be"),
        (["--success-codes", "x"], "--success-codes must be"),
        (["--nothing"], "is no option"),
    ],
)
def test_wrong_usage_is_told_and_runs_nothing(home: Home, options: list[str], complaint: str) -> None:
    done = home.run("touch", str(home.folder / "ran"), options=options)
    assert (done.returncode, complaint in done.stderr, "usage:" in done.stderr) == (2, True, True)
    assert not (home.folder / "ran").exists()


def damage(path: str) -> None:
    for suffix in ("", "-wal", "-shm", ".good"):
        if os.path.exists(path + suffix):
            Path(path + suffix).write_bytes(b"not a database at all, but long enough to be looked at " * 100)


def test_damage_to_the_whole_store_re_enables_no_disabled_hook(home: Home) -> None:
    for _ in range(3):
        home.run("false")
    state = open_hooks(load_config(None, {}))
    state.disable("held", author="alice", reason="no")
    state.store.close()
    damage(store_path(load_config(None, {})))
    for command in ("false", "held"):
        done = home.run(command)
        assert (done.returncode, json.loads(done.stdout)["result"]) == (0, "continue"), done.stderr
        assert "damaged" in done.stderr


def test_a_damaged_store_is_restored_and_the_breaker_goes_on(home: Home) -> None:
    for _ in range(2):
        home.run("false")
    path = store_path(load_config(None, {}))
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(path + suffix):
            Path(path + suffix).write_bytes(b"torn" * 5000)
    outcomes = [home.run("false") for _ in range(4)]
    assert outcomes[0].returncode == 1
    assert "damaged" in outcomes[0].stderr
    assert (outcomes[-1].returncode, "skipped" in outcomes[-1].stdout) == (0, True)


def test_a_damaged_book_is_written_anew_from_the_store(home: Home) -> None:
    for _ in range(3):
        home.run("false")
    book = book_of(load_config(None, {}))
    Path(book.path).write_text("torn {")
    assert "skipped" in home.run("false").stdout
    for _ in range(3):
        home.run("sh", "-c", "exit 1")
    hooks = book.read()
    assert hooks is not None
    assert sorted(record["command"] for record in hooks.values()) == ["false", "sh -c 'exit 1'"]


def test_when_the_record_can_not_be_written_the_hook_ran_once_and_its_code_counts(home: Home) -> None:
    script = f"echo ran >> {home.folder}/ran; rm -r {home.folder}/.claude; echo > {home.folder}/.claude; exit 5"
    done = home.run("sh", "-c", script)
    assert done.returncode == 5
    assert "not recorded" in done.stderr
    assert (home.folder / "ran").read_text() == "ran\n"


def test_runs_are_logged_where_it_is_configured(home: Home) -> None:
    home.environment["GUARDRAILS_LOGGING_FILE"] = str(home.folder / "logs/hooks.log")
    home.environment["GUARDRAILS_LOGGING_FORMAT"] = "%(levelname)s %(message)s"
    for _ in range(4):
        home.run("false")
    lines = (home.folder / "logs/hooks.log").read_text().splitlines()
    assert lines[0] == "WARNING failed: exit code 1: false"
    assert lines[2].startswith("WARNING failed: exit code 1; disabled until 2")
    assert lines[3].startswith("INFO skipped (open): false")


def test_a_document_for_people_is_kept_beside_the_store(home: Home) -> None:
    home.run("true")
    document = json.loads((home.folder / ".claude/hook_state.json").read_text())
    assert document["hooks"]["true"]["consecutive_successes"] == 1


def test_a_new_store_begins_with_what_the_file_says_and_frees_nobody(home: Home) -> None:
    (home.folder / ".claude").mkdir()
    hooks = {"false": {"state": "open", "failure_count": 7, "retry_after": None, "owner": "me"}}
    (home.folder / ".claude/hook_state.json").write_text(json.dumps({"hooks": hooks, "global_stats": {}}))
    assert "skipped" in home.run("false").stdout
    assert home.run("true").returncode == 0
    document = json.loads((home.folder / ".claude/hook_state.json").read_text())
    assert (document["hooks"]["false"]["failure_count"], document["hooks"]["false"]["owner"]) == (7, "me")


def test_a_file_that_says_nothing_is_set_aside_when_a_new_store_begins(home: Home) -> None:
    (home.folder / ".claude").mkdir()
    (home.folder / ".claude/hook_state.json").write_text("torn {")
    assert "damaged" in home.run("true").stderr
    (kept,) = (home.folder / ".claude/hook_state.json.quarantine").glob("*/hook_state.json")
    assert kept.read_text() == "torn {"
    assert home.run("true").stderr == ""


@pytest.mark.parametrize(("first", "then"), [("json", "sqlite"), ("sqlite", "json")])
def test_another_backend_goes_on_where_the_first_one_was(home: Home, first: str, then: str) -> None:
    home.environment["GUARDRAILS_STATE_BACKEND"] = first
    for _ in range(3):
        home.run("false")
    home.environment["GUARDRAILS_STATE_BACKEND"] = then
    assert "skipped" in home.run("false").stdout
    (home.folder / ".claude/hook_state.disabled.json").unlink()  # not by the book of disabled hooks alone
    assert "skipped" in home.run("false").stdout


def test_with_the_backend_json_the_file_is_the_store(home: Home) -> None:
    home.environment["GUARDRAILS_STATE_BACKEND"] = "json"
    for _ in range(3):
        home.run("false")
    assert "skipped" in home.run("false").stdout
    assert not (home.folder / ".claude/hook_state.db").exists()


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_nothing_slow_is_loaded_on_the_way(home: Home, backend: str) -> None:
    home.environment["GUARDRAILS_STATE_BACKEND"] = backend
    home.run("true")  # the first one makes the files
    os.utime(home.folder / ".claude/hook_state.json", (0, 0))  # so that the document is written as well
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *START[1:], "--", "true"],
        env=home.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    slow = {
        "dataclasses",
        "inspect",
        "hashlib",
        "asyncio",
        "typer",
        "yaml",
        "psutil",
        "logging",
        "subprocess",
        "random",
        "typing",
        "copy",
        "pytest_guardrails.reliability.durability.lease",
        "pytest_guardrails.reliability.telemetry",
    }
    assert "pytest_guardrails.reliability.breakers.hook_run" in loaded
    assert loaded & slow == set()
