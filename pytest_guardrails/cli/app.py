"""The command `pytest-guardrails`: its words, and nothing behind them.

`hook run` is not here but in `__main__.py`, since it must start at once. What becomes of errors is in `edge.py`.
"""

import sys
from typing import Annotated

import typer

from pytest_guardrails.cli import doctor, hooks, settings
from pytest_guardrails.cli.edge import finish, refused
from pytest_guardrails.reliability.breakers.hook_run import run_hook
from pytest_guardrails.reliability.breakers.model import ControlKind

__all__ = ["app", "main"]

_PLAIN = {"add_completion": False, "no_args_is_help": True, "rich_markup_mode": None}
app = typer.Typer(
    name="pytest-guardrails",
    help="Reliability for agents, hook runners and job servers.",
    epilog="Exit codes: 0 all is well; 1 something is not; 2 wrong usage or configuration; 130 interrupted.",
    pretty_exceptions_enable=False,
    **_PLAIN,  # type: ignore[arg-type]
)
_hooks = typer.Typer(name="hooks", help="Hooks behind their breakers.", **_PLAIN)  # type: ignore[arg-type]
_config = typer.Typer(name="config", help="The configuration of hooks.", **_PLAIN)  # type: ignore[arg-type]

_ConfigFile = Annotated[str | None, typer.Option("--config", metavar="FILE", help="The configuration file.")]
_Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
_Watch = Annotated[float | None, typer.Option("--watch", metavar="SECONDS", help="Again and again, until Ctrl-C.")]
_Command = Annotated[str, typer.Argument(help="The hook's command, as `hooks list` shows it.")]
_Author = Annotated[str | None, typer.Option("--author", help="Who says so; you, if not given.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why.")]
_Lasts = Annotated[float | None, typer.Option("--for", metavar="SECONDS", help="For how long; for good, if not given.")]


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    try:
        app(prog_name="pytest-guardrails")
    except OSError as error:  # of what typer itself prints
        sys.exit(refused(error))


@app.command("health")
def _health(config: _ConfigFile = None, as_json: _Json = False, watch: _Watch = None) -> None:
    """Say how the hooks are: 0 all run, 1 one is disabled or the store was damaged."""
    finish(lambda: hooks.report_health(config, as_json=as_json, interval_s=watch))


@app.command("doctor")
def _examine(config: _ConfigFile = None, as_json: _Json = False) -> None:
    """Say what this machine offers, and what can't be guaranteed here."""
    finish(lambda: doctor.examine(config, as_json=as_json))


@_hooks.command("list")
def _list_hooks(
    config: _ConfigFile = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Only those that are disabled.")] = False,
    as_json: _Json = False,
    watch: _Watch = None,
) -> None:
    """Show the hooks."""
    finish(lambda: hooks.list_hooks(config, disabled=disabled, as_json=as_json, interval_s=watch))


@_hooks.command("run", context_settings={"ignore_unknown_options": True, "help_option_names": []})
def _run(arguments: Annotated[list[str], typer.Argument(help="-- COMMAND [ARGUMENT ...]")]) -> None:
    """Run a hook behind its breaker: hooks run [--timeout S] [--policy P] [--success-codes 0,2] -- COMMAND ..."""
    finish(lambda: run_hook(arguments))


@_hooks.command("reset")
def _reset(
    command: Annotated[str | None, typer.Argument(help="The hook's command.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    config: _ConfigFile = None,
) -> None:
    """Close a circuit and forget what was counted."""
    finish(lambda: hooks.reset_hooks(config, command, everything=everything))


@_hooks.command("enable")
def _enable(
    command: _Command, reason: _Reason = "not given", author: _Author = None, config: _ConfigFile = None
) -> None:
    """Lift what an operator said, and close the circuit."""
    finish(lambda: hooks.enable_hook(config, command, author=author, reason=reason))


def _holding(kind: ControlKind, what: str) -> None:
    names = {"open": "force-open", "closed": "force-closed", "disabled": "disable", "isolated": "isolate"}

    def hold(
        command: _Command,
        reason: _Reason = "not given",
        author: _Author = None,
        lasts: _Lasts = None,
        config: _ConfigFile = None,
    ) -> None:
        finish(lambda: hooks.hold_hook(config, command, kind, author=author, reason=reason, lasts_s=lasts))

    hold.__doc__ = what
    _hooks.command(names[kind])(hold)


_holding("disabled", "Keep a hook from running; it is what it was when that ends.")
_holding("open", "Keep a hook from running, and try it with one run when that ends.")
_holding("closed", "Let a hook run whatever its circuit says.")
_holding("isolated", "Keep a hook from running; no reset lifts that.")


@_hooks.command("export")
def _export(file: str, config: _ConfigFile = None) -> None:
    """Write all hooks into a JSON document."""
    finish(lambda: hooks.export_document(config, file))


@_hooks.command("import")
def _import(
    file: str,
    replace: Annotated[bool, typer.Option("--replace", help="Forget hooks that the file has not.")] = False,
    config: _ConfigFile = None,
) -> None:
    """Take a JSON document in, such as an export that was edited."""
    finish(lambda: hooks.import_document(config, file, replace=replace))


@_hooks.command("install")
def _install(
    file: Annotated[str, typer.Argument(metavar="SETTINGS.json")],
    runner: Annotated[str | None, typer.Option("--runner", help="How to call this program.")] = None,
    codes: Annotated[str, typer.Option("--success-codes", help="Exit codes that are no failure; 2 says no.")] = "0,2",
) -> None:
    """Put the hooks of an agent's settings file behind their breakers."""
    finish(lambda: hooks.install(file, runner, codes))


@_hooks.command("uninstall")
def _uninstall(file: Annotated[str, typer.Argument(metavar="SETTINGS.json")]) -> None:
    """Take them out again, every command exactly as it was."""
    finish(lambda: hooks.uninstall(file))


@_config.command("show")
def _show(config: _ConfigFile = None, as_json: _Json = False) -> None:
    """Show every value, and where it comes from."""
    finish(lambda: settings.show_config(config, as_json=as_json))


@_config.command("validate")
def _validate(file: Annotated[str | None, typer.Argument(help="The configuration file.")] = None) -> None:
    """Say that the configuration is right, or what is wrong where."""
    finish(lambda: settings.validate_config(file))


@_config.command("init")
def _init(
    file: Annotated[str | None, typer.Argument(help="The configuration file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a configuration file with every default in it."""
    finish(lambda: settings.init_config(file, force=force))


app.add_typer(_hooks)
app.add_typer(_hooks, name="hook", hidden=True)
app.add_typer(_config)
