"""The command `pytest-guardrails` from the shell: answers, exit codes, and no traceback for a user's mistake."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pytest_guardrails.cli.app import app
from pytest_guardrails.cli.settings import TEMPLATE
from pytest_guardrails.reliability.breakers.config import DEFAULTS, load_config

START = [sys.executable, "-m", "pytest_guardrails.cli"]
pytestmark = pytest.mark.slow  # each word is a program's start


class Shell:
    """A home of its own. `run` is for what a command decides and says; `start` is a process, and each word has one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "HOME": str(folder), "USER": "alice", "LOGNAME": "alice"}

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        done = CliRunner().invoke(app, list(words), env=self.environment)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)

    def start(self, *words: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*START, *words], env=self.environment, capture_output=True, text=True, check=False, timeout=60.0
        )
        assert "Traceback" not in done.stderr
        return done

    def fail(self, times: int = 3) -> None:
        for _ in range(times):
            self.start("hook", "run", "--", "false")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_the_help_names_every_command(shell: Shell) -> None:
    assert all(word in shell.start("--help").stdout for word in ("health", "hooks", "config", "doctor"))
    listed = shell.run("hooks", "--help").stdout
    words = ("list", "run", "reset", "enable", "disable", "isolate", "export", "import", "install", "uninstall")
    assert all(word in listed for word in words)


def test_health_is_0_when_all_run_and_1_when_one_is_disabled(shell: Shell) -> None:
    assert shell.run("health").returncode == 0
    shell.fail()
    done = shell.run("health")
    assert (done.returncode, "degraded" in done.stdout, "open: false" in done.stdout) == (1, True, True)


def test_health_as_json(shell: Shell) -> None:
    shell.fail()
    report = json.loads(shell.start("health", "--json").stdout)
    assert (report["status"], report["total_hooks"], list(report["disabled"])) == ("degraded", 1, ["false"])
    assert report["stats"]["total_failures"] == 3


def test_hooks_are_listed_as_a_table_and_as_json(shell: Shell) -> None:
    assert shell.start("hooks", "list").stdout == "no hook has run yet\n"
    shell.fail()
    head, row = shell.run("hooks", "list").stdout.splitlines()
    assert head.split() == ["STATE", "FAILURES", "IN", "A", "ROW", "WHY", "AGAIN", "COMMAND"]
    assert row.split()[:3] == ["open", "3", "3"]
    assert json.loads(shell.run("hooks", "list", "--json", "--disabled").stdout)["false"]["failure_count"] == 3


def test_an_operator_disables_and_enables_with_author_and_reason(shell: Shell) -> None:
    done = shell.start("hooks", "disable", "false", "--reason", "too slow", "--for", "60")
    assert (done.returncode, "not seen before" in done.stderr) == (0, True)
    control = json.loads(shell.run("hooks", "list", "--json").stdout)["false"]["control"]
    assert (control["kind"], control["author"], control["reason"], control["lasts_s"]) == (
        "disabled",
        "alice",
        "too slow",
        60.0,
    )
    assert "skipped (disabled" in shell.start("hook", "run", "--", "false").stdout
    assert "still disabled by alice" in shell.run("hooks", "reset", "false").stderr
    assert shell.start("hooks", "enable", "false").stderr == "pytest-guardrails: enabled: false\n"
    assert shell.start("hook", "run", "--", "false").returncode == 1


@pytest.mark.parametrize("word", ["force-open", "isolate"])
def test_other_words_of_an_operator_keep_a_hook_from_running(shell: Shell, word: str) -> None:
    shell.start("hooks", word, "true")
    assert "skipped" in shell.start("hook", "run", "--", "true").stdout


def test_a_hook_can_be_forced_to_run(shell: Shell) -> None:
    shell.fail()
    shell.start("hooks", "force-closed", "false")
    assert shell.start("hook", "run", "--", "false").returncode == 1


def test_reset_needs_one_name_or_all(shell: Shell) -> None:
    shell.fail()
    assert shell.run("hooks", "reset").returncode == 2
    assert shell.start("hooks", "reset", "--all").stderr == "pytest-guardrails: reset (was open): false\n"
    assert shell.run("health").returncode == 0


def test_an_unknown_hook_is_a_mistake_with_a_hint(shell: Shell) -> None:
    shell.fail(1)
    done = shell.run("hooks", "enable", "fals")
    assert (done.returncode, "did you mean 'false'?" in done.stderr) == (2, True)


