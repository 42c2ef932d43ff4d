"""Putting a settings file's hooks behind their breakers, and taking them out again."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.breakers.install import (
    default_runner,
    install_hooks,
    uninstall_hooks,
    unwrapped,
    wrapped,
)

PIPE = '"$CLAUDE_PROJECT_DIR"/.claude/hooks/check.sh --strict | tee -a log; exit ${PIPESTATUS:-0}'
SETTINGS = {
    "model": "opus",
    "permissions": {"allow": ["Bash(ls:*)"], "ünknown": [1.5, None]},
    "hooks": {
        "PreToolUse": [
            {"matcher": "Bash", "hooks": [{"type": "command", "command": "python3 check.py", "timeout": 60, "x": 1}]},
            {"matcher": "Edit|Write", "hooks": [{"type": "prompt", "prompt": "ok?"}]},
        ],
        "Stop": [{"hooks": [{"type": "command", "command": PIPE}]}],
        "SessionStart": [],
    },
}
RUNNER = "/venv/bin/pytest-guardrails"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(SETTINGS, indent=4, ensure_ascii=False))
    return path


def commands(file: Path) -> list[str]:
    hooks = json.loads(file.read_text())["hooks"]
    return [hooks["PreToolUse"][0]["hooks"][0]["command"], hooks["Stop"][0]["hooks"][0]["command"]]


def test_commands_are_wrapped_and_all_else_stays(file: Path) -> None:
    done = install_hooks(file, runner=RUNNER)
    assert done.changed == ("python3 check.py", PIPE)
    assert commands(file) == [
        f"{RUNNER} hook run --success-codes 0,2 --timeout 59 -- python3 check.py",
        f"{RUNNER} hook run --success-codes 0,2 -- sh -c {shlex.quote(PIPE)}",
    ]
    after = json.loads(file.read_text())
    after["hooks"]["PreToolUse"][0]["hooks"][0]["command"] = "python3 check.py"
    after["hooks"]["Stop"][0]["hooks"][0]["command"] = PIPE
    assert after == SETTINGS
    assert file.read_text().startswith('{\n    "model"')


def test_a_guard_that_says_no_again_and_again_is_not_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    hook = {"type": "command", "command": "echo no >&2; exit 2"}
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"hooks": {"PreToolUse": [{"hooks": [hook]}]}}))
    install_hooks(path, runner=f"{shlex.quote(sys.executable)} -m pytest_guardrails.cli")
    (command,) = [group["hooks"][0]["command"] for group in json.loads(path.read_text())["hooks"]["PreToolUse"]]
    assert [subprocess.run(["sh", "-c", command], check=False).returncode for _ in range(5)] == [2] * 5


@pytest.mark.parametrize("codes", ["", "x", "0,", "256", "0;2", "-1"])
def test_success_codes_are_checked_before_anything_is_touched(file: Path, codes: str) -> None:
    before = file.read_bytes()
    with pytest.raises(ConfigurationError, match="success codes"):
        install_hooks(file, runner=RUNNER, success_codes=codes)
    assert file.read_bytes() == before


def test_the_old_bytes_are_kept(file: Path) -> None:
    before = file.read_bytes()
    backup = install_hooks(file, runner=RUNNER).backup
    assert backup is not None
    assert Path(backup).read_bytes() == before


def test_installing_twice_changes_nothing_more(file: Path) -> None:
    install_hooks(file, runner=RUNNER)
    once = file.read_bytes()
    done = install_hooks(file, runner="another/pytest-guardrails")
    assert (done.changed, done.untouched, done.backup, file.read_bytes()) == ((), 2, None, once)


def test_uninstalling_brings_the_very_bytes_back(file: Path) -> None:
    before = file.read_bytes()
    install_hooks(file, runner=RUNNER)
    uninstall_hooks(file)
    assert file.read_bytes() == before


def test_uninstalling_keeps_what_was_changed_since(file: Path) -> None:
    install_hooks(file, runner=RUNNER)
    edited = {**json.loads(file.read_text()), "model": "sonnet"}
    file.write_text(json.dumps(edited))
    uninstall_hooks(file)
    assert json.loads(file.read_text()) == {**SETTINGS, "model": "sonnet"}


def test_uninstalling_what_was_never_installed_changes_nothing(file: Path) -> None:
    before = file.read_bytes()
    assert uninstall_hooks(file).changed == ()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "no settings file"),
        ("[]", "not an object"),
        ('{"hooks": []}', r"\$\.hooks must be an object"),
        ('{"hooks": {"Stop": {}}}', r"\$\.hooks\.Stop must be a list"),
        ('{"hooks": {"Stop": [{"hooks": [{"type": "command"}]}]}}', r"\$\.hooks\.Stop\[0\]\.hooks\[0\]\.command"),
    ],
)
def test_a_file_that_is_not_understood_is_not_touched(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=place):
        install_hooks(path, runner=RUNNER)
    assert (path.read_text(), list(tmp_path.iterdir())) == (text, [path])


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        install_hooks(tmp_path / "none.json", runner=RUNNER)


@given(st.text(min_size=1, max_size=40), st.sampled_from([RUNNER, default_runner(), "'/a b/pytest-guardrails'"]))
def test_unwrapping_gives_back_any_command(command: str, runner: str) -> None:
    assert unwrapped(wrapped(command, runner)) == command
    assert unwrapped(wrapped(command, runner, 2.5)) == command
    assert wrapped(wrapped(command, runner), runner) == wrapped(command, runner)


@pytest.mark.parametrize(
    "command",
    ["sh -c ls", "sh -c 'a b'", "A=1 ls", "cd /x", "ls  -l", "ls ~", "true && false", "a -- b", "ls\n", "if x"],
)
def test_what_needs_a_shell_gets_one_and_comes_back(command: str) -> None:
    behind = wrapped(command, RUNNER)
    words = shlex.split(behind)
    assert words[:8] == [RUNNER, "hook", "run", "--success-codes", "0,2", "--", "sh", "-c"]
    assert words[8:] == [command]
    assert unwrapped(behind) == command
