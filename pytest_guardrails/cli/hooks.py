"""`pytest-guardrails hooks ...` and `health`: what is known of the hooks, and what an operator may do about it."""

import difflib
import getpass
import os
from collections.abc import Callable
from contextlib import closing
from typing import Any

from pytest_guardrails.cli.edge import one_line, print_json, print_table, say, watch
from pytest_guardrails.clock import SystemClock
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.breakers import HookRecord, HookState, export_hooks, import_hooks
from pytest_guardrails.reliability.breakers.commands import name_of
from pytest_guardrails.reliability.breakers.config import load_config
from pytest_guardrails.reliability.breakers.hook_store import open_hooks, refresh_mirror
from pytest_guardrails.reliability.breakers.install import Installation, install_hooks, uninstall_hooks
from pytest_guardrails.reliability.breakers.model import ControlKind
from pytest_guardrails.reliability.breakers.record import shown
from pytest_guardrails.reliability.state.model import Incident

__all__ = [
    "enable_hook",
    "export_document",
    "hold_hook",
    "import_document",
    "install",
    "list_hooks",
    "report_health",
    "reset_hooks",
    "uninstall",
]


def _with_state(config_file: str | None, work: Callable[[HookState], int]) -> int:
    config = load_config(config_file)
    state = open_hooks(config, listener=_tell_damage)
    with closing(state.store):
        code = work(state)
        refresh_mirror(state, config, SystemClock())
    return code


def _tell_damage(incident: Incident) -> None:
    stands = (
        "an earlier generation stands now" if incident.restored_version is not None else "nothing could be restored"
    )
    say(f"the state of hooks was damaged ({incident.reason}): {stands}; its files are in {incident.quarantine}")


def list_hooks(config_file: str | None, *, disabled: bool, as_json: bool, interval_s: float | None) -> int:
    """Print all hooks, or those that are disabled."""

    def show(state: HookState) -> int:
        hooks = state.get_disabled_hooks() if disabled else state.get_all_hooks()
        if as_json:
            print_json({record.command: _plain(record) for record in hooks}, compact=interval_s is not None)
        elif hooks:
            print_table(
                ("STATE", "FAILURES", "IN A ROW", "WHY", "AGAIN", "COMMAND"), [_row(record) for record in hooks]
            )
        else:
            print("no hook is disabled" if disabled else "no hook has run yet")  # noqa: T201 - the answer
        return 0

    return _with_state(config_file, lambda state: watch(lambda: show(state), interval_s))


def report_health(config_file: str | None, *, as_json: bool, interval_s: float | None) -> int:
    """Print how the hooks are; 1 if one is disabled or the store was damaged."""

    def show(state: HookState) -> int:
        report = state.get_health_report()
        status = "degraded" if report.disabled or report.incidents else "healthy"
        if as_json:
            plain = {**report._asdict(), "status": status, "stats": report.stats._asdict()}
            plain["disabled"] = {record.command: _plain(record) for record in report.disabled}
            print_json(plain, compact=interval_s is not None)
        else:
            counts = (report.total_hooks, len(report.disabled), len(report.failing), *report.stats[:2])
            head = ("STATUS", "HOOKS", "DISABLED", "FAILING", "RUNS", "FAILED")
            print_table(head, [[status, *map(str, counts)]])
            for record in report.disabled:
                print(f"  {record.state}: {one_line(record.command)} ({one_line(_why(record)) or 'failures'})")  # noqa: T201 - the answer
            for reason in report.incidents:
                print(f"  the store was damaged once: {one_line(reason)}")  # noqa: T201 - the answer
        return int(status != "healthy")

    return _with_state(config_file, lambda state: watch(lambda: show(state), interval_s))


