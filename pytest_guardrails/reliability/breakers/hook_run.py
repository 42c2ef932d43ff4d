"""`hook run -- COMMAND`: one hook behind its breaker, as a program of its own that must start within milliseconds.

1. May it run? If not: exit code 0, and `{"result": "continue", "message": ..., "success": true}` on standard output;
   with `--policy fail-closed` exit code 2 and `"result": "block"`.
2. It runs, see `spawn.py`. Its exit code becomes ours.
3. How it ended is recorded, durably.

When the bookkeeping fails, `fail-open` lets the hook run without it and says so, unless the book says that the hook is
disabled; `fail-closed` refuses. The command never runs twice. Nothing slow may be imported here: no dataclasses,
asyncio, typer, YAML; a test holds that.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

from pytest_guardrails.clock import SystemClock
from pytest_guardrails.errors import ConfigurationError, GuardrailsError
from pytest_guardrails.hints import final
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.breakers.commands import command_line, key_of, name_of
from pytest_guardrails.reliability.breakers.config import Config, load_config
from pytest_guardrails.reliability.breakers.hook_state import Admission, HookState
from pytest_guardrails.reliability.breakers.hook_store import book_of, open_hooks, refresh_mirror, store_path
from pytest_guardrails.reliability.breakers.model import Ask, Changed, Refused
from pytest_guardrails.reliability.breakers.record import Moment, applied, parse
from pytest_guardrails.reliability.breakers.spawn import Ending, run_command
from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.durability.identity import boot_id
from pytest_guardrails.reliability.state.model import Incident, StoreCorruptedError

__all__ = ["USAGE", "run_hook"]

USAGE = (
    "usage: pytest-guardrails hook run [--timeout SECONDS] [--policy fail-open|fail-closed]\n"
    "                                  [--success-codes 0,2] [--config FILE] -- COMMAND [ARGUMENT ...]"
)
_BLOCKED = 2  # what the caller of hooks takes for "stop"
_BAD_CONFIGURATION = 1
_SHORT_LOG_BYTES = 131_072  # some ten runs; reading a long one would cost each run more than emptying it
_clock = SystemClock()


@final
class _Options(Record):
    timeout_s: float = 300.0
    closed: bool = False
    success: frozenset[int] = frozenset({0})
    config: str | None = None
    command: tuple[str, ...] = ()


@final
class _Hooks(Record):
    state: HookState
    admission: Admission


def run_hook(arguments: Sequence[str]) -> int:
    """Do what the module says.

    Args:
        arguments: those after `hook run`.

    Returns:
        The exit code.
    """
    try:
        options = _parse(arguments)
    except ConfigurationError as error:
        _say(f"{error}\n{USAGE}")
        return 2
    try:
        config = load_config(options.config)
        name = name_of(command_line(options.command))
    except ConfigurationError as error:
        _say(str(error))
        return _BLOCKED if options.closed else _BAD_CONFIGURATION
    if not config.guards(name):
        return run_command(options.command, timeout_s=options.timeout_s, clock=_clock).code
    try:
        hooks = _admitted(config, name, options.timeout_s)
    except (GuardrailsError, OSError) as error:
        _say(f"the state of hooks can't be used: {error}")
        if options.closed or (why := _why_booked(config, name)):
            why = why if not options.closed else "the state of hooks can't be used"
            return _skip(name, why, None, closed=options.closed)
        return run_command(options.command, timeout_s=options.timeout_s, clock=_clock).code
    if not hooks.admission.allowed:
        _log(config, "INFO", f"skipped ({hooks.admission.reason}): {name}")
        _close(hooks.state, config)
        return _skip(name, hooks.admission.reason, hooks.admission.retry_in_s, closed=options.closed)
    ending = run_command(options.command, timeout_s=options.timeout_s, clock=_clock)
    _record(hooks, config, ending, well=ending.code in options.success and not ending.interrupted)
    return ending.code


def _admitted(config: Config, name: str, timeout_s: float) -> _Hooks:
    try:
        state = open_hooks(config, longest_run_s=timeout_s, listener=_tell_damage)
        return _Hooks(state, state.admit(name))
    except StoreCorruptedError as error:
        if error.incident.restored_version is None:
            raise
        # The last good generation stands in its place now, and `_tell_damage` has said so.
        state = open_hooks(config, longest_run_s=timeout_s, listener=_tell_damage)
        return _Hooks(state, state.admit(name))


def _tell_damage(incident: Incident) -> None:
    stands = incident.restored_version is not None
    then = f"restored, {incident.lost_commits} changes are lost" if stands else "nothing could be restored"
    _say(f"the state of hooks was damaged ({incident.reason}): {then}; its files are in {incident.quarantine}")


def _record(hooks: _Hooks, config: Config, ending: Ending, *, well: bool) -> None:
    """Whatever goes wrong here is told, and changes neither the exit code nor what was run."""
    state, admission = hooks.state, hooks.admission
    level, what = "INFO", "ended well"
    try:
        if ending.interrupted:
            what = "interrupted"
            state.record_abandoned(admission)
        elif well:
            state.record_success(admission.command, admission, duration_s=ending.duration_s)
        else:
            level, what = "WARNING", f"failed: {ending.error}"
            outcome = state.record_failure(admission.command, ending.error, admission, duration_s=ending.duration_s)
            if any(isinstance(action, Changed) and action.new == "open" for action in outcome.actions):
                what += f"; disabled until {outcome.after.retry_after}"
        refresh_mirror(state, config, _clock)
        _close(state, config)
    except (GuardrailsError, OSError) as error:
        _say(f"the run was not recorded: {error}")
    _log(config, level, f"{what}: {admission.command}")


def _close(state: HookState, config: Config) -> None:
    """Leave SQLite's log to the next run while it is short: emptying it costs as much as the record itself."""
    path = store_path(config)
    try:
        if os.path.exists(path + ".good") and os.stat(path + "-wal").st_size < _SHORT_LOG_BYTES:
            return
    except FileNotFoundError:
        pass  # there is no log: the store is a JSON file
    state.store.close()


