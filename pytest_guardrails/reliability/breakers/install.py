"""Puts the hooks of an agent's settings file behind their breakers, and takes them out again.

    {"hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "ruff check"}]}]}}

becomes `"command": "pytest-guardrails hook run --success-codes 0,2 -- ruff check"`. A command that needs a shell
(pipes, variables, quotes) becomes `... -- sh -c '...'`. Everything else in the file stays as it is.

With exit code 2 such a hook says no, and that it works: three of those in a row must not switch a guard off. A hook's
own time-out ends its command a little earlier than the agent would end ours, so that the breaker learns of it.

**Guarantees.** The file is replaced in one step, after its bytes were kept in `FILE.before-guardrails-N`. Installing
twice changes nothing more. Uninstalling gives every command back exactly, and the very bytes of the kept file if
nothing else was changed since. A file that is not understood is not touched.
Read `hook_run.py` for what runs then.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

from pytest_guardrails.errors import ConfigurationError, StorageError
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.durability import JsonRefusedError, finite_json, write_atomic

__all__ = ["Installation", "default_runner", "install_hooks", "uninstall_hooks", "unwrapped", "wrapped"]

_SIMPLE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+( [A-Za-z0-9_@%+=:,./-]+)*")
_OURS = re.compile(
    r"(?:pytest-guardrails|pytest_guardrails\.cli|pytest_guardrails/cli/__main__\.py)['\"]? hooks? run"
    r"(?: --[a-z-]+[ =][^ ]+)* -- "
)
_SHELL = "sh -c "
_WORKS = "0,2"


@final
class Installation(Record):
    """What was done.

    Attributes:
        changed: the commands that were changed, as they were before.
        untouched: how many commands were already as wanted.
        backup: where the file's bytes were kept; None when nothing was changed or the old bytes came back.
    """

    changed: tuple[str, ...]
    untouched: int
    backup: str | None


def default_runner() -> str:
    """How this very installation is called from a shell."""
    script = os.path.join(os.path.dirname(sys.executable), "pytest-guardrails")
    if os.path.exists(script):
        return shlex.quote(script)
    return f"{shlex.quote(sys.executable)} -m pytest_guardrails.cli"


def install_hooks(
    path: str | os.PathLike[str], *, runner: str | None = None, success_codes: str = _WORKS
) -> Installation:
    """Put every command hook of a settings file behind its breaker; see the module.

    Args:
        path: the settings file.
        runner: how to call this program; this installation by default.
        success_codes: with which exit codes a hook has not failed, separated by commas.

    Raises:
        ConfigurationError: the file is not understood; it was not touched.
        StorageError: the disk refused; the file is as before.
    """
    if not re.fullmatch(r"\d{1,3}(,\d{1,3})*", success_codes) or max(map(int, success_codes.split(","))) > 255:
        raise ConfigurationError(f"success codes must be exit codes such as 0,2, not {success_codes!r}")
    called = runner or default_runner()
    return _change(
        os.fspath(path), lambda command, timeout: wrapped(command, called, timeout, success_codes), restores=False
    )


def uninstall_hooks(path: str | os.PathLike[str]) -> Installation:
    """Undo `install_hooks`; raises as it does."""
    return _change(os.fspath(path), lambda command, _timeout: unwrapped(command), restores=True)


def wrapped(command: str, runner: str, timeout_s: object = None, success_codes: str = _WORKS) -> str:
    """A hook's command behind its breaker; one that is already stays as it is.

    Args:
        command: as a shell takes it.
        runner: how to call this program.
        timeout_s: the hook's own; ignored if it is no number above 0.
        success_codes: see `install_hooks`.
    """
    if _OURS.search(command):
        return command
    limit = ""
    if isinstance(timeout_s, (int, float)) and not isinstance(timeout_s, bool) and 0 < timeout_s <= 86_400:
        limit = f" --timeout {timeout_s - min(1.0, timeout_s / 10):g}"
    inner = command if _is_simple(command) else _SHELL + shlex.quote(command)
    return f"{runner} hook run --success-codes {success_codes}{limit} -- {inner}"


def unwrapped(command: str) -> str:
    """The inverse of `wrapped`; any other command stays as it is."""
    found = _OURS.search(command)
    if found is None:
        return command
    inner = command[found.end() :]
    if not inner.startswith(_SHELL):
        return inner
    words = shlex.split(inner)
    return words[2] if len(words) == 3 and inner == _SHELL + shlex.quote(words[2]) else inner


def _is_simple(command: str) -> bool:
    """Whether a shell would do nothing but start one program with these words."""
    if not _SIMPLE.fullmatch(command) or command.startswith(_SHELL):
        return False
    program = command.split(" ", 1)[0]
    return "=" not in program and ("/" in program or shutil.which(program) is not None)


def _change(path: str, change: Callable[[str, object], str], *, restores: bool) -> Installation:
    content = _read(path)
    document = _parse(path, content)
    changed, untouched = [], 0
    for hook in _command_hooks(path, document):
        before = hook["command"]
        hook["command"] = change(before, hook.get("timeout"))
        if hook["command"] == before:
            untouched += 1
        else:
            changed.append(before)
    if not changed:
        return Installation((), untouched, None)
    original = _kept_bytes(path, document) if restores else None
    if original is not None:
        write_atomic(path, original)
        return Installation(tuple(changed), untouched, None)
    backup = _free_name(path)
    write_atomic(backup, content)
    write_atomic(path, (finite_json.dumps(document, indent=_indent_of(content)) + "\n").encode())
    return Installation(tuple(changed), untouched, backup)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist: name the settings file whose hooks are meant") from None
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error}") from error


def _parse(path: str, content: bytes) -> dict[str, Any]:
    try:
        document = finite_json.loads(content)
    except JsonRefusedError as error:
        raise ConfigurationError(f"{path} is no settings file: {error}; it was not touched") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path} is no settings file: it is not an object; it was not touched")
    return document


def _command_hooks(path: str, document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every hook that is a command, wherever it stands; to be changed in place."""
    for event, groups in _typed(path, "$.hooks", document.get("hooks", {}), dict).items():
        where = f"$.hooks.{event}"
        for number, group in enumerate(_typed(path, where, groups, list)):
            inner = f"{where}[{number}]"
            hooks = _typed(path, inner, group, dict).get("hooks", [])
            for index, hook in enumerate(_typed(path, f"{inner}.hooks", hooks, list)):
                here = f"{inner}.hooks[{index}]"
                if _typed(path, here, hook, dict).get("type") == "command":
                    _typed(path, f"{here}.command", hook.get("command"), str)
                    yield hook


def _typed(path: str, where: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        name = "an object" if kind is dict else "a list" if kind is list else "a text"
        raise ConfigurationError(f"{path}: {where} must be {name}, not {value!r}; the file was not touched")
    return value


def _kept_bytes(path: str, document: Mapping[str, Any]) -> bytes | None:
    """The bytes of a kept file that says what `document` says."""
    for kept in reversed(_backups(path)):
        content = _read(kept)
        try:
            same: bool = finite_json.loads(content) == document
        except JsonRefusedError:
            continue
        if same:
            return content
    return None


def _backups(path: str) -> list[str]:
    found, number = [], 1
    while os.path.lexists(f"{path}.before-guardrails-{number}"):
        found.append(f"{path}.before-guardrails-{number}")
        number += 1
    return found


def _free_name(path: str) -> str:
    return f"{path}.before-guardrails-{len(_backups(path)) + 1}"


def _indent_of(content: bytes) -> int:
    found = re.search(rb"\n( +)\"", content)
    return min(len(found.group(1)), 8) if found else 2