def test_export_and_import_through_the_command(shell: Shell) -> None:
    shell.fail()
    file = str(shell.folder / "export.json")
    assert shell.start("hooks", "export", file).returncode == 0
    shell.run("hooks", "reset", "--all")
    assert "1 hooks changed" in shell.start("hooks", "import", file).stderr
    assert shell.run("health").returncode == 1
    assert shell.start("hooks", "import", str(shell.folder / "none")).returncode == 1


def test_no_export_goes_over_the_store_itself(shell: Shell) -> None:
    shell.environment["GUARDRAILS_STATE_BACKEND"] = "json"
    shell.fail(1)
    store = shell.folder / ".claude/hook_state.json"
    done = shell.run("hooks", "export", str(store))
    assert (done.returncode, "is the store itself" in done.stderr) == (2, True)
    assert shell.run("hooks", "export", str(shell.folder / "copy.json")).returncode == 0
    assert (shell.folder / "copy.json").read_bytes() == store.read_bytes()


def test_install_and_uninstall_through_the_command(shell: Shell) -> None:
    file = shell.folder / "settings.json"
    file.write_text('{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "true"}]}]}}')
    before = file.read_bytes()
    assert "1 commands changed" in shell.start("hooks", "install", str(file)).stderr
    command = json.loads(file.read_text())["hooks"]["Stop"][0]["hooks"][0]["command"]
    done = subprocess.run(["sh", "-c", command], env=shell.environment, check=False)
    assert done.returncode == 0
    assert json.loads(shell.run("hooks", "list", "--json").stdout)["true"]["consecutive_successes"] == 1
    assert shell.start("hooks", "uninstall", str(file)).returncode == 0
    assert file.read_bytes() == before


def test_config_init_show_validate(shell: Shell) -> None:
    assert "does not exist: the defaults hold" in shell.run("config", "validate").stderr
    assert shell.start("config", "init").returncode == 0
    assert shell.run("config", "init").returncode == 2
    assert shell.run("config", "init", "--force").returncode == 0
    assert "is right" in shell.start("config", "validate").stderr
    found = json.loads(shell.start("config", "show", "--json").stdout)
    assert found["circuit_breaker.failure_threshold"]["source"].endswith("guardrails.yaml:4")
    shell.environment["GUARDRAILS_STATE_BACKEND"] = "redis"
    done = shell.run("config", "validate")
    assert (done.returncode, "$GUARDRAILS_STATE_BACKEND must be one of" in done.stderr) == (2, True)


def test_the_template_says_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    settings = load_config(str(tmp_path / "template.yaml"), {}).settings
    assert {key: setting.value for key, setting in settings.items()} == DEFAULTS
    assert all(setting.source != "default" for setting in settings.values())


def test_the_doctor_says_what_is_there(shell: Shell) -> None:
    done = shell.start("doctor", "--json")
    findings = {finding["what"]: finding["verdict"] for finding in json.loads(done.stdout)}
    assert set(findings) >= {"SQLite", "clock", "file system", "file lock", "configuration", "state of hooks"}
    assert done.returncode == 0
    shell.environment["GUARDRAILS_CIRCUIT_BREAKER_FAILURE_THRESHOLD"] = "0"
    assert shell.run("doctor").returncode == 1


def test_watching_goes_on_until_interrupted(shell: Shell) -> None:
    shell.fail(1)
    words = ["hooks", "list", "--json", "--watch", "0.1"]
    with subprocess.Popen([*START, *words], env=shell.environment, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        lines = [json.loads(watching.stdout.readline()) for _ in range(3)]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30.0) == 130
    assert [line["false"]["failure_count"] for line in lines] == [1, 1, 1]


@pytest.mark.parametrize(
    "words", [["hooks", "nothing"], ["health", "--watch", "0"], ["hooks", "disable", "x", "--for", "-1"]]
)
def test_wrong_usage_is_2(shell: Shell, words: list[str]) -> None:
    assert shell.run(*words).returncode == 2


@pytest.mark.parametrize(
    "words", [["hooks", "list"], ["health"], ["hooks", "enable", "\x1b[2Jrm\r -rf"], ["hooks", "reset", "--all"]]
)
def test_commands_with_control_characters_can_not_disturb_the_terminal(shell: Shell, words: list[str]) -> None:
    shell.run("hooks", "disable", "\x1b[2Jrm\r -rf", "--reason", "\x07" + "long " * 1000)
    done = shell.run(*words)
    said = done.stdout + done.stderr
    assert "\\x1b[2Jrm\\x0d" in said
    assert not {"\x1b", "\r", "\x07"} & set(said)
    assert max(map(len, said.splitlines())) < 400