def _log(config: Config, level: str, message: str) -> None:
    if config.log_file is not None:  # loaded only for those who want it: each module costs a hook's start
        import_module("pytest_guardrails.reliability.breakers.hook_log").log_line(config, level, message, _clock.wall())


def _why_booked(config: Config, name: str) -> str:
    """Why the book, which outlives the store, keeps a hook from running; "" if it does not."""
    try:
        plain = (book_of(config).read() or {}).get(key_of(name))
    except GuardrailsError:
        return ""
    if plain is None:
        return ""
    moment = Moment(_clock.monotonic(), _clock.wall(), boot_id())
    _, actions = applied(parse(plain), Ask("-"), config.breaker(), moment)
    return actions[-1].reason if isinstance(actions[-1], Refused) else ""


def _skip(name: str, reason: str, retry_in_s: float | None, *, closed: bool) -> int:
    when = "" if retry_in_s is None else f", tried again in {retry_in_s:.0f} s"
    message = f"hook skipped ({reason}{when}): {name}"
    answer = {"result": "block" if closed else "continue", "message": message, "success": not closed}
    try:
        os.write(
            1, finite_json.dumps(answer).encode() + b"\n"
        )  # past the buffer, which would fail once more at the end
    except OSError as error:
        _say(f"the answer was not written: {error.strerror}")
    if closed:
        _say(message)
    return _BLOCKED if closed else 0


def _parse(arguments: Sequence[str]) -> _Options:
    options, rest = _Options(), list(arguments)
    while rest and rest[0] != "--":
        name = rest.pop(0)
        name, has_value, value = name.partition("=")
        if name not in _OPTIONS:
            raise ConfigurationError(f"{name!r} is no option; the command comes after `--`")
        if not has_value:
            if not rest or rest[0] == "--":
                raise ConfigurationError(f"{name} needs a value")
            value = rest.pop(0)
        options = _OPTIONS[name](options, value)
    if len(rest) < 2:
        raise ConfigurationError("there is no command after `--`")
    if not rest[1]:
        raise ConfigurationError("the first word after `--` is empty, and no program has that name")
    return options._replace(command=tuple(rest[1:]))


def _with_timeout(options: _Options, value: str) -> _Options:
    try:
        timeout_s = float(value)
    except ValueError:
        timeout_s = 0.0
    if not 0.0 < timeout_s <= 86_400.0:
        raise ConfigurationError(f"--timeout must be above 0 and at most 86400 seconds, not {value!r}")
    return options._replace(timeout_s=timeout_s)


def _with_policy(options: _Options, value: str) -> _Options:
    if value not in ("fail-open", "fail-closed"):
        raise ConfigurationError(f"--policy must be fail-open or fail-closed, not {value!r}")
    return options._replace(closed=value == "fail-closed")


def _with_codes(options: _Options, value: str) -> _Options:
    codes = [code.strip() for code in value.split(",")]
    if not all(code.isdigit() and int(code) <= 255 for code in codes):
        raise ConfigurationError(f"--success-codes must be exit codes such as 0,2, not {value!r}")
    return options._replace(success=frozenset(map(int, codes)))


def _with_config(options: _Options, value: str) -> _Options:
    return options._replace(config=value)


_OPTIONS: Mapping[str, Callable[[_Options, str], _Options]] = {
    "--timeout": _with_timeout,
    "--policy": _with_policy,
    "--success-codes": _with_codes,
    "--config": _with_config,
}


def _say(text: str) -> None:
    try:
        os.write(2, f"pytest-guardrails: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return  # nobody listens any more