def reset_hooks(config_file: str | None, command: str | None, *, everything: bool) -> int:
    """Close one circuit or all of them, and forget what was counted."""
    if (command is None) != everything:
        raise ConfigurationError("name one hook, or say --all")

    def work(state: HookState) -> int:
        if command is None:
            outcomes = state.reset_all()
        else:
            _must_be_known(state, command)
            outcomes = (state.reset_hook(command),)
        for outcome in outcomes:
            control = outcome.after.circuit.control
            still = f"; still {control.kind} by {control.author}: `hooks enable` lifts that" if control else ""
            say(f"reset (was {outcome.before.state}): {one_line(outcome.after.command)}{still}")
        return 0

    return _with_state(config_file, work)


def enable_hook(config_file: str | None, command: str, *, author: str | None, reason: str) -> int:
    """Lift what an operator said, and close the circuit."""

    def work(state: HookState) -> int:
        _must_be_known(state, command)
        outcome = state.enable(command, author=author or _user(), reason=reason)
        changed = "enabled" if outcome.before.is_disabled else "was not disabled; its counts are reset"
        say(f"{changed}: {one_line(outcome.after.command)}")
        return 0

    return _with_state(config_file, work)


def hold_hook(
    config_file: str | None, command: str, kind: ControlKind, *, author: str | None, reason: str, lasts_s: float | None
) -> int:
    """Let an operator's word stand above the circuit."""

    def work(state: HookState) -> int:
        known = any(record.command == name_of(command) for record in state.get_all_hooks())
        outcome = state.hold(command, kind, author=author or _user(), reason=reason, lasts_s=lasts_s)
        until = f" until {outcome.after.retry_after}" if lasts_s is not None and outcome.after.retry_after else ""
        before = f"was {outcome.before.state}" if known else "not seen before"
        say(f"{kind}{until} ({before}): {one_line(outcome.after.command)}")
        return 0

    return _with_state(config_file, work)


def export_document(config_file: str | None, path: str) -> int:
    """Write the document of all hooks."""

    def work(state: HookState) -> int:
        say(f"{export_hooks(state, path)} hooks written to {path}")
        return 0

    return _with_state(config_file, work)


def import_document(config_file: str | None, path: str, *, replace: bool) -> int:
    """Take a document of hooks in."""

    def work(state: HookState) -> int:
        changed = import_hooks(state, path, mode="replace" if replace else "merge")
        say(f"{len(changed)} hooks changed" + "".join(f"\n  {one_line(name)}" for name in changed))
        return 0

    return _with_state(config_file, work)


def install(path: str, runner: str | None, success_codes: str) -> int:
    """Put a settings file's hooks behind their breakers."""
    done = install_hooks(path, runner=runner, success_codes=success_codes)
    return _tell_installation(path, done, "behind its breaker now")


def uninstall(path: str) -> int:
    """Undo `install`."""
    return _tell_installation(path, uninstall_hooks(path), "as it was before")


def _tell_installation(path: str, done: Installation, what: str) -> int:
    for command in done.changed:
        say(f"{what}: {one_line(command)}")
    kept = f"; the file before is {done.backup}" if done.backup else ""
    say(f"{path}: {len(done.changed)} commands changed, {done.untouched} were so already{kept}")
    return 0


def _must_be_known(state: HookState, command: str) -> None:
    known = [record.command for record in state.get_all_hooks()]
    if name_of(command) not in known:
        close = difflib.get_close_matches(command, known, 1, 0.3)
        hint = f"did you mean {close[0]!r}?" if close else "`hooks list` shows those that are known"
        raise ConfigurationError(f"no hook {command!r} is known; {hint}")


def _plain(record: HookRecord) -> dict[str, Any]:
    control = record.circuit.control
    return {**shown(record), "control": None if control is None else control._asdict()}


def _row(record: HookRecord) -> list[str]:
    again = record.retry_after or ("-" if not record.is_disabled else "when enabled" if _why(record) else "now")
    return [
        record.state,
        str(record.failure_count),
        str(record.consecutive_failures),
        _why(record) or record.last_error or "-",
        again,
        record.command,
    ]


def _why(record: HookRecord) -> str:
    control = record.circuit.control
    return "" if control is None else f"{control.kind} by {control.author}: {control.reason}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"user {os.getuid()}"
